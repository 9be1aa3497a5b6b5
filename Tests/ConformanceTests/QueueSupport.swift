// SPDX-License-Identifier: Apache-2.0
import AMQPClient
import AMQPWire
import NIOCore
import TestSupport
import Testing

extension AMQPFieldValue {
    /// A long string that is no literal.
    static func text(_ text: String) -> AMQPFieldValue { .longString(AMQPLongString(text)) }
}

extension AMQPChannel {
    /// Publishes to a queue, and returns when the broker has the message. The channel is in confirm mode.
    func put(
        _ text: String, in queue: String, priority: UInt8? = nil, expiration: String? = nil, headers: AMQPTable? = nil
    ) async throws {
        var message = AMQPMessage(text)
        message.properties.priority = priority
        message.properties.expiration = expiration
        message.properties.headers = headers
        try await self.publishConfirmed(message, routingKey: queue)
    }

    /// Publishes a message. The channel is in confirm mode.
    ///
    /// - Returns: whether the broker took it (`basic.ack`), rather than refused it (`basic.nack`).
    func accepts(_ text: String, exchange: String = "", routingKey: String) async throws -> Bool {
        do throws(AMQPError) {
            try await self.publishConfirmed(AMQPMessage(text), exchange: exchange, routingKey: routingKey)
            return true
        } catch {
            guard error.code == .nacked else { throw error }
            return false
        }
    }

    /// How many messages of a queue are ready.
    func readyCount(_ queue: String) async throws -> Int {
        try await self.declareQueue(queue, passive: true).messageCount
    }

    /// Waits until as many messages of a queue are ready: RabbitMQ's queues may hear of a rejection after they were asked.
    func expectReady(_ count: Int, in queue: String) async throws {
        try await eventually("\(count) messages are ready") { try await self.readyCount(queue) == count }
    }

    /// Takes all that is ready in a queue.
    ///
    /// - Returns: the texts, in their order.
    func drain(_ queue: String) async throws -> [String] {
        var texts: [String] = []
        while let delivery = try await self.get(queue, acknowledgement: .automatic) { texts.append(delivery.text) }
        return texts
    }
}

extension AMQPConsumer {
    /// The next delivery, which has to come.
    func next() async throws -> AMQPDelivery {
        let deliveries = self.deliveries
        let delivery = try await within(.seconds(20), "a delivery") { () async throws -> AMQPDelivery? in
            var iterator = deliveries.makeAsyncIterator()
            return try await iterator.next()
        }
        return try #require(delivery)
    }
}

/// A queue for dead letters, and a consumer that waits for them.
struct Graveyard {
    let queue: String
    private let consumer: AMQPConsumer

    init(on channel: AMQPChannel) async throws {
        let queue = try await channel.declareQueue("", exclusive: true).name
        self.queue = queue
        self.consumer = try await channel.consume(queue, acknowledgement: .automatic)
    }

    /// The arguments of a queue whose dead letters come here, by the default exchange.
    func arguments(_ others: AMQPTable = [:]) -> AMQPTable {
        var arguments = others
        arguments["x-dead-letter-exchange"] = ""
        arguments["x-dead-letter-routing-key"] = .text(self.queue)
        return arguments
    }

    /// The next dead letter, which has to come.
    func next() async throws -> AMQPDelivery { try await self.consumer.next() }
}

/// How often, where and why a message died: an entry of the header `x-death`, without its time.
struct Death: Hashable {
    var queue: String
    var reason: String
    var count: Int64 = 1
    /// What the message was published to, and with which keys, before it came to the queue.
    var exchange = ""
    var routingKeys: [String]
}

extension Death {
    /// - Returns: `nil` if the entry lacks something.
    init?(_ entry: AMQPTable) {
        guard let queue = entry["queue"]?.string, let reason = entry["reason"]?.string,
            let count = entry["count"]?.integer, let exchange = entry["exchange"]?.string,
            case .array(let keys)? = entry["routing-keys"]
        else { return nil }
        self.init(
            queue: queue, reason: reason, count: count, exchange: exchange, routingKeys: keys.compactMap(\.string))
    }
}

extension AMQPDelivery {
    /// A header that is text.
    func header(_ name: String) -> String? { self.properties.headers?[name]?.string }

    /// The entries of `x-death` as they came.
    var deathEntries: [AMQPTable] {
        guard case .array(let values)? = self.properties.headers?["x-death"] else { return [] }
        return values.compactMap { (value: AMQPFieldValue) -> AMQPTable? in
            guard case .table(let entry) = value else { return nil }
            return entry
        }
    }

    /// The entries of `x-death`, in their order.
    var deaths: [Death] { self.deathEntries.compactMap { Death($0) } }

    /// Checks the headers that say how the message died first.
    func expectFirstDeath(
        queue: String, reason: String, exchange: String = "", sourceLocation: SourceLocation = #_sourceLocation
    ) {
        #expect(self.header("x-first-death-queue") == queue, sourceLocation: sourceLocation)
        #expect(self.header("x-first-death-reason") == reason, sourceLocation: sourceLocation)
        #expect(self.header("x-first-death-exchange") == exchange, sourceLocation: sourceLocation)
    }
}
