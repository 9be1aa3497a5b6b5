// SPDX-License-Identifier: Apache-2.0
import AMQPWire
import NIOCore

/// Subscriptions.
extension AMQPConnection {
    /// Registers the consumer first and then asks for deliveries: they may follow `consume-ok` in the same read.
    func consume(
        _ method: AMQPMethod.BasicConsume, on channel: AMQPChannel, sink: any DeliverySink
    ) async throws(AMQPError) {
        let deadline = self.replyDeadline
        let core = try await self.readyCore(of: channel, until: deadline)
        guard case .basicConsume(let method) = try core.record.resolvingNames(in: .basicConsume(method)) else { return }
        guard core.consumers[method.consumerTag] == nil, core.record.consumer(method.consumerTag) == nil else {
            // The broker would end the whole connection (530).
            throw AMQPError(.invalidArgument, "the consumer tag '\(method.consumerTag)' is in use on this channel")
        }
        let consumer = ChannelConsumer(method, sink: sink, prefetchCount: core.record.consumerPrefetchCount)
        self.add(consumer, to: core)
        self.lastRequestID += 1
        let id = self.lastRequestID
        do {
            _ = try await self.perform(.basicConsume(method), id: id, on: core, until: deadline)
        } catch {
            // If the broker was asked and its answer is still to come, `discard` undoes it then.
            if !core.machine.isPending(id: id), core.consumers[method.consumerTag] === consumer {
                core.consumers[method.consumerTag] = nil
                self.detach(consumer)
            }
            throw error
        }
    }

    /// Starts a consumer that there was before on the channel's generation of now.
    func subscribe(_ consumer: ChannelConsumer, on core: ChannelCore) async throws(AMQPError) {
        let record = core.record
        let count = consumer.prefetchCount ?? 0
        if count != record.consumerPrefetchCount ?? 0 { try await self.limit(to: count, on: core) }
        consumer.isRemoved = false
        self.add(consumer, to: core)
        do {
            _ = try await self.perform(.basicConsume(consumer.method), on: core)
        } catch {
            // Or what took its place, if it was cancelled meanwhile.
            if core.consumers[consumer.tag] === consumer || record.consumer(consumer.tag) == nil {
                core.consumers[consumer.tag] = nil
            }
            throw error
        }
        consumer.refusal = nil
        let wanted = record.consumerPrefetchCount ?? 0
        if count != wanted { try await self.limit(to: wanted, on: core) }
        // It may have been cancelled meanwhile.
        if !record.consumers.contains(where: { $0 === consumer }) {
            _ = try await self.perform(.basicCancel(.init(consumerTag: consumer.tag)), on: core)
        }
    }

    private func limit(to count: UInt16, on core: ChannelCore) async throws(AMQPError) {
        _ = try await self.perform(.basicQos(.init(prefetchSize: 0, prefetchCount: count, global: false)), on: core)
    }

    /// Limits unacknowledged deliveries, now and after a recovery.
    func qos(_ method: AMQPMethod.BasicQos, on channel: AMQPChannel) async throws(AMQPError) {
        let deadline = self.replyDeadline
        let core = try await self.readyCore(of: channel, until: deadline)
        // At once: a consumer that is started behind it comes under it.
        if method.global {
            core.record.channelPrefetchCount = method.prefetchCount
        } else {
            core.record.consumerPrefetchCount = method.prefetchCount
        }
        _ = try await self.perform(.basicQos(method), on: core, until: deadline)
    }

    func add(_ consumer: ChannelConsumer, to core: ChannelCore) {
        core.consumers[consumer.tag] = consumer
        let (id, tag) = (core.id, consumer.tag)
        // Tags are used again, so it takes the sink to know whose room it is.
        consumer.sink.whenRoom { [weak self, weak sink = consumer.sink] in
            guard let self, let sink else { return }
            self.eventLoop.execute {
                self.assumeIsolated { connection in
                    guard let consumer = connection.records[id]?.core?.consumers[tag], consumer.sink === sink else {
                        return
                    }
                    connection.hasRoom(consumer)
                }
            }
        }
    }

    /// The broker has begun to deliver: from now on the consumer is one that should be there.
    func started(_ tag: String, on core: ChannelCore) {
        guard let consumer = core.consumers[tag], core.record.consumer(tag) == nil,
            self.records[core.id] === core.record, core.record.isReady
        else { return }
        core.record.add(consumer)
    }

    /// The broker has stopped delivering, as we asked.
    func stopped(_ tag: String, on core: ChannelCore) {
        guard let consumer = core.consumers.removeValue(forKey: tag) else { return }
        core.record.remove(consumer)
        consumer.sink.cancelled()
        self.ended(consumer, nil, in: core)
    }

    func ended(_ consumer: ChannelConsumer, _ error: AMQPError?, in core: ChannelCore?) {
        consumer.sink.ended(error)
        self.detach(consumer)
        let queue = consumer.method.queue
        let isLast = !self.records.values.contains { $0.consumers.contains { $0.method.queue == queue } }
        if isLast { self.topology.unsubscribed(queue: queue, now: .now()) }
    }

