// SPDX-License-Identifier: Apache-2.0
import NIOConcurrencyHelpers

/// The plugins of a peer: each processes the messages whose header `uuid` names it.
///
/// ```swift
/// try peer.plugins.register(uuid: "echo") { message in Reply(message.data) }
/// try await peer.listen(on: "hosts", serving: peer.plugins)
/// ```
public final class Plugins: Serving {
    /// What a plugin does with a message.
    public typealias Process = @concurrent @Sendable (Message) async throws -> Reply?

    /// Which header of a message names its plugin.
    public static let header = "uuid"

    private let plugins = NIOLockedValueBox<[String: Process]>([:])
    private let counters: NIOLockedValueBox<Peer.Statistics>

    init(counters: NIOLockedValueBox<Peer.Statistics>) { self.counters = counters }

    /// Adds a plugin. Messages may be flowing already.
    ///
    /// - Parameters:
    ///   - uuid: any text of 1 to 255 bytes.
    ///   - process: returns the reply, or `nil` if there is none or it was sent already.
    /// - Throws: ``HareDoError/Code/invalidArgument`` if there is a plugin of this name.
    public func register(uuid: String, _ process: @escaping Process) throws(HareDoError) {
        try ServiceOptions.require(
            1...255 ~= uuid.utf8.count, "a plugin's uuid has to have 1 to 255 bytes, not \(uuid.utf8.count)")
        let isNew = self.plugins.withLockedValue { plugins in
            guard plugins[uuid] == nil else { return false }
            plugins[uuid] = process
            return true
        }
        try ServiceOptions.require(isNew, "there is a plugin with the uuid '\(uuid)' already")
    }

    /// Removes a plugin. Messages that it has begun to process are not disturbed.
    ///
    /// - Returns: whether there was one.
    @discardableResult
    public func unregister(uuid: String) -> Bool {
        self.plugins.withLockedValue { $0.removeValue(forKey: uuid) } != nil
    }

    /// The uuids of the plugins, sorted.
    public var uuids: [String] { self.plugins.withLockedValue { $0.keys.sorted() } }

    /// Hands a message to its plugin. A client may do so as well, with what it received.
    ///
    /// A message for which there is no plugin is counted (``Peer/Statistics/unservedMessages``) and dropped; only a HareDo
    /// call that waits for an answer is told: ``HareDoError/Code/noSuchPlugin``.
    ///
    /// - Returns: the plugin's reply.
    /// - Throws: what the plugin throws.
    @concurrent public func process(_ message: Message) async throws -> Reply? {
        let uuid = message.headers[Self.header]?.string
        if let uuid, let process = self.plugins.withLockedValue({ $0[uuid] }) { return try await process(message) }
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
}
