// SPDX-License-Identifier: Apache-2.0

/// `basic.ack`, `basic.nack`, `basic.reject`, `basic.recover`.
extension VirtualHostState {
    enum Settlement {
        case acknowledge
        /// Dead-lettering would go here; without it the message is dropped.
        case discard
        case requeue
    }

    mutating func settle(
        _ tag: UInt64, multiple: Bool, _ settlement: Settlement, on channel: ChannelID
    ) throws(BrokerException) {
        if !multiple {
            // The hot way: one tag, no array.
            guard let delivery = self.channels[channel]?.unacked.take(tag) else { throw Self.unknown(tag) }
            switch settlement {
            case .acknowledge, .discard:
                self.queues[delivery.queue]?.settle(consumer: delivery.consumer)
                self.deliver(from: delivery.queue)
            case .requeue: self.requeue([delivery])
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
        switch settlement {
        case .requeue: self.requeue(taken)
        case .acknowledge, .discard:
            var queues: Set<QueueID> = []
            for delivery in taken {
                self.queues[delivery.queue]?.settle(consumer: delivery.consumer)
                queues.insert(delivery.queue)
            }
            for queue in queues { self.deliver(from: queue) }
        }
    }

    /// Everything unacknowledged on the channel goes back to its queues.
    mutating func recover(on channel: ChannelID) {
        self.requeue(self.channels[channel]?.unacked.takeAll() ?? [])
    }

    /// Puts deliveries back, each queue's at once, and hands them out again.
    mutating func requeue(_ deliveries: [BrokerChannel.Delivery]) {
        guard !deliveries.isEmpty else { return }
        var byQueue: [QueueID: [QueuedMessage]] = [:]
        for delivery in deliveries {
            if let consumer = delivery.consumer { self.queues[delivery.queue]?.release(consumer: consumer) }
            byQueue[delivery.queue, default: []].append(delivery.message)
        }
        for (queue, messages) in byQueue {
            self.queues[queue]?.requeue(messages)
            self.deliver(from: queue)
        }
    }

    private static func unknown(_ tag: UInt64) -> BrokerException {
        .preconditionFailed("unknown delivery tag \(tag)")
    }
}
