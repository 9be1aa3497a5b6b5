// SPDX-License-Identifier: Apache-2.0
import AMQPWire

/// `queue.*` (class 50), without bindings.
extension VirtualHostState {
    mutating func declareQueue(
        _ declare: AMQPMethod.QueueDeclare, on channel: ChannelID
    ) throws(BrokerException) -> AMQPMethod.QueueDeclareOk {
        let name = stripped(declare.queue)
        if name.hasPrefix(PropertyScan.directReplyAddress) {
            guard name == PropertyScan.directReplyAddress || self.replyAddresses[name] != nil else {
                throw .notFound("no \(self.describe(queue: name))")
            }
            return AMQPMethod.QueueDeclareOk(queue: name, messageCount: 0, consumerCount: 1)
        }
        if declare.passive {
            try self.authorizeLook(at: .queue(name), on: channel)
            let id = try self.queue(named: name)
            try self.checkAccess(to: id, on: channel)
            return self.declared(id, on: channel)
        }
        guard !name.hasPrefix("amq.") else {
            throw .accessRefused("queue name '\(name)' contains reserved prefix 'amq.*'")
        }
        guard let client = self.channels[channel]?.connection else { throw .internalError("no connection") }
        let final = name.isEmpty ? Self.randomName("amq.gen-") : name
        try self.authorize(.configure, .queue(final), on: channel)
        let resource = self.describe(queue: final)
        let owner = declare.exclusive ? client : nil
        if let id = self.queueIDs[final] {
            // RabbitMQ checks exclusivity before anything else (errata 8).
            if let queue = self.queues[id], queue.owner != owner { throw self.locked(final) }
            // What is wrong with a value is said only of a new queue.
            try self.queues[id]?.properties.check(equivalent: declare, resource: resource)
            return self.declared(id, on: channel)
        }
        if name.isEmpty, declare.arguments["x-queue-type"]?.string == QueueProperties.Kind.quorum.rawValue {
            throw .preconditionFailed(
                "Cannot declare a server-named queue for type \(QueueProperties.Kind.quorum.moduleName)")
        }
        let properties = try QueueProperties(
            declare, resource: resource, compatibility: self.settings.compatibility)
        if !properties.durable, !properties.exclusive, self.settings.compatibility == .strict {
            throw .internalError(
                "Feature `transient_nonexcl_queues` is deprecated. By default, this feature is not permitted anymore: "
                    + "declare \(resource) durable or exclusive")
        }
        if let exchange = properties.deadLetter?.exchange {
            try self.authorize(.read, .queue(final), on: channel)
            try self.authorize(.write, .exchange(exchange), on: channel)
        }
        guard self.queues.count < self.settings.maximumQueues else {
            throw .preconditionFailed(
                "cannot declare queue '\(final)': queue limit in vhost '\(self.name)' (\(self.settings.maximumQueues)) "
                    + "is reached")
        }
        let id = self.queues.insert(BrokerQueue(name: final, properties: properties, owner: owner, now: self.now))
        self.queueIDs[final] = id
        if owner != nil { self.clients[client]?.exclusiveQueues.insert(id) }
        return self.declared(id, on: channel)
    }

    private mutating func declared(_ id: QueueID, on channel: ChannelID) -> AMQPMethod.QueueDeclareOk {
        self.queues[id]?.touch(now: self.now)
        self.scheduleDeadline(of: id)
        let name = self.queues[id]?.name ?? ""
        self.channels[channel]?.lastQueue = name
        return AMQPMethod.QueueDeclareOk(
            queue: name, messageCount: UInt32(clamping: self.queues[id]?.ready.count ?? 0),
            consumerCount: UInt32(clamping: self.queues[id]?.consumers.count ?? 0))
    }

    /// Answers how many messages were ready, and then tells the consumers. Deleting what is not there succeeds.
    mutating func deleteQueue(
        _ delete: AMQPMethod.QueueDelete, on channel: ChannelID
    ) throws(BrokerException) {
        let name = try self.queueName(delete.queue, on: channel)
        try self.authorize(.configure, .queue(name), on: channel)
        guard let id = self.queueIDs[name], let queue = self.queues[id] else {
            self.reply(.queueDeleteOk(.init(messageCount: 0)), to: channel, noWait: delete.noWait)
            return
        }
        try self.checkAccess(to: id, on: channel)
        if delete.ifUnused, !queue.consumers.isEmpty {
            throw .preconditionFailed("\(self.describe(queue: name)) in use")
        }
        if delete.ifEmpty, !queue.ready.isEmpty {
            throw .preconditionFailed("\(self.describe(queue: name)) not empty")
        }
        let count = UInt32(clamping: queue.ready.count)
        self.reply(.queueDeleteOk(.init(messageCount: count)), to: channel, noWait: delete.noWait)
        self.deleteQueue(id)
    }

    mutating func purgeQueue(
        _ purge: AMQPMethod.QueuePurge, on channel: ChannelID
    ) throws(BrokerException) -> UInt32 {
        let name = try self.rawQueueName(purge.queue, on: channel)
        try self.authorize(.read, .queue(name), on: channel)
        let id = try self.queue(named: name)
        try self.checkAccess(to: id, on: channel)
        return UInt32(clamping: self.queues[id]?.purge() ?? 0)
    }

    /// Removes a queue: its consumers are told, its bindings go, what was handed out from it is nobody's any more.
    mutating func deleteQueue(_ id: QueueID) {
        guard let queue = self.queues.remove(id) else { return }
        self.queueIDs[queue.name] = nil
        if let owner = queue.owner { self.clients[owner]?.exclusiveQueues.remove(id) }
        let consumers = queue.consumers.ids.compactMap { self.consumers.remove($0) }
        for consumer in consumers.sorted(by: { $0.tag < $1.tag }) {
            self.channels[consumer.channel]?.consumers[consumer.tag] = nil
            self.notifyCancelled(consumer)
        }
        for binding in queue.incoming { self.unbind(binding) }
    }

    /// Tells a client that a consumer of its has ended, if it wants to be told.
    mutating func notifyCancelled(_ consumer: BrokerConsumer) {
        guard let client = self.channels[consumer.channel]?.connection,
            self.clients[client]?.notifiesCancel == true
        else { return }
        self.send(.basicCancel(.init(consumerTag: consumer.tag, noWait: true)), to: consumer.channel)
    }

    // MARK: - Checks

    /// The name a method means: the queue declared last if it gives none.
    func queueName(_ name: String, on channel: ChannelID) throws(BrokerException) -> String {
        stripped(try self.rawQueueName(name, on: channel))
    }

    /// The same for methods whose names RabbitMQ takes as they come, line ends and all.
    func rawQueueName(_ name: String, on channel: ChannelID) throws(BrokerException) -> String {
        guard name.isEmpty else { return name }
        guard let last = self.channels[channel]?.lastQueue else { throw .notFound("no previously declared queue") }
        return last
    }

    func queue(named name: String) throws(BrokerException) -> QueueID {
        guard let id = self.queueIDs[name] else { throw .notFound("no \(self.describe(queue: name))") }
        return id
    }

    /// An exclusive queue is its connection's alone.
    func checkAccess(to id: QueueID, on channel: ChannelID) throws(BrokerException) {
        guard let owner = self.queues[id]?.owner, owner != self.channels[channel]?.connection else { return }
        throw self.locked(self.queues[id]?.name ?? "")
    }

    private func locked(_ name: String) -> BrokerException {
        .resourceLocked(
            "cannot obtain exclusive access to locked \(self.describe(queue: name)). It could be originally declared "
                + "on another connection or the exclusive property value does not match that of the original "
                + "declaration.")
    }
}
