// SPDX-License-Identifier: Apache-2.0

/// Replies with what is loaded, since when, and what it has done, as JSON: ``Status``. It tells everybody who may send to
/// the service; so it answers only where it was loaded.
public struct StatusPlugin: Plugin {
    public static let uuid = "status"
    public static let configurationKeys: [String]? = []

    /// What it replies.
    public struct Status: Sendable, Hashable, Codable {
        /// The peer's name.
        public var peer: String
        /// Now, in seconds since 1970.
        public var time: UInt64
        /// What is loaded, in the order of loading.
        public var plugins: [PluginInformation]
    }

    private let peer: Peer

    public init(_ context: PluginContext) { self.peer = context.peer }

    public func process(_ message: Message) throws -> Reply? {
        try Reply(encoding: Status(peer: self.peer.name, time: UnixTime.now, plugins: self.peer.plugins.loaded))
    }
}
