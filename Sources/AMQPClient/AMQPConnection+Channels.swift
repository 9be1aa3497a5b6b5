// SPDX-License-Identifier: Apache-2.0
import AMQPWire

/// Synchronous methods on channels, and what the broker says on them.
extension AMQPConnection {
    /// Sends a synchronous method and waits for its reply.
    ///
    /// The caller that is cancelled leaves a tombstone: the reply still comes and is for nobody else. Only when the reply
    /// timeout passes is the channel closed.
    func request(_ method: AMQPMethod, on channel: AMQPChannel) async throws(AMQPError) -> ChannelReply {
        self.lastRequestID += 1
        return try await self.request(method, id: self.lastRequestID, on: channel)
    }

    private func request(
        _ method: AMQPMethod, id: UInt64, on channel: AMQPChannel
    ) async throws(AMQPError) -> ChannelReply {
        let core = try self.core(of: channel)
        // Behind `connection.close` it would not be answered.
        if case .closing = self.phase { throw Self.closedByUs }
        let waiter = ReplyWaiter(cancelled: .cancelled)
        try self.submit(method, id: id, waiter: waiter, on: core)
        let timeout = self.configuration.replyTimeout
        let number = core.number
        let deadline = self.scheduler.schedule(after: timeout) {
            self.assumeIsolated { $0.requestTimedOut(id: id, method.id, number: number, after: timeout) }
        }
        defer { self.scheduler.cancel(deadline) }
        do {
            return try await waiter.value()
        } catch {
            if error.code == .cancelled { _ = self.channels[number]?.machine.abandon(id: id) }
            throw error
        }
    }

    private func core(of channel: AMQPChannel) throws(AMQPError) -> ChannelCore {
        guard let core = self.channels[channel.number], core.id == channel.id else {
            if case .closed(let error) = self.phase { throw error }
            throw channel.failure ?? AMQPError(.channelClosed, "the channel is closed")
        }
        return core
    }

    private func submit(
        _ method: AMQPMethod, id: UInt64, waiter: ReplyWaiter, on core: ChannelCore
    ) throws(AMQPError) {
        switch core.machine.request(id: id, method, waiter: waiter) {
        case .send(let method):
            do {
                try self.write(method, on: core)
            } catch {
                self.send(next: core.machine.withdraw(id: id).next, on: core)
                throw error
            }
        case .queued: break
        case .refuse(let error): throw core.channel.failure ?? error
        }
    }

    private func write(_ method: AMQPMethod, on core: ChannelCore) throws(AMQPError) {
        if case .confirmSelect = method {
            self.gate.selectConfirms(channel: core.id)
        } else {
            try self.gate.write(method, channel: core.number)
        }
    }

    /// Sends the method whose turn it is. One that cannot be encoded fails its caller and gives way to the one behind.
    private func send(next method: AMQPMethod?, on core: ChannelCore) {
        var next = method
        while let method = next {
            do {
                try self.write(method, on: core)
                return
            } catch {
                let (waiter, following) = core.machine.withdrawInFlight()
                waiter?.resolve(.failure(error))
                next = following
            }
        }
    }

    private func requestTimedOut(id: UInt64, _ method: AMQPMethodID, number: UInt16, after timeout: Duration) {
        guard let core = self.channels[number], core.machine.isPending(id: id) else { return }
        let error = AMQPError(.timedOut, "no answer to \(method) within \(timeout); its channel is closed")
        self.close(core, error, waiter: nil)
    }

    // MARK: - Closing

    /// Closes a channel from our side.
    func close(_ channel: AMQPChannel) async throws(AMQPError) {
        guard let core = try? self.core(of: channel) else { return }
        let waiter = ReplyWaiter(cancelled: .cancelled)
        let number = core.number
        self.close(core, ChannelMachine<ReplyWaiter>.closedByUs, waiter: waiter)
        let deadline = self.scheduler.schedule(after: self.configuration.replyTimeout) {
            self.assumeIsolated {
                // A broker that does not answer `channel.close` answers nothing else either.
                guard $0.channels[number]?.id == channel.id else { return }
                $0.end(AMQPError(.timedOut, "the broker did not answer channel.close"))
            }
        }
        defer { self.scheduler.cancel(deadline) }
        _ = try? await waiter.uncancellableValue()
    }

