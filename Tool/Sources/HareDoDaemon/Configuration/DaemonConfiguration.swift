// SPDX-License-Identifier: Apache-2.0
public import HareDo

/// What a daemon's configuration file says, checked.
public struct DaemonConfiguration: Sendable, Hashable {
    /// The file it is from, as it was named.
    public var file: String
    /// Which broker.
    public var broker: BrokerSettings
    /// The database that modules and plugins use, if there is one.
    public var database: DatabaseSettings?
    /// What it listens on.
    public var queue: QueueSettings
    /// What commands to the running daemon are signed with. `nil`: the daemon makes one.
    public var key: String?
    /// Loaded first, in this order.
    public var modules: [PluginSettings]
    /// In the order of the file.
    public var services: [ServiceSettings]
    /// Folders to look for plugins and modules in, before those of the environment.
    public var pluginFolders: [String]
    /// How long plugins' calls wait that do not say so themselves.
    public var timeout: Duration
    /// How long what was begun may take when the daemon ends.
    public var drain: Duration
    /// The port on loopback where it tells over HTTP how it is; `nil`: nowhere.
    public var httpPort: Int?
    /// What it logs, how and where.
    public var logging: LoggingSettings
    /// What is doubtful, and does not keep the daemon from running.
    public var warnings: [ConfigurationProblem]

    /// Reads a file's text.
    ///
    /// - Parameters:
    ///   - file: its name, for errors.
    ///   - environment: for `${NAME}`.
    ///   - isReadableByAll: whether everybody may read the file: then a password in it earns a warning.
    /// - Throws: everything that is wrong.
    public init(
        text: String, file: String, environment: [String: String], isReadableByAll: Bool = false
    ) throws(ConfigurationProblems) {
        let root: LocatedValue
        do {
            root = try YAMLReading.read(text, file: file)
        } catch {
            throw ConfigurationProblems(all: [error])
        }
        let problems = ProblemList(file: file)
        let entries: [LocatedValue.Entry]
        switch root.content {
        case .map(let map): entries = map
        case .nothing: entries = []
        case .list, .scalar:
            problems.error(root.place, "the file has to be a map with 'system' and 'daemon', and is \(root.kind)")
            entries = []
        }
        let top = MapReader(entries, at: root.place, path: "", problems, environment)
        let system = top.map("system")
        let daemon = top.map("daemon")
        if daemon == nil, !top.has("daemon"), problems.errors.isEmpty {
            problems.error(root.place, "'daemon' is missing: what the daemon listens on and loads")
        }
        top.finish()

        self.file = file
        self.broker = system?.map("broker").map(BrokerSettings.read) ?? .embedded
        self.database = system?.map("database").map(DatabaseSettings.read)
        if isReadableByAll {
            for section in ["broker", "database"] { system?.map(section)?.warnOfPassword() }
        }
        system?.finish()

        let queue = daemon?.map("queue")
        if let daemon, queue == nil, !daemon.has("queue") { daemon.error("queue", "is missing: with its name") }
        self.queue = queue.flatMap(QueueSettings.read) ?? QueueSettings(name: "", shape: .shared)
        self.key = daemon?.text("key")
        if let key, key.utf8.count < 16 { daemon?.error("key", "is too short to be secret: at least 16 bytes") }
        self.modules = daemon.map { PluginSettings.read($0, "modules") } ?? []
        self.services =
            daemon?.maps("services").map { name, _, map in ServiceSettings.read(name, map) } ?? []
        self.pluginFolders = daemon?.texts("plugin_path")?.map(\.text) ?? []
        self.timeout = daemon?.seconds("timeout", in: 0.001...3600) ?? .seconds(1)
        self.drain = daemon?.seconds("drain_timeout", in: 0...3600) ?? .seconds(10)
        let http = daemon?.map("http")
        self.httpPort = http?.number("port", in: 1...65535)
        if let http, !http.has("port") { http.error("port", "is missing: where to listen, on this machine") }
        http?.finish()
        self.logging = daemon?.map("logging").map(LoggingSettings.read) ?? LoggingSettings()
        if let daemon {
            for folder in self.pluginFolders where !folder.hasPrefix("/") {
                daemon.error("plugin_path", "has '\(folder)', which is no absolute path")
            }
            Self.checkNames(of: self.services, daemon)
            daemon.finish()
        }
        self.warnings = []
        try problems.check()
        self.warnings = problems.warnings
    }

    /// A plugin has one configuration.
    private static func checkNames(of services: [ServiceSettings], _ daemon: MapReader) {
        var first: [String: String] = [:]
        for service in services {
            for plugin in service.plugins {
                if let other = first[plugin.name] {
                    daemon.error(
                        "services", "has the plugin '\(plugin.name)' twice: in '\(other)' and '\(service.name)'")
                } else {
                    first[plugin.name] = service.name
                }
            }
        }
    }
}
