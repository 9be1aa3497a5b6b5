// SPDX-License-Identifier: Apache-2.0
import Foundation
import HareDo
import Testing

/// A configuration and a runtime folder of a test's own.
private struct DaemonPlace: Sendable {
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

    func status() async throws -> [String: ConfigurationValue] {
        let result = try await self.haredo("status")
        #expect(result.status == 0, "\(result.error)")
        return try JSONDecoder().decode([String: ConfigurationValue].self, from: Data(result.output))
    }
}

extension ToolTests {
    @Test("A service online with nothing installed: init, start, status, call, stop")
    func daemonFromNothing() async throws {
        try await DaemonPlace.with { place in
            let port = try freePort()
            #expect(try await place.haredo("config", "init", "--port", "\(port)").status == 0)
            #expect(try await place.haredo("status").status == 3)
            #expect(try await place.haredo("stop").status == 3)
            let start = try await place.haredo("start")
            #expect(start.status == 0, "\(start.error)")
            #expect(start.error.contains("plugin 'echo': loaded (linked)"))
            let status = try await place.status()
            #expect(status["plugins"] == ["echo", "status"])
            #expect(status["phase"] == "running")
            guard case .string(let time)? = status["time"], case .string(let pid)? = status["pid"] else {
                Issue.record("\(status)")
                return
            }
            #expect(time.wholeMatch(of: /\d{4}-\d\d-\d\d \d\d:\d\d:\d\d [+-]\d{4}/) != nil)
            #expect(start.text == "started: process \(pid)\n")
            let call = try await haredo(
                "call", "jujifruit", "-H", "uuid=echo", "-d", "jujifruit", "--timeout", "10",
                broker: "amqp://guest:guest@127.0.0.1:\(port)")
            #expect(call.text == "jujifruit\n")

            // There is one to a pid file, and one broker to a port.
            let second = try await place.haredo("start")
            #expect(second.status == 1)
            #expect(second.error.contains("runs already (process \(pid))"))
            let other = try await place.haredo("start", "--pid-file", place.folder + "/other.pid")
            #expect(other.status == 1)
            #expect(other.error.contains("port \(port) of this machine is taken"))

            #expect(try await place.haredo("stop").text == "stopped\n")
            #expect(try await isGone(pid))
            #expect(try await place.haredo("status").status == 3)
            print("ledger: start took \(start.duration)")
        }
    }

