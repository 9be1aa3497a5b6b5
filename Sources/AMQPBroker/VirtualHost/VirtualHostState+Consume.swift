// SPDX-License-Identifier: Apache-2.0
import AMQPWire

/// `basic.consume`, `basic.cancel`, `basic.get`, and delivering.
extension VirtualHostState {
    mutating func consume(
        _ consume: AMQPMethod.BasicConsume, on channel: ChannelID
    ) throws(BrokerException) {
        let tag = consume.consumerTag.isEmpty ? Self.randomName("amq.ctag-") : consume.consumerTag
        if consume.queue == PropertyScan.directReplyAddress, self.channels[channel]?.replyConsumer != nil {
            throw .preconditionFailed("reply consumer already set")
        }
        if self.channels[channel]?.consumers[tag] != nil || self.channels[channel]?.replyConsumer?.tag == tag {
            throw .notAllowed("attempt to reuse consumer tag '\(tag)'")
        }
        if consume.queue == PropertyScan.directReplyAddress {
            try self.consumeReplies(tag: tag, noAck: consume.noAck, on: channel)
            if !consume.noWait { self.send(.basicConsumeOk(.init(consumerTag: tag)), to: channel) }
            return
        }
        let name = try self.rawQueueName(consume.queue, on: channel)
        try self.authorize(.read, .queue(name), on: channel)
        let queue = try self.queue(named: name)
        try self.checkAccess(to: queue, on: channel)
        let arguments = self.arguments(consume.arguments, of: self.describe(queue: name))
        let priority = try arguments.integer("x-priority") ?? 0
        if self.queues[queue]?.properties.kind == .quorum, self.channels[channel]?.sharedPrefetch ?? 0 > 0 {
            throw .notImplemented("\(self.describe(queue: name)) does not support global qos")
        }
        let isTaken = self.queues[queue]?.exclusiveConsumer != nil
        let isShared =
            self.queues[queue]?.consumers.isEmpty == false
            || self.queues[queue]?.properties.hasSingleActiveConsumer == true
        if isTaken || (consume.exclusive && isShared) {
            throw .accessRefused("\(self.describe(queue: name)) in exclusive use")
        }
        let id = self.consumers.insert(
            BrokerConsumer(tag: tag, noAck: consume.noAck, channel: channel, queue: queue))
        self.channels[channel]?.consumers[tag] = id
        let holds = self.holds(on: channel, noAck: consume.noAck)
        self.queues[queue]?.addConsumer(
            id, prefetch: self.channels[channel]?.prefetch ?? 0, noAck: consume.noAck, exclusive: consume.exclusive,
            priority: priority, holds: holds)
        // Before the first delivery.
        if !consume.noWait { self.send(.basicConsumeOk(.init(consumerTag: tag)), to: channel) }
        self.deliver(from: queue)
    }

    /// Why a new consumer of the channel has to wait.
    private func holds(on channel: ChannelID, noAck: Bool) -> ConsumerRing.Holds {
        var holds: ConsumerRing.Holds = []
        if let client = self.channels[channel]?.connection, self.clients[client]?.isPaused == true {
            holds.insert(.connection)
        }
        if !noAck, self.channels[channel]?.isAtSharedPrefetch == true { holds.insert(.channel) }
        return holds
    }

    /// An unknown tag is no error. What was delivered stays with the channel, to be acknowledged.
    mutating func cancel(_ cancel: AMQPMethod.BasicCancel, on channel: ChannelID) {
        let tag = cancel.consumerTag
        var (deleted, left): (QueueID?, QueueID?)
        if !self.cancelReplies(tag: tag, on: channel), let id = self.channels[channel]?.consumers[tag] {
            self.channels[channel]?.consumers[tag] = nil
            left = self.consumers[id]?.queue
            deleted = self.detachConsumer(id)
        }
        if !cancel.noWait { self.send(.basicCancelOk(.init(consumerTag: tag)), to: channel) }
        if let deleted {
            self.deleteQueue(deleted)
        } else if let left {
            // Another one may now be the active consumer.
            self.deliver(from: left)
        }
    }

