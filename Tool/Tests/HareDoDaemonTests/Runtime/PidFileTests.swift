// SPDX-License-Identifier: Apache-2.0
import Foundation
import Testing

@testable import HareDoDaemon

@Suite("The pid file and the runtime folder")
struct PidFileTests {
    private static func withFolder(_ body: (String) throws -> Void) throws {
        let folder = FileManager.default.temporaryDirectory.appending(path: "haredo-runtime-\(UUID())").path
        try FileManager.default.createDirectory(
            atPath: folder, withIntermediateDirectories: true, attributes: [.posixPermissions: 0o700])
        defer { try? FileManager.default.removeItem(atPath: folder) }
        try body(folder)
    }

    private static func hold(_ path: String, _ body: () throws -> Void) throws {
        let file = try PidFile(path, instance: "abc")
        try body()
        _ = consume file
    }

    @Test("It is locked for as long as it is held, and says by whom")
    func lock() throws {
        try Self.withFolder { folder in
            let path = folder + "/haredo.pid"
            #expect(PidFile.state(path) == .notRunning)
            try Self.hold(path) {
                #expect(PidFile.state(path) == .running(PidFile.Owner(process: getpid(), instance: "abc")))
                let error = #expect(throws: DaemonFailure.self) { try Self.hold(path) {} }
                #expect(error?.description.contains("runs already (process \(getpid()))") == true)
            }
            #expect(PidFile.state(path) == .notRunning)
            // What a process left that is gone, or nonsense, is no obstacle.
            for stale in ["4194303\nxyz\n", "nonsense"] {
                try stale.write(toFile: path, atomically: false, encoding: .utf8)
                #expect(PidFile.state(path) == .notRunning)
                try Self.hold(path) {
                    #expect(PidFile.state(path) == .running(PidFile.Owner(process: getpid(), instance: "abc")))
                }
            }
            #expect(throws: DaemonFailure.self) { try Self.hold("/nowhere/haredo.pid") {} }
        }
    }

    @Test("A runtime folder of somebody else's is not used", .enabled(if: geteuid() == 0, "needs the administrator"))
    func otherOwner() throws {
        try Self.withFolder { folder in
            try FileManager.default.setAttributes([.ownerAccountID: 12345], ofItemAtPath: folder)
            let error = #expect(throws: DaemonFailure.self) {
                try RuntimeFolder(environment: ["HAREDO_RUNTIME_DIR": folder]).prepare()
            }
            #expect(error?.description.contains("belongs to another user") == true)
        }
    }

    @Test("A key is made once, for its owner alone")
    func key() throws {
        try Self.withFolder { folder in
            let runtime = RuntimeFolder(environment: ["HAREDO_RUNTIME_DIR": folder + "/run"])
            #expect(runtime.existingKey == nil)
            let key = try runtime.key()
            #expect(key.count == 64)
            #expect(try runtime.key() == key)
            let attributes = try FileManager.default.attributesOfItem(atPath: runtime.keyFile)
            #expect(attributes[.posixPermissions] as? Int == 0o600)
            try FileManager.default.setAttributes([.posixPermissions: 0o777], ofItemAtPath: runtime.path)
            let error = #expect(throws: DaemonFailure.self) { try runtime.prepare() }
            #expect(error?.description.contains("others may write") == true)
        }
    }
}
