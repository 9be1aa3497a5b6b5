// SPDX-License-Identifier: Apache-2.0
import AMQPWire

/// `exchange.*` (class 40), and bindings of both kinds.
extension VirtualHostState {
    mutating func declareExchange(_ declare: AMQPMethod.ExchangeDeclare) throws(BrokerException) {
        let name = stripped(declare.exchange)
        try self.refuseDefault(name)
        if declare.passive {
            _ = try self.exchange(name)
            return
        }
        let resource = self.describe(exchange: name)
        if let current = self.routing[name] {
            try inequivalence("type", of: resource, received: declare.type, current: current.kind.rawValue)
            try inequivalence("durable", of: resource, received: declare.durable, current: current.durable)
            try inequivalence("auto_delete", of: resource, received: declare.autoDelete, current: current.autoDelete)
            try inequivalence("internal", of: resource, received: declare.internal, current: current.isInternal)
            let key = "alternate-exchange"
            guard declare.arguments[key].isEquivalent(to: current.arguments[key]) else {
                throw .preconditionFailed(
                    "inequivalent arg '\(key)' for \(resource): received "
                        + "\(declare.arguments[key].erlangDescription) but current is "
                        + current.arguments[key].erlangDescription)
            }
            return
        }
        // Only a new exchange is checked: declaring a predeclared one again is fine.
        guard !name.hasPrefix("amq.") else {
            throw .accessRefused("exchange name '\(name)' contains reserved prefix 'amq.*'")
        }
        guard let kind = Exchange.Kind(rawValue: declare.type) else {
            throw .preconditionFailed("unknown exchange type '\(declare.type)'")
        }
        if let alternate = declare.arguments["alternate-exchange"], alternate.string == nil {
            throw .preconditionFailed(
                "invalid arg 'alternate-exchange' for \(resource): {unacceptable_type,\(alternate.erlangType)}")
        }
        self.routing[name] = Exchange(
            name: name, kind: kind, durable: declare.durable, autoDelete: declare.autoDelete,
            isInternal: declare.internal, arguments: declare.arguments)
    }

    mutating func deleteExchange(_ delete: AMQPMethod.ExchangeDelete) throws(BrokerException) {
        let name = stripped(delete.exchange)
        try self.refuseDefault(name)
        guard !name.hasPrefix("amq.") else {
            throw .accessRefused("deletion of system \(self.describe(exchange: name)) not allowed")
        }
        guard let exchange = self.routing[name] else { return }
        if delete.ifUnused, exchange.isUsed {
            throw .preconditionFailed("\(self.describe(exchange: name)) in use")
        }
        self.deleteExchange(named: name)
    }

    /// Removes an exchange with all bindings from and to it.
    private mutating func deleteExchange(named name: String) {
        guard let exchange = self.routing[name] else { return }
        self.routing[name] = nil
        for binding in exchange.outgoing { self.forget(binding) }
        for binding in exchange.incoming { self.unbind(binding) }
    }

    // MARK: - Bindings

    mutating func bindExchange(_ bind: AMQPMethod.ExchangeBind) throws(BrokerException) {
        try self.refuseDefault(bind.source)
        try self.refuseDefault(bind.destination)
        _ = try self.exchange(stripped(bind.destination))
        try self.bind(
            Binding(
                source: stripped(bind.source), destination: .exchange(stripped(bind.destination)),
                routingKey: bind.routingKey, arguments: bind.arguments))
    }

    mutating func unbindExchange(_ unbind: AMQPMethod.ExchangeUnbind) throws(BrokerException) {
        try self.refuseDefault(unbind.source)
        try self.refuseDefault(unbind.destination)
        self.unbind(
            Binding(
                source: stripped(unbind.source), destination: .exchange(stripped(unbind.destination)),
                routingKey: unbind.routingKey, arguments: unbind.arguments))
    }

    mutating func bindQueue(_ bind: AMQPMethod.QueueBind, on channel: ChannelID) throws(BrokerException) {
        try self.refuseDefault(bind.exchange)
        let (queue, binding) = try self.queueBinding(
            bind.queue, bind.exchange, bind.routingKey, bind.arguments, on: channel)
        try self.checkAccess(to: queue, on: channel)
        try self.bind(binding)
    }

    /// Removing what is not there succeeds.
    mutating func unbindQueue(_ unbind: AMQPMethod.QueueUnbind, on channel: ChannelID) throws(BrokerException) {
        try self.refuseDefault(unbind.exchange)
        guard let name = try? self.queueName(unbind.queue, on: channel), self.queueIDs[name] != nil else { return }
        let (queue, binding) = try self.queueBinding(
            unbind.queue, unbind.exchange, unbind.routingKey, unbind.arguments, on: channel)
        try self.checkAccess(to: queue, on: channel)
        self.unbind(binding)
    }

    /// An empty queue name is the queue declared last on the channel, and then an empty key is its name.
    private func queueBinding(
        _ queue: String, _ exchange: String, _ key: String, _ arguments: AMQPTable, on channel: ChannelID
    ) throws(BrokerException) -> (QueueID, Binding) {
        let name = try self.queueName(queue, on: channel)
        guard !name.hasPrefix(PropertyScan.directReplyAddress) else {
            throw .accessRefused("\(self.describe(queue: name)) cannot be bound")
        }
        let id = try self.queue(named: name)
        let key = queue.isEmpty && key.isEmpty ? name : key
        return (
            id, Binding(source: stripped(exchange), destination: .queue(id), routingKey: key, arguments: arguments)
        )
    }

    private mutating func bind(_ binding: Binding) throws(BrokerException) {
        _ = try self.exchange(binding.source)
        guard try self.routing[binding.source]?.bind(binding) == true else { return }
        switch binding.destination {
        case .queue(let queue): self.queues[queue]?.incoming.insert(binding)
        case .exchange(let name): self.routing[name]?.incoming.insert(binding)
        }
    }

    /// Removes a binding, and its source if that deletes itself after its last one.
    mutating func unbind(_ binding: Binding) {
        guard self.routing[binding.source]?.unbind(binding) == true else { return }
        self.forget(binding)
        if let source = self.routing[binding.source], source.autoDelete, !source.isUsed {
            self.deleteExchange(named: binding.source)
        }
    }

    /// Removes a binding from its destination's list.
    private mutating func forget(_ binding: Binding) {
        switch binding.destination {
        case .queue(let queue): self.queues[queue]?.incoming.remove(binding)
        case .exchange(let name): self.routing[name]?.incoming.remove(binding)
        }
    }

    // MARK: - Checks

    private func refuseDefault(_ name: String) throws(BrokerException) {
        if name.isEmpty { throw .accessRefused("operation not permitted on the default exchange") }
    }

    func exchange(_ name: String) throws(BrokerException) -> Exchange {
        guard let exchange = self.routing[name] else {
            throw .notFound("no \(self.describe(exchange: name))")
        }
        return exchange
    }
}
