// SPDX-License-Identifier: Apache-2.0
import NIOConcurrencyHelpers
import TestSupport
import Testing

@testable import HareDo

@Suite("Plugins", .timeLimit(.minutes(1)))
struct PluginTests {
    private struct Echo: Plugin {
        static let uuid = "test-echo"
        init(_ context: PluginContext) {}
        func process(_ message: Message) -> Reply? { Reply(message.data) }
    }

    /// What its instances did, in order; and what makes one wait.
    private final class Journal: Sendable {
        let lines = NIOLockedValueBox<[String]>([])
        let gate = NIOLockedValueBox<[CheckedContinuation<Void, Never>]>([])
        func add(_ line: String) { self.lines.withLockedValue { $0.append(line) } }
        var all: [String] { self.lines.withLockedValue { $0 } }
        func wait() async { await withCheckedContinuation { c in self.gate.withLockedValue { $0.append(c) } } }
        var waiting: Int { self.gate.withLockedValue { $0.count } }
        func open() {
            let waiting = self.gate.withLockedValue { gate in
                defer { gate = [] }
                return gate
            }
            for continuation in waiting { continuation.resume() }
        }
    }

    private struct Recorder: Plugin {
        static let uuid = "recorder"
        static let version: String? = "1.2"
        static let configurationKeys: [String]? = ["number", "fails"]
        let number: Int
        let journal: Journal

        init(_ context: PluginContext) async throws {
            self.journal = try context.resources[Journal.self]
            self.number = try context.configuration["number"].ifPresent?.integer ?? 0
            if context.configuration["fails"].ifPresent != nil { throw ServiceError("no", "it does not want to") }
            self.journal.add("made \(self.number)")
        }

        func process(_ message: Message) async throws -> Reply? {
            switch message.text {
            case "wait": await self.journal.wait()
            case "throw": throw ServiceError("thrown", "as asked")
            case "sleep": try await Task.sleep(for: .seconds(60))
            default: break
            }
            return "\(self.number)"
        }

        func finalize() async { self.journal.add("gone \(self.number)") }
    }

    private struct Second: Plugin {
        static let uuid = "second"
        let journal: Journal
        init(_ context: PluginContext) throws { self.journal = try context.resources[Journal.self] }
        func process(_ message: Message) -> Reply? { nil }
        func finalize() async { self.journal.add("gone second") }
    }

    /// A peer that listens for its plugins, and one that calls them.
    private static func withPlugins(
        _ url: String, as shape: QueueShape = .exclusive,
        _ body: (
            _ plugins: Plugins, _ journal: Journal,
            _ call: @escaping @Sendable (String, String) async throws -> Message?
        )
            async throws -> Void
    ) async throws {
        try await withPair(url) { server, client in
            let journal = Journal()
            server.plugins.resources.add(journal)
            try await server.listen(as: shape, serving: server.plugins)
            let queue = server.name
            try await body(server.plugins, journal) { uuid, text in
                try await client.call(queue, headers: ["uuid": .string(uuid)], data: text)
            }
        }
    }

    @Test("Registered, it answers; unloaded, it is gone", arguments: TestBroker.available)
    func comingAndGoing(broker: TestBroker) async throws {
        try await broker.run { url in
            try await Self.withPlugins(url) { plugins, journal, call in
                await expectError(.noSuchPlugin) { _ = try await call("test-echo", "x") }
                try await plugins.register(Echo.self)
                #expect(try await call("test-echo", "jujifruit")?.text == "jujifruit")
                try await plugins.register(Recorder.self, as: "writer", configuration: ["number": 3])
                #expect(try await call("recorder", "")?.text == "3")
                await expectError(.remoteFailed) { _ = try await call("recorder", "throw") }
                #expect(try await call("recorder", "")?.text == "3")

                let information = plugins.loaded
                #expect(information.map(\.name) == ["test-echo", "writer"])
                #expect(information.map(\.uuid) == ["test-echo", "recorder"])
                let writer = try #require(information.last)
                #expect(writer.version == "1.2")
                #expect(writer.source == .linked)
                #expect(writer.messages == 3)
                #expect(writer.errors == 1)
                #expect(writer.inFlight == 0)
                #expect(writer.seconds > 0)
                #expect(UnixTime.now - writer.loaded < 60)

                try await plugins.unload("writer")
                #expect(journal.all == ["made 3", "gone 3"])
                await expectError(.noSuchPlugin) { _ = try await call("recorder", "") }
                await expectError(.invalidArgument) { try await plugins.unload("writer") }
            }
        }
    }

    @Test("Disconnecting finalises them, the latest first", arguments: TestBroker.available)
    func order(broker: TestBroker) async throws {
        try await broker.run { url in
            let journal = Journal()
            try await withPair(url) { server, _ in
                server.plugins.resources.add(journal)
                try await server.plugins.register(Recorder.self, configuration: ["number": 1])
                try await server.plugins.register(Second.self)
                try server.plugins.register(uuid: "closure") { _ in nil }
                await server.disconnect()
                #expect(server.plugins.uuids == ["closure"])
            }
            #expect(journal.all == ["made 1", "gone second", "gone 1"])
        }
    }

