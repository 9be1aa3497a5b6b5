// SPDX-License-Identifier: Apache-2.0
import NIOCore

/// A queue: messages, consumers, and what the queue was declared as. Knows no sockets, channels or clock.
struct BrokerQueue: Sendable {
    let name: String
    let properties: QueueProperties
    /// The connection that alone may use it.
    let owner: SlotID<BrokerClient>?

    private(set) var ready: ReadyMessages
    /// Handed out and neither acknowledged nor returned.
    private(set) var unackedCount = 0
    private(set) var consumers = ConsumerRing()
    /// The consumer that alone may consume.
    private(set) var exclusiveConsumer: SlotID<BrokerConsumer>?
    /// The one consumer that gets messages, of a queue with `x-single-active-consumer`.
    private(set) var activeConsumer: SlotID<BrokerConsumer>?
    /// Given up, and to be dead-lettered; stays empty without a dead-letter exchange.
    private var dead: [DeadMessage] = []
    /// Since it was declared.
    private(set) var counters = QueueCounters()
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
        self.ready = ReadyMessages(maximumPriority: properties.maximumPriority)
    }

    // MARK: - Messages

    /// Adds a message, unless the queue is full and refuses it.
    ///
    /// - Returns: whether it was taken.
    mutating func offer(_ message: BrokerMessage, now: NIODeadline) -> Bool {
        guard !self.refuses(message) else {
            self.deadLetterRefused(message)
            return false
        }
        self.enqueue(message, now: now)
        return true
    }

    /// Whether the queue refuses a message because it is full, in place of dropping another.
    func refuses(_ message: BrokerMessage) -> Bool {
        guard self.properties.overflow != .dropHead else { return false }
        let bytes = self.ready.byteCount + message.body.readableBytes
        return self.ready.count + 1 > self.properties.maximumLength ?? .max
            || bytes > self.properties.maximumBytes ?? .max
    }

    /// A message that the queue refused is dead-lettered all the same, if it was declared so.
    private mutating func deadLetterRefused(_ message: BrokerMessage) {
        guard self.properties.overflow == .rejectPublishDeadLetter else { return }
        self.giveUp(message, .maxlen)
    }

    /// Adds a message behind all others.
    mutating func enqueue(_ message: BrokerMessage, now: NIODeadline, isRedelivered: Bool = false) {
        let timeToLive: TimeAmount? =
            switch (message.timeToLive, self.properties.messageTimeToLive) {
            case (let one?, let other?): min(one, other)
            case (let one, let other): one ?? other
            }
        self.counters.published.count(now)
        self.ready.append(
            QueuedMessage(
                message: message, position: self.nextPosition, expiresAt: timeToLive.map { now + $0 },
                isRedelivered: isRedelivered))
        self.nextPosition += 1
    }

    /// The next message and the consumer whose turn it is, if there are both.
    ///
    /// A message whose time ends just at `now` may still be delivered: with a time-to-live of 0 a message goes to a
    /// consumer that waits, or nowhere.
    mutating func nextDelivery(now: NIODeadline) -> (QueuedMessage, SlotID<BrokerConsumer>)? {
        guard !self.ready.isEmpty, self.consumers.hasReady else { return nil }
        self.dropExpired(now: now, including: false)
        guard !self.ready.isEmpty, let consumer = self.consumers.take(), let message = self.ready.popFirst() else {
            return nil
        }
        self.counters.delivered.count(now)
        self.unackedCount += 1
        return (message, consumer)
    }

    /// `basic.get`: the next message, regardless of consumers.
    mutating func get(now: NIODeadline) -> QueuedMessage? {
        self.lastUse = now
        self.dropExpired(now: now)
        guard let message = self.ready.popFirst() else { return nil }
        self.counters.delivered.count(now)
        self.unackedCount += 1
        return message
    }

    /// A message that was handed out is done with: acknowledged, rejected for good, or never to be acknowledged.
    mutating func settle(consumer: SlotID<BrokerConsumer>?) {
        self.unackedCount = max(0, self.unackedCount - 1)
        if let consumer { self.consumers.release(consumer) }
    }

    /// A message that was handed out is rejected for good.
    mutating func reject(_ message: QueuedMessage) { self.giveUp(message.message, .rejected) }

    /// Messages that were handed out come back, each to its old place.
    ///
    /// - Parameter isCounted: whether that counts against the queue's limit of deliveries.
    mutating func requeue(_ messages: [QueuedMessage], isCounted: Bool) {
        self.unackedCount = max(0, self.unackedCount - messages.count)
        let counts = isCounted && self.properties.kind == .quorum
        var returned: [QueuedMessage] = []
        returned.reserveCapacity(messages.count)
        for var message in messages {
            message.isRedelivered = true
            if counts { message.deliveryCount += 1 }
            if let limit = self.properties.deliveryLimit, message.deliveryCount > limit {
                self.giveUp(message.message, .deliveryLimit)
            } else {
                returned.append(message)
            }
        }
        self.ready.insert(returned)
    }

    /// Removes what is ready; what was handed out stays out.
    mutating func purge() -> Int { self.ready.removeAll() }

    /// Drops expired messages at the head, where a classic queue looks for them.
    mutating func dropExpired(now: NIODeadline, including: Bool = true) {
        while let message = self.ready.popExpired(now, including: including) {
            self.giveUp(message.message, .expired)
        }
    }

    /// Drops the oldest messages of a queue that holds more than it may.
    mutating func dropOverflow() {
        guard self.properties.overflow == .dropHead else { return }
        let (length, bytes) = (self.properties.maximumLength ?? .max, self.properties.maximumBytes ?? .max)
        while self.ready.count > length || self.ready.byteCount > bytes {
            guard let message = self.ready.popFirst() else { return }
            self.giveUp(message.message, .maxlen)
        }
    }

    /// - Returns: whether something is to be dead-lettered.
    mutating func tidy(now: NIODeadline) -> Bool {
        guard !self.ready.isEmpty || !self.dead.isEmpty else { return false }
        self.dropExpired(now: now)
        self.dropOverflow()
        return !self.dead.isEmpty
    }

    private mutating func giveUp(_ message: BrokerMessage, _ reason: DeadMessage.Reason) {
        guard self.properties.deadLetter != nil else { return }
        self.dead.append(DeadMessage(message: message, reason: reason))
    }

    /// What has to be dead-lettered since this was asked last.
    mutating func takeDead() -> [DeadMessage] {
        guard !self.dead.isEmpty else { return [] }
        defer { self.dead = [] }
        return self.dead
    }

    // MARK: - Consumers

    mutating func addConsumer(
        _ id: SlotID<BrokerConsumer>, prefetch: Int, noAck: Bool, exclusive: Bool, priority: Int64,
        holds: ConsumerRing.Holds = []
    ) {
        var holds = holds
        if self.properties.hasSingleActiveConsumer {
            if self.activeConsumer == nil { self.activeConsumer = id } else { holds.insert(.standby) }
        }
        self.consumers.add(id, prefetch: prefetch, isCounted: !noAck, priority: priority, holds: holds)
        if exclusive { self.exclusiveConsumer = id }
    }

    /// Releases a consumer's place in its prefetch limit, for a message that is requeued or settled elsewhere.
    mutating func release(consumer: SlotID<BrokerConsumer>) { self.consumers.release(consumer) }

    mutating func hold(_ id: SlotID<BrokerConsumer>, _ hold: ConsumerRing.Holds) { self.consumers.hold(id, hold) }
    mutating func free(_ id: SlotID<BrokerConsumer>, _ hold: ConsumerRing.Holds) { self.consumers.free(id, hold) }

    /// - Returns: whether the queue now goes because it deletes itself after its last consumer.
    mutating func removeConsumer(_ id: SlotID<BrokerConsumer>, now: NIODeadline) -> Bool {
        self.consumers.remove(id)
        if self.exclusiveConsumer == id { self.exclusiveConsumer = nil }
        if self.activeConsumer == id {
            self.activeConsumer = self.consumers.senior
            if let next = self.activeConsumer { self.consumers.free(next, .standby) }
        }
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
