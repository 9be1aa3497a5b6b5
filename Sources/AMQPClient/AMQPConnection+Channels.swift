// SPDX-License-Identifier: Apache-2.0
import AMQPWire
import Logging
import NIOCore

/// Channels: their opening, synchronous methods on them, and what the broker says there.
extension AMQPConnection {
    /// Opens a channel. While the connection is being recovered it waits for that.
    ///
    /// - Throws: ``AMQPError``, within ``AMQPConfiguration/replyTimeout``: the connection is closed or was lost, or as many
    ///   channels are open as both sides agreed on.
    public func openChannel() async throws(AMQPError) -> AMQPChannel {
        let deadline = self.replyDeadline
        // Open again, it may have been lost once more before this task went on.
        repeat { try await self.waitUntilOpen(until: deadline) } while !self.machine.isOpen
        self.lastChannelID += 1
        let channel = AMQPChannel(id: self.lastChannelID, connection: self)
        let record = ChannelRecord(
            id: channel.id, channel: channel, isScratch: false, backoff: Backoff(self.configuration.recovery))
        self.records[record.id] = record
        do {
            let core = try await self.openCore(of: record, until: deadline)
            self.becameReady(record, core)
        } catch {
            // Nobody will ever close a channel that nobody has.
            self.end(record, error)
            throw error
        }
        return channel
    }

    /// Waits for a recovery to be over.
    func waitUntilOpen(until deadline: NIODeadline) async throws(AMQPError) {
        self.lastWaiterID += 1
        let id = self.lastWaiterID
        let waiter = PublishWaiter(cancelled: .cancelled)
        switch self.machine.waitUntilOpen(waiter, id: id) {
        case .ready: return
        case .refuse(let error): throw error
        case .waiting: break
        }
        let token = self.scheduler.schedule(at: deadline) {
            waiter.resolve(.failure(AMQPError(.timedOut, "the connection did not come back in time")))
        }
        defer {
            self.scheduler.cancel(token)
            _ = self.machine.abandon(id: id)
        }
        try await waiter.value()
    }

    /// A number of the socket there is now, and `channel.open`.
    @discardableResult
    func openCore(
        of record: ChannelRecord, until deadline: NIODeadline? = nil
    ) async throws(AMQPError) -> ChannelCore {
        // Whoever comes here has waited, and without a session nobody would answer.
        guard self.machine.isOpen || self.machine.isRestoring else {
            throw self.machine.end ?? AMQPError(.connectionLost, "the connection was lost before a channel was opened")
        }
        guard let number = self.numbers.allocate() else {
            // Asking the broker for one more would end the connection (530).
            throw AMQPError(.invalidArgument, "all \(self.numbers.maximum) channels of the connection are in use")
        }
        self.highestNumber = max(self.highestNumber, number)
        let epoch =
            self.gate.knowsChannel(record.id)
            ? self.gate.reopenChannel(record.id, number: number, isConfirming: record.mode == .confirming)
            : self.gate.openChannel(record.id, number: number)
        let core = ChannelCore(
            record, number: number, epoch: epoch, maximumBodySize: self.configuration.maximumIncomingMessageSize)
        self.channels[number] = core
        self.lastChannel = nil
        record.core = core
        do {
            _ = try await self.perform(.channelOpen(.init()), on: core, until: deadline)
        } catch {
            // The broker may have opened it, or will.
            if self.channels[number] === core, !core.machine.isClosing { self.close(core, error, waiter: nil) }
            throw error
        }
        return core
    }

    /// The channel is as its user left it, or new.
    func becameReady(_ record: ChannelRecord, _ core: ChannelCore) {
        // It may have been lost or closed again in this moment.
        guard record.core === core, self.records[record.id] === record else { return }
        record.isReady = true
        record.backoff.succeeded(now: .now())
        self.gate.resumeChannel(record.id)
        record.resolveWaiters(nil)
    }

    // MARK: - Synchronous methods

