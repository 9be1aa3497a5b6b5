// SPDX-License-Identifier: Apache-2.0
import Foundation
import Testing

/// The golden files are what their script makes of the implementations that are installed here.
@Suite("The script behind the golden bytes")
struct GoldenScriptTests {
    /// Runs the script; it ends by itself or is ended.
    ///
    /// - Returns: its status, and what it said.
    private static func make(_ argument: String) async throws -> (status: Int32, said: String) {
        let log = FileManager.default.temporaryDirectory.appending(path: "golden-\(UUID().uuidString).log")
        try Data().write(to: log)
        defer { try? FileManager.default.removeItem(at: log) }
        let handle = try FileHandle(forWritingTo: log)
        let process = Process()
        process.executableURL = URL(filePath: "/usr/bin/timeout")
        process.arguments = [
            "--kill-after=5", "120", "/usr/bin/python3",
            GoldenSample.folder.appending(path: "make-golden.py").path(percentEncoded: false), argument,
        ]
        process.standardInput = FileHandle.nullDevice
        process.standardOutput = handle
        process.standardError = handle
        try await withCheckedThrowingContinuation { (continuation: CheckedContinuation<Void, any Error>) in
            process.terminationHandler = { _ in continuation.resume() }
            do {
                try process.run()
            } catch {
                process.terminationHandler = nil
                continuation.resume(throwing: error)
            }
        }
        try handle.close()
        return (process.terminationStatus, try String(contentsOf: log, encoding: .utf8))
    }

    /// Whether to run: always where CI is set, otherwise if the other implementations are installed.
    private static func isWanted() async -> Bool {
        if ProcessInfo.processInfo.environment["CI"] != nil { return true }
        let check = try? await Self.make("--check")
        if check?.status == 0 { return true }
        let reason = check?.said.trimmingCharacters(in: .whitespacesAndNewlines) ?? "there is no /usr/bin/timeout here"
        print("!!! LEFT OUT: the golden bytes are not made again (\(reason)) !!!")
        return false
    }

    @Test(
        "Making the golden files again changes nothing",
        .enabled("python3-pika, python3-amqp or rabbitmq-server is not installed") { await Self.isWanted() })
    func unchanged() async throws {
        let folder = FileManager.default.temporaryDirectory.appending(path: "golden-\(UUID().uuidString)")
        try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: false)
        defer { try? FileManager.default.removeItem(at: folder) }
        let (status, said) = try await Self.make(folder.path(percentEncoded: false))
        try #require(status == 0, "\(said)")
        for writer in GoldenSample.writers {
            let made = try String(contentsOf: folder.appending(path: writer + ".jsonl"), encoding: .utf8)
            let kept = try String(contentsOf: GoldenSample.folder.appending(path: writer + ".jsonl"), encoding: .utf8)
            // The first line that differs, rather than two files whole.
            let lines = zip(made.split(separator: "\n"), kept.split(separator: "\n"))
            let changed = lines.first { $0 != $1 }.map { "\($0.0.prefix(400))\nnot\n\($0.1.prefix(400))" }
            #expect(changed == nil, "\(writer).jsonl: run Tests/AMQPWireTests/Golden/make-golden.py")
            #expect(made.utf8.count == kept.utf8.count, "\(writer).jsonl")
        }
    }
}
