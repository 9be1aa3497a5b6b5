// SPDX-License-Identifier: Apache-2.0
@_spi(HareDo) import AMQPClient
import NIOConcurrencyHelpers

/// The plugins of a peer: each processes the messages whose header `uuid` names it.
///
/// ```swift
/// try await peer.plugins.register(Calculator.self, configuration: ["digits": 2])
/// try await peer.plugins.load("echo")
/// try peer.plugins.register(uuid: "host") { message in Reply(hostName) }
/// try await peer.listen(on: "tools", serving: peer.plugins)
/// ```
///
/// Plugins may come and go while messages flow. ``Peer/disconnect(within:)`` unloads them, the latest first, but for those
/// that are closures.
public final class Plugins: Serving {
    /// What a plugin does with a message.
    public typealias Process = @concurrent @Sendable (Message) async throws -> Reply?

    /// Which header of a message names its plugin.
    public static let header = "uuid"

    /// More messages at once than other services handle, 256: each plugin has ``PluginLimits``, and one that has reached its
    /// own must not keep the others' messages waiting.
    public static var options: ServiceOptions { ServiceOptions(concurrency: 256) }

    /// Those that are part of every program, and are loaded by their uuids.
    public static let builtIn: [any Plugin.Type] = [EchoPlugin.self, LogPlugin.self, StatusPlugin.self]

    private struct State: Sendable {
        var table = PluginTable<LoadedPlugin>()
        /// By the names they may be loaded by, besides those that are built in.
        var linked: [String: any Plugin.Type] = [:]
        /// Of the names that are plugins and not closures: what they are made from.
        var types: [String: any Plugin.Type] = [:]
        /// `nil`: that of the environment.
        var searchPath: PluginSearchPath?
        weak var peer: Peer?
    }
    private let state = NIOLockedValueBox(State())
    private let counters: NIOLockedValueBox<Peer.Statistics>

    /// What the program has for its plugins. It is put in before they are loaded.
    public let resources = Resources()

    init(counters: NIOLockedValueBox<Peer.Statistics>) { self.counters = counters }

    func belong(to peer: Peer) { self.state.withLockedValue { $0.peer = peer } }

    /// Where plugins that are not part of the program are looked for. Default: ``PluginSearchPath/environment``.
    public var searchPath: PluginSearchPath {
        get { self.state.withLockedValue { $0.searchPath } ?? .environment }
        set { self.state.withLockedValue { $0.searchPath = newValue } }
    }

    // MARK: - Plugins by closure

    /// Adds a plugin that is but a closure.
    ///
    /// - Parameters:
    ///   - uuid: any text of 1 to 255 bytes.
    ///   - limits: how much it does at once, and for how long.
    ///   - process: returns the reply, or `nil` if there is none or it was sent already.
    /// - Throws: ``HareDoError/Code/invalidArgument`` if there is a plugin of this name.
    public func register(
        uuid: String, limits: PluginLimits = PluginLimits(), _ process: @escaping Process
    ) throws(HareDoError) {
        try Self.check(uuid)
        try limits.check(of: uuid)
        try self.change { state throws(HareDoError) in
            try state.table.reserve(uuid, name: uuid)
            state.table.put(
                LoadedPlugin(name: uuid, uuid: uuid, source: .linked, limits: limits, process: process), uuid)
        }
    }

    /// Removes a plugin that is but a closure. Messages that it has begun to process are not disturbed.
    ///
    /// - Returns: whether there was one. A plugin of another kind is not touched: see ``unload(_:within:)``.
    @discardableResult
    public func unregister(uuid: String) -> Bool {
        let plugin = self.state.withLockedValue { state -> LoadedPlugin? in
            guard let plugin = state.table[uuid: uuid], state.types[plugin.name] == nil else { return nil }
            state.table.free(uuid)
            return plugin
        }
        plugin?.close()
        return plugin != nil
    }

    // MARK: - Coming and going

    /// Makes a plugin that is part of the program known, so that ``load(_:configuration:)`` finds it. Those of
    /// ``builtIn`` are known already.
    ///
    /// - Parameter name: what it is loaded as. Default: its uuid.
    public func link(_ type: any Plugin.Type, as name: String? = nil) {
        self.state.withLockedValue { $0.linked[name ?? type.uuid] = type }
    }

    /// Adds a plugin that is part of the program.
    ///
    /// - Parameter name: what it is called here. Default: its uuid.
    /// - Throws: as ``load(_:configuration:)``, but for what concerns files.
    public func register(
        _ type: any Plugin.Type, as name: String? = nil, configuration: ConfigurationValue = [:]
    ) async throws(HareDoError) {
        try await self.add(type, as: name ?? type.uuid, from: .linked, configuration)
    }

