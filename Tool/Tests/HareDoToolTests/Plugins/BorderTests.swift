// SPDX-License-Identifier: Apache-2.0
import Foundation
import HareDo
import Testing

@Suite("Across the border between a program and its plugins", .enabled(if: isLinux), .timeLimit(.minutes(1)))
struct BorderTests {
    /// Keeps what is logged.
    private final class Lines: Sendable {
        private let lock = NSLock()
        /// Each once: other tests of this process log some many thousand times, and watch the memory.
        /// Unsafe in name only: it is touched under `lock` alone.
        nonisolated(unsafe) private var lines: Set<String> = []
        func add(_ line: String) { self.lock.withLock { _ = self.lines.insert(line) } }
        var all: Set<String> { self.lock.withLock { self.lines } }
    }

    private struct Handler: LogHandler {
        let label: String
        let lines: Lines
        var metadata: Logger.Metadata = [:]
        /// Other tests of this process fail handlers many thousand times, which is logged below that.
        var logLevel = Logger.Level.notice
        subscript(metadataKey key: String) -> Logger.Metadata.Value? {
            get { self.metadata[key] }
            set { self.metadata[key] = newValue }
        }
        func log(event: LogEvent) { self.lines.add("\(self.label): \(event.message)") }
    }

    private static let lines = Lines()
    /// Once for the process, as a program does it.
    private static let logging: Void = LoggingSystem.bootstrap { Handler(label: $0, lines: lines) }

    private static func withBorder(
        _ url: String, _ body: (_ server: Peer, _ call: (String) async throws -> Message?) async throws -> Void
    ) async throws {
        _ = Self.logging
        try await PluginFolder.with { folder in
            try folder.install("border", as: "border")
            let queue = uniqueQueue()
            let server = Peer(name: queue, .url(url))
            server.plugins.searchPath = folder.searchPath
            try await server.connect()
            do {
                server.plugins.resources.add(["one", "two"])
                try await server.plugins.load("border", configuration: ["greeting": "Good morning"])
                try await server.listen(serving: server.plugins)
                try await Peer.with(.url(url)) { client in
                    try await body(server) { text in
                        try await client.call(queue, headers: ["uuid": "border"], data: text, timeout: .seconds(10))
                    }
                }
                await server.disconnect()
            } catch {
                await server.disconnect()
                throw error
            }
        }
    }

    @Test(
        "Casts, typed errors, actors, task locals, resources and logging are those of the program",
        arguments: TestBroker.available)
    func border(broker: TestBroker) async throws {
        try await broker.run { url in
            try await Self.withBorder(url) { server, call in
                #expect(try await call("jujifruit")?.text == "jujifruit")
                #expect(try await call("greeting")?.text == "Good morning")
                #expect(try await call("cast")?.text == "cast")
                #expect(try await call("typed")?.text == "caught")
                #expect(try await call("actor")?.text == "100")
                #expect(try await call("resource")?.text == "one+two")

                // The program's `as? ServiceError` matches what the plugin threw.
                let error = await #expect(throws: HareDoError.self) { _ = try await call("service error") }
                #expect(error?.remote == HareDoError.RemoteFailure(code: "from-plugin", text: "a typed error"))

                // The deadline that the handler's task carries limits what the plugin calls.
                try server.plugins.register(uuid: "deadline") { message in
                    "\(message.deadline.map { $0 - .now < .seconds(11) } ?? false)"
                }
                #expect(try await call("deadline")?.text == "true")

                #expect(try await call("log")?.text == "logged")
                #expect(Self.lines.all.contains("made-in-plugin: a line from the plugin"))

                let information = try #require(server.plugins.loaded.first)
                #expect(information.version == "7")
                guard case .library(let path) = information.source else {
                    Issue.record("\(information.source)")
                    return
                }
                #expect(path.hasSuffix("/haredo/plugins/libborder.so"))
                try await server.plugins.unload("border")
                #expect(Self.lines.all.contains("haredo: border is gone"))
                // It stays in memory, and may come again.
                try await server.plugins.load("border")
                #expect(try await call("jujifruit")?.text == "jujifruit")
            }
        }
    }

    @Test("A module brings resources, plugins, interceptors and commands")
    func module() async throws {
        let library = try PluginLoader.load(file: PluginFolder.fixture("module").path, as: .module)
        let type = try #require(library.module)
        let module = try await type.init(ModuleContext(name: "fixture", configuration: ["words": ["a", "b"]]))
        let peer = Peer()
        try await module.prepare(peer.plugins.resources)
        #expect(try peer.plugins.resources[[String].self] == ["a", "b"])
        #expect(module.plugins.map { $0.uuid } == ["shout"])
        #expect(module.interceptors.count == 1)
        let command = try #require(module.commands.first)
        #expect(try await command() == ["a", "b"])
        await module.finalize()
        let error = await #expect(throws: HareDoError.self) {
            _ = try await type.init(ModuleContext(name: "fixture", configuration: ["words": [1]]))
        }
        #expect(
            error?.message == "module 'fixture': the configuration key 'words.0' is a whole number and has to be text")
    }

    @Test("A library goes before what is part of the program, under its name")
    func fileFirst() async throws {
        try await PluginFolder.with { folder in
            try folder.install("border", as: "echo")
            let peer = Peer()
            peer.plugins.searchPath = folder.searchPath
            try await peer.plugins.load("echo")
            #expect(peer.plugins.uuids == ["border"])
            peer.plugins.searchPath.folders = []
            try await peer.plugins.load("log")
            #expect(peer.plugins.loaded.map(\.source).last == .linked)
            await peer.disconnect()
        }
    }
}
