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
    private var http: HealthServer?
    private var broker: AMQPEmbeddedBroker?
    private var modules = LoadedModules()
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
        self.peer.timeout = self.configuration.timeout
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
            // What was begun after somebody else had ended it.
            await self.tearDown()
            throw DaemonFailure(error)
        }
    }

    private func bringUp(key: String, waiting: @Sendable () -> Void) async throws {
        if let port = self.configuration.httpPort {
            // First, so that it can be seen waiting.
            self.http = try await HealthServer.start(port: port, logger: self.logger) { [weak self] in
                await self?.statistics()
            }
        }
        if let database = self.configuration.database { self.peer.plugins.resources.add(database) }
        self.peer.plugins.searchPath = .standard(first: self.configuration.pluginFolders)
        self.modules = try await LoadedModules(
            self.configuration.modules, from: self.peer.plugins.searchPath, logger: self.logger, report: self.report)
        try await self.startBroker()
        try await self.modules.prepare(self.peer.plugins)
        try await self.connect(waiting: waiting)
        for service in self.configuration.services {
            for plugin in service.plugins { try await self.load(plugin, below: service.prefix) }
        }
        try await self.listen()
        try await self.listenForCommands(key: key)
        try await self.modules.start(self.peer)
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
                    + "where it is and leave out 'embedded'; or give 'system.broker.port' another number",
                .unavailable)
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
    private func load(_ plugin: PluginSettings, below prefix: String) async throws(DaemonFailure) {
        let loaded = await self.told(plugin.name) { () throws(HareDoError) in
            try await self.loadLibrary(plugin, below: prefix)
        }
        if !loaded.isDone, plugin.isRequired {
            throw DaemonFailure("the plugin '\(plugin.name)', which is required, was not loaded", .notLoaded)
        }
    }

    /// - Returns: what was done, for people.
    private func loadLibrary(_ plugin: PluginSettings, below prefix: String) async throws(HareDoError) -> String {
        self.peer.plugins.searchPath.prefix = prefix
        try await self.peer.plugins.load(plugin.name, configuration: plugin.configuration)
        let source = self.peer.plugins.loaded.first { $0.name == plugin.name }?.source
        return "loaded" + (source.map { " (\($0))" } ?? "")
    }

    /// Does something with a plugin, and tells how that went: whoever looks on, and if it failed the log and the system's.
    private func told(
        _ plugin: String, _ body: () async throws(HareDoError) -> String
    ) async -> (line: String, isDone: Bool) {
        do throws(HareDoError) {
            let line = "plugin '\(plugin)': \(try await body())"
            self.report(line)
            return (line, true)
        } catch {
            let line = "plugin '\(plugin)': FAILED: \(error.message)"
            self.report(line)
            self.logger.error(
                "a plugin failed to be loaded or unloaded",
                metadata: ["plugin": "\(plugin)", "error": "\(error.message)"])
            if self.configuration.logging.target != .syslog { Syslog.write(.error, line) }
            return (line, false)
        }
    }

    private func listen() async throws {
        let queue = self.configuration.queue
        var options = ServiceOptions(
            concurrency: queue.concurrency, prefetch: queue.prefetch, onFailure: queue.onFailure,
            interceptors: self.modules.interceptors)
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

    // MARK: - Commands

    private func perform(_ request: ControlRequest) async throws -> ConfigurationValue {
        switch request.command {
        case "status": return await self.statistics().status
        case "stats": return try ConfigurationValue(encoding: await self.statistics())
        case "plugins": return .list(try self.peer.plugins.loaded.map(ConfigurationValue.init(encoding:)))
        case "reload": return .list(try await self.reload().map { .string($0) })
        case "drain":
            await self.drain()
            return "drained"
        case "stop":
            self.asked.yield(.stop)
            return "stopping"
        case "commands":
            return .map(
                Dictionary(
                    self.modules.commands.map { ($0.name, .string($0.summary)) }, uniquingKeysWith: { one, _ in one }))
        default:
            let commands = self.modules.commands
            guard let command = commands.first(where: { $0.name == request.command }) else {
                throw DaemonFailure(
                    "there is no command '\(request.command)'; of its modules the daemon has "
                        + (commands.isEmpty ? "none" : commands.map(\.name).joined(separator: ", ")))
            }
            return try await command(request.arguments)
        }
    }

    /// How it is.
    public func statistics() async -> DaemonStatistics {
        let counts = self.peer.statistics
        let broker = "\(self.peer.configuration)"
        return DaemonStatistics(
            version: Self.version, process: WallClock.process, instance: self.instance, phase: self.phase,
            uptime: ((ContinuousClock.now - self.began) / .seconds(1) * 10).rounded() / 10,
            queue: self.configuration.queue.name, broker: self.broker == nil ? broker : "embedded, " + broker,
            isHealthy: self.peer.health == .healthy, plugins: self.peer.plugins.loaded,
            unserved: counts.unservedMessages, expired: counts.expiredRequests, parked: counts.parkedMessages,
            refusedCommands: await self.control?.refused ?? 0)
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
            ("system.database", new.database == self.configuration.database),
            ("daemon.http", new.httpPort == self.configuration.httpPort),
        ]
        if let changed = fixed.first(where: { !$0.1 })?.0 {
            throw DaemonFailure("'\(changed)' has changed: that takes a restart; nothing was reloaded")
        }
        self.peer.timeout = new.timeout
        let change = PluginChange(from: self.configuration.services, to: new.services)
        self.configuration = new
        var lines: [String] = []
        for name in change.removed {
            lines.append(
                await self.told(name) { () throws(HareDoError) in
                    try await self.peer.plugins.unload(name)
                    return "unloaded"
                }.line)
        }
        for placed in change.changed {
            let plugin = placed.plugin
            lines.append(
                await self.told(plugin.name) { () throws(HareDoError) in
                    try await self.peer.plugins.reload(plugin.name, configuration: plugin.configuration)
                    return "replaced"
                }.line)
        }
        for placed in change.added {
            lines.append(
                await self.told(placed.plugin.name) { () throws(HareDoError) in
                    try await self.loadLibrary(placed.plugin, below: placed.prefix)
                }.line)
        }
        return lines.isEmpty ? ["nothing has changed"] : lines
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
        await self.tearDown()
        self.asked.finish()
        self.phase = .ended
    }

    /// Ends what the peer relied on; each of it once.
    private func tearDown() async {
        let (modules, broker, http) = (self.modules, self.broker, self.http)
        (self.modules, self.broker, self.http) = (LoadedModules(), nil, nil)
        await modules.finalize()
        await broker?.stop()
        await http?.stop()
    }

    /// A name that no other instance has.
    public static func makeInstance() -> String { String(ControlSignature.makeNonce().prefix(16)) }

    /// Of HareDo.
    public static let version = "0.1.0"
}