    /// Finds a plugin by its name, loads it, and adds it: a library on the ``searchPath``, or, if there is none there, one
    /// that is part of the program.
    ///
    /// - Parameters:
    ///   - name: such as `echo`, or with a path, `billing/echo`.
    ///   - configuration: for the plugin; its key `limits` for HareDo (``PluginLimits``).
    /// - Throws: ``HareDoError``: `pluginRefused` (not found, or not fit to be loaded: ``HareDoError/refusal``),
    ///   `invalidArgument` (name or uuid are taken), `invalidConfiguration`, or `pluginFailed` if it could not be made.
    public func load(_ name: String, configuration: ConfigurationValue = [:]) async throws(HareDoError) {
        let searchPath = self.searchPath
        let linked =
            self.state.withLockedValue { $0.linked[name] } ?? Self.builtIn.first { $0.uuid == name }
        do throws(HareDoError) {
            let library = try PluginLoader(searchPath: searchPath).load(name)
            guard let plugin = library.plugin else {
                throw HareDoError(PluginRefusal(.otherKind, library.path, "is not a plugin"))
            }
            try await self.add(plugin, as: name, from: .library(library.path), configuration)
        } catch {
            guard error.refusal?.reason == .notFound, searchPath.hasLinked, let linked else { throw error }
            try await self.add(linked, as: name, from: .linked, configuration)
        }
    }

    /// Loads plugins by their names, in the order of these, each with its configuration. One that fails does not keep the
    /// others from being loaded.
    ///
    /// - Returns: why some failed, by their names. Each is logged, too.
    public func loadConfig(_ configurations: [String: ConfigurationValue]) async -> [String: HareDoError] {
        var failures: [String: HareDoError] = [:]
        for (name, configuration) in configurations.sorted(by: { $0.key < $1.key }) {
            do throws(HareDoError) {
                try await self.load(name, configuration: configuration)
            } catch {
                failures[name] = error
                self.peer?.logger.error(
                    "a plugin could not be loaded", metadata: ["plugin": "\(name)", "error": "\(error)"])
            }
        }
        return failures
    }

    /// Unloads a plugin: it gets no more messages, finishes those it has begun, and gives up what it holds. Its library
    /// stays in memory.
    ///
    /// - Parameter limit: how long to wait for messages it has begun.
    /// - Throws: ``HareDoError/Code/invalidArgument`` if there is none, or it is just being loaded, replaced or unloaded.
    public func unload(_ name: String, within limit: Duration = .seconds(10)) async throws(HareDoError) {
        let peer = try self.owner()
        let (uuid, plugin) = try self.change { state throws(HareDoError) in
            let held = try state.table.hold(name: name)
            state.table.remove(held.uuid)
            return held
        }
        await self.end(plugin, within: limit, peer)
        self.free(uuid, name)
    }

    /// Makes a plugin anew, with another configuration, and puts it in the place of the old one: each message gets to one
    /// of the two. Then the old one finishes what it has begun, and gives up what it holds.
    ///
    /// It is made from the same library, even if its file was replaced: for that the program has to be started again.
    ///
    /// - Parameter limit: how long to wait for messages the old one has begun.
    /// - Throws: as ``load(_:configuration:)``; then the old one stays.
    public func reload(
        _ name: String, configuration: ConfigurationValue = [:], within limit: Duration = .seconds(10)
    ) async throws(HareDoError) {
        let peer = try self.owner()
        let (uuid, old, type) = try self.change { state throws(HareDoError) in
            let held = try state.table.hold(name: name)
            guard let type = state.types[name] else {
                state.table.release(held.uuid)
                throw HareDoError(
                    .invalidArgument, "the plugin '\(name)' is a closure: unregister it, and register another one")
            }
            return (held.uuid, held.entry, type)
        }
        do throws(HareDoError) {
            let new = try await Self.make(type, as: name, from: old.source, configuration, peer)
            self.state.withLockedValue { $0.table.put(new, uuid) }
        } catch {
            self.state.withLockedValue { $0.table.release(uuid) }
            throw error
        }
        await self.end(old, within: limit, peer)
    }

    /// Unloads all but closures, the latest first.
    func unloadAll(within limit: Duration) async {
        let deadline = ContinuousClock.now + limit
        let names = self.state.withLockedValue { state in
            state.table.entries.map(\.name).filter { state.types[$0] != nil }
        }
        for name in names.reversed() {
            // One that is just going is on its way already.
            try? await self.unload(name, within: max(deadline - .now, .zero))
        }
    }

    // MARK: - What there is

    /// The plugins that are loaded, in the order in which they were.
    public var loaded: [PluginInformation] { self.state.withLockedValue { $0.table.entries }.map(\.information) }