    /// Sends a synchronous method and waits for its reply; while the channel is being recovered, for that before.
    ///
    /// The caller that is cancelled leaves a tombstone: the reply still comes and is for nobody else. Only when the reply
    /// timeout passes is the channel closed, and replaced.
    func request(_ method: AMQPMethod, on channel: AMQPChannel) async throws(AMQPError) -> ChannelReply {
        let deadline = self.replyDeadline
        let core = try await self.readyCore(of: channel, until: deadline)
        return try await self.perform(try core.record.resolvingNames(in: method), on: core, until: deadline)
    }

    /// For what is asked for now: waiting for a recovery and for the answer have one deadline.
    var replyDeadline: NIODeadline { .after(self.configuration.replyTimeout) }

    /// The generation there is now, as soon as it is ready.
    func readyCore(
        of channel: AMQPChannel, until deadline: NIODeadline
    ) async throws(AMQPError) -> ChannelCore {
        if let record = self.records[channel.id], record.isReady, let core = record.core, self.machine.isOpen {
            return core
        }
        return try await self.comingCore(of: channel, until: deadline)
    }

    private func comingCore(
        of channel: AMQPChannel, until deadline: NIODeadline
    ) async throws(AMQPError) -> ChannelCore {
        while true {
            guard let record = self.records[channel.id] else { throw self.reason(channel) }
            // Behind `connection.close` it would not be answered.
            if self.machine.isClosing { throw Self.closedByUs }
            if record.isReady, let core = record.core { return core }
            self.lastWaiterID += 1
            let id = self.lastWaiterID
            let waiter = PublishWaiter(cancelled: .cancelled)
            record.readyWaiters[id] = waiter
            let token = self.scheduler.schedule(at: deadline) {
                waiter.resolve(.failure(AMQPError(.timedOut, "the channel did not come back in time")))
            }
            defer {
                self.scheduler.cancel(token)
                record.readyWaiters[id] = nil
            }
            try await waiter.value()
        }
    }

    /// Sends a synchronous method in this generation and waits for its reply.
    ///
    /// - Parameter deadline: if its caller has waited for a recovery before, how long it still may wait.
    func perform(
        _ method: AMQPMethod, on core: ChannelCore, until deadline: NIODeadline? = nil
    ) async throws(AMQPError) -> ChannelReply {
        self.lastRequestID += 1
        return try await self.perform(method, id: self.lastRequestID, on: core, until: deadline)
    }

    func perform(
        _ method: AMQPMethod, id: UInt64, on core: ChannelCore, until callersDeadline: NIODeadline? = nil
    ) async throws(AMQPError) -> ChannelReply {
        let waiter = ReplyWaiter(cancelled: .cancelled)
        try self.submit(method, id: id, waiter: waiter, on: core)
        let timeout = self.configuration.replyTimeout
        let number = core.number
        let end = NIODeadline.after(timeout)
        // A caller that has waited before gives up earlier; the channel is not to blame then, and stays.
        let isLate = callersDeadline.map { end - $0 > .milliseconds(10) } ?? false
        let deadline = self.scheduler.schedule(at: isLate ? callersDeadline ?? end : end) {
            if !isLate {
                self.assumeIsolated { $0.requestTimedOut(id: id, method.id, number: number, after: timeout) }
            }
            // Should its channel not be there any more, or stay.
            waiter.resolve(.failure(self.noAnswer(to: method.id, within: timeout)))
        }
        defer { self.scheduler.cancel(deadline) }
        do {
            return try await waiter.value()
        } catch {
            // Closed with its channel, it is not there any more.
            if error.code == .cancelled || error.code == .timedOut { _ = core.machine.abandon(id: id) }
            throw error
        }
    }

