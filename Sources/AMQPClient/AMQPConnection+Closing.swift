// SPDX-License-Identifier: Apache-2.0
import AMQPWire
import NIOCore

/// Channels: their end, by whoever ends them.
extension AMQPConnection {
    /// Closes a channel from our side.
    func close(_ channel: AMQPChannel) async throws(AMQPError) {
        guard let record = self.records[channel.id] else { return }
        let error = ChannelMachine<ReplyWaiter>.closedByUs
        guard let core = record.core else {
            // There is nothing that the broker would have to be told.
            self.end(record, error)
            return
        }
        let waiter = ReplyWaiter(cancelled: .cancelled)
        self.end(record, error, tellingBroker: false)
        self.close(core, error, waiter: waiter)
        _ = try? await waiter.uncancellableValue()
    }

    /// From here on nothing happens on this generation any more; its number stays taken until the broker has answered.
    /// If the channel is to live on, it gets another generation.
    ///
    /// - Parameter waiter: resolved when the broker has answered.
    func close(_ core: ChannelCore, _ error: AMQPError, waiter: ReplyWaiter?) {
        switch core.machine.close(waiter: waiter) {
        case .done: waiter?.resolve(.success(.method(.channelCloseOk(.init()))))
        case .send(let failing):
            let farewell = AMQPMethod.channelClose(
                .init(replyCode: 200, replyText: "goodbye", failingClassID: 0, failingMethodID: 0))
            self.bid(farewell, on: core, error)
            for waiter in failing { waiter.resolve(.failure(error)) }
            self.lostGeneration(core, error)
            self.awaitCloseOk(core, waiter)
        }
    }

    /// A broker that does not answer `channel.close` answers nothing else either, unless it has blocked the connection.
    ///
    /// - Parameter waiter: whoever closes does not wait until it is unblocked.
    private func awaitCloseOk(_ core: ChannelCore, _ waiter: ReplyWaiter?) {
        let (number, epoch) = (core.number, core.epoch)
        core.closeDeadline = self.scheduler.schedule(after: self.configuration.replyTimeout) {
            self.assumeIsolated {
                guard let core = $0.channels[number], core.epoch == epoch else { return }
                let error = AMQPError(.timedOut, "the broker did not answer channel.close")
                guard $0.gate.blockedReason == nil else {
                    waiter?.resolve(.failure(error))
                    $0.awaitCloseOk(core, nil)
                    return
                }
                $0.lost(error)
            }
        }
    }

    /// The last word on a generation. To publishers it is closed in the same critical section: behind `close-ok`, a
    /// publish would end the whole connection with 504.
    func bid(_ farewell: AMQPMethod, on core: ChannelCore, _ error: AMQPError) {
        if self.gate.isOpen(channel: core.id) {
            self.gate.interruptChannel(core.id, error, farewell: farewell)
        } else {
            // Closed to publishers before, or never open to them.
            self.writeQuietly(farewell, channel: core.number)
        }
    }

    /// A channel lost the generation it had: it gets another one, or ends with it.
    func lostGeneration(_ core: ChannelCore, _ error: AMQPError) {
        let record = core.record
        self.interruptConsumers(of: core)
        // It may have ended before, or have another generation by now.
        guard record.core === core else { return }
        record.core = nil
        let wasReady = record.isReady
        record.isReady = false
        // Whoever opens a scratch channel, or a new one, looks to it.
        guard !record.isScratch, self.records[record.id] === record else { return }
        guard self.configuration.recovery.isEnabled else {
            self.end(record, error)
            return
        }
        for action in record.onInterruption { action(error) }
        // One that was being opened is in the hands of who opens it.
        if wasReady, self.machine.isOpen { self.recoverChannel(record) }
    }

    /// Ends a channel for good.
    ///
    /// - Parameter tellingBroker: closes its generation, if it has one.
    func end(_ record: ChannelRecord, _ error: AMQPError, tellingBroker: Bool = true) {
        guard self.records.removeValue(forKey: record.id) != nil else { return }
        let core = record.core
        record.core = nil
        record.isReady = false
        // By our own wish, or with all that was delivered lost.
        let reason = error.code == .channelClosed && error.origin == .local ? nil : error
        for consumer in record.consumers { self.ended(consumer, reason, in: core) }
        if let core {
            for consumer in core.consumers.values { self.detach(consumer) }
            core.consumers.removeAll()
        }
        self.gate.closeChannel(record.id, error, farewell: nil)
        self.gate.forgetChannel(record.id)
        record.ended(error)
        if tellingBroker, let core { self.close(core, error, waiter: nil) }
    }

    /// A number's life on this socket is over.
    func forget(_ core: ChannelCore, _ error: AMQPError) {
        if let closeDeadline = core.closeDeadline { self.scheduler.cancel(closeDeadline) }
        for waiter in core.machine.connectionEnded(error) { waiter.resolve(.failure(error)) }
        if self.channels[core.number] === core { self.channels[core.number] = nil }
        if self.lastChannel === core { self.lastChannel = nil }
        self.numbers.release(core.number)
        self.readCompleted()
    }
}
