// SPDX-License-Identifier: Apache-2.0
import AMQPWire

/// The exchanges of a virtual host, and the way from a publish to queues.
///
/// The default exchange is not among them: it is the queue names themselves.
struct RoutingTable: Sendable {
    private(set) var exchanges: [String: Exchange] = [:]

    /// With what every virtual host begins; all durable (RabbitMQ errata 20).
    init() {
        for (name, kind) in [
            ("amq.direct", Exchange.Kind.direct), ("amq.fanout", .fanout), ("amq.topic", .topic),
            ("amq.headers", .headers), ("amq.match", .headers),
        ] {
            self.exchanges[name] = Exchange(name: name, kind: kind, durable: true)
        }
        self.exchanges["amq.rabbitmq.trace"] = Exchange(
            name: "amq.rabbitmq.trace", kind: .topic, durable: true, isInternal: true)
    }

    subscript(name: String) -> Exchange? {
        _read { yield self.exchanges[name] }
        _modify { yield &self.exchanges[name] }
    }

    /// The queues a message goes to, each once, whatever the number of ways that lead there.
    ///
    /// - Parameter keys: the routing key and what `CC` and `BCC` add.
    func route(exchange: String, keys: [String], headers: () -> AMQPTable) -> [SlotID<BrokerQueue>] {
        var queues: [SlotID<BrokerQueue>] = []
        var seen: Set<SlotID<BrokerQueue>> = []
        // Exchanges bound in a circle are visited once.
        var visited: Set<String> = [exchange]
        var next = [exchange]
        func add(_ queue: SlotID<BrokerQueue>) {
            if seen.insert(queue).inserted { queues.append(queue) }
        }
        while let name = next.popLast() {
            guard let exchange = self.exchanges[name] else { continue }
            var found = false
            for key in keys {
                exchange.route(key, headers: headers) { destination in
                    found = true
                    switch destination {
                    case .queue(let queue): add(queue)
                    case .exchange(let name): if visited.insert(name).inserted { next.append(name) }
                    }
                }
            }
            if !found, let alternate = exchange.alternate, visited.insert(alternate).inserted {
                next.append(alternate)
            }
        }
        return queues
    }
}
