// SPDX-License-Identifier: Apache-2.0
import AMQPClient
import AMQPWire
import NIOCore
import TestSupport
import Testing

@Suite("Types of queues", .timeLimit(.minutes(2)))
struct QuorumTypeTests {
    // MARK: - What is declared

    @Test("A quorum queue is published to, fetched and consumed from", arguments: TestBroker.modes)
    func use(broker: TestBroker) async throws {
        try await broker.run { url in
            try await withQuorumQueue(url) { channel, queue, _ in
                for number in 0..<3 { try await channel.put("\(number)", in: queue) }
                let fetched = try #require(try await channel.get(queue))
                #expect(fetched.text == "0" && !fetched.redelivered)
                try fetched.ack()
                let consumer = try await channel.consume(queue)
                for number in 1..<3 {
                    let delivery = try await consumer.next()
                    #expect(delivery.text == "\(number)" && !delivery.redelivered)
                    try delivery.ack()
                }
                try await consumer.cancel()
                try await eventually("it is empty") { try await channel.readyCount(queue) == 0 }
            }
        }
    }

    @Test("A quorum queue has to be durable, shared, lasting, and named by its user", arguments: TestBroker.modes)
    func properties(broker: TestBroker) async throws {
        try await broker.run { url in
            try await withConnection(url) { connection in
                let quorum: AMQPTable = ["x-queue-type": "quorum"]
                let queue = TestBroker.uniqueName("quorum")
                let place = "for queue '\(queue)' in vhost '/'"
                await expectRefusal(406, "invalid property 'non-durable' \(place)") {
                    try await connection.openChannel().declareQueue(queue, arguments: quorum)
                }
                await expectRefusal(406, "invalid property 'exclusive-owner' \(place)") {
                    try await connection.openChannel().declareQueue(
                        queue, durable: true, exclusive: true, arguments: quorum)
                }
                await expectRefusal(406, "invalid property 'auto-delete' \(place)") {
                    try await connection.openChannel().declareQueue(
                        queue, durable: true, autoDelete: true, arguments: quorum)
                }
                await expectRefusal(406, "Cannot declare a server-named queue for type rabbit_quorum_queue") {
                    try await connection.openChannel().declareQueue("", durable: true, arguments: quorum)
                }
            }
        }
    }

    @Test("What belongs to another type of queue is refused", arguments: TestBroker.modes)
    func argumentsOfOtherTypes(broker: TestBroker) async throws {
        try await broker.run { url in
            try await withConnection(url) { connection in
                let cases: [(type: String, name: String, value: AMQPFieldValue)] = [
                    ("quorum", "x-max-priority", 5), ("quorum", "x-queue-mode", "lazy"), ("quorum", "x-max-age", "1D"),
                    ("classic", "x-delivery-limit", 5), ("classic", "x-dead-letter-strategy", "at-most-once"),
                    ("classic", "x-quorum-initial-group-size", 1), ("classic", "x-max-age", "1D"),
                ]
                for (type, name, value) in cases {
                    let queue = TestBroker.uniqueName(type)
                    let text =
                        "invalid arg '\(name)' for queue '\(queue)' in vhost '/' of queue type rabbit_\(type)_queue"
                    await expectRefusal(406, text) {
                        try await connection.openChannel().declareQueue(
                            queue, durable: true, arguments: ["x-queue-type": .text(type), name: value])
                    }
                }
            }
        }
    }

    @Test("A type that nobody knows is refused", arguments: TestBroker.modes)
    func unknownType(broker: TestBroker) async throws {
        try await broker.run { url in
            try await withConnection(url) { connection in
                let queue = TestBroker.uniqueName()
                let text = "invalid arg 'x-queue-type' for queue '\(queue)' in vhost '/': "
                await expectRefusal(406, text + #""unsupported queue type 'heap'""#) {
                    try await connection.openChannel().declareQueue(
                        queue, exclusive: true, arguments: ["x-queue-type": "heap"])
                }
                await expectRefusal(406, text + "{unacceptable_type,signedint}") {
                    try await connection.openChannel().declareQueue(
                        queue, exclusive: true, arguments: ["x-queue-type": .int32(1)])
                }
            }
        }
    }

