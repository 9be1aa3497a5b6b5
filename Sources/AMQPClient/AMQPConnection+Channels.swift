// SPDX-License-Identifier: Apache-2.0
import AMQPWire

/// Synchronous methods on channels, and what the broker says on them.
extension AMQPConnection {
    /// Sends a synchronous method and waits for its reply.
    ///
    /// The caller that is cancelled leaves a tombstone: the reply still comes and is for nobody else. Only when the reply
    /// timeout passes is the channel closed.
    func request(_ method: AMQPMethod, on channel: AMQPChannel) async throws(AMQPError) -> ChannelReply {
        let core = try self.core(of: channel)
        self.lastRequestID += 1
        let id = self.lastRequestID
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
                try self.gate.write(method, channel: core.number)
            } catch {
                self.send(next: core.machine.withdraw(id: id).next, on: core)
                throw error
            }
        case .queued: break
        case .refuse(let error): throw error
        }
    }

    /// Sends the method whose turn it is. One that cannot be encoded fails its caller and gives way to the one behind.
    private func send(next method: AMQPMethod?, on core: ChannelCore) {
        var next = method
        while let method = next {
            do {
                try self.gate.write(method, channel: core.number)
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

    private func close(_ core: ChannelCore, _ error: AMQPError, waiter: ReplyWaiter?) {
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
        self.add(
            ChannelCore.Consumer(tag: method.consumerTag, needsAcknowledgement: !method.noAck, sink: sink), to: core)
        do {
            _ = try await self.request(.basicConsume(method), on: channel)
        } catch {
            if error.code == .cancelled, let core = try? self.core(of: channel) {
                // The broker may have begun to deliver: whatever comes goes back, until it has heard of the cancel.
                self.add(
                    ChannelCore.Consumer(
                        tag: method.consumerTag, needsAcknowledgement: !method.noAck, sink: ReturningSink()), to: core)
                self.cancelAbandoned(method.consumerTag, on: core)
            } else {
                core.consumers[method.consumerTag] = nil
            }
            throw error
        }
    }

    private func cancelAbandoned(_ tag: String, on core: ChannelCore) {
        self.lastRequestID += 1
        let nobody = ReplyWaiter(cancelled: .cancelled)
        try? self.submit(
            .basicCancel(.init(consumerTag: tag)), id: self.lastRequestID, waiter: nobody, on: core)
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
            self.gate.pauseChannel(core.id, !flow.active)
            self.writeQuietly(.channelFlowOk(.init(active: flow.active)), on: core)
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
        case .confirmSelect: self.gate.enableConfirms(channel: core.id)
        case .basicCancel(let cancel):
            if let consumer = core.consumers.removeValue(forKey: cancel.consumerTag) { self.remove(consumer, nil) }
        case .basicGet(let get):
            if !get.noAck, case .content(let content) = reply, case .basicGetOk(let getOk) = content.method {
                self.gate.delivered(getOk.deliveryTag, channel: core.id)
            }
        default: break
        }
    }

    /// A reply whose caller gave up: a message it brought goes back to its queue.
    private func discard(_ reply: ChannelReply, of request: ChannelMachine<ReplyWaiter>.Request, on core: ChannelCore) {
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