    func submit(
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
        case .refuse(let error): throw core.record.channel.failure ?? error
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
    func send(next method: AMQPMethod?, on core: ChannelCore) {
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
        // A broker that blocks the connection does not read it, and answers later. If it does not, the next one to wait on
        // the channel has its deadline too.
        guard self.gate.blockedReason == nil else { return }
        guard let core = self.channels[number], core.machine.isPending(id: id) else { return }
        let error = AMQPError(.timedOut, "no answer to \(method) within \(timeout); its channel is closed")
        self.close(core, error, waiter: nil)
    }

    private nonisolated func noAnswer(to method: AMQPMethodID, within timeout: Duration) -> AMQPError {
        let reason = self.gate.blockedReason.map { "; the broker has blocked the connection: \($0.printable())" }
        return AMQPError(.timedOut, "no answer to \(method) within \(timeout)\(reason ?? "")")
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
            self.cancelled(byBroker: cancel.consumerTag, on: core)
        case .channelFlow(let flow):
            // The answer marks the place in the stream: no content behind "stopped", none before "goes on".
            if !flow.active { self.gate.pauseChannel(core.id, true) }
            self.writeQuietly(.channelFlowOk(.init(active: flow.active)), on: core)
            if flow.active { self.gate.pauseChannel(core.id, false) }
        case .channelClose(let close): self.closed(byBroker: AMQPError(close), core)
        case .channelCloseOk:
            guard core.machine.isClosing else {
                self.violated(ChannelMachine<ReplyWaiter>.violation("\(method.id) without a close", method.id))
                return
            }
            let waiter = core.machine.closedOk()
            self.forget(core, ChannelMachine<ReplyWaiter>.closedByUs)
            waiter?.resolve(.success(.method(method)))
        default:
            self.replied(method.id, .method(method), on: core)
        }
    }

    private func closed(byBroker error: AMQPError, _ core: ChannelCore) {
        let (ends, failing) = core.machine.peerClosed(error)
        guard ends else {
            self.writeQuietly(.channelCloseOk(.init()), on: core)
            return
        }
        let record = core.record
        self.bid(.channelCloseOk(.init()), on: core, error)
        for waiter in failing { waiter.resolve(.failure(error)) }
        if !record.isScratch {
            self.logger.info("channel closed by the broker", metadata: ["error": "\(error.message)"])
            if self.configuration.recovery.isEnabled { self.emit(.channelLost(error)) }
        }
        self.lostGeneration(core, error)
        self.forget(core, error)
    }

    func replied(_ id: AMQPMethodID, _ reply: ChannelReply, on core: ChannelCore) {
        switch core.machine.replied(id) {
        case .ignore: break
        case .violation(let error): self.violated(error)
        case .matched(let request, let next):
            self.apply(reply, of: request.method, on: core)
            self.send(next: next, on: core)
            if request.waiter?.resolve(.success(reply)) != true {
                self.discard(reply, of: request.method, on: core)
            }
        }
    }

    func setReturns(
        _ action: (@Sendable (AMQPReturnedMessage) -> Void)?, on channel: AMQPChannel
    ) throws(AMQPError) {
        guard let record = self.records[channel.id] else { throw self.reason(channel) }
        record.returns = action
    }

    func whenEnded(_ channel: AMQPChannel, _ action: @escaping @Sendable (AMQPError) -> Void) {
        guard let record = self.records[channel.id] else { return action(self.reason(channel)) }
        record.onEnd.append(action)
    }

    func whenInterrupted(_ channel: AMQPChannel, _ action: @escaping @Sendable (AMQPError) -> Void) {
        self.records[channel.id]?.onInterruption.append(action)
    }

    /// Why a channel is not there any more.
    private func reason(_ channel: AMQPChannel) -> AMQPError {
        self.machine.end ?? channel.failure ?? AMQPError(.channelClosed, "the channel is closed")
    }