    @Test("Declared again, type and delivery limit have to be the same", arguments: TestBroker.modes)
    func inequivalent(broker: TestBroker) async throws {
        try await broker.run { url in
            try await withQuorumQueue(url, ["x-delivery-limit": .int32(3)]) { channel, queue, _ in
                let connection = channel.connection
                let quorum: AMQPTable = ["x-queue-type": "quorum"]
                var same = quorum
                same["x-delivery-limit"] = .int64(3)
                try await channel.declareQueue(queue, durable: true, arguments: same)
                let place = "for queue '\(queue)' in vhost '/': "
                await expectRefusal(
                    406,
                    "inequivalent arg 'x-delivery-limit' \(place)received none but current is the value '3' of type "
                        + "'signedint'"
                ) {
                    try await connection.openChannel().declareQueue(queue, durable: true, arguments: quorum)
                }
                await expectRefusal(
                    406, "inequivalent arg 'x-queue-type' \(place)received 'classic' but current is 'quorum'"
                ) {
                    try await connection.openChannel().declareQueue(
                        queue, durable: true, arguments: ["x-queue-type": "classic"])
                }
                // Without a type it is a classic queue.
                await expectRefusal(406, "inequivalent arg 'x-queue-type' \(place)received none but current is") {
                    try await connection.openChannel().declareQueue(queue, durable: true)
                }
            }
        }
    }

    // MARK: - Deliveries that are counted

