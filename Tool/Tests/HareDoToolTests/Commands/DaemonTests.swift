// SPDX-License-Identifier: Apache-2.0
import Foundation
import HareDo
import Testing

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
            #expect(second.status == 6)
            #expect(second.error.contains("runs already (process \(pid))"))
            let other = try await place.haredo("start", "--pid-file", place.folder + "/other.pid")
            #expect(other.status == 69)
            #expect(other.error.contains("port \(port) of this machine is taken"))

            #expect(try await place.haredo("stop").text == "stopped\n")
            #expect(try await isGone(pid))
            #expect(try await place.haredo("status").status == 3)
            print("ledger: start took \(start.duration)")
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
                #expect(refused.status == 7)
                #expect(refused.error.contains("the plugin 'missing', which is required, was not loaded"))
                try write("")
                let start = try await place.haredo("start")
                #expect(start.status == 0, "\(start.error)")
                #expect(start.error.contains("module 'words/module': loaded"))
                #expect(start.error.contains("plugin 'missing': FAILED: 'missing' was found nowhere"))
                #expect(try await place.status()["plugins"] == ["border", "shout"])
                let loaded = try await place.haredo("plugin", "loaded", "--json")
                #expect(loaded.lines.count == 2 && loaded.lines.first?.contains(#""name":"border""#) == true)
                #expect(try await place.haredo("control", "commands").text == #"{"words":"Lists the words."}"# + "\n")
                #expect(try await place.haredo("control", "words").text == #"["one","two"]"# + "\n")
                let unknown = try await place.haredo("control", "numbers")
                #expect(unknown.status == 1 && unknown.error.contains("the daemon has words"), "\(unknown.error)")
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
            #expect(failed.status == 69)
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
                // The queue of the service is there before the one that commands go to.
                try await eventually("it runs") { try await place.statusIfAnswered()?["phase"] == "running" }
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
                OriginalFile.text(
                    queue: queue, port: 5672,
                    ssl: .init(
                        isEnabled: true, port: port, certificate: folder + "/client.pem", key: folder + "/client.key",
                        authorities: folder + "/ca.pem"), services: OriginalFile.echo))
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
                #expect(status.status == 5)
                #expect(status.error.contains("signed with another key"))
                let stop = try await place.haredo("stop")
                #expect(stop.status == 5 && stop.error.contains("signed with another key"), "\(stop.error)")
                try place.write(broker: url, queue: "q", more: "  key: the-first-key-of-all")
                guard case .map(let counts)? = try await place.status()["counts"] else {
                    Issue.record("no counts")
                    return
                }
                #expect(counts["refusedCommands"] == 2)
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

    @Test("Its status can be watched until it ends, and discovery finds it", arguments: TestBroker.available)
    func daemonWatched(broker: TestBroker) async throws {
        try await broker.run { url in
            try await DaemonPlace.with { place in
                let queue = uniqueQueue()
                try place.write(broker: url, queue: queue)
                #expect(try await place.haredo("start").status == 0)
                let call = try await haredo("call", queue, "-H", "uuid=echo", "-d", "x", "--timeout", "10", broker: url)
                #expect(call.text == "x\n")
                try await eventually("its statistics have the call") {
                    let stats = try await haredo("stats", queue, "--json", "--timeout", "2", broker: url)
                    return stats.lines.first?.contains(#""requests":1"#) == true
                }
                let ping = try await haredo("ping", queue, "--json", "--timeout", "10", broker: url)
                #expect(ping.text.contains(#""name":"\#(queue)""#), "\(ping.text) \(ping.error)")
                let result = try await withTool(
                    "status", "--watch", "--interval", "0.1", environment: place.environment
                ) { watch in
                    try await watch.wait(for: "running  queue \(queue)", in: .output)
                    try await watch.wait(for: "echo    1         0       0        0          ", in: .output)
                    #expect(try await place.haredo("stop").status == 0)
                    try await watch.wait(for: "the daemon is not running")
                }
                // No colours where there is no terminal.
                #expect(!result.text.contains("\u{1B}"))
            }
        }
    }

    @Test(
        "A plugin that cannot be loaded is told to the system's log",
        .enabled(
            "needs a machine of its own: the administrator, and nothing at /dev/log, not even a link that leads nowhere",
            { geteuid() == 0 && (try? FileManager.default.attributesOfItem(atPath: "/dev/log")) == nil }))
    func daemonSyslog() async throws {
        let log = socket(AF_UNIX, Int32(SOCK_DGRAM.rawValue), 0)
        defer { close(log) }
        var address = sockaddr_un()
        address.sun_family = sa_family_t(AF_UNIX)
        withUnsafeMutableBytes(of: &address.sun_path) { $0.copyBytes(from: "/dev/log".utf8) }
        let bound = withUnsafePointer(to: &address) { pointer in
            pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                bind(log, $0, socklen_t(MemoryLayout<sockaddr_un>.size))
            }
        }
        try #require(bound == 0, "\(log): \(String(cString: strerror(errno)))")
        defer { unlink("/dev/log") }
        try await DaemonPlace.with { place in
            try place.write(
                "system: {broker: {embedded: true, port: \(try freePort())}}\n"
                    + "daemon: {queue: {name: q}, services: {haredo: {plugins: [echo, missing]}}}")
            let start = try await place.haredo("start")
            #expect(start.status == 0, "\(start.error)")
        }
        // Others write to the system's log as well.
        var text = ""
        try await eventually("the system's log has it") {
            var bytes = [UInt8](repeating: 0, count: 4096)
            let count = recv(log, &bytes, bytes.count, Int32(MSG_DONTWAIT))
            text = String(decoding: bytes.prefix(max(count, 0)), as: UTF8.self)
            return text.contains("plugin 'missing': FAILED: 'missing' was found nowhere")
        }
        // <27>: an error of a daemon (RFC 3164, section 4.1.1).
        #expect(text.hasPrefix("<27>"), "\(text)")
    }
}