    /// From here on nothing happens on the channel any more; its number stays taken until the broker has answered.
    func close(_ core: ChannelCore, _ error: AMQPError, waiter: ReplyWaiter?) {
        switch core.machine.close(waiter: waiter) {
        case .done: waiter?.resolve(.success(.method(.channelCloseOk(.init()))))
        case .send(let failing):
            self.gate.closeChannel(
                core.id, error,
                farewell: .channelClose(
                    .init(replyCode: 200, replyText: "goodbye", failingClassID: 0, failingMethodID: 0)))
            for waiter in failing { waiter.resolve(.failure(error)) }
            for consumer in core.consumers.values { self.remove(consumer, error.code == .timedOut ? error : nil) }
            core.consumers.removeAll()
            core.ended(error)
        }
    }

    // MARK: - Consumers

    /// Registers the consumer first and then asks for deliveries: they may follow `consume-ok` in the same read.
    func consume(
        _ method: AMQPMethod.BasicConsume, on channel: AMQPChannel, sink: any DeliverySink
    ) async throws(AMQPError) {
        let core = try self.core(of: channel)
        guard core.consumers[method.consumerTag] == nil else {
            // The broker would end the whole connection (530).
            throw AMQPError(.invalidArgument, "the consumer tag '\(method.consumerTag)' is in use on this channel")
        }
        let consumer = ChannelCore.Consumer(
            tag: method.consumerTag, needsAcknowledgement: !method.noAck, sink: sink)
        self.add(consumer, to: core)
        self.lastRequestID += 1
        let id = self.lastRequestID
        do {
            _ = try await self.request(.basicConsume(method), id: id, on: channel)
        } catch {
            // If the broker was asked and its answer is still to come, `discard` undoes it then.
            if !core.machine.isPending(id: id), core.consumers[method.consumerTag] === consumer {
                core.consumers[method.consumerTag] = nil
                self.detach(consumer)
            }
            throw error
        }
    }

    /// The broker has begun to deliver to a consumer whose caller gave up: whatever comes goes back, until the broker
    /// has heard of the cancel.
    private func undo(_ consume: AMQPMethod.BasicConsume, on core: ChannelCore) {
        guard let consumer = core.consumers[consume.consumerTag] else { return }
        self.detach(consumer)
        self.add(
            ChannelCore.Consumer(
                tag: consume.consumerTag, needsAcknowledgement: !consume.noAck, sink: ReturningSink()), to: core)
        self.lastRequestID += 1
        let nobody = ReplyWaiter(cancelled: .cancelled)
        try? self.submit(
            .basicCancel(.init(consumerTag: consume.consumerTag)), id: self.lastRequestID, waiter: nobody, on: core)
    }

    func cancel(_ tag: String, on channel: AMQPChannel) async throws(AMQPError) {
        _ = try await self.request(.basicCancel(.init(consumerTag: tag)), on: channel)
    }

    func setReturns(
        _ action: (@Sendable (AMQPReturnedMessage) -> Void)?, on channel: AMQPChannel
    ) throws(AMQPError) {
        try self.core(of: channel).returns = action
    }

    func whenEnded(_ channel: AMQPChannel, _ action: @escaping @Sendable (AMQPError) -> Void) {
        do {
            try self.core(of: channel).onEnd.append(action)
        } catch {
            action(error)
        }
    }

    // MARK: - What the broker says

