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
                nack.deliveryTag, multiple: nack.multiple, nack.requeue ? .requeue : .discard, on: channel)
        case .basicReject(let reject):
            try self.settle(
                reject.deliveryTag, multiple: false, reject.requeue ? .requeue : .discard, on: channel)
        case .basicGet(let get): try self.get(get, on: channel)
        case .basicConsume(let consume): try self.consume(consume, on: channel)
        case .basicCancel(let cancel): self.cancel(cancel, on: channel)
        case .basicQos(let qos):
            guard qos.prefetchSize == 0 else { throw .notImplemented("prefetch_size!=0 (\(qos.prefetchSize))") }
            // RabbitMQ 4.3 reads a global limit as one per consumer.
            self.channels[channel]?.prefetch = Int(qos.prefetchCount)
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
            if self.channels[channel]?.confirms == nil { self.channels[channel]?.confirms = ConfirmTracker() }
            self.reply(.confirmSelectOk(.init()), to: channel, noWait: select.noWait)
        case .txSelect, .txCommit, .txRollback: throw .notImplemented("transactions")
        case .channelFlow(let flow):
            guard flow.active else { throw .notImplemented("active=false") }
            self.send(.channelFlowOk(.init(active: true)), to: channel)
        case .accessRequest: self.send(.accessRequestOk(.init(ticket: 1)), to: channel)
        default: try self.runTopology(method, on: channel)
        }
    }

    private mutating func runTopology(_ method: AMQPMethod, on channel: ChannelID) throws(BrokerException) {
        switch method {
        case .exchangeDeclare(let declare):
            try self.declareExchange(declare)
            self.reply(.exchangeDeclareOk(.init()), to: channel, noWait: declare.noWait)
        case .exchangeDelete(let delete):
            try self.deleteExchange(delete)
            self.reply(.exchangeDeleteOk(.init()), to: channel, noWait: delete.noWait)
        case .exchangeBind(let bind):
            try self.bindExchange(bind)
            self.reply(.exchangeBindOk(.init()), to: channel, noWait: bind.noWait)
        case .exchangeUnbind(let unbind):
            try self.unbindExchange(unbind)
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
            let count = try self.deleteQueue(delete, on: channel)
            self.reply(.queueDeleteOk(.init(messageCount: count)), to: channel, noWait: delete.noWait)
        default: throw .commandInvalid("unexpected \(method.id)")
        }
    }

    private mutating func reply(_ method: AMQPMethod, to channel: ChannelID, noWait: Bool) {
        if !noWait { self.send(method, to: channel) }
    }
}
