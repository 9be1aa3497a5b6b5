// SPDX-License-Identifier: Apache-2.0
import AMQPWire

/// `exchange.*` (class 40), and bindings of both kinds.
extension VirtualHostState {
    mutating func declareExchange(
        _ declare: AMQPMethod.ExchangeDeclare, on channel: ChannelID
    ) throws(BrokerException) {
        let name = stripped(declare.exchange)
        try self.refuseDefault(name)
        if declare.passive {
            try self.authorizeLook(at: .exchange(name), on: channel)
            _ = try self.exchange(name)
            return
        }
        // Before 4.0 this is told before anything else, and ends the connection.
        if self.settings.compatibility == .lenient, Exchange.Kind(rawValue: declare.type) == nil {
            throw .commandInvalid("unknown exchange type '\(declare.type)'")
        }
        try self.authorize(.configure, .exchange(name), on: channel)
        let resource = self.describe(exchange: name)
        if let current = self.routing[name] {
            try inequivalence("type", of: resource, received: declare.type, current: current.kind.rawValue)
            try inequivalence("durable", of: resource, received: declare.durable, current: current.durable)
            try inequivalence("auto_delete", of: resource, received: declare.autoDelete, current: current.autoDelete)
            try inequivalence("internal", of: resource, received: declare.internal, current: current.isInternal)
            let key = "alternate-exchange"
            guard declare.arguments[key].isEquivalent(to: current.arguments[key]) else {
                let difference = inequivalence(received: declare.arguments[key], current: current.arguments[key])
                throw .preconditionFailed("inequivalent arg '\(key)' for \(resource): \(difference)")
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
        if let target = try self.arguments(declare.arguments, of: resource).exchange("alternate-exchange") {
            try self.authorize(.read, .exchange(name), on: channel)
            try self.authorize(.write, .exchange(target), on: channel)
        }
        self.routing[name] = Exchange(
            name: name, kind: kind, durable: declare.durable, autoDelete: declare.autoDelete,
            isInternal: declare.internal, arguments: declare.arguments)
    }

    mutating func deleteExchange(
        _ delete: AMQPMethod.ExchangeDelete, on channel: ChannelID
    ) throws(BrokerException) {
        let name = stripped(delete.exchange)
        try self.refuseDefault(name)
        try self.authorize(.configure, .exchange(name), on: channel)
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

    mutating func bindExchange(_ bind: AMQPMethod.ExchangeBind, on channel: ChannelID) throws(BrokerException) {
        try self.checkExchangeBinding(from: bind.source, to: bind.destination, on: channel)
        _ = try self.exchange(stripped(bind.source))
        _ = try self.exchange(stripped(bind.destination))
        try self.bind(
            Binding(
                source: stripped(bind.source), destination: .exchange(stripped(bind.destination)),
                routingKey: bind.routingKey, arguments: bind.arguments))
    }

    mutating func unbindExchange(
        _ unbind: AMQPMethod.ExchangeUnbind, on channel: ChannelID
    ) throws(BrokerException) {
        try self.checkExchangeBinding(from: unbind.source, to: unbind.destination, on: channel)
        self.unbind(
            Binding(
                source: stripped(unbind.source), destination: .exchange(stripped(unbind.destination)),
                routingKey: unbind.routingKey, arguments: unbind.arguments))
    }

    mutating func bindQueue(_ bind: AMQPMethod.QueueBind, on channel: ChannelID) throws(BrokerException) {
        let ends = try self.bindingEnds(bind.queue, bind.exchange, bind.routingKey, on: channel)
        _ = try self.exchange(ends.source)
        guard !ends.queue.hasPrefix(PropertyScan.directReplyAddress) else {
            throw .accessRefused("\(self.describe(queue: ends.queue)) cannot be bound")
        }
        let queue = try self.queue(named: ends.queue)
        try self.checkAccess(to: queue, on: channel)
        try self.bind(
            Binding(source: ends.source, destination: .queue(queue), routingKey: ends.key, arguments: bind.arguments))
    }

    /// Removing what is not there succeeds.
    mutating func unbindQueue(_ unbind: AMQPMethod.QueueUnbind, on channel: ChannelID) throws(BrokerException) {
        let ends = try self.bindingEnds(unbind.queue, unbind.exchange, unbind.routingKey, on: channel)
        guard let queue = self.queueIDs[ends.queue] else { return }
        let binding = Binding(
            source: ends.source, destination: .queue(queue), routingKey: ends.key, arguments: unbind.arguments)
        guard self.queues[queue]?.incoming.contains(binding) == true else { return }
        try self.checkAccess(to: queue, on: channel)
        self.unbind(binding)
    }

    /// An empty queue name is the queue declared last on the channel, and then an empty key is its name.
    private mutating func bindingEnds(
        _ queue: String, _ exchange: String, _ key: String, on channel: ChannelID
    ) throws(BrokerException) -> (queue: String, source: String, key: String) {
        try self.refuseDefault(exchange)
        let name = try self.queueName(queue, on: channel)
        try self.authorize(.write, .queue(name), on: channel)
        try self.authorize(.read, .exchange(stripped(exchange)), on: channel)
        return (name, stripped(exchange), queue.isEmpty && key.isEmpty ? name : key)
    }

    private mutating func bind(_ binding: Binding) throws(BrokerException) {
        let source = try self.exchange(binding.source)
        if source.kind == .topic, self.settings.compatibility == .strict,
            TopicPattern.words(of: binding.routingKey).count(where: { $0 == "#" }) > 2
        {
            throw .preconditionFailed("invalid binding key '\(binding.routingKey)': more than two '#'")
        }
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

    private mutating func checkExchangeBinding(
        from source: String, to destination: String, on channel: ChannelID
    ) throws(BrokerException) {
        try self.refuseDefault(source)
        try self.refuseDefault(destination)
        try self.authorize(.write, .exchange(stripped(destination)), on: channel)
        try self.authorize(.read, .exchange(stripped(source)), on: channel)
    }

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