    /// What a reply changes, before anything that follows it in the same read is looked at.
    private func apply(_ reply: ChannelReply, of method: AMQPMethod, on core: ChannelCore) {
        let record = core.record
        switch method {
        case .basicConsume(let consume): self.started(consume.consumerTag, on: core)
        case .basicCancel(let cancel): self.stopped(cancel.consumerTag, on: core)
        case .basicGet(let get):
            self.topology.used(queue: get.queue, now: .now())
            if !get.noAck, case .content(let content, _) = reply, case .basicGetOk(let getOk) = content.method {
                self.gate.delivered(getOk.deliveryTag, channel: core.id)
            }
        // Acknowledging what went back would close the channel (406).
        case .basicRecover: self.gate.recovered(channel: core.id)
        case .confirmSelect: record.mode = .confirming
        case .txSelect: record.mode = .transactional
        case .queueDeclare(let declare):
            // The recovery enters itself what it declares.
            guard case .method(.queueDeclareOk(let ok)) = reply, !record.isScratch else { break }
            record.lastQueue = ok.queue
            self.topology.declared(declare, name: ok.queue, now: .now())
        case .queueDelete(let delete):
            self.topology.deletedQueue(delete.queue)
            // The broker cancels them, before this or after it.
            for consumer in self.records.values.flatMap(\.consumers) where consumer.method.queue == delete.queue {
                self.leave(consumer)
            }
        case .exchangeDeclare(let declare): if !record.isScratch { self.topology.declared(declare) }
        case .exchangeDelete(let delete): self.topology.deletedExchange(delete.exchange)
        case .queueBind(let bind): if !record.isScratch { self.topology.bound(.init(bind)) }
        case .queueUnbind(let unbind): self.topology.unbound(.init(unbind))
        case .exchangeBind(let bind): if !record.isScratch { self.topology.bound(.init(bind)) }
        case .exchangeUnbind(let unbind): self.topology.unbound(.init(unbind))
        default: break
        }
    }

    /// A reply whose caller gave up: a message it brought goes back to its queue, a consumer it made is cancelled.
    private func discard(_ reply: ChannelReply, of method: AMQPMethod, on core: ChannelCore) {
        if case .basicConsume(let consume) = method { self.undo(consume, on: core) }
        guard case .basicGet(let get) = method, !get.noAck, case .content(let content, let epoch) = reply,
            case .basicGetOk(let getOk) = content.method
        else { return }
        try? self.gate.settle(channel: core.id, epoch: epoch, tag: getOk.deliveryTag, .nack(requeue: true))
    }
}

extension ChannelRecord {
    /// Puts in the queue that an empty name stands for: the one that was declared last on the channel. The broker would
    /// know it as well, but not after a recovery.
    func resolvingNames(in method: AMQPMethod) throws(AMQPError) -> AMQPMethod {
        guard let lastQueue else { return method }
        switch method {
        case .queueBind(var bind) where bind.queue.isEmpty:
            bind.queue = lastQueue
            if bind.routingKey.isEmpty { bind.routingKey = lastQueue }
            return .queueBind(bind)
        case .queueUnbind(var unbind) where unbind.queue.isEmpty:
            unbind.queue = lastQueue
            if unbind.routingKey.isEmpty { unbind.routingKey = lastQueue }
            return .queueUnbind(unbind)
        case .queuePurge(var purge) where purge.queue.isEmpty:
            purge.queue = lastQueue
            return .queuePurge(purge)
        case .queueDelete(var delete) where delete.queue.isEmpty:
            delete.queue = lastQueue
            return .queueDelete(delete)
        case .basicGet(var get) where get.queue.isEmpty:
            get.queue = lastQueue
            return .basicGet(get)
        case .basicConsume(var consume) where consume.queue.isEmpty:
            consume.queue = lastQueue
            return .basicConsume(consume)
        default: return method
        }
    }
}

extension Topology.Binding {
    init(_ bind: AMQPMethod.QueueBind) {
        self.init(
            isOfQueue: true, destination: bind.queue, source: bind.exchange, routingKey: bind.routingKey,
            arguments: bind.arguments)
    }
    init(_ unbind: AMQPMethod.QueueUnbind) {
        self.init(
            isOfQueue: true, destination: unbind.queue, source: unbind.exchange, routingKey: unbind.routingKey,
            arguments: unbind.arguments)
    }
    init(_ bind: AMQPMethod.ExchangeBind) {
        self.init(
            isOfQueue: false, destination: bind.destination, source: bind.source, routingKey: bind.routingKey,
            arguments: bind.arguments)
    }
    init(_ unbind: AMQPMethod.ExchangeUnbind) {
        self.init(
            isOfQueue: false, destination: unbind.destination, source: unbind.source, routingKey: unbind.routingKey,
            arguments: unbind.arguments)
    }
}