    /// The uuids of the plugins, sorted.
    public var uuids: [String] { self.state.withLockedValue { $0.table.entries }.map(\.uuid).sorted() }

    // MARK: - Messages

    /// Hands a message to its plugin. A client may do so as well, with what it received.
    ///
    /// A message for which there is no plugin is counted (``Peer/Statistics/unservedMessages``) and dropped; only a HareDo
    /// call that waits for an answer is told: ``HareDoError/Code/noSuchPlugin``.
    ///
    /// - Returns: the plugin's reply.
    /// - Throws: what the plugin throws; a ``ServiceError`` `busy` or `timed-out` by its ``PluginLimits``.
    @concurrent public func process(_ message: Message) async throws -> Reply? {
        let uuid = message.headers[Self.header]?.string
        if let uuid {
            while let plugin = self.state.withLockedValue({ $0.table[uuid: uuid] }) {
                // One that was replaced in this moment is not there the next time.
                if case .processed(let reply) = try await plugin.process(message) { return reply }
            }
        }
        self.counters.withLockedValue { $0.unservedMessages += 1 }
        guard message.deadline != nil else { return nil }
        let text =
            if let uuid {
                "there is no plugin '\(WireHeaders.cut(uuid, to: 255))'"
            } else {
                "the message has no header '\(Self.header)' that names a plugin"
            }
        return Reply(
            failure: HareDoError.RemoteFailure(code: HareDoError.RemoteFailure.noSuchPlugin, text: text))
    }

    /// The same as ``process(_:)``.
    @concurrent public func serve(_ message: Message) async throws -> Reply? { try await self.process(message) }

    // MARK: - Parts

    private var peer: Peer? { self.state.withLockedValue { $0.peer } }

    private func change<Result>(
        _ body: (inout State) throws(HareDoError) -> Result
    ) throws(HareDoError) -> Result {
        try self.state.withLockedValue { state in
            Swift.Result { () throws(HareDoError) in try body(&state) }
        }.get()
    }

    private func owner() throws(HareDoError) -> Peer {
        guard let peer = self.peer else { throw HareDoError(.disconnected, "the peer of these plugins is gone") }
        return peer
    }

    private func add(
        _ type: any Plugin.Type, as name: String, from source: PluginInformation.Source,
        _ configuration: ConfigurationValue
    ) async throws(HareDoError) {
        let peer = try self.owner()
        let uuid = type.uuid
        try Self.check(uuid)
        try self.change { state throws(HareDoError) in
            try state.table.reserve(uuid, name: name)
            state.types[name] = type
        }
        do throws(HareDoError) {
            let plugin = try await Self.make(type, as: name, from: source, configuration, peer)
            self.state.withLockedValue { $0.table.put(plugin, uuid) }
        } catch {
            self.free(uuid, name)
            throw error
        }
    }

    private func free(_ uuid: String, _ name: String) {
        self.state.withLockedValue { state in
            state.table.free(uuid)
            state.types[name] = nil
        }
    }

    /// - Throws: `invalidConfiguration` or `pluginFailed`.
    private static func make<Made: Plugin>(
        _ type: Made.Type, as name: String, from source: PluginInformation.Source,
        _ configuration: ConfigurationValue, _ peer: Peer
    ) async throws(HareDoError) -> LoadedPlugin {
        let (limits, configuration) = try PluginLimits.taken(from: configuration, of: name, default: type.limits)
        let context = PluginContext(
            name: name, peer: peer, configuration: configuration, resources: peer.plugins.resources)
        if let keys = type.configurationKeys { try context.configuration.allow(keys: keys) }
        let plugin: Made
        do {
            plugin = try await type.init(context)
        } catch let error as HareDoError where error.code == .invalidConfiguration {
            throw error
        } catch {
            throw HareDoError(.pluginFailed, "the plugin '\(name)' could not be made: \(error)", cause: error)
        }
        return LoadedPlugin(
            name: name, uuid: type.uuid, source: source, version: type.version, limits: limits,
            process: { message in try await plugin.process(message) }, finalize: { await plugin.finalize() })
    }

    private func end(_ plugin: LoadedPlugin, within limit: Duration, _ peer: Peer) async {
        plugin.close()
        let left = await plugin.finalize(within: limit, peer.scheduler)
        guard left > 0 else { return }
        peer.logger.warning(
            "a plugin was finalised while it still processed messages",
            metadata: ["plugin": "\(plugin.name)", "count": "\(left)"])
    }

    private static func check(_ uuid: String) throws(HareDoError) {
        try ServiceOptions.require(
            1...255 ~= uuid.utf8.count, "a plugin's uuid has to have 1 to 255 bytes, not \(uuid.utf8.count)")
    }
}
