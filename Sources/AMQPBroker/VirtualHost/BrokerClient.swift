// SPDX-License-Identifier: Apache-2.0
import NIOCore

/// A connection, as far as a virtual host knows it.
struct BrokerClient: Sendable {
    let output: ConnectionOutput
    let user: String
    /// Whether the client asked to be told of cancelled consumers (RabbitMQ's `consumer_cancel_notify`).
    let notifiesCancel: Bool
    var channels: Set<SlotID<BrokerChannel>> = []
    var exclusiveQueues: Set<SlotID<BrokerQueue>> = []
    /// Whether its consumers get nothing because it does not read what it got.
    var isPaused = false

    init(output: ConnectionOutput, user: String, notifiesCancel: Bool) {
        self.output = output
        self.user = user
        self.notifiesCancel = notifiesCancel
    }
}

/// A consumer of a queue.
struct BrokerConsumer: Sendable {
    let tag: String
    let noAck: Bool
    let channel: SlotID<BrokerChannel>
    let queue: SlotID<BrokerQueue>
}

/// A channel: what was handed out on it, and what was asked for it.
struct BrokerChannel: Sendable {
    /// A message that waits for this channel's acknowledgement.
    struct Delivery: Sendable {
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
    /// Prefetch limit of consumers started from now on.
    var prefetch = 0
    /// What an empty queue name means.
    var lastQueue: String?
    private var lastTag: UInt64 = 0

    init(connection: SlotID<BrokerClient>, number: UInt16, output: ConnectionOutput, user: String) {
        self.connection = connection
        self.number = number
        self.output = output
        self.user = user
    }

    mutating func nextDeliveryTag() -> UInt64 {
        self.lastTag += 1
        return self.lastTag
    }
}
