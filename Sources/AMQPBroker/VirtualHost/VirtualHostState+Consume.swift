// SPDX-License-Identifier: Apache-2.0
import AMQPWire

/// `basic.consume`, `basic.cancel`, `basic.get`, and delivering.
extension VirtualHostState {
    mutating func consume(
        _ consume: AMQPMethod.BasicConsume, on channel: ChannelID
    ) throws(BrokerException) {
        let tag = consume.consumerTag.isEmpty ? Self.randomName("amq.ctag-") : consume.consumerTag
        if self.channels[channel]?.consumers[tag] != nil || self.channels[channel]?.replyConsumer?.tag == tag {
            throw .notAllowed("attempt to reuse consumer tag '\(tag)'")
        }
        if consume.queue == PropertyScan.directReplyAddress {
            try self.consumeReplies(tag: tag, noAck: consume.noAck, on: channel)
            if !consume.noWait { self.send(.basicConsumeOk(.init(consumerTag: tag)), to: channel) }
            return
        }
        let name = try self.queueName(consume.queue, on: channel)
        let queue = try self.queue(named: name)
        try self.checkAccess(to: queue, on: channel)
        let priority: Int64
        switch consume.arguments["x-priority"] {
        case nil: priority = 0
        case let value?:
            guard let number = value.integer else {
                throw .preconditionFailed(
                    "invalid arg 'x-priority' for \(self.describe(queue: name)): "
                        + "{unacceptable_type,\(value.erlangType)}")
            }
            priority = number
        }
        let isTaken = self.queues[queue]?.exclusiveConsumer != nil
        let isUsed = self.queues[queue]?.consumers.isEmpty == false
        if isTaken || (consume.exclusive && isUsed) {
            throw .accessRefused("\(self.describe(queue: name)) in exclusive use")
        }
        let id = self.consumers.insert(
            BrokerConsumer(tag: tag, noAck: consume.noAck, channel: channel, queue: queue))
        self.channels[channel]?.consumers[tag] = id
        let client = self.channels[channel]?.connection
        self.queues[queue]?.addConsumer(
            id, prefetch: self.channels[channel]?.prefetch ?? 0, noAck: consume.noAck, exclusive: consume.exclusive,
            priority: priority, isPaused: client.flatMap { self.clients[$0]?.isPaused } ?? false)
        // Before the first delivery.
        if !consume.noWait { self.send(.basicConsumeOk(.init(consumerTag: tag)), to: channel) }
        self.deliver(from: queue)
    }

    /// An unknown tag is no error. What was delivered stays with the channel, to be acknowledged.
    mutating func cancel(_ cancel: AMQPMethod.BasicCancel, on channel: ChannelID) {
        let tag = cancel.consumerTag
        var deleted: QueueID?
        if !self.cancelReplies(tag: tag, on: channel), let id = self.channels[channel]?.consumers[tag] {
            self.channels[channel]?.consumers[tag] = nil
            deleted = self.detachConsumer(id)
        }
        if !cancel.noWait { self.send(.basicCancelOk(.init(consumerTag: tag)), to: channel) }
        if let deleted { self.deleteQueue(deleted) }
    }

    /// Takes a consumer from its queue.
    ///
    /// - Returns: the queue, if it deletes itself now that its last consumer is gone.
    mutating func detachConsumer(_ id: ConsumerID) -> QueueID? {
        guard let consumer = self.consumers.remove(id) else { return nil }
        let isDone = self.queues[consumer.queue]?.removeConsumer(id, now: self.now) == true
        if !isDone { self.scheduleDeadline(of: consumer.queue) }
        return isDone ? consumer.queue : nil
    }

    /// Answers `basic.get`.
    mutating func get(_ get: AMQPMethod.BasicGet, on channel: ChannelID) throws(BrokerException) {
        let queue = try self.queue(named: try self.queueName(get.queue, on: channel))
        try self.checkAccess(to: queue, on: channel)
        let found = self.queues[queue]?.get(now: self.now)
        self.scheduleDeadline(of: queue)
        guard let found, let output = self.channels[channel]?.output, let number = self.channels[channel]?.number,
            let tag = self.channels[channel]?.nextDeliveryTag()
        else {
            self.send(.basicGetEmpty(.init()), to: channel)
            return
        }
        if get.noAck {
            self.queues[queue]?.settle(consumer: nil)
        } else {
            self.channels[channel]?.unacked.add(tag, .init(message: found, queue: queue, consumer: nil))
        }
        let method = AMQPMethod.basicGetOk(
            .init(
                deliveryTag: tag, redelivered: found.isRedelivered, exchange: found.message.exchange,
                routingKey: found.message.routingKey,
                messageCount: UInt32(clamping: self.queues[queue]?.ready.count ?? 0)))
        self.append(to: output) { frames throws(AMQPWireError) in
            try frames.append(
                method, properties: found.message.properties, body: found.message.body, channel: number)
        }
    }

    // MARK: - Delivering

    /// Hands out what a queue has ready, as far as its consumers can take it.
    mutating func deliver(from queue: QueueID) {
        while let (message, consumer) = self.queues[queue]?.nextDelivery(now: self.now) {
            self.deliver(message, from: queue, to: consumer)
        }
        // Above all a message with a time-to-live of 0, which waits for no consumer.
        self.queues[queue]?.dropExpired(now: self.now)
        self.scheduleDeadline(of: queue)
    }

    private mutating func deliver(_ queued: QueuedMessage, from queue: QueueID, to id: ConsumerID) {
        guard let consumer = self.consumers[id], let tag = self.channels[consumer.channel]?.nextDeliveryTag(),
            let output = self.channels[consumer.channel]?.output, let number = self.channels[consumer.channel]?.number
        else {
            // A consumer that has no channel any more was taken from its queue with it; so this cannot be, but must
            // not lose the message.
            assertionFailure("a delivery to a consumer that is gone")
            _ = self.queues[queue]?.removeConsumer(id, now: self.now)
            self.queues[queue]?.requeue([queued])
            return
        }
        if consumer.noAck {
            self.queues[queue]?.settle(consumer: nil)
        } else {
            self.channels[consumer.channel]?.unacked.add(tag, .init(message: queued, queue: queue, consumer: id))
        }
        let message = queued.message
        let method = AMQPMethod.basicDeliver(
            .init(
                consumerTag: consumer.tag, deliveryTag: tag, redelivered: queued.isRedelivered,
                exchange: message.exchange, routingKey: message.routingKey))
        let isThrottled = self.append(to: output) { frames throws(AMQPWireError) in
            try frames.append(method, properties: message.properties, body: message.body, channel: number)
        }
        if isThrottled, let client = self.channels[consumer.channel]?.connection { self.pauseClient(client) }
    }
}