    @Test("A quorum queue counts how often a message was rejected back into it", arguments: TestBroker.modes)
    func deliveryCount(broker: TestBroker) async throws {
        // RabbitMQ 3.10 counts every way back; 4.3 a rejection, and neither `basic.nack` nor the end of a channel.
        try await broker.run { url in
            try await withQuorumQueue(url) { channel, queue, _ in
                let consumer = try await channel.consume(queue)
                try await channel.put("x", in: queue, headers: ["mine": "kept"])
                for count: Int64 in 0..<4 {
                    let delivery = try await consumer.next()
                    #expect(delivery.redelivered == (count > 0))
                    #expect(delivery.header("mine") == "kept")
                    let counted = delivery.properties.headers?["x-delivery-count"]
                    // The first time it is 0, or is left out.
                    if count > 0 || counted != nil { #expect(counted == AMQPFieldValue.int64(count)) }
                    if count < 3 { try delivery.reject(requeue: true) } else { try delivery.ack() }
                }
            }
        }
    }

    @Test("A classic queue does not count", arguments: TestBroker.modes)
    func classicDoesNotCount(broker: TestBroker) async throws {
        try await broker.run { url in
            try await withConfirmingChannel(url) { channel in
                let queue = try await channel.declareQueue(
                    "", exclusive: true, arguments: ["x-queue-type": "classic"]
                ).name
                try await channel.put("x", in: queue)
                try #require(try await channel.get(queue)).reject(requeue: true)
                let again = try #require(try await channel.get(queue))
                #expect(again.redelivered && again.properties.headers == nil)
            }
        }
    }

    @Test(
        "What was rejected more often than x-delivery-limit allows is dead-lettered as delivery_limit",
        arguments: TestBroker.modes)
    func deliveryLimit(broker: TestBroker) async throws {
        try await broker.run { url in
            try await withQuorumQueue(url, ["x-delivery-limit": 2], deadLettering: true) { channel, queue, graveyard in
                let consumer = try await channel.consume(queue)
                try await channel.put("x", in: queue, expiration: "600000")
                for count: Int64 in 0...2 {
                    let delivery = try await consumer.next()
                    #expect(delivery.text == "x")
                    #expect(delivery.properties.headers?["x-delivery-count"]?.integer ?? 0 == count)
                    try delivery.reject(requeue: true)
                }
                let letter = try await graveyard.next()
                #expect(letter.text == "x" && letter.properties.expiration == nil)
                #expect(letter.deaths == [Death(queue: queue, reason: "delivery_limit", routingKeys: [queue])])
                #expect(letter.deathEntries.first?["original-expiration"]?.string == "600000")
                letter.expectFirstDeath(queue: queue, reason: "delivery_limit")
                try await consumer.cancel()
                try await channel.expectReady(0, in: queue)
            }
        }
    }

    @Test("With x-delivery-limit 0 the first rejection is the last", arguments: TestBroker.modes)
    func noFurtherDelivery(broker: TestBroker) async throws {
        try await broker.run { url in
            try await withQuorumQueue(url, ["x-delivery-limit": 0], deadLettering: true) { channel, queue, graveyard in
                let consumer = try await channel.consume(queue)
                try await channel.put("x", in: queue)
                try await consumer.next().reject(requeue: true)
                let letter = try await graveyard.next()
                #expect(letter.deaths == [Death(queue: queue, reason: "delivery_limit", routingKeys: [queue])])
            }
        }
    }

    @Test("Without a dead-letter exchange it is dropped", arguments: TestBroker.modes)
    func limitWithoutExchange(broker: TestBroker) async throws {
        try await broker.run { url in
            try await withQuorumQueue(url, ["x-delivery-limit": 1]) { channel, queue, _ in
                try await channel.qos(prefetchCount: 1)
                let consumer = try await channel.consume(queue)
                try await channel.put("dropped", in: queue)
                for _ in 0..<2 {
                    let delivery = try await consumer.next()
                    #expect(delivery.text == "dropped")
                    try delivery.reject(requeue: true)
                }
                try await channel.put("next", in: queue)
                #expect(try await consumer.next().text == "next")
            }
        }
    }

    @Test("What is rejected for good dies of that, whatever the limit", arguments: TestBroker.modes)
    func rejectedForGood(broker: TestBroker) async throws {
        try await broker.run { url in
            try await withQuorumQueue(url, ["x-delivery-limit": 5], deadLettering: true) { channel, queue, graveyard in
                let consumer = try await channel.consume(queue)
                try await channel.put("x", in: queue)
                try await consumer.next().reject(requeue: true)
                try await consumer.next().reject(requeue: false)
                let letter = try await graveyard.next()
                #expect(letter.deaths == [Death(queue: queue, reason: "rejected", routingKeys: [queue])])
            }
        }
    }

    // MARK: - Rules that it shares

    @Test("Messages of a quorum queue expire and make room as well", arguments: TestBroker.modes)
    func otherDeaths(broker: TestBroker) async throws {
        try await broker.run { url in
            try await withQuorumQueue(url, ["x-max-length": 1], deadLettering: true) { channel, queue, graveyard in
                for text in ["0", "1"] { try await channel.put(text, in: queue) }
                let first = try await graveyard.next()
                #expect(first.text == "0")
                #expect(first.deaths == [Death(queue: queue, reason: "maxlen", routingKeys: [queue])])
            }
            try await withQuorumQueue(url, ["x-message-ttl": 50], deadLettering: true) { channel, queue, graveyard in
                try await channel.put("x", in: queue)
                let letter = try await graveyard.next()
                #expect(letter.deaths == [Death(queue: queue, reason: "expired", routingKeys: [queue])])
            }
        }
    }

    @Test(
        "With a single active consumer, fetching from a quorum queue is refused with 405",
        arguments: TestBroker.modes)
    func fetchingFromSingleActive(broker: TestBroker) async throws {
        // A classic queue serves it: see `SingleActiveConsumerTests`.
        try await broker.run { url in
            try await withQuorumQueue(url, ["x-single-active-consumer": true]) { channel, queue, _ in
                let connection = channel.connection
                try await channel.put("x", in: queue)
                let text =
                    "RESOURCE_LOCKED - cannot obtain access to locked queue '\(queue)' in vhost '/'. basic.get "
                    + "operations are not supported by quorum queues with single active consumer"
                await expectRefusal(405, text) { _ = try await connection.openChannel().get(queue) }
                let active = try await channel.consume(queue)
                let waiting = try await channel.consume(queue)
                let delivery = try await active.next()
                #expect(delivery.text == "x")
                try delivery.ack()
                try await active.cancel()
                try await channel.put("y", in: queue)
                #expect(try await waiting.next().text == "y")
            }
        }
    }
}

/// Runs `body` on a channel in confirm mode with a quorum queue, which is deleted whatever happens.
///
/// - Parameter deadLettering: whether its dead letters go to the graveyard.
private func withQuorumQueue(
    _ url: String, _ arguments: AMQPTable = [:], deadLettering: Bool = false,
    isolation: isolated (any Actor)? = #isolation,
    _ body: (AMQPChannel, _ queue: String, Graveyard) async throws -> Void
) async throws {
    let connection = try await AMQPConnection.connect(AMQPConfiguration(uri: url))
    let queue = TestBroker.uniqueName("quorum")
    do {
        let channel = try await connection.openChannel()
        try await channel.confirmSelect()
        let graveyard = try await Graveyard(on: channel)
        var all = deadLettering ? graveyard.arguments(arguments) : arguments
        all["x-queue-type"] = "quorum"
        try await channel.declareQueue(queue, durable: true, arguments: all)
        try await body(channel, queue, graveyard)
        try await channel.deleteQueue(queue)
        await connection.close()
    } catch {
        _ = try? await connection.openChannel().deleteQueue(queue)
        await connection.close()
        throw error
    }
}
