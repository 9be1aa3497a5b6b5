// SPDX-License-Identifier: Apache-2.0
import Foundation
import HareDo
import Synchronization
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
        return try Self.answer(result)
    }

    /// For those who ask again: `nil` if it did not answer this time.
    func statusIfAnswered() async throws -> [String: ConfigurationValue]? {
        let result = try await self.haredo("status")
        return try result.status == 0 ? Self.answer(result) : nil
    }

    private static func answer(_ result: ToolResult) throws -> [String: ConfigurationValue] {
        try JSONDecoder().decode([String: ConfigurationValue].self, from: Data(result.output))
    }
}

/// No port is given twice: who got it first may not have taken it yet.
private let givenPorts = Mutex<Set<Int>>([])

/// A port that nobody listened on a moment ago. No client gets it from the system, whose own are higher, nor does
/// Scripts/rabbitmq.sh use it (4790 to 6699 and 25790 to 26699).
func freePort() throws -> Int {
    for port in (20_000..<25_000).shuffled() {
        let isNew = givenPorts.withLock { $0.insert(port).inserted }
        if isNew, isFree(port) { return port }
    }
    throw ToolTestError("there is no free port")
}

private func isFree(_ port: Int) -> Bool {
    let descriptor = socket(AF_INET, Int32(SOCK_STREAM.rawValue), 0)
    defer { close(descriptor) }
    var address = sockaddr_in()
    address.sin_family = sa_family_t(AF_INET)
    address.sin_port = in_port_t(port).bigEndian
    address.sin_addr.s_addr = in_addr_t(0x7f00_0001).bigEndian
    return withUnsafePointer(to: &address) { pointer in
        pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) {
            bind(descriptor, $0, socklen_t(MemoryLayout<sockaddr_in>.size)) == 0
        }
    }
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
