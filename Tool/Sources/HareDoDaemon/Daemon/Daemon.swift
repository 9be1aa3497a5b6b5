// SPDX-License-Identifier: Apache-2.0
import AMQPBroker
public import HareDo

/// A peer that hosts plugins, as its configuration says: it loads modules, then plugins, and listens on a queue for
/// messages to them. Commands come over a queue of its own.
public actor Daemon {
    /// How far it is.
    public enum Phase: String, Sendable, Codable {
        case starting, running, draining, drained, ending, ended
    }

    /// What an operator asked for over the control queue, for whoever runs the daemon to do.
    public enum Request: Sendable, Hashable {
        case stop
    }

    /// Tells this daemon from others on the same queue.
    public nonisolated let instance: String
    /// What operators asked for.
    public nonisolated let requests: AsyncStream<Request>

    private var configuration: DaemonConfiguration
    private let read: @Sendable () throws(ConfigurationProblems) -> DaemonConfiguration
    private let logger: Logger
    /// One line for each thing that was or was not loaded.
    private let report: @Sendable (String) -> Void
    private let peer: Peer
    private let began = ContinuousClock.now
    private let asked: AsyncStream<Request>.Continuation
    private var control: ControlServer?
    private var broker: AMQPEmbeddedBroker?
    private var modules: [(name: String, module: any DaemonModule)] = []
    private var service: PeerService?
    private var isReloading = false
    private(set) var phase = Phase.starting

    /// A daemon that is not started yet.
    ///
    /// - Parameters:
    ///   - read: reads the configuration again.
    ///   - report: gets a line for each module and plugin, and for what is waited for.
    public init(
        _ configuration: DaemonConfiguration, instance: String, logger: Logger,
        report: @escaping @Sendable (String) -> Void,
        read: @escaping @Sendable () throws(ConfigurationProblems) -> DaemonConfiguration
    ) {
        self.configuration = configuration
        self.read = read
        self.instance = instance
        self.logger = logger
        self.report = report
        (self.requests, self.asked) = AsyncStream.makeStream(bufferingPolicy: .bufferingNewest(16))
        var broker = Peer.Configuration.url(self.configuration.broker.connectionURL)
        broker.connectTimeout = self.configuration.broker.connectTimeout
        broker.logger = logger
        self.peer = Peer(name: "haredo." + instance, broker)
    }

    // MARK: - Starting

    /// Brings everything up.
    ///
    /// - Parameters:
    ///   - key: what commands have to be signed with.
    ///   - waiting: called once if the broker cannot be reached and the configuration says to wait for it.
    /// - Throws: ``DaemonFailure``, after all that was begun has been ended.
    public func start(key: String, waiting: @Sendable () -> Void) async throws {
        do {
            try await self.bringUp(key: key, waiting: waiting)
            self.phase = .running
        } catch {
            await self.end(within: .zero)
            throw (error as? DaemonFailure) ?? DaemonFailure((error as? HareDoError)?.message ?? "\(error)")
        }
    }

    private func bringUp(key: String, waiting: @Sendable () -> Void) async throws {
        self.peer.plugins.searchPath = .standard(first: self.configuration.pluginFolders)
        try await self.makeModules()
        try await self.startBroker()
        for (name, module) in self.modules {
            try await Self.explaining("module '\(name)'") { try await module.prepare(self.peer.plugins.resources) }
            for plugin in module.plugins { self.peer.plugins.link(plugin) }
        }
        try await self.connect(waiting: waiting)
        for service in self.configuration.services {
            for plugin in service.plugins { try await self.load(plugin, below: service.prefix) }
        }
        try await self.listen()
        try await self.listenForCommands(key: key)
        for (name, module) in self.modules {
            try await Self.explaining("module '\(name)'") { try await module.start(self.peer) }
        }
    }

    private func makeModules() async throws {
        var path = self.peer.plugins.searchPath
        path.prefix = ""
        let loader = PluginLoader(searchPath: path)
        for settings in self.configuration.modules {
            do {
                let library = try loader.load(settings.name, as: .module)
                guard let type = library.module else { throw DaemonFailure("'\(library.path)' is no module") }
                let context = ModuleContext(
                    name: settings.name, configuration: settings.configuration, logger: self.logger)
                if let keys = type.configurationKeys { try context.configuration.allow(keys: keys) }
                self.modules.append((settings.name, try await type.init(context)))
                self.report("module '\(settings.name)': loaded (\(library.path))")
            } catch {
                // Plugins may rely on what it brings.
                throw DaemonFailure("module '\(settings.name)': \((error as? HareDoError)?.message ?? "\(error)")")
            }
        }
    }

    private func startBroker() async throws {
        guard self.configuration.broker.isEmbedded else { return }
        var settings = AMQPEmbeddedBroker.Configuration()
        let port = self.configuration.broker.port ?? 5672
        settings.address = .tcp(host: "127.0.0.1", port: port)
        settings.compatibility = .lenient
        do throws(AMQPBrokerError) {
            self.broker = try await AMQPEmbeddedBroker.start(settings, logger: self.logger)
        } catch {
            guard error.code == .addressInUse else { throw error }
            throw DaemonFailure(
                "port \(port) of this machine is taken, maybe by another broker: to use that one, say in 'system.broker' "
                    + "where it is and leave out 'embedded'; or give 'system.broker.port' another number")
        }
    }

    private func connect(waiting: @Sendable () -> Void) async throws {
        var pause = Duration.milliseconds(250)
        var isFirst = true
        while self.phase == .starting {
            do throws(HareDoError) {
                try await self.peer.connect()
                if self.phase == .starting { return }
                // It was ended meanwhile.
                await self.peer.disconnect(within: .zero)
            } catch {
                let mayCome = [.noBroker, .connectionLost].contains(error.code)
                guard mayCome, self.configuration.broker.waits else { throw error }
                if isFirst {
                    self.report("waiting for the broker: \(error.message)")
                    waiting()
                    isFirst = false
                }
                try await Task.sleep(for: pause)
                pause = min(pause * 2, .seconds(5))
            }
        }
        throw DaemonFailure("the daemon was ended before it reached its broker")
    }

    /// - Throws: only if the daemon does not do without it.
    private func load(_ plugin: PluginSettings, below prefix: String) async throws {
        self.peer.plugins.searchPath.prefix = prefix
        do throws(HareDoError) {
            try await self.peer.plugins.load(plugin.name, configuration: plugin.configuration)
            let source = self.peer.plugins.loaded.first { $0.name == plugin.name }?.source
            self.report("plugin '\(plugin.name)': loaded (\(source?.description ?? ""))")
        } catch {
            self.report("plugin '\(plugin.name)': FAILED: \(error.message)")
            self.logger.error(
                "a plugin could not be loaded", metadata: ["plugin": "\(plugin.name)", "error": "\(error.message)"])
            if plugin.isRequired {
                throw DaemonFailure("the plugin '\(plugin.name)', which is required, was not loaded")
            }
        }
    }

    private func listen() async throws {
        let queue = self.configuration.queue
        var options = ServiceOptions(
            concurrency: queue.concurrency, prefetch: queue.prefetch, onFailure: queue.onFailure,
            interceptors: self.modules.flatMap(\.module.interceptors))
        options.information.metadata = ["daemon": self.instance]
        self.service = try await self.peer.listen(
            on: queue.name, as: queue.shape, options: options, serving: self.peer.plugins)
    }

    private func listenForCommands(key: String) async throws {
        let control = ControlServer(key: key, logger: self.logger) { request in try await self.perform(request) }
        self.control = control
        try await self.peer.listen(on: ControlServer.queue(of: self.instance)) { message in
            try await control.answer(message)
        }
    }

    private static func explaining(_ what: String, _ body: () async throws -> Void) async throws(DaemonFailure) {
        do {
            try await body()
        } catch {
            throw DaemonFailure("\(what): \((error as? HareDoError)?.message ?? "\(error)")")
        }
    }

    // MARK: - Commands

    private func perform(_ request: ControlRequest) async throws -> ConfigurationValue {
        switch request.command {
        case "status": return await self.status()
        case "plugins": return .list(try self.peer.plugins.loaded.map(ConfigurationValue.init(encoding:)))
        case "reload": return .list(try await self.reload().map { .string($0) })
        case "drain":
            await self.drain()
            return "drained"
        case "stop":
            self.asked.yield(.stop)
            return "stopping"
        default:
            if let command = self.modules.flatMap(\.module.commands).first(where: { $0.name == request.command }) {
                return try await command(request.arguments)
            }
            throw DaemonFailure("there is no command '\(request.command)'")
        }
    }

    /// What `haredo status` prints.
    public func status() async -> ConfigurationValue {
        let plugins = self.peer.plugins.loaded
        let counts = self.peer.statistics
        let refused = await self.control?.refused ?? 0
        return [
            "time": .string(WallClock.text()), "pid": .string("\(WallClock.process)"),
            "plugins": .list(plugins.map { .string($0.name) }), "version": .string(Self.version),
            "uptime": .double(((ContinuousClock.now - self.began) / .seconds(1) * 10).rounded() / 10),
            "instance": .string(self.instance), "phase": .string(self.phase.rawValue),
            "queue": .string(self.configuration.queue.name),
            "broker": self.broker == nil
                ? .string("\(self.peer.configuration)") : .string("embedded, \(self.peer.configuration)"),
            "healthy": .bool(self.peer.health == .healthy),
            "counts": [
                "messages": .integer(Int64(plugins.reduce(0) { $0 + $1.messages })),
                "errors": .integer(Int64(plugins.reduce(0) { $0 + $1.errors })),
                "inFlight": .integer(Int64(plugins.reduce(0) { $0 + $1.inFlight })),
                "unserved": .integer(Int64(counts.unservedMessages)),
                "expired": .integer(Int64(counts.expiredRequests)),
                "parked": .integer(Int64(counts.parkedMessages)), "refusedCommands": .integer(Int64(refused)),
            ],
        ]
    }

    /// Reads the configuration again, and does what is different: plugins whose configuration changed are replaced, new
    /// ones loaded, and those that are gone unloaded. All others are not touched.
    ///
    /// - Returns: what was done, a line for each.
    /// - Throws: ``DaemonFailure`` with what is wrong; then nothing was done.
    public func reload() async throws -> [String] {
        guard !self.isReloading else { throw DaemonFailure("the configuration is being read again already") }
        guard self.phase == .running else { throw DaemonFailure("the daemon is \(self.phase.rawValue)") }
        self.isReloading = true
        defer { self.isReloading = false }
        let new: DaemonConfiguration
        do throws(ConfigurationProblems) {
            new = try self.read()
        } catch {
            throw DaemonFailure(error.description)
        }
        let fixed: [(String, Bool)] = [
            ("system.broker", new.broker == self.configuration.broker),
            ("daemon.queue", new.queue == self.configuration.queue),
            ("daemon.key", new.key == self.configuration.key),
            ("daemon.modules", new.modules == self.configuration.modules),
        ]
        if let changed = fixed.first(where: { !$0.1 })?.0 {
            throw DaemonFailure("'\(changed)' has changed: that takes a restart; nothing was reloaded")
        }
        let change = PluginChange(from: self.configuration.services, to: new.services)
        self.configuration = new
        var lines: [String] = []
        for name in change.removed {
            lines.append(
                await self.line("plugin '\(name)'", "unloaded") { () throws(HareDoError) in
                    try await self.peer.plugins.unload(name)
                })
        }
        for placed in change.changed {
            let plugin = placed.plugin
            lines.append(
                await self.line("plugin '\(plugin.name)'", "replaced") { () throws(HareDoError) in
                    try await self.peer.plugins.reload(plugin.name, configuration: plugin.configuration)
                })
        }
        for placed in change.added {
            let (plugin, prefix) = (placed.plugin, placed.prefix)
            lines.append(
                await self.line("plugin '\(plugin.name)'", "loaded") { () throws(HareDoError) in
                    self.peer.plugins.searchPath.prefix = prefix
                    try await self.peer.plugins.load(plugin.name, configuration: plugin.configuration)
                })
        }
        return lines.isEmpty ? ["nothing has changed"] : lines
    }

    private func line(
        _ what: String, _ done: String, _ body: () async throws(HareDoError) -> Void
    ) async -> String {
        var line = "\(what): \(done)"
        do throws(HareDoError) {
            try await body()
        } catch {
            line = "\(what): FAILED: \(error.message)"
            self.logger.error("a plugin could not be \(done)", metadata: ["error": "\(line)"])
        }
        self.report(line)
        return line
    }

    // MARK: - Ending

    /// Takes no more messages, and finishes what was begun. Commands are still answered.
    public func drain() async {
        guard self.phase == .running else { return }
        self.phase = .draining
        await self.service?.drain(within: self.configuration.drain)
        self.phase = .drained
    }

    /// Ends everything: the peer first, with what it has begun, then its plugins, the modules, and the broker.
    ///
    /// - Parameter limit: `nil` for the configuration's `drain_timeout`.
    public func end(within limit: Duration? = nil) async {
        guard self.phase != .ending, self.phase != .ended else { return }
        self.phase = .ending
        let deadline = ContinuousClock.now + (limit ?? self.configuration.drain)
        await self.service?.drain(within: max(deadline - .now, .zero))
        await self.peer.disconnect(within: max(deadline - .now, .seconds(1)))
        for (_, module) in self.modules.reversed() { await module.finalize() }
        await self.broker?.stop()
        self.asked.finish()
        self.phase = .ended
    }

    /// A name that no other instance has.
    public static func makeInstance() -> String { String(ControlSignature.makeNonce().prefix(16)) }

    /// Of HareDo.
    public static let version = "0.1.0"
}
