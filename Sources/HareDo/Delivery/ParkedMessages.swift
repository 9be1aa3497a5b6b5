// SPDX-License-Identifier: Apache-2.0
@_spi(HareDo) import AMQPClient

/// The messages of a service whose handling failed for good: ``Peer/parked(_:)``.
public struct ParkedMessages: Sendable {
    private let peer: Peer
    /// The service's queue.
    public let service: String
    /// The queue they lie in.
    public var queue: String { RetryQueue.parkedName(of: self.service) }

    init(_ peer: Peer, service: String) {
        self.peer = peer
        self.service = service
    }

    /// Looks at the oldest messages, and leaves them where they are.
    ///
    /// While it looks nobody else sees them. They count as delivered before from then on.
    ///
    /// - Parameter limit: how many at most, 1 to 1000.
    /// - Returns: the messages, the oldest first: what they went through is in their ``Message/history``. Empty if nothing
    ///   was ever parked.
    /// - Throws: ``HareDoError``: `invalidArgument`, `notConnected`, or what became of the connection.
    public func list(limit: Int = 100) async throws(HareDoError) -> [Message] {
        try ServiceOptions.require(1...1000 ~= limit, "1 to 1000 messages can be looked at, not \(limit)")
        return try await self.peer.withParked(self.queue, orIfThereIsNone: []) { channel, link throws(HareDoError) in
            var messages: [Message] = []
            var last: AMQPDelivery?
            while messages.count < limit, let delivery = try await Self.next(on: channel, self.queue) {
                let responder = MessageStorage.Responder(
                    channel: link.sending, user: link.user, formats: self.peer.formats)
                messages.append(
                    Message(
                        storage: MessageStorage(
                            delivery, needsAcknowledgement: false, responder: responder, keeps: true)))
                last = delivery
            }
            // By hand: that a channel has ended, a replicated queue learns too late for whoever asks next. If it has ended
            // already they are back.
            try? last?.nack(requeue: true, multiple: true)
            return messages
        }
    }

    /// Puts the oldest messages back into the service's queue, to be handled as if for the first time. Those that are
    /// parked meanwhile stay.
    ///
    /// - Parameter limit: how many at most; `nil` for all that are there now.
    /// - Returns: how many.
    /// - Throws: ``HareDoError``: `noSuchService` if the service's queue does not exist, `invalidArgument`,
    ///   `notConnected`, `nacked`, or what became of the connection. A message of which it is not known whether it
    ///   arrived is kept, so that it may be there twice.
    @discardableResult
    public func replay(limit: Int? = nil) async throws(HareDoError) -> Int {
        try ServiceOptions.require((limit ?? 1) >= 1, "at least 1 message has to be replayed, not \(limit ?? 1)")
        return try await self.peer.withParked(self.queue, orIfThereIsNone: 0) { channel, link throws(HareDoError) in
            var next = try await Self.next(on: channel, self.queue)
            // Counted after the first: a replicated queue tells of how many it knew a moment ago, and what somebody has just
            // looked at may be missing. Getting one waits for that.
            let count = next == nil ? 0 : min(try await Self.count(on: channel, self.queue) + 1, limit ?? .max)
            var replayed = 0
            while let delivery = next {
                let copy = MessageCopy(of: delivery, own: link.user).replayed
                try await self.peer.publish(copy, to: self.service, on: link)
                do throws(AMQPError) {
                    try delivery.ack()
                } catch {
                    throw HareDoError(error)
                }
                replayed += 1
                next = replayed < count ? try await Self.next(on: channel, self.queue) : nil
            }
            return replayed
        }
    }

    /// Drops all messages.
    ///
    /// - Returns: how many.
    /// - Throws: ``HareDoError``: `notConnected`, or what became of the connection.
    @discardableResult
    public func purge() async throws(HareDoError) -> Int {
        try await self.peer.withParked(self.queue, orIfThereIsNone: 0) { channel, _ throws(HareDoError) in
            do throws(AMQPError) {
                return try await channel.purgeQueue(self.queue)
            } catch {
                throw HareDoError(error)
            }
        }
    }

    private static func next(on channel: AMQPChannel, _ queue: String) async throws(HareDoError) -> AMQPDelivery? {
        do {
            return try await channel.get(queue)
        } catch {
            throw HareDoError(error)
        }
    }

    private static func count(on channel: AMQPChannel, _ queue: String) async throws(HareDoError) -> Int {
        do {
            return try await channel.declareQueue(queue, passive: true).messageCount
        } catch {
            throw HareDoError(error)
        }
    }
}

extension Message {
    /// The attempts at handling it that failed and are known, the oldest first; at most the latest eight.
    public var history: [FailedAttempt] {
        FailedAttempt.history(self.storage.properties.headers?[WireHeaders.history])
    }
}

extension Peer {
    /// The messages of a service that its failure policy parked.
    ///
    /// - Parameter service: the name of its queue.
    public nonisolated func parked(_ service: String) -> ParkedMessages { ParkedMessages(self, service: service) }

    /// Works on a queue of parked messages, on a channel of its own. One that does not exist is empty.
    fileprivate func withParked<Result: Sendable>(
        _ queue: String, orIfThereIsNone empty: Result,
        _ body: (AMQPChannel, PeerLink) async throws(HareDoError) -> Result
    ) async throws(HareDoError) -> Result {
        let link = try await self.linkState.link(until: .after(self.timeout), self.scheduler)
        let channel: AMQPChannel
        do {
            channel = try await link.connection.openChannel()
        } catch {
            throw HareDoError(error)
        }
        do throws(HareDoError) {
            let result = try await body(channel, link)
            await channel.close()
            return result
        } catch {
            await channel.close()
            guard (error.cause as? AMQPError)?.reply?.code == 404 else { throw error }
            return empty
        }
    }
}
