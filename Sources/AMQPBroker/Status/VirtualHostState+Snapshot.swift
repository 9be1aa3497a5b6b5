// SPDX-License-Identifier: Apache-2.0

/// Looking inside.
extension VirtualHostState {
    typealias Snapshot = AMQPEmbeddedBroker.Snapshot

    /// Adds what this virtual host holds, in the order of names and numbers.
    func describe(in snapshot: inout Snapshot) {
        snapshot.connections += self.clients.ids.compactMap(self.connection).sorted { $0.id < $1.id }
        snapshot.channels += self.channels.ids.compactMap(self.channel).sorted {
            ($0.connection, $0.number) < ($1.connection, $1.number)
        }
        snapshot.consumers += self.consumers.ids.compactMap(self.consumer).sorted {
            ($0.queue, $0.connection, $0.channel, $0.tag) < ($1.queue, $1.connection, $1.channel, $1.tag)
        }
        let exchanges = self.routing.exchanges.values.sorted { $0.name < $1.name }
        snapshot.exchanges += exchanges.map(self.exchange)
        snapshot.bindings += exchanges.flatMap { exchange in
            exchange.outgoing.compactMap(self.binding).sorted {
                ($0.destination, $0.routingKey) < ($1.destination, $1.routingKey)
            }
        }
        snapshot.queues += self.queues.ids.compactMap(self.queue).sorted { $0.name < $1.name }
    }

    private func number(of client: ClientID?) -> UInt64? { client.flatMap { self.clients[$0]?.identity.number } }

    private func connection(_ id: ClientID) -> Snapshot.Connection? {
        guard let client = self.clients[id] else { return nil }
        return Snapshot.Connection(
            id: client.identity.number, name: client.identity.name, address: client.identity.address,
            user: client.user, virtualHost: self.name, channels: client.channels.count, isBlocked: client.isBlocked,
            isThrottled: client.isPaused)
    }

    private func channel(_ id: ChannelID) -> Snapshot.Channel? {
        guard let channel = self.channels[id], let connection = self.number(of: channel.connection) else { return nil }
        return Snapshot.Channel(
            connection: connection, number: channel.number, consumers: channel.consumers.count,
            unacknowledged: channel.unacked.count, prefetch: channel.prefetch,
            isConfirming: channel.confirms != nil, isTransactional: channel.transaction != nil)
    }

    private func consumer(_ id: ConsumerID) -> Snapshot.Consumer? {
        guard let consumer = self.consumers[id], let channel = self.channels[consumer.channel],
            let connection = self.number(of: channel.connection), let queue = self.queues[consumer.queue],
            let standing = queue.consumers.standing(of: id)
        else { return nil }
        return Snapshot.Consumer(
            tag: consumer.tag, queue: queue.name, virtualHost: self.name, connection: connection,
            channel: channel.number, acknowledges: !consumer.noAck, prefetch: standing.prefetch,
            unacknowledged: standing.outstanding, priority: standing.priority, isActive: !standing.isStandby,
            isExclusive: queue.exclusiveConsumer == id)
    }

    private func exchange(_ exchange: Exchange) -> Snapshot.Exchange {
        Snapshot.Exchange(
            name: exchange.name, virtualHost: self.name, type: exchange.kind.rawValue, isDurable: exchange.durable,
            isAutoDelete: exchange.autoDelete, isInternal: exchange.isInternal, alternate: exchange.alternate)
    }

    private func binding(_ binding: Binding) -> Snapshot.Binding? {
        let (destination, isToExchange): (String?, Bool) =
            switch binding.destination {
            case .queue(let queue): (self.queues[queue]?.name, false)
            case .exchange(let name): (name, true)
            }
        return destination.map {
            Snapshot.Binding(
                virtualHost: self.name, source: binding.source, destination: $0, isToExchange: isToExchange,
                routingKey: binding.routingKey)
        }
    }

    private func queue(_ id: QueueID) -> Snapshot.Queue? {
        guard let queue = self.queues[id] else { return nil }
        let (published, delivered) = (queue.counters.published, queue.counters.delivered)
        return Snapshot.Queue(
            name: queue.name, virtualHost: self.name, type: queue.properties.kind.rawValue,
            isDurable: queue.properties.durable, isAutoDelete: queue.properties.autoDelete,
            owner: self.number(of: queue.owner), ready: queue.ready.count, readyBytes: queue.ready.byteCount,
            unacknowledged: queue.unackedCount, consumers: queue.consumers.count, published: published.total,
            delivered: delivered.total, publishedPerSecond: published.rate(at: self.now),
            deliveredPerSecond: delivered.rate(at: self.now))
    }
}

extension BrokerCore {
    func snapshot() -> AMQPEmbeddedBroker.Snapshot {
        var snapshot = AMQPEmbeddedBroker.Snapshot(of: self.memory)
        for (_, virtualHost) in self.virtualHosts.sorted(by: { $0.key < $1.key }) {
            virtualHost.perform { $0.describe(in: &snapshot) }
        }
        return snapshot
    }
}

extension AMQPEmbeddedBroker.Snapshot {
    /// What is the whole broker's; virtual hosts add to it.
    init(of memory: MemoryGauge?) {
        self.memoryBytes = memory?.usedBytes ?? 0
        self.memoryLimit = memory?.limit ?? 0
        self.hasMemoryAlarm = memory?.isOver ?? false
    }
}