    func received(_ method: AMQPMethod, on core: ChannelCore) {
        if core.machine.isClosing {
            switch method {
            case .channelClose, .channelCloseOk: break
            default: return
            }
        }
        switch method {
        case .basicAck(let ack):
            self.gate.confirmed(channel: core.id, tag: ack.deliveryTag, multiple: ack.multiple, acked: true)
        case .basicNack(let nack):
            self.gate.confirmed(channel: core.id, tag: nack.deliveryTag, multiple: nack.multiple, acked: false)
        case .basicCancel(let cancel):
            // Its no-wait bit is set: there is nothing to answer.
            guard let consumer = core.consumers.removeValue(forKey: cancel.consumerTag) else { return }
            self.remove(
                consumer,
                AMQPError(
                    .consumerCancelled, "the broker cancelled the consumer '\(cancel.consumerTag)': its queue is gone",
                    origin: .peer))
        case .channelFlow(let flow):
            // The answer marks the place in the stream: no content behind "stopped", none before "goes on".
            if !flow.active { self.gate.pauseChannel(core.id, true) }
            self.writeQuietly(.channelFlowOk(.init(active: flow.active)), on: core)
            if flow.active { self.gate.pauseChannel(core.id, false) }
        case .channelClose(let close):
            let error = AMQPError(close)
            let (ends, failing) = core.machine.peerClosed(error)
            guard ends else {
                self.writeQuietly(.channelCloseOk(.init()), on: core)
                return
            }
            self.gate.closeChannel(core.id, error, farewell: .channelCloseOk(.init()))
            for waiter in failing { waiter.resolve(.failure(error)) }
            self.remove(core, error)
        case .channelCloseOk:
            guard core.machine.isClosing else {
                self.violated(ChannelMachine<ReplyWaiter>.violation("\(method.id) without a close", method.id))
                return
            }
            let waiter = core.machine.closedOk()
            self.remove(core, ChannelMachine<ReplyWaiter>.closedByUs)
            waiter?.resolve(.success(.method(method)))
        default:
            self.replied(method.id, .method(method), on: core)
        }
    }

    func replied(_ id: AMQPMethodID, _ reply: ChannelReply, on core: ChannelCore) {
        switch core.machine.replied(id) {
        case .ignore: break
        case .violation(let error): self.violated(error)
        case .matched(let request, let next):
            self.apply(reply, of: request, on: core)
            self.send(next: next, on: core)
            if request.waiter?.resolve(.success(reply)) != true { self.discard(reply, of: request, on: core) }
        }
    }

    /// What a reply changes, before anything that follows it in the same read is looked at.
    private func apply(_ reply: ChannelReply, of request: ChannelMachine<ReplyWaiter>.Request, on core: ChannelCore) {
        switch request.method {
        case .basicCancel(let cancel):
            if let consumer = core.consumers.removeValue(forKey: cancel.consumerTag) { self.remove(consumer, nil) }
        case .basicGet(let get):
            if !get.noAck, case .content(let content) = reply, case .basicGetOk(let getOk) = content.method {
                self.gate.delivered(getOk.deliveryTag, channel: core.id)
            }
        default: break
        }
    }

    /// A reply whose caller gave up: a message it brought goes back to its queue, a consumer it made is cancelled.
    private func discard(_ reply: ChannelReply, of request: ChannelMachine<ReplyWaiter>.Request, on core: ChannelCore) {
        if case .basicConsume(let consume) = request.method { self.undo(consume, on: core) }
        guard case .basicGet(let get) = request.method, !get.noAck, case .content(let content) = reply,
            case .basicGetOk(let getOk) = content.method
        else { return }
        try? self.gate.settle(
            channel: core.id, epoch: core.epoch, tag: getOk.deliveryTag, .nack(requeue: true))
    }
}

/// Gives back whatever is still delivered to a consumer that nobody wants any more.
private final class ReturningSink: DeliverySink {
    func received(_ delivery: AMQPDelivery) { try? delivery.nack(requeue: true) }
    func batchEnded() -> Bool { false }
    func whenRoom(_ action: @escaping @Sendable () -> Void) {}
    func ended(_ error: AMQPError?) {}
}
