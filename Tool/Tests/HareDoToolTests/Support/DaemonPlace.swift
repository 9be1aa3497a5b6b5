// SPDX-License-Identifier: Apache-2.0
import Foundation
import HareDo
import Testing

/// A configuration and a runtime folder of a test's own.
struct DaemonPlace: Sendable {
    let folder: String
    var config: String { self.folder + "/haredo.conf" }
    var environment: [String: String] {
        ["HAREDO_CONFIG": self.config, "HAREDO_RUNTIME_DIR": self.folder + "/run", "HAREDO_PLUGIN_PATH": self.folder]
    }

    static func with(_ body: (DaemonPlace) async throws -> Void) async throws {
        let place = DaemonPlace(
            folder: FileManager.default.temporaryDirectory.appending(path: "haredo-daemon-\(UUID())").path)
        try FileManager.default.createDirectory(
            atPath: place.folder + "/haredo/plugins", withIntermediateDirectories: true,
            attributes: [.posixPermissions: 0o755])
        defer { try? FileManager.default.removeItem(atPath: place.folder) }
        do {
            try await body(place)
        } catch {
            _ = try? await place.haredo("stop")
            throw error
        }
        _ = try await place.haredo("stop")
    }

    func haredo(_ arguments: String...) async throws -> ToolResult {
        try await HareDoToolTests.haredo(arguments, environment: self.environment)
    }

    func write(_ text: String) throws { try text.write(toFile: self.config, atomically: true, encoding: .utf8) }

    /// A daemon on a broker that is there, with the plugins `echo` and `status`.
    func write(broker url: String, queue: String, plugins: String = "echo: , status: ", more: String = "") throws {
        try self.write(
            """
            system: {broker: {url: '\(url)'}}
            daemon:
              queue: {name: \(queue)}
              services: {haredo: {plugins: {\(plugins)}}}
            \(more)
            """)
    }

    /// The running daemon's process.
    func process() async throws -> pid_t {
        guard case .string(let text)? = try await self.status()["pid"], let process = pid_t(text) else {
            throw ToolTestError("the status has no pid")
        }
        return process
    }

    func status() async throws -> [String: ConfigurationValue] {
        let result = try await self.haredo("status")
        #expect(result.status == 0, "\(result.error)")
        return try JSONDecoder().decode([String: ConfigurationValue].self, from: Data(result.output))
    }
}

/// A port that nobody listened on a moment ago.
func freePort() throws -> Int {
    let descriptor = socket(AF_INET, Int32(SOCK_STREAM.rawValue), 0)
    defer { close(descriptor) }
    var address = sockaddr_in()
    address.sin_family = sa_family_t(AF_INET)
    address.sin_addr.s_addr = in_addr_t(0x7f00_0001).bigEndian
    var length = socklen_t(MemoryLayout<sockaddr_in>.size)
    let bound = withUnsafeMutablePointer(to: &address) { pointer in
        pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) {
            bind(descriptor, $0, length) == 0 && getsockname(descriptor, $0, &length) == 0
        }
    }
    guard bound else { throw ToolTestError("there is no free port") }
    return Int(UInt16(bigEndian: address.sin_port))
}

/// Waits until something is so, at most 30 s.
func eventually(_ what: String, _ condition: () async throws -> Bool) async throws {
    let end = ContinuousClock.now + .seconds(30)
    while try await !condition() {
        guard .now < end else { throw ToolTestError("not within 30 s: \(what)") }
        // What another process has come to can only be looked at again.
        try await Task.sleep(for: .milliseconds(20))
    }
}
