// SPDX-License-Identifier: Apache-2.0

/// Processes the messages whose header `uuid` names it.
///
/// ```swift
/// struct Echo: Plugin {
///     static let uuid = "echo"
///     init(_ context: PluginContext) {}
///     func process(_ message: Message) -> Reply? { Reply(message.data) }
/// }
/// ```
///
/// It is either part of the program (``Plugins/register(_:as:configuration:)``), or a shared library that the program
/// loads by its name (``Plugins/load(_:configuration:)``). Then its package has one line more:
///
/// ```swift
/// @c(haredo_plugin_main) public func main() -> UnsafeRawPointer { exportPlugin(Echo.self) }
/// ```
public protocol Plugin: Sendable {
    /// What messages call it: any text of 1 to 255 bytes, such as `echo`.
    static var uuid: String { get }

    /// Which version it is. Default: none.
    static var version: String? { get }

    /// The keys that its configuration may have: another one is an error that names it. Default: `nil`, any.
    static var configurationKeys: [String]? { get }

    /// How much it does at once, and for how long. The configuration may say otherwise: ``PluginLimits``.
    static var limits: PluginLimits { get }

    /// Makes what processes messages, from its configuration, and from what else the program has for it.
    ///
    /// - Throws: whatever keeps it from working. It is reported, and other plugins are loaded all the same.
    init(_ context: PluginContext) async throws

    /// Processes one message, while others may be processed at the same time. It never runs on an event loop: it may
    /// compute, and even block.
    ///
    /// - Returns: the reply; `nil` if there is none, or it was sent already.
    /// - Throws: a ``ServiceError`` to tell the caller what went wrong; of any other error it is only told that.
    @concurrent func process(_ message: Message) async throws -> Reply?

    /// Gives up what it holds. It is called once, when no message is in hand any more: the plugin is unloaded or replaced,
    /// or the peer is being disconnected (it can still send).
    func finalize() async
}

extension Plugin {
    public static var version: String? { nil }
    public static var configurationKeys: [String]? { nil }
    public static var limits: PluginLimits { PluginLimits() }
    public func finalize() async {}
}

/// How much a plugin does at once, and for how long.
///
/// The configuration of a plugin may have them, under the key `limits`, which the plugin itself does not see:
/// `limits: {inFlight: 4, waiting: 100, deadline: 2.5}`.
public struct PluginLimits: Sendable, Hashable {
    /// How many messages it processes at once. Default 16, at least 1.
    public var inFlight: Int
    /// How many wait for it besides. More are answered with `busy`, so that they do not keep other plugins' messages
    /// waiting; what becomes of those that nobody waits for, the service's ``ServiceOptions/onFailure`` says. Default 64.
    public var waiting: Int
    /// After what time the processing of a message is cancelled, and its caller told `timed-out`. Default: only when its
    /// caller gives up.
    public var deadline: Duration?

    /// Limits, each with its default.
    public init(inFlight: Int = 16, waiting: Int = 64, deadline: Duration? = nil) {
        self.inFlight = inFlight
        self.waiting = waiting
        self.deadline = deadline
    }

    /// - Throws: `invalidArgument`, with the name of the one that cannot be.
    func check(of plugin: String) throws(HareDoError) {
        try ServiceOptions.require(
            self.inFlight >= 1, "plugin '\(plugin)': limits.inFlight is \(self.inFlight), and has to be at least 1")
        try ServiceOptions.require(
            self.waiting >= 0, "plugin '\(plugin)': limits.waiting is \(self.waiting), and has to be at least 0")
        try ServiceOptions.require(
            self.deadline.map { $0 > .zero } ?? true, "plugin '\(plugin)': limits.deadline has to be above 0")
    }
}

/// What a plugin is made from.
public struct PluginContext: Sendable {
    /// What it was loaded as.
    public let name: String
    /// Whose messages it gets, and with which it may send and call. Not for ``Peer/disconnect(within:)``, which waits for
    /// the plugin.
    public let peer: Peer
    /// Its configuration, without what HareDo itself reads of it.
    public let configuration: ConfigurationReader
    /// What the program has for its plugins, such as a database.
    public let resources: Resources
    /// Says in each line whose it is.
    public let logger: Logger

    /// A context: for a plugin's own tests.
    public init(
        name: String, peer: Peer, configuration: ConfigurationValue = [:], resources: Resources = Resources(),
        logger: Logger? = nil
    ) {
        self.name = name
        self.peer = peer
        self.configuration = ConfigurationReader(configuration, of: "plugin '\(name)'")
        self.resources = resources
        var logger = logger ?? peer.logger
        logger[metadataKey: "plugin"] = "\(name)"
        self.logger = logger
    }
}
