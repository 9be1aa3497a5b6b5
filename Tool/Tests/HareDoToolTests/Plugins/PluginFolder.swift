// SPDX-License-Identifier: Apache-2.0
import Foundation
import HareDo
import Testing

/// A folder to find plugins in, with the fixtures that a test puts there.
struct PluginFolder {
    /// What goes into a search path.
    let root: String
    private var plugins: String { self.root + "/haredo/plugins" }

    var searchPath: PluginSearchPath { PluginSearchPath(folders: [self.root]) }

    static func with(_ body: (PluginFolder) async throws -> Void) async throws {
        let folder = PluginFolder(
            root: FileManager.default.temporaryDirectory.appending(path: "haredo-plugins-\(UUID())").path)
        try FileManager.default.createDirectory(
            atPath: folder.plugins, withIntermediateDirectories: true, attributes: [.posixPermissions: 0o755])
        defer { try? FileManager.default.removeItem(atPath: folder.root) }
        try await body(folder)
    }

    /// What the package's manifest builds for tests.
    static func fixture(_ name: String) -> URL {
        URL(filePath: toolPath).deletingLastPathComponent().appending(path: "libharedofixture\(name).so")
    }

    func path(_ name: String) -> String { self.plugins + "/lib\(name).so" }

    /// Puts a fixture there under a plain name.
    @discardableResult
    func install(_ fixture: String, as name: String) throws -> String {
        try FileManager.default.copyItem(at: Self.fixture(fixture), to: URL(filePath: self.path(name)))
        return self.path(name)
    }

    /// Puts bytes there.
    @discardableResult
    func write(_ bytes: Data, as name: String) throws -> String {
        try bytes.write(to: URL(filePath: self.path(name)))
        return self.path(name)
    }

    /// What a library says of itself, written over in the file.
    struct Descriptor {
        var magic: UInt64 = 0x0001_6f44_6572_6148
        var abi = UInt32(PluginLoader.abi)
        var compiler = PluginLoader.compiler
        var layouts = PluginLayouts.fingerprint()

        func library() throws -> Data {
            var bytes = [UInt8](try Data(contentsOf: PluginFolder.fixture("descriptor")))
            func find(_ wanted: [UInt8]) throws -> Int {
                let wanted = Data(wanted)
                return try #require(Data(bytes).firstRange(of: wanted)?.lowerBound)
            }
            func put(_ new: [UInt8], at offset: Int) { bytes.replaceSubrange(offset..<offset + new.count, with: new) }
            func little<Number: FixedWidthInteger>(_ number: Number) -> [UInt8] {
                withUnsafeBytes(of: number.littleEndian) { Array($0) }
            }
            let descriptor = try find(little(Self().magic))
            try put(Array((self.compiler + "\0").utf8), at: find(Array("the compiler".utf8)))
            put(little(self.magic), at: descriptor)
            put(little(self.abi), at: descriptor + 8)
            put(little(self.layouts), at: descriptor + 24)
            return Data(bytes)
        }
    }
}
