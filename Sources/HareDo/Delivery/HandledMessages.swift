// SPDX-License-Identifier: Apache-2.0
import DequeModule
import NIOConcurrencyHelpers

/// What became of a message that was handled.
public struct HandledMessage: Sendable, Hashable {
    /// The reply that was sent; `nil` if there was none.
    public var reply: Reply?

    /// What became of a message.
    public init(reply: Reply?) { self.reply = reply }
}

/// Remembers which messages a service has handled, so that one that comes again (because its sender repeated it, or its
/// acknowledgement was lost) is answered with the same reply and not handled again.
///
/// Messages are told apart by their ids alone: ids of HareDo's own are never given twice. What was not handled to its
/// end is not remembered, nor what has no id.
public protocol HandledMessages: Sendable {
    /// - Returns: what became of a message, `nil` if it was not handled or is forgotten.
    /// - Throws: if it cannot be known. The message is then treated as one whose handler failed.
    func outcome(of id: MessageID) async throws -> HandledMessage?

    /// Remembers what became of a message. Called before it is answered.
    func remember(_ outcome: HandledMessage, of id: MessageID) async throws
}

extension HandledMessages where Self == HandledMessagesInMemory {
    /// Remembers the latest messages in this process's memory.
    ///
    /// - Parameters:
    ///   - count: most messages, at least 1.
    ///   - bytes: most bytes of replies.
    public static func inMemory(count: Int = 10_000, bytes: Int = 16 << 20) -> HandledMessagesInMemory {
        HandledMessagesInMemory(count: count, bytes: bytes)
    }
}

/// The latest messages, and what became of them. The oldest are forgotten first.
public final class HandledMessagesInMemory: HandledMessages {
    private struct State: Sendable {
        var outcomes: [String: HandledMessage] = [:]
        /// Oldest first.
        var order: Deque<String> = []
        var bytes = 0
    }
    private let state = NIOLockedValueBox(State())
    private let count: Int
    private let bytes: Int

    init(count: Int, bytes: Int) {
        self.count = max(count, 1)
        self.bytes = bytes
    }

    public func outcome(of id: MessageID) -> HandledMessage? {
        self.state.withLockedValue { $0.outcomes[id.rawValue] }
    }

    public func remember(_ outcome: HandledMessage, of id: MessageID) {
        self.state.withLockedValue { state in
            guard state.outcomes[id.rawValue] == nil else { return }
            state.outcomes[id.rawValue] = outcome
            state.order.append(id.rawValue)
            state.bytes += Self.size(id.rawValue, outcome)
            while state.outcomes.count > self.count || (state.bytes > self.bytes && state.outcomes.count > 1),
                let oldest = state.order.popFirst()
            {
                guard let forgotten = state.outcomes.removeValue(forKey: oldest) else { continue }
                state.bytes -= Self.size(oldest, forgotten)
            }
        }
    }

    /// How many are remembered.
    var rememberedCount: Int { self.state.withLockedValue { $0.outcomes.count } }

    private static func size(_ id: String, _ outcome: HandledMessage) -> Int {
        id.utf8.count + 64 + (outcome.reply?.data.count ?? 0)
    }
}
