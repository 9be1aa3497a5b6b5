// SPDX-License-Identifier: Apache-2.0
import NIOCore

/// A connection, as far as a virtual host knows it.
struct BrokerClient: Sendable {
    /// What it is called by those who look inside.
    struct Identity: Sendable {
        /// Unique in the broker.
        var number: UInt64 = 0
        /// What the client calls it.
        var name: String?
        var address = ""
    }

    let output: ConnectionOutput
    let user: String
    /// Whether the client asked to be told of cancelled consumers (RabbitMQ's `consumer_cancel_notify`).
    let notifiesCancel: Bool
    let identity: Identity
    var channels: Set<SlotID<BrokerChannel>> = []
    var exclusiveQueues: Set<SlotID<BrokerQueue>> = []
    /// Whether its consumers get nothing because it does not read what it got.
    var isPaused = false
    /// Whether it is not read because memory is short.
    var isBlocked = false

    init(output: ConnectionOutput, user: String, notifiesCancel: Bool, identity: Identity = .init()) {
        self.output = output
        self.user = user
        self.notifiesCancel = notifiesCancel
        self.identity = identity
    }
}

/// A consumer of a queue.
struct BrokerConsumer: Sendable {
    let tag: String
    let noAck: Bool
    let channel: SlotID<BrokerChannel>
    let queue: SlotID<BrokerQueue>
}

/// What a channel does at its next `tx.commit`.
struct Transaction: Sendable {
    struct Publish: Sendable {
        let message: BrokerMessage
        /// Found when it was published, as RabbitMQ does.
        let routes: [VirtualHostState.Route]
        let isMandatory: Bool
    }

    var publishes: [Publish] = []
    var settlements: [(VirtualHostState.Settlement, [BrokerChannel.Delivery])] = []
}

/// A channel: what was handed out on it, and what was asked for it.
struct BrokerChannel: Sendable {
    /// A message that waits for this channel's acknowledgement.
    struct Delivery: Sendable {
        let tag: UInt64
        let message: QueuedMessage
        let queue: SlotID<BrokerQueue>
        /// Whose prefetch limit it counts against; `nil` for `basic.get`.
        let consumer: SlotID<BrokerConsumer>?
    }

    /// The consumer of direct reply-to.
    struct ReplyConsumer: Sendable {
        let tag: String
        /// The address that requests carry instead of `amq.rabbitmq.reply-to`.
        let address: String
    }

    let connection: SlotID<BrokerClient>
    let number: UInt16
    let output: ConnectionOutput
    let user: String
    var unacked = UnackedDeliveries<Delivery>()
    var consumers: [String: SlotID<BrokerConsumer>] = [:]
    var replyConsumer: ReplyConsumer?
    var confirms: ConfirmTracker?
    /// What waits for `tx.commit`; `nil` where `tx.select` was not asked for.
    var transaction: Transaction?
    /// Prefetch limit of consumers started from now on.
    var prefetch = 0
    /// Most deliveries that all consumers may have together; 0 is no limit. RabbitMQ before 4.3 has that.
    var sharedPrefetch = 0
    /// Deliveries to consumers that wait for an acknowledgement.
    var outstanding = 0
    /// What an empty queue name means.
    var lastQueue: String?
    private var lastTag: UInt64 = 0

    init(connection: SlotID<BrokerClient>, number: UInt16, output: ConnectionOutput, user: String) {
        self.connection = connection
        self.number = number
        self.output = output
        self.user = user
    }

    /// Whether its consumers have as much together as they may.
    var isAtSharedPrefetch: Bool { self.sharedPrefetch > 0 && self.outstanding >= self.sharedPrefetch }

    mutating func nextDeliveryTag() -> UInt64 {
        self.lastTag += 1
        return self.lastTag
    }

    /// Numbers a delivery to a consumer, or to nobody who consumes, and keeps it until it is acknowledged. All of it in one
    /// go: this runs for every message.
    mutating func handOut(
        _ message: QueuedMessage, from queue: SlotID<BrokerQueue>, to id: SlotID<BrokerConsumer>?, noAck: Bool
    ) -> HandedOut {
        let tag = self.nextDeliveryTag()
        if !noAck {
            self.unacked.add(tag, Delivery(tag: tag, message: message, queue: queue, consumer: id))
            if id != nil { self.outstanding += 1 }
        }
        return HandedOut(
            tag: tag, output: self.output, number: self.number, isAtLimit: !noAck && self.isAtSharedPrefetch)
    }

    struct HandedOut {
        let tag: UInt64
        let output: ConnectionOutput
        let number: UInt16
        /// Whether the channel's consumers now have as much together as they may.
        let isAtLimit: Bool
    }

    enum Taken {
        /// There is no such delivery.
        case nothing
        /// It waits for the end of the transaction.
        case untilCommit
        /// - Parameter leavesLimit: whether the channel's consumers may have more now than before.
        case delivery(Delivery, leavesLimit: Bool)
    }

    /// Takes out one delivery that is settled.
    mutating func take(_ tag: UInt64, for settlement: VirtualHostState.Settlement) -> Taken {
        guard let delivery = self.unacked.take(tag) else { return .nothing }
        if self.transaction != nil {
            self.transaction?.settlements.append((settlement, [delivery]))
            return .untilCommit
        }
        guard delivery.consumer != nil else { return .delivery(delivery, leavesLimit: false) }
        let wasAtLimit = self.isAtSharedPrefetch
        self.outstanding -= 1
        return .delivery(delivery, leavesLimit: wasAtLimit)
    }
}
