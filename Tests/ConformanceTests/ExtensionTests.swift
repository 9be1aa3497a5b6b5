// SPDX-License-Identifier: Apache-2.0
import AMQPClient
import AMQPWire
import NIOCore
import TestSupport
import Testing

@Suite("What brokers can do beyond AMQP 0-9-1")
struct ExtensionTests {
    @Test("The broker says what it is and what it can do", arguments: TestBroker.modes)
    func serverProperties(broker: TestBroker) async throws {
        try await broker.run { url in
            try await withConnection(url) { connection in
                let server = await connection.server
                #expect(server.product == (broker == .rabbitMQ ? "RabbitMQ" : "HareDo"))
                #expect(!server.version.isEmpty)
                let all: AMQPServerProperties.Capabilities = [
                    .publisherConfirms, .exchangeToExchangeBindings, .negativeAcknowledgements,
                    .consumerCancelNotifications, .consumerPriorities, .authenticationFailureClose,
                    .perConsumerPrefetch, .directReplyTo,
                ]
                #expect(server.capabilities.isSuperset(of: all))
            }
        }
    }

    @Test("A consumer of higher priority is served first, as long as it can take more", arguments: TestBroker.modes)
    func consumerPriorities(broker: TestBroker) async throws {
        try await broker.run { url in
            try await withConnection(url) { connection in
                let channel = try await connection.openChannel()
                try await channel.confirmSelect()
                let queue = try await channel.declareQueue("", exclusive: true).name
                try await channel.qos(prefetchCount: 2)
                let low = try await channel.consume(queue)
                let high = try await channel.consume(queue, arguments: ["x-priority": .int32(10)])
                for number in 0..<3 {
                    try await channel.publishConfirmed(AMQPMessage("\(number)"), routingKey: queue)
                }
                var atHigh = high.deliveries.makeAsyncIterator()
                for number in 0..<2 { #expect(try await atHigh.next()?.text == "\(number)") }
                var atLow = low.deliveries.makeAsyncIterator()
                #expect(try await atLow.next()?.text == "2")
                await expectRefusal(406, "x-priority") {
                    _ = try await connection.openChannel().consume(queue, arguments: ["x-priority": "high"])
                }
            }
        }
    }

    @Test("Exchanges pass on to exchanges, until they are unbound", arguments: TestBroker.modes)
    func exchangeBindings(broker: TestBroker) async throws {
        try await broker.run { url in
            try await withConnection(url) { connection in
                let channel = try await connection.openChannel()
                try await channel.confirmSelect()
                let (source, destination) = (TestBroker.uniqueName("source"), TestBroker.uniqueName("destination"))
                try await channel.declareExchange(source, type: .topic, autoDelete: true)
                try await channel.declareExchange(destination, type: .fanout, internal: true)
                let queue = try await channel.declareQueue("", exclusive: true).name
                try await channel.bindQueue(queue, to: destination)
                try await channel.bindExchange(destination, to: source, routingKey: "a.#", arguments: ["note": "x"])
                func arrives(_ key: String) async throws -> Bool {
                    try await channel.publishConfirmed(AMQPMessage("x"), exchange: source, routingKey: key)
                    return try await channel.purgeQueue(queue) == 1
                }
                #expect(try await arrives("a.b"))
                #expect(try await !arrives("b.b"))
                await expectRefusal(403, "internal exchange") {
                    let publisher = try await connection.openChannel()
                    try await publisher.confirmSelect()
                    try await publisher.publishConfirmed(AMQPMessage("x"), exchange: destination, routingKey: "")
                }
                // A binding is its key and its arguments: this is another one, and none that exists.
                try await channel.unbindExchange(destination, from: source, routingKey: "a.#")
                #expect(try await arrives("a.b"))
                try await channel.unbindExchange(
                    destination, from: source, routingKey: "a.#", arguments: ["note": "x"])
                // Its last binding gone, the source deleted itself.
                await expectRefusal(404, "no exchange '\(source)'") {
                    try await connection.openChannel().declareExchange(source, type: .topic, passive: true)
                }
                try await channel.deleteExchange(destination)
            }
        }
    }

    @Test("Recovering puts back what is unacknowledged, marked as redelivered", arguments: TestBroker.modes)
    func recover(broker: TestBroker) async throws {
        try await broker.run { url in
            try await withConnection(url) { connection in
                let channel = try await connection.openChannel()
                let queue = try await channel.declareQueue("", exclusive: true).name
                for text in ["a", "b"] { try await channel.publish(AMQPMessage(text), routingKey: queue) }
                let consumer = try await channel.consume(queue)
                var iterator = consumer.deliveries.makeAsyncIterator()
                let first = try #require(try await iterator.next())
                let second = try #require(try await iterator.next())
                #expect(!first.redelivered && !second.redelivered)
                try second.ack()
                try await channel.recover()
                let again = try #require(try await iterator.next())
                #expect(again.text == "a" && again.redelivered && again.deliveryTag == 3)
                // The one of before went back, and is not acknowledged twice.
                #expect((try? first.ack()) == nil)
                try again.ack()
                try await channel.recover()
                #expect(try await channel.declareQueue(queue, passive: true).messageCount == 0)
            }
        }
    }
}
