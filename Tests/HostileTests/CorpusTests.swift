// SPDX-License-Identifier: Apache-2.0
import Foundation
import HostileSupport
import Testing

/// What fuzzing begins with, and what it has found.
@Suite("The corpus of the fuzz targets")
struct CorpusTests {
    private static let folder = URL(filePath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
        .appending(path: "Fuzz/Corpus")

    private func files(_ target: FuzzTarget) throws -> [String: [UInt8]] {
        let folder = Self.folder.appending(path: target.rawValue)
        var files: [String: [UInt8]] = [:]
        for name in try FileManager.default.contentsOfDirectory(atPath: folder.path) {
            files[name] = Array(try Data(contentsOf: folder.appending(path: name)))
        }
        return files
    }

    @Test("No file of it is a finding", arguments: FuzzTarget.allCases)
    func harmless(target: FuzzTarget) throws {
        let files = try self.files(target)
        #expect(files.count > 10)
        for (name, bytes) in files {
            // Foundation's names are no part of what is tested: only the run may throw.
            do { try target.run(bytes) } catch { Issue.record("\(target.rawValue)/\(name): \(error)") }
        }
    }

    /// `HAREDO_WRITE_CORPUS=1` writes them.
    @Test("Its seeds are the samples and the conversation of today", arguments: FuzzTarget.allCases)
    func current(target: FuzzTarget) throws {
        let folder = Self.folder.appending(path: target.rawValue)
        if ProcessInfo.processInfo.environment["HAREDO_WRITE_CORPUS"] != nil {
            try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
            for seed in try target.seeds { try Data(seed.bytes).write(to: folder.appending(path: seed.name)) }
        }
        #expect(Samples.frames.count > 150)
        let files = try self.files(target)
        for seed in try target.seeds {
            #expect(files[seed.name] == seed.bytes, "\(seed.name): HAREDO_WRITE_CORPUS=1 writes it anew")
        }
        #expect(files.values.reduce(0) { $0 + $1.count } < 256 << 10, "the corpus is to stay small")
    }
}
