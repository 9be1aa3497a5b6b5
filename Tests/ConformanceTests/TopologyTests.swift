// SPDX-License-Identifier: Apache-2.0
import AMQPClient
import AMQPWire
import NIOCore
import TestSupport
import Testing

@Suite("Exchanges, queues and bindings")
struct TopologyTests {
    @Test("Queues are declared, counted, purged and deleted", arguments: TestBroker.modes)
    func queues(broker: TestBroker) async throws {
        try await broker.run { url in
            try await withConnection(url) { connection in
                let channel = try await connection.openChannel()
                let name = TestBroker.uniqueName()
                #expect(try await channel.declareQueue(name, durable: true).messageCount == 0)
                try await channel.confirmSelect()
                for _ in 0..<3 { try await channel.publishConfirmed(AMQPMessage("x"), routingKey: name) }
                let status = try await channel.declareQueue(name, passive: true)
                #expect((status.name, status.messageCount, status.consumerCount) == (name, 3, 0))
                #expect(try await channel.purgeQueue(name) == 3)
                try await channel.publishConfirmed(AMQPMessage("x"), routingKey: name)
                #expect(try await channel.deleteQueue(name) == 1)
                #expect(try await channel.deleteQueue(name) == 0)
                let named = try await channel.declareQueue("", exclusive: true)
                #expect(named.name.hasPrefix("amq.gen-"))
            }
        }
    }

    @Test("Refusals have RabbitMQ's codes and texts, and close the channel only", arguments: TestBroker.modes)
    func refusals(broker: TestBroker) async throws {
        try await broker.run { url in
            try await withConnection(url) { connection in
                let missing = TestBroker.uniqueName()
                await expectRefusal(404, "NOT_FOUND - no queue '\(missing)' in vhost '/'") {
                    try await connection.openChannel().declareQueue(missing, passive: true)
                }
                await expectRefusal(404, "NOT_FOUND - no queue '\(missing)' in vhost '/'") {
                    _ = try await connection.openChannel().consume(missing)
                }
                await expectRefusal(404, "NOT_FOUND - no exchange '\(missing)' in vhost '/'") {
                    try await connection.openChannel().declareExchange(missing, type: .direct, passive: true)
                }
                await expectRefusal(403, "ACCESS_REFUSED") {
                    try await connection.openChannel().declareQueue("amq.mine", exclusive: true)
                }
                await expectRefusal(403, "ACCESS_REFUSED") {
                    try await connection.openChannel().declareExchange("amq.mine", type: .direct)
                }
                let queue = TestBroker.uniqueName()
                try await connection.openChannel().declareQueue(queue, exclusive: true)
                await expectRefusal(406, "inequivalent arg 'auto_delete' for queue '\(queue)' in vhost '/'") {
                    try await connection.openChannel().declareQueue(queue, exclusive: true, autoDelete: true)
                }
                try await withConnection(url) { other in
                    await expectRefusal(405, "cannot obtain exclusive access to locked queue '\(queue)'") {
                        try await other.openChannel().declareQueue(queue, passive: true)
                    }
                }
                let exchange = TestBroker.uniqueName()
                let channel = try await connection.openChannel()
                try await channel.declareExchange(exchange, type: .direct, autoDelete: true)
                await expectRefusal(
                    406,
                    "inequivalent arg 'type' for exchange '\(exchange)' in vhost '/': received 'fanout' but current is 'direct'"
                ) {
                    try await connection.openChannel().declareExchange(exchange, type: .fanout, autoDelete: true)
                }
                try await channel.deleteExchange(exchange)
                #expect(await connection.isOpen)
            }
        }
    }

    @Test("Direct, fanout, topic and headers exchanges route", arguments: TestBroker.modes)
    func routing(broker: TestBroker) async throws {
        try await broker.run { url in
            try await withConfirmingChannel(url) { channel in
                let queue = try await channel.declareQueue("", exclusive: true).name
                func routed(_ exchange: String, _ key: String, headers: AMQPTable? = nil) async throws -> Bool {
                    var message = AMQPMessage("x")
                    message.properties.headers = headers
                    try await channel.publishConfirmed(message, exchange: exchange, routingKey: key)
                    return try await channel.purgeQueue(queue) == 1
                }
                let names = Dictionary(
                    uniqueKeysWithValues: ["direct", "fanout", "topic", "headers"].map {
                        ($0, TestBroker.uniqueName($0))
                    })
                for (type, name) in names {
                    try await channel.declareExchange(name, type: .init(stringLiteral: type), autoDelete: true)
                }
                let direct = try #require(names["direct"])
                try await channel.bindQueue(queue, to: direct, routingKey: "key")
                #expect(try await routed(direct, "key"))
                #expect(try await !routed(direct, "other"))
                let fanout = try #require(names["fanout"])
                try await channel.bindQueue(queue, to: fanout)
                #expect(try await routed(fanout, "anything"))
                let topic = try #require(names["topic"])
                try await channel.bindQueue(queue, to: topic, routingKey: "a.*.#")
                for (key, expected) in [("a.b", true), ("a.b.c.d", true), ("a", false), ("b.b", false)] {
                    #expect(try await routed(topic, key) == expected, "\(key)")
                }
                let headers = try #require(names["headers"])
                try await channel.bindQueue(queue, to: headers, arguments: ["x-match": "all", "a": 1, "b": "2"])
                #expect(try await routed(headers, "", headers: ["a": 1, "b": "2", "c": 3]))
                #expect(try await !routed(headers, "", headers: ["a": 1]))
                // One copy per queue, whatever the number of paths.
                try await channel.bindExchange(direct, to: topic, routingKey: "a.#")
                try await channel.bindQueue(queue, to: direct, routingKey: "a.b")
                #expect(try await routed(topic, "a.b"))
                try await channel.unbindQueue(queue, from: direct, routingKey: "key")
                #expect(try await !routed(direct, "key"))
                for name in names.values { try await channel.deleteExchange(name) }
            }
        }
    }

    @Test("A queue with x-expires goes when nobody uses it", arguments: TestBroker.modes)
    func expires(broker: TestBroker) async throws {
        try await broker.run { url in
            try await withConnection(url) { connection in
                let channel = try await connection.openChannel()
                let name = TestBroker.uniqueName()
                try await channel.declareQueue(name, durable: true, arguments: ["x-expires": 200])
                try await channel.confirmSelect()
                try await eventually("the queue is gone") {
                    do {
                        try await channel.publishConfirmed(AMQPMessage("x"), routingKey: name, mandatory: true)
                        return false
                    } catch let error as AMQPError {
                        #expect(error.code == .returned)
                        return true
                    }
                }
            }
        }
    }
}
