// SPDX-License-Identifier: Apache-2.0
@_spi(HareDo) import AMQPClient
import NIOConcurrencyHelpers

/// The replies of many to one call, until there are enough or its time is over.
final class Gathering: Sendable {
    private let messages = NIOLockedValueBox<[Message]>([])
    private let quorum: Int
    private let waiter = Waiter<Void, HareDoError>(cancelled: .cancelled)

    /// - Parameter quorum: how many are enough; no more are kept.
    init(quorum: Int) { self.quorum = quorum }

    /// - Returns: whether it was still wanted.
    func add(_ message: Message) -> Bool {
        let count = self.messages.withLockedValue { messages -> Int? in
            guard messages.count < self.quorum else { return nil }
            messages.append(message)
            return messages.count
        }
        guard let count, !self.waiter.isResolved else { return false }
        if count == self.quorum { self.end() }
        return true
    }

    /// No more are awaited.
    func end() { self.waiter.resolve(.success(())) }
    func fail(_ error: HareDoError) { self.waiter.resolve(.failure(error)) }

    /// Suspends until it has ended.
    func replies() async throws(HareDoError) -> [Message] {
        try await self.waiter.value()
        return self.messages.withLockedValue { $0 }
    }
}