    /// Takes a consumer from its queue, which may have to deliver to another one now.
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
        let name = try self.rawQueueName(get.queue, on: channel)
        try self.authorize(.read, .queue(name), on: channel)
        if name == Self.statusName { return try self.getStatus(get, on: channel) }
        let queue = try self.queue(named: name)
        try self.checkAccess(to: queue, on: channel)
        let isQuorum = self.queues[queue]?.properties.kind == .quorum
        if isQuorum, self.queues[queue]?.properties.hasSingleActiveConsumer == true {
            throw .resourceLocked(
                "cannot obtain access to locked \(self.describe(queue: name)). basic.get operations are not supported "
                    + "by quorum queues with single active consumer")
        }
        let found = self.queues[queue]?.get(now: self.now)
        self.tidy(queue)
        guard let found,
            let out = self.channels[channel]?.handOut(found, from: queue, to: nil, noAck: get.noAck)
        else {
            self.send(.basicGetEmpty(.init()), to: channel)
            return
        }
        if get.noAck { self.queues[queue]?.settle(consumer: nil) }
        let method = AMQPMethod.basicGetOk(
            .init(
                deliveryTag: out.tag, redelivered: found.isRedelivered, exchange: found.message.exchange,
                routingKey: found.message.routingKey,
                messageCount: UInt32(clamping: self.queues[queue]?.ready.count ?? 0)))
        let properties = isQuorum ? found.countedProperties : found.message.properties
        self.append(to: out.output) { frames throws(AMQPWireError) in
            try frames.append(method, properties: properties, body: found.message.body, channel: out.number)
        }
    }

    // MARK: - Delivering

    /// Hands out what a queue has ready, as far as its consumers can take it.
    mutating func deliver(from queue: QueueID) {
        if !self.isHeld(queue) {
            while let (message, consumer) = self.queues[queue]?.nextDelivery(now: self.now) {
                self.deliver(message, from: queue, to: consumer)
            }
        }
        self.tidy(queue)
    }

    /// Drops what must not wait: above all a message with a time-to-live of 0, for which there is no consumer, and what
    /// is too much for the queue.
    mutating func tidy(_ queue: QueueID) {
        if self.queues[queue]?.tidy(now: self.now) == true { self.deadLetter(from: queue) }
        self.scheduleDeadline(of: queue)
    }

    private mutating func deliver(_ queued: QueuedMessage, from queue: QueueID, to id: ConsumerID) {
        guard let consumer = self.consumers[id],
            let out = self.channels[consumer.channel]?.handOut(queued, from: queue, to: id, noAck: consumer.noAck)
        else {
            // A consumer that has no channel any more was taken from its queue with it; so this cannot be, but must
            // not lose the message.
            assertionFailure("a delivery to a consumer that is gone")
            _ = self.queues[queue]?.removeConsumer(id, now: self.now)
            self.queues[queue]?.requeue([queued], isCounted: false)
            return
        }
        if consumer.noAck { self.queues[queue]?.settle(consumer: nil) }
        if out.isAtLimit { self.checkSharedPrefetch(of: consumer.channel) }
        let message = queued.message
        let method = AMQPMethod.basicDeliver(
            .init(
                consumerTag: consumer.tag, deliveryTag: out.tag, redelivered: queued.isRedelivered,
                exchange: message.exchange, routingKey: message.routingKey))
        let properties = queued.deliveryCount > 0 ? queued.countedProperties : message.properties
        let isThrottled = self.append(to: out.output) { frames throws(AMQPWireError) in
            try frames.append(method, properties: properties, body: message.body, channel: out.number)
        }
        if isThrottled, let client = self.channels[consumer.channel]?.connection { self.pauseClient(client) }
    }
}