    @Test(
        "What cannot be loaded is reported, each with its reason, and the others are loaded",
        arguments: TestBroker.available)
    func failures(broker: TestBroker) async throws {
        try await broker.run { url in
            try await Self.withPlugins(url) { plugins, _, call in
                plugins.searchPath = PluginSearchPath(folders: ["/nowhere/1", "/nowhere/2"])
                plugins.link(Recorder.self)
                plugins.link(Recorder.self, as: "again")
                plugins.link(Second.self)
                let failures = await plugins.loadConfig([
                    "again": ["number": 1], "recorder": ["number": 2], "second": nil, "status": ["loud": true],
                    "missing": nil, "../etc": nil, "log": ["level": "loud"],
                ])
                // In the order of their names: "again" was first.
                #expect(plugins.loaded.map(\.name) == ["again", "second"])
                #expect(try await call("recorder", "")?.text == "1")
                #expect(failures.keys.sorted() == ["../etc", "log", "missing", "recorder", "status"])
                #expect(failures["../etc"]?.refusal?.reason == .invalidName)
                #expect(failures["missing"]?.refusal?.reason == .notFound)
                for folder in ["/nowhere/1", "/nowhere/2"] {
                    #expect(failures["missing"]?.message.contains(folder + "/haredo/plugins/libmissing.so") == true)
                }
                #expect(failures["status"]?.code == .invalidConfiguration)
                #expect(
                    failures["status"]?.message
                        == "plugin 'status': the configuration key 'loud' is unknown: there are none")
                #expect(failures["log"]?.message.contains("'level'") == true)
                #expect(failures["recorder"]?.message.contains("'again'") == true)

                await expectError(.pluginFailed) {
                    try await plugins.unload("again")
                    try await plugins.load("recorder", configuration: ["fails": true])
                }
                // A failure leaves nothing behind.
                try await plugins.load("recorder")
                // Under another prefix only files count.
                plugins.searchPath.prefix = "other"
                await expectError(.pluginRefused) { try await plugins.load("echo") }
            }
            try await withPair(url) { server, _ in
                let error = await #expect(throws: HareDoError.self) { try await server.plugins.register(Recorder.self) }
                #expect(error?.message.contains("Journal") == true)
                #expect((error?.cause as? HareDoError)?.code == .noSuchResource)
            }
        }
    }

    @Test("Replaced, it finishes what it began, and not one message is unserved", arguments: TestBroker.available)
    func reloading(broker: TestBroker) async throws {
        try await broker.run { url in
            try await Self.withPlugins(url) { plugins, journal, call in
                try await plugins.register(Recorder.self, configuration: ["number": 1])
                async let begun = call("recorder", "wait")
                try await eventually("it is processed") { journal.waiting == 1 }
                let reload = Task { try await plugins.reload("recorder", configuration: ["number": 2]) }
                try await eventually("the new one answers") {
                    plugins.loaded.first?.messages == 0
                }
                #expect(try await call("recorder", "")?.text == "2")
                #expect(journal.all == ["made 1", "made 2"])
                journal.open()
                #expect(try await begun?.text == "1")
                try await reload.value
                #expect(journal.all == ["made 1", "made 2", "gone 1"])
                // One that cannot be made leaves the old one in its place.
                await expectError(.pluginFailed) {
                    try await plugins.reload("recorder", configuration: ["fails": true])
                }
                #expect(try await call("recorder", "")?.text == "2")
                await expectError(.invalidArgument) { try await plugins.reload("nobody") }
            }
        }
    }

    @Test(
        "Whoever waits for a plugin that is unloaded is told; whom its successor gets is served",
        arguments: TestBroker.available)
    func waitingAcrossAReload(broker: TestBroker) async throws {
        try await broker.run { url in
            try await Self.withPlugins(url) { plugins, journal, call in
                let limits: ConfigurationValue = ["inFlight": 1, "waiting": 10]
                try await plugins.register(Recorder.self, configuration: ["number": 1, "limits": limits])
                async let first = call("recorder", "wait")
                try await eventually("it is processed") { journal.waiting == 1 }
                async let second = call("recorder", "")
                try await eventually("another one waits") { plugins.loaded.first?.inFlight == 1 }
                let reload = Task {
                    try await plugins.reload("recorder", configuration: ["number": 2, "limits": limits])
                }
                #expect(try await second?.text == "2")
                async let third = call("recorder", "wait")
                try await eventually("the new one processes") { journal.waiting == 2 }
                journal.open()
                #expect(try await first?.text == "1")
                #expect(try await third?.text == "2")
                try await reload.value
            }
        }
    }

    @Test("A slow one does not hold up another, and does not take more than it may", arguments: TestBroker.available)
    func slowOne(broker: TestBroker) async throws {
        try await broker.run { url in
            try await Self.withPlugins(url) { plugins, journal, call in
                try await plugins.register(Echo.self)
                try await plugins.register(
                    Recorder.self, configuration: ["limits": ["inFlight": 2, "waiting": 3]])
                let outcomes = NIOLockedValueBox<[String: Int]>([:])
                try await withThrowingTaskGroup(of: Void.self) { group in
                    for _ in 0..<20 {
                        group.addTask {
                            var outcome = "none"
                            do {
                                outcome = try await call("recorder", "wait")?.text ?? "nil"
                            } catch let error as HareDoError {
                                outcome = error.remote?.code ?? "\(error)"
                            }
                            outcomes.withLockedValue { [outcome] in $0[outcome, default: 0] += 1 }
                        }
                    }
                    try await eventually("15 are told that it is busy") {
                        outcomes.withLockedValue { $0["busy"] } == 15
                    }
                    try await eventually("two are processed") { journal.waiting == 2 }
                    #expect(try await call("test-echo", "fast")?.text == "fast")
                    #expect(journal.waiting == 2)
                    while outcomes.withLockedValue({ $0.values.reduce(0, +) }) < 20 {
                        journal.open()
                        try await Task.sleep(for: .milliseconds(5))
                    }
                    try await group.waitForAll()
                }
                #expect(outcomes.withLockedValue { $0 } == ["busy": 15, "0": 5])
                let information = try #require(plugins.loaded.last)
                #expect(information.messages == 5)
                #expect(information.refused == 15)
                #expect(information.errors == 0)
            }
        }
    }

    @Test("A deadline of its own ends what takes too long", arguments: TestBroker.available)
    func deadline(broker: TestBroker) async throws {
        try await broker.run { url in
            try await Self.withPlugins(url) { plugins, _, call in
                try await plugins.register(Recorder.self, configuration: ["limits": ["deadline": 0.05]])
                let error = await #expect(throws: HareDoError.self) { _ = try await call("recorder", "sleep") }
                #expect(error?.remote?.code == "timed-out")
                var late = 1
                try await eventually("what takes no time is served") {
                    do {
                        return try await call("recorder", "")?.text == "0"
                    } catch let error as HareDoError where error.remote?.code == "timed-out" {
                        // It was held up for as long.
                        late += 1
                        return false
                    }
                }
                #expect(plugins.loaded.first?.errors == late)
            }
        }
    }

    @Test("It never runs on an event loop, wherever its service does", arguments: TestBroker.available)
    func notOnTheLoop(broker: TestBroker) async throws {
        struct Where: Plugin {
            static let uuid = "where"
            init(_ context: PluginContext) {}
            func process(_ message: Message) async throws -> Reply? {
                let own = withUnsafeCurrentTask { $0?.unownedTaskExecutor }
                return own == UnownedTaskExecutor(globalConcurrentExecutor) || own == nil ? "pool" : "loop"
            }
        }
        try await broker.run { url in
            try await withPair(url) { server, client in
                try await server.plugins.register(Where.self)
                var options = Plugins.options
                options.execution = .onConnectionLoop
                try await server.listen(options: options, serving: server.plugins)
                #expect(try await client.call(server.name, headers: ["uuid": "where"])?.text == "pool")
            }
        }
    }

    @Test("A client hands what it received to its own plugins", arguments: TestBroker.available)
    func client(broker: TestBroker) async throws {
        try await broker.run { url in
            try await withPair(url) { sender, receiver in
                try await receiver.plugins.register(Echo.self)
                try await sender.send(receiver.address, headers: ["uuid": "test-echo"], data: "jujifruit")
                let message = try #require(await receiver.receive())
                #expect(try await receiver.plugins.process(message)?.data == Bytes("jujifruit"))
            }
        }
    }

    // MARK: - Built in

    @Test("echo, log and status", arguments: TestBroker.available)
    func builtIn(broker: TestBroker) async throws {
        try await broker.run { url in
            try await Self.withPlugins(url) { plugins, _, call in
                await expectError(.noSuchPlugin) { _ = try await call("status", "") }
                plugins.searchPath = PluginSearchPath(folders: [])
                let failures = await plugins.loadConfig(["echo": nil, "log": ["level": "debug"], "status": nil])
                #expect(failures.isEmpty)
                let echo = try #require(await call("echo", "jujifruit"))
                #expect(echo.text == "jujifruit")
                #expect(echo.headers["uuid"] == "echo")
                let reply = try #require(await call("status", ""))
                let status = try reply.decode(StatusPlugin.Status.self)
                #expect(status.plugins.map(\.name) == ["echo", "log", "status"])
                #expect(status.plugins.first?.messages == 1)
                #expect(status.plugins.last?.inFlight == 1)
            }
        }
    }
}