    @Test(
        "Read again under load: what changed is replaced, and every request is answered",
        arguments: TestBroker.available)
    func daemonReloads(broker: TestBroker) async throws {
        try await broker.run { url in
            try await DaemonPlace.with { place in
                let queue = uniqueQueue()
                try place.write(broker: url, queue: queue)
                #expect(try await place.haredo("start").status == 0)
                guard case .string(let pid)? = try await place.status()["pid"], let process = pid_t(pid) else {
                    Issue.record("no pid")
                    return
                }
                let (sent, answered) = try await Peer.with(.url(url)) { client in
                    try await withThrowingTaskGroup(of: (Int, Int).self) { group in
                        for _ in 0..<4 {
                            group.addTask {
                                var answered = 0
                                for number in 0..<100 {
                                    let reply = try await client.call(
                                        queue, headers: ["uuid": "echo"], data: "\(number)", timeout: .seconds(20))
                                    if reply?.text == "\(number)" { answered += 1 }
                                }
                                return (100, answered)
                            }
                        }
                        for round in 0..<5 {
                            try place.write(
                                broker: url, queue: queue, plugins: "echo: {round: \(round)}, log: {level: debug}")
                            if round.isMultiple(of: 2) {
                                kill(process, SIGHUP)
                                try await Task.sleep(for: .milliseconds(20))
                            } else {
                                let reload = try await place.haredo("reload")
                                #expect(reload.status == 0, "\(reload.error)")
                            }
                        }
                        return try await group.reduce((0, 0)) { ($0.0 + $1.0, $0.1 + $1.1) }
                    }
                }
                #expect(sent == 400)
                #expect(answered == sent)
                let last = try await place.haredo("reload")
                #expect(last.text.contains("nothing has changed") || last.text.contains("replaced"), "\(last.text)")
                #expect(try await place.status()["plugins"] == ["echo", "log"])

                // A bad file, or one that changes what cannot be changed, changes nothing.
                try place.write(broker: url, queue: queue, more: "  speed: 9")
                let bad = try await place.haredo("reload")
                #expect(bad.status == 1)
                #expect(bad.error.contains("'daemon.speed' is unknown"), "\(bad.error)")
                try place.write(broker: url, queue: queue + "2")
                let changed = try await place.haredo("reload")
                #expect(changed.status == 1)
                #expect(changed.error.contains("'daemon.queue' has changed"), "\(changed.error)")
                #expect(try await place.status()["plugins"] == ["echo", "log"])
                #expect(
                    try await haredo("call", queue, "-H", "uuid=echo", "-d", "x", "--timeout", "10", broker: url).text
                        == "x\n")
            }
        }
    }

    @Test("Killed, it starts again, and handles what was not acknowledged", arguments: TestBroker.available)
    func daemonKilled(broker: TestBroker) async throws {
        try await broker.run { url in
            try await DaemonPlace.with { place in
                let queue = uniqueQueue()
                try place.write(broker: url, queue: queue)
                #expect(try await place.haredo("start").status == 0)
                guard case .string(let pid)? = try await place.status()["pid"], let process = pid_t(pid) else {
                    Issue.record("no pid")
                    return
                }
                try await Peer.with(.url(url)) { client in
                    async let early = client.call(
                        queue, headers: ["uuid": "echo"], data: "early", timeout: .seconds(30))
                    #expect(try await early?.text == "early")
                    kill(process, SIGKILL)
                    #expect(try await isGone(pid))
                    #expect(try await place.haredo("status").status == 3)
                    // The queue outlives it for a minute.
                    async let late = client.call(queue, headers: ["uuid": "echo"], data: "late", timeout: .seconds(30))
                    let again = try await place.haredo("start")
                    #expect(again.status == 0, "\(again.error)")
                    #expect(try await late?.text == "late")
                }
            }
        }
    }

    @Test("Two daemons share a queue, and each answers for itself", arguments: TestBroker.available)
    func twoDaemons(broker: TestBroker) async throws {
        try await broker.run { url in
            try await DaemonPlace.with { place in
                let queue = uniqueQueue()
                try place.write(broker: url, queue: queue)
                let other = place.folder + "/other.pid"
                #expect(try await place.haredo("start").status == 0)
                #expect(try await place.haredo("start", "--pid-file", other).status == 0)
                let first = try await place.status()
                let result = try await place.haredo("status", "--pid-file", other)
                let second = try JSONDecoder().decode([String: ConfigurationValue].self, from: Data(result.output))
                #expect(first["pid"] != second["pid"])
                #expect(first["instance"] != second["instance"])
                #expect(first["queue"] == second["queue"])
                #expect(try await place.haredo("drain").text == "drained\n")
                #expect(try await place.status()["phase"] == "drained")
                // The other one goes on.
                for _ in 0..<4 {
                    let reply = try await haredo(
                        "call", queue, "-H", "uuid=echo", "-d", "x", "--timeout", "10", broker: url)
                    #expect(reply.text == "x\n")
                }
                #expect(try await place.haredo("stop", "--pid-file", other).text == "stopped\n")
            }
        }
    }

    @Test(
        "Modules, their plugins, resources and interceptors, and plugins that are missing", .enabled(if: isLinux),
        arguments: TestBroker.available)
    func daemonWithModules(broker: TestBroker) async throws {
        try await broker.run { url in
            try await DaemonPlace.with { place in
                let manager = FileManager.default
                try manager.createDirectory(atPath: place.folder + "/words", withIntermediateDirectories: true)
                try manager.copyItem(
                    at: PluginFolder.fixture("module"), to: URL(filePath: place.folder + "/words/libmodule.so"))
                try manager.copyItem(
                    at: PluginFolder.fixture("border"), to: URL(filePath: place.folder + "/haredo/plugins/libborder.so")
                )
                let queue = uniqueQueue()
                func write(_ more: String) throws {
                    try place.write(
                        """
                        system: {broker: {url: '\(url)'}}
                        daemon:
                          queue: {name: \(queue)}
                          modules: {words/module: {words: [one, two]}}
                          services:
                            haredo: {plugins: {border: {greeting: hi}, shout: , missing: \(more)}}
                        """)
                }
                try write("{required: true}")
                let refused = try await place.haredo("start")
                #expect(refused.status == 1)
                #expect(refused.error.contains("the plugin 'missing', which is required, was not loaded"))
                try write("")
                let start = try await place.haredo("start")
                #expect(start.status == 0, "\(start.error)")
                #expect(start.error.contains("module 'words/module': loaded"))
                #expect(start.error.contains("plugin 'missing': FAILED: 'missing' was found nowhere"))
                #expect(try await place.status()["plugins"] == ["border", "shout"])
                try await Peer.with(.url(url)) { client in
                    let resource = try await client.call(
                        queue, headers: ["uuid": "border"], data: "resource", timeout: .seconds(10))
                    #expect(resource?.text == "one+two")
                    #expect(resource?.headers["intercepted"] == true)
                    let shout = try await client.call(
                        queue, headers: ["uuid": "shout"], data: "x", timeout: .seconds(10))
                    #expect(shout?.text == "X")
                }
            }
        }
    }

    @Test("A broker that is away is waited for, or not; and what does not answer is ended by a signal")
    func daemonWithoutBroker() async throws {
        try await DaemonPlace.with { place in
            let port = try freePort()
            let url = "amqp://guest:guest@127.0.0.1:\(port)"
            let text = """
                daemon:
                  queue: {name: q}
                  services: {haredo: {plugins: [echo]}}
                """
            try place.write("system: {broker: {port: \(port), unreachable: fail}}\n" + text)
            let failed = try await place.haredo("start")
            #expect(failed.status == 1)
            #expect(
                failed.error.contains("127.0.0.1:\(port)") || failed.error.contains("localhost:\(port)"),
                "\(failed.error)")
            try place.write("system: {broker: {url: '\(url)'}}\n" + text)
            // It may be ended while it waits.
            #expect(try await place.haredo("start").status == 0)
            let early = try await place.haredo("stop")
            #expect(early.status == 0, "\(early.error)")
            #expect(early.error.contains("sending SIGTERM"))
            let start = try await place.haredo("start")
            #expect(start.status == 0, "\(start.error)")
            #expect(start.error.contains("waiting for the broker"))
            let status = try await place.haredo("status")
            #expect(status.status == 4)
            #expect(status.error.contains("does not answer"))
            // It comes up with its broker.
            try await withTool("broker", "--listen", "127.0.0.1:\(port)") { broker in
                _ = try await broker.firstLine()
                try await Peer.with(.url(url)) { client in
                    try await eventually("the daemon listens") {
                        (try? await client.call("q", headers: ["uuid": "echo"], data: "x", timeout: .seconds(5)))??.text
                            == "x"
                    }
                }
                #expect(try await place.status()["phase"] == "running")
            }
            let stop = try await place.haredo("stop")
            #expect(stop.status == 0, "\(stop.error)")
            #expect(stop.error.contains("sending SIGTERM"))
        }
    }

    private static let tls: (port: String, folder: String)? = {
        let environment = ProcessInfo.processInfo.environment
        guard let url = environment["HAREDO_TEST_RABBITMQ_TLS"], let folder = environment["HAREDO_TEST_CERTIFICATES"],
            let port = URLComponents(string: url)?.port
        else { return nil }
        return ("\(port)", folder)
    }()

    @Test("RabbitMQ over TLS with a client's certificate, as the original's file says it", .enabled(if: tls != nil))
    func daemonOverTLS() async throws {
        let (port, folder) = try #require(Self.tls)
        Ledger.add("rabbitmq-only tool.daemonOverTLS")
        try await DaemonPlace.with { place in
            let queue = uniqueQueue()
            try place.write(
                """
                ---
                system:
                  broker:
                    host: localhost
                    user: guest
                    password: guest
                    port: '5672'
                    ssl:
                      enable: true
                      port: '\(port)'
                      tls_cert: '\(folder)/client.pem'
                      tls_key: '\(folder)/client.key'
                      tls_ca: '\(folder)/ca.pem'
                daemon:
                  queue:
                    name: '\(queue)'
                    properties:
                      exclusive: false
                      auto_delete: true
                  key: 'b8d96b66-8cae-4e16-b5ec-d607483b061e'
                  services:
                    haredo:
                      path_prefix: haredo/plugins
                      plugins:
                        echo:
                          juji: fruit
                """)
            let start = try await place.haredo("start")
            #expect(start.status == 0, "\(start.error)")
            #expect(try await place.status()["plugins"] == ["echo"])
            let broker = "amqps://guest:guest@localhost:\(port)?cacertfile=\(folder)/ca.pem"
            let call = try await haredo(
                "call", queue, "-H", "uuid=echo", "-d", "jujifruit", "--timeout", "10", broker: broker)
            #expect(call.text == "jujifruit\n", "\(call.error)")
            #expect(try await place.haredo("stop").text == "stopped\n")
        }
    }

    @Test("A key that is another is refused", arguments: TestBroker.available)
    func daemonKey(broker: TestBroker) async throws {
        try await broker.run { url in
            try await DaemonPlace.with { place in
                try place.write(broker: url, queue: uniqueQueue(), more: "  key: the-first-key-of-all")
                #expect(try await place.haredo("start").status == 0)
                try place.write(broker: url, queue: "q", more: "  key: quite-another-key")
                let status = try await place.haredo("status")
                #expect(status.status == 1)
                #expect(status.error.contains("signed with another key"))
                try place.write(broker: url, queue: "q", more: "  key: the-first-key-of-all")
                guard case .map(let counts)? = try await place.status()["counts"] else {
                    Issue.record("no counts")
                    return
                }
                #expect(counts["refusedCommands"] == 1)
            }
        }
    }

    @Test("In the foreground it stays, and ends in order", arguments: TestBroker.available)
    func daemonInForeground(broker: TestBroker) async throws {
        try await broker.run { url in
            try await DaemonPlace.with { place in
                try place.write(broker: url, queue: uniqueQueue())
                let result = try await withTool("start", "--foreground", environment: place.environment) { daemon in
                    try await daemon.wait(for: "plugin 'status': loaded")
                    try await eventually("it runs") { try await place.haredo("status").status == 0 }
                    await daemon.terminate()
                }
                #expect(result.status == 0, "\(result.error)")
            }
        }
    }
}

/// A port that nobody listened on a moment ago.
private func freePort() throws -> Int {
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
private func eventually(_ what: String, _ condition: () async throws -> Bool) async throws {
    let end = ContinuousClock.now + .seconds(30)
    while try await !condition() {
        guard .now < end else { throw ToolTestError("not within 30 s: \(what)") }
        try await Task.sleep(for: .milliseconds(20))
    }
}
