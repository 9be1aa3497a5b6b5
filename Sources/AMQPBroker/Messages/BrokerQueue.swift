// SPDX-License-Identifier: Apache-2.0
import NIOCore

/// A queue: messages, consumers, and what the queue was declared as. Knows no sockets, channels or clock.
struct BrokerQueue: Sendable {
    let name: String
    let properties: QueueProperties
    /// The connection that alone may use it.
    let owner: SlotID<BrokerClient>?

    private(set) var ready = ReadyMessages()
    /// Handed out and neither acknowledged nor returned.
    private(set) var unackedCount = 0
    private(set) var consumers = ConsumerRing()
    /// The consumer that alone may consume.
    private(set) var exclusiveConsumer: SlotID<BrokerConsumer>?
    /// Bindings that lead here, so that they can be removed with the queue.
    var incoming: Set<Binding> = []

    private var nextPosition: UInt64 = 0
    /// When the queue was last declared, asked with `basic.get`, or left by its last consumer.
    private var lastUse: NIODeadline
    /// The earliest deadline that the virtual host's timer knows of for this queue.
    var scheduledDeadline: NIODeadline?

    init(name: String, properties: QueueProperties, owner: SlotID<BrokerClient>?, now: NIODeadline) {
        self.name = name
        self.properties = properties
        self.owner = owner
        self.lastUse = now
    }

    // MARK: - Messages

    /// Adds a message behind all others.
    mutating func enqueue(_ message: BrokerMessage, now: NIODeadline) {
        let timeToLive: TimeAmount? =
            switch (message.timeToLive, self.properties.messageTimeToLive) {
            case (let one?, let other?): min(one, other)
            case (let one, let other): one ?? other
            }
        self.ready.append(
            QueuedMessage(
                message: message, position: self.nextPosition, expiresAt: timeToLive.map { now + $0 }))
        self.nextPosition += 1
    }

    /// The next message and the consumer whose turn it is, if there are both.
    ///
    /// A message whose time ends just at `now` may still be delivered: with a time-to-live of 0 a message goes to a
    /// consumer that waits, or nowhere.
    mutating func nextDelivery(now: NIODeadline) -> (QueuedMessage, SlotID<BrokerConsumer>)? {
        guard !self.ready.isEmpty, self.consumers.hasReady else { return nil }
        while self.ready.popExpired(now, including: false) != nil {}
        guard !self.ready.isEmpty, let consumer = self.consumers.take(), let message = self.ready.popFirst() else {
            return nil
        }
        self.unackedCount += 1
        return (message, consumer)
    }

    /// `basic.get`: the next message, regardless of consumers.
    mutating func get(now: NIODeadline) -> QueuedMessage? {
        self.lastUse = now
        while self.ready.popExpired(now, including: true) != nil {}
        guard let message = self.ready.popFirst() else { return nil }
        self.unackedCount += 1
        return message
    }

    /// A message that was handed out is done with: acknowledged, rejected for good, or never to be acknowledged.
    mutating func settle(consumer: SlotID<BrokerConsumer>?) {
        self.unackedCount = max(0, self.unackedCount - 1)
        if let consumer { self.consumers.release(consumer) }
    }

    /// Messages that were handed out come back, each to its old place.
    mutating func requeue(_ messages: [QueuedMessage]) {
        self.unackedCount = max(0, self.unackedCount - messages.count)
        self.ready.insert(
            messages.map {
                var message = $0
                message.isRedelivered = true
                return message
            })
    }

    /// Removes what is ready; what was handed out stays out.
    mutating func purge() -> Int { self.ready.removeAll() }

    /// Drops expired messages at the head, where a classic queue looks for them.
    mutating func dropExpired(now: NIODeadline) {
        while self.ready.popExpired(now, including: true) != nil {}
    }

    // MARK: - Consumers

    mutating func addConsumer(
        _ id: SlotID<BrokerConsumer>, prefetch: Int, noAck: Bool, exclusive: Bool, priority: Int64, isPaused: Bool
    ) {
        self.consumers.add(id, prefetch: prefetch, isCounted: !noAck, priority: priority, isPaused: isPaused)
        if exclusive { self.exclusiveConsumer = id }
    }

    /// Releases a consumer's place in its prefetch limit, for a message that is requeued or settled elsewhere.
    mutating func release(consumer: SlotID<BrokerConsumer>) { self.consumers.release(consumer) }

    mutating func setPaused(_ id: SlotID<BrokerConsumer>, _ isPaused: Bool) {
        self.consumers.setPaused(id, isPaused)
    }

    /// - Returns: whether the queue now goes because it deletes itself after its last consumer.
    mutating func removeConsumer(_ id: SlotID<BrokerConsumer>, now: NIODeadline) -> Bool {
        self.consumers.remove(id)
        if self.exclusiveConsumer == id { self.exclusiveConsumer = nil }
        guard self.consumers.isEmpty else { return false }
        self.lastUse = now
        return self.properties.autoDelete
    }

    // MARK: - Time

    mutating func touch(now: NIODeadline) { self.lastUse = now }

    /// When something happens to the queue by itself: its first message expires, or it does.
    var nextDeadline: NIODeadline? {
        let message = self.ready.first?.expiresAt
        guard let expires = self.properties.expires, self.consumers.isEmpty else { return message }
        let unused = self.lastUse + expires
        return message.map { min($0, unused) } ?? unused
    }

    /// Whether nobody used the queue for as long as its `x-expires` says.
    func isUnused(now: NIODeadline) -> Bool {
        guard let expires = self.properties.expires, self.consumers.isEmpty else { return false }
        return self.lastUse + expires <= now
    }
}
