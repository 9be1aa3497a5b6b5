// SPDX-License-Identifier: Apache-2.0
import AMQPWire

/// Runs the methods a client sends on an open channel, and answers them.
extension VirtualHostState {
    mutating func run(_ method: AMQPMethod, on channel: ChannelID) throws(BrokerException) {
        switch method {
        case .basicAck(let ack):
            try self.settle(ack.deliveryTag, multiple: ack.multiple, .acknowledge, on: channel)
        case .basicNack(let nack):
            try self.settle(
                nack.deliveryTag, multiple: nack.multiple,
                nack.requeue ? .requeue(isCounted: self.countsEveryReturn) : .discard, on: channel)
        case .basicReject(let reject):
            try self.settle(
                reject.deliveryTag, multiple: false, reject.requeue ? .requeue(isCounted: true) : .discard, on: channel)
        case .basicGet(let get): try self.get(get, on: channel)
        case .basicConsume(let consume): try self.consume(consume, on: channel)
        case .basicCancel(let cancel): self.cancel(cancel, on: channel)
        case .basicQos(let qos):
            guard qos.prefetchSize == 0 else { throw .notImplemented("prefetch_size!=0 (\(qos.prefetchSize))") }
            self.limitPrefetch(qos, on: channel)
            self.send(.basicQosOk(.init()), to: channel)
        case .basicRecover(let recover):
            guard recover.requeue else { throw .notImplemented("requeue=false") }
            // As RabbitMQ does: what is behind the answer is delivered anew, and what is before it is void.
            self.send(.basicRecoverOk(.init()), to: channel)
            self.recover(on: channel)
        case .basicRecoverAsync(let recover):
            guard recover.requeue else { throw .notImplemented("requeue=false") }
            self.recover(on: channel)
        case .confirmSelect(let select):
            try self.selectConfirms(on: channel)
            self.reply(.confirmSelectOk(.init()), to: channel, noWait: select.noWait)
        case .txSelect:
            try self.selectTransactions(on: channel)
            self.send(.txSelectOk(.init()), to: channel)
        case .txCommit:
            try self.commit(on: channel)
            self.send(.txCommitOk(.init()), to: channel)
        case .txRollback:
            try self.rollBack(on: channel)
            self.send(.txRollbackOk(.init()), to: channel)
        case .channelFlow(let flow):
            guard flow.active else { throw .notImplemented("active=false") }
            self.send(.channelFlowOk(.init(active: true)), to: channel)
        case .accessRequest: self.send(.accessRequestOk(.init(ticket: 1)), to: channel)
        default: try self.runTopology(method, on: channel)
        }
    }

    /// RabbitMQ 4.3 reads a global limit as one per consumer; before, it is one for the channel beside those, until one per
    /// consumer is asked for.
    private mutating func limitPrefetch(_ qos: AMQPMethod.BasicQos, on channel: ChannelID) {
        guard qos.global, self.settings.compatibility == .lenient else {
            self.channels[channel]?.prefetch = Int(qos.prefetchCount)
            self.limitSharedPrefetch(0, on: channel)
            return
        }
        self.limitSharedPrefetch(Int(qos.prefetchCount), on: channel)
    }

    private mutating func runTopology(_ method: AMQPMethod, on channel: ChannelID) throws(BrokerException) {
        switch method {
        case .exchangeDeclare(let declare):
            try self.declareExchange(declare, on: channel)
            self.reply(.exchangeDeclareOk(.init()), to: channel, noWait: declare.noWait)
        case .exchangeDelete(let delete):
            try self.deleteExchange(delete, on: channel)
            self.reply(.exchangeDeleteOk(.init()), to: channel, noWait: delete.noWait)
        case .exchangeBind(let bind):
            try self.bindExchange(bind, on: channel)
            self.reply(.exchangeBindOk(.init()), to: channel, noWait: bind.noWait)
        case .exchangeUnbind(let unbind):
            try self.unbindExchange(unbind, on: channel)
            self.reply(.exchangeUnbindOk(.init()), to: channel, noWait: unbind.noWait)
        case .queueDeclare(let declare):
            let ok = try self.declareQueue(declare, on: channel)
            self.reply(.queueDeclareOk(ok), to: channel, noWait: declare.noWait)
        case .queueBind(let bind):
            try self.bindQueue(bind, on: channel)
            self.reply(.queueBindOk(.init()), to: channel, noWait: bind.noWait)
        case .queueUnbind(let unbind):
            try self.unbindQueue(unbind, on: channel)
            self.send(.queueUnbindOk(.init()), to: channel)
        case .queuePurge(let purge):
            let count = try self.purgeQueue(purge, on: channel)
            self.reply(.queuePurgeOk(.init(messageCount: count)), to: channel, noWait: purge.noWait)
        case .queueDelete(let delete):
            try self.deleteQueue(delete, on: channel)
        default: throw .commandInvalid("unimplemented method")
        }
    }

    mutating func reply(_ method: AMQPMethod, to channel: ChannelID, noWait: Bool) {
        if !noWait { self.send(method, to: channel) }
    }
}
