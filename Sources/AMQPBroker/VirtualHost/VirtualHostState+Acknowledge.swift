// SPDX-License-Identifier: Apache-2.0

/// `basic.ack`, `basic.nack`, `basic.reject`, `basic.recover`.
extension VirtualHostState {
    enum Settlement: Sendable {
        case acknowledge
        /// Dead-lettered, if the queue says where to.
        case discard
        /// - Parameter isCounted: whether that brings the message nearer to the queue's limit of deliveries.
        case requeue(isCounted: Bool)
    }

    mutating func settle(
        _ tag: UInt64, multiple: Bool, _ settlement: Settlement, on channel: ChannelID
    ) throws(BrokerException) {
        if !multiple {
            // The hot way: one tag, no array.
            switch self.channels[channel]?.take(tag, for: settlement) ?? .nothing {
            case .nothing: throw Self.unknown(tag)
            case .untilCommit: break
            case .delivery(let delivery, let leavesLimit):
                self.settle(delivery, settlement)
                if leavesLimit { self.checkSharedPrefetch(of: channel) }
            }
            return
        }
        let taken: [BrokerChannel.Delivery]?
        if tag == 0 {
            // All there are, and none is no error.
            taken = self.channels[channel]?.unacked.takeAll()
        } else {
            taken = self.channels[channel]?.unacked.takeAll(through: tag)
        }
        guard let taken else { throw Self.unknown(tag) }
        if self.channels[channel]?.transaction?.settlements.append((settlement, taken)) != nil { return }
        self.settle(taken, settlement, on: channel)
    }

    private mutating func settle(_ delivery: BrokerChannel.Delivery, _ settlement: Settlement) {
        switch settlement {
        case .acknowledge, .discard:
            self.finish(delivery, settlement)
            self.deliver(from: delivery.queue)
        case .requeue(let isCounted): self.requeue([delivery], isCounted: isCounted)
        }
    }

    mutating func settle(_ deliveries: [BrokerChannel.Delivery], _ settlement: Settlement, on channel: ChannelID) {
        switch settlement {
        case .requeue(let isCounted): self.requeue(deliveries, isCounted: isCounted)
        case .acknowledge, .discard:
            var queues: Set<QueueID> = []
            for delivery in deliveries {
                self.finish(delivery, settlement)
                queues.insert(delivery.queue)
            }
            for queue in queues { self.deliver(from: queue) }
        }
        self.released(deliveries.count { $0.consumer != nil }, on: channel)
    }

    private mutating func finish(_ delivery: BrokerChannel.Delivery, _ settlement: Settlement) {
        self.queues[delivery.queue]?.settle(consumer: delivery.consumer)
        if case .discard = settlement { self.queues[delivery.queue]?.reject(delivery.message) }
    }

    /// Everything unacknowledged on the channel goes back to its queues.
    mutating func recover(on channel: ChannelID) {
        let deliveries = self.channels[channel]?.unacked.takeAll() ?? []
        self.settle(deliveries, .requeue(isCounted: self.countsEveryReturn), on: channel)
    }

    /// Puts deliveries back, each queue's at once, and hands them out again.
    mutating func requeue(_ deliveries: [BrokerChannel.Delivery], isCounted: Bool) {
        guard !deliveries.isEmpty else { return }
        var byQueue: [QueueID: [QueuedMessage]] = [:]
        for delivery in deliveries {
            if let consumer = delivery.consumer { self.queues[delivery.queue]?.release(consumer: consumer) }
            byQueue[delivery.queue, default: []].append(delivery.message)
        }
        for (queue, messages) in byQueue {
            self.queues[queue]?.requeue(messages, isCounted: isCounted)
            // A queue that is too full now drops before it delivers, unlike with a message that is new.
            self.queues[queue]?.dropOverflow()
            self.deliver(from: queue)
        }
    }

    /// Before 4.3 RabbitMQ's quorum queues count whatever comes back, since then only what a consumer rejects.
    var countsEveryReturn: Bool { self.settings.compatibility == .lenient }

    private static func unknown(_ tag: UInt64) -> BrokerException {
        .preconditionFailed("unknown delivery tag \(tag)")
    }

    // MARK: - The limit that consumers of a channel share

    private mutating func released(_ count: Int, on channel: ChannelID) {
        guard count > 0, let wasAtLimit = self.channels[channel]?.isAtSharedPrefetch else { return }
        self.channels[channel]?.outstanding -= count
        if wasAtLimit { self.checkSharedPrefetch(of: channel) }
    }

    mutating func limitSharedPrefetch(_ limit: Int, on channel: ChannelID) {
        guard self.channels[channel]?.sharedPrefetch != limit else { return }
        self.channels[channel]?.sharedPrefetch = limit
        self.checkSharedPrefetch(of: channel)
    }

    /// Holds a channel's consumers while they have as much together as they may, and lets them go on after.
    mutating func checkSharedPrefetch(of channel: ChannelID) {
        guard let isAtLimit = self.channels[channel]?.isAtSharedPrefetch else { return }
        var queues: Set<QueueID> = []
        for id in self.channels[channel]?.consumers.values ?? [:].values {
            guard let consumer = self.consumers[id], !consumer.noAck else { continue }
            if isAtLimit {
                self.queues[consumer.queue]?.hold(id, .channel)
            } else {
                self.queues[consumer.queue]?.free(id, .channel)
                queues.insert(consumer.queue)
            }
        }
        for queue in queues { self.deliver(from: queue) }
    }
}