    /// Reading does not wait for this consumer any more, even if it is found full at the end of the batch.
    func detach(_ consumer: ChannelConsumer) {
        consumer.isRemoved = true
        self.hasRoom(consumer)
    }

    /// The generation that delivered to them is gone.
    func interruptConsumers(of core: ChannelCore) {
        // What came in the batch that is being read is to be seen by who waits for it.
        self.readCompleted()
        for consumer in core.consumers.values {
            self.detach(consumer)
            guard core.record.consumer(consumer.tag) === consumer else { continue }
            guard !consumer.isLeaving else {
                // It was to end, and has.
                core.record.remove(consumer)
                consumer.sink.cancelled()
                self.ended(consumer, nil, in: core)
                continue
            }
            consumer.sink.interrupted(requeued: consumer.needsAcknowledgement)
        }
        core.consumers.removeAll()
    }

    /// The broker has begun to deliver to a consumer whose caller gave up: whatever comes goes back, until the broker
    /// has heard of the cancel.
    func undo(_ consume: AMQPMethod.BasicConsume, on core: ChannelCore) {
        guard let consumer = core.consumers[consume.consumerTag] else { return }
        core.record.remove(consumer)
        self.detach(consumer)
        self.add(ChannelConsumer(consume, sink: ReturningSink(), prefetchCount: nil), to: core)
        self.cancelForNobody(consume.consumerTag, on: core)
    }

    /// Asks for the end of a subscription, without anybody who waits for the answer.
    private func cancelForNobody(_ tag: String, on core: ChannelCore) {
        self.lastRequestID += 1
        let nobody = ReplyWaiter(cancelled: .cancelled)
        try? self.submit(.basicCancel(.init(consumerTag: tag)), id: self.lastRequestID, waiter: nobody, on: core)
    }

    /// Ends a subscription. Where the broker does not know it just now, it is not told.
    func cancel(_ tag: String, on channel: AMQPChannel) async throws(AMQPError) {
        guard let record = self.records[channel.id], let consumer = record.consumer(tag) else {
            _ = try await self.request(.basicCancel(.init(consumerTag: tag)), on: channel)
            return
        }
        guard record.isReady, let core = record.core, core.consumers[tag] === consumer else {
            record.remove(consumer)
            if let core = record.core, core.consumers[tag] === consumer {
                // It is being started just now, and is cancelled behind that.
                self.detach(consumer)
                self.add(ChannelConsumer(consumer.method, sink: ReturningSink(), prefetchCount: nil), to: core)
            }
            consumer.sink.cancelled()
            self.ended(consumer, nil, in: record.core)
            return
        }
        self.leave(consumer)
        self.lastRequestID += 1
        let id = self.lastRequestID
        do {
            _ = try await self.perform(.basicCancel(.init(consumerTag: tag)), id: id, on: core)
        } catch  where error.code == .cancelled {
            // Its turn had not come, and whoever asked does not wait for it: it goes out all the same.
            if core.consumers[tag] === consumer, !core.machine.isPending(id: id) { self.cancelForNobody(tag, on: core) }
            throw error
        } catch {
            // With the channel's generation the consumer is gone as well, and it is not started again.
            guard record.consumer(tag) !== consumer else { throw error }
        }
    }

    /// The broker cancelled a consumer, most often because its queue was deleted.
    func cancelled(byBroker tag: String, on core: ChannelCore) {
        guard let consumer = core.consumers.removeValue(forKey: tag) else { return }
        let queue = consumer.method.queue
        let error = AMQPError(
            .consumerCancelled, "the broker cancelled the consumer '\(tag)': its queue '\(queue)' is gone",
            origin: .peer)
        // What we asked for ourselves is no mishap.
        let isOurs = consumer.isLeaving || self.channels.values.contains { $0.machine.isDeleting(queue: queue) }
        guard self.configuration.recovery.isEnabled, !isOurs, core.record.consumer(tag) === consumer else {
            core.record.remove(consumer)
            self.ended(consumer, error, in: core)
            return
        }
        self.readCompleted()
        self.detach(consumer)
        self.topology.missing(queue: queue)
        var report = AMQPRecoveryReport()
        report.failures = [.init(entity: "consumer '\(tag)' of queue '\(queue)'", error: error)]
        self.becameUnhealthy(report)
    }
}

/// Gives back whatever is still delivered to a consumer that nobody wants any more.
private final class ReturningSink: DeliverySink {
    func received(_ delivery: AMQPDelivery) { try? delivery.nack(requeue: true) }
    func batchEnded() -> Bool { false }
    func whenRoom(_ action: @escaping @Sendable () -> Void) {}
    func interrupted(requeued: Bool) {}
    func ended(_ error: AMQPError?) {}
}
