// SPDX-License-Identifier: Apache-2.0
import AMQPClient
import AMQPWire
import NIOCore
import TestSupport
import Testing

@Suite("Rules of queues and consumers")
struct QueueRuleTests {
    @Test(
        "An empty name is the queue declared last on the channel, and 404 without one", arguments: TestBroker.modes)
    func emptyNames(broker: TestBroker) async throws {
        try await broker.run { url in
            try await withConnection(url) { connection in
                let channel = try await connection.openChannel()
                let queue = try await channel.declareQueue("", exclusive: true).name
                try await channel.publish(AMQPMessage("x"), routingKey: queue)
                #expect(try await channel.get("", acknowledgement: .automatic)?.text == "x")
                let exchange = TestBroker.uniqueName()
                try await channel.declareExchange(exchange, type: .fanout, autoDelete: true)
                try await channel.bindQueue("", to: exchange)
                try await channel.publish(AMQPMessage("y"), exchange: exchange, routingKey: "")
                let consumer = try await channel.consume("")
                #expect(try await consumer.deliveries.makeFirst()?.text == "y")
                try await channel.purgeQueue("")
                try await channel.deleteQueue("")
                await expectRefusal(404, "no previously declared queue") {
                    _ = try await connection.openChannel().get("")
                }
            }
        }
    }

    @Test("What is missing can be deleted, unbound and cancelled", arguments: TestBroker.modes)
    func missing(broker: TestBroker) async throws {
        try await broker.run { url in
            try await withConnection(url) { connection in
                let channel = try await connection.openChannel()
                #expect(try await channel.deleteQueue(TestBroker.uniqueName()) == 0)
                try await channel.deleteExchange(TestBroker.uniqueName())
                let queue = try await channel.declareQueue("", exclusive: true).name
                try await channel.unbindQueue(queue, from: "amq.direct", routingKey: "never bound")
                try await channel.unbindExchange("amq.fanout", from: "amq.direct", routingKey: "never bound")
                try await channel.cancel("nobody")
                #expect(channel.failure == nil)
            }
        }
    }

    @Test("Redeclared, a number may have another width and not another value", arguments: TestBroker.modes)
    func numericWidth(broker: TestBroker) async throws {
        try await broker.run { url in
            try await withConnection(url) { connection in
                let queue = TestBroker.uniqueName()
                let channel = try await connection.openChannel()
                for value in [.int32(60_000), .int64(60_000), .uint16(60_000)] as [AMQPFieldValue] {
                    try await channel.declareQueue(queue, exclusive: true, arguments: ["x-expires": value])
                }
                await expectRefusal(406, "inequivalent arg 'x-expires'") {
                    try await connection.openChannel().declareQueue(
                        queue, exclusive: true, arguments: ["x-expires": .int32(60_001)])
                }
            }
        }
    }

    @Test("Exclusive and durable is exclusive: gone with its connection", arguments: TestBroker.modes)
    func exclusiveAndDurable(broker: TestBroker) async throws {
        try await broker.run { url in
            let queue = TestBroker.uniqueName()
            _ = try await withConnection(url) { connection in
                try await connection.openChannel().declareQueue(queue, durable: true, exclusive: true)
            }
            try await withConnection(url) { connection in
                await expectRefusal(404) {
                    try await connection.openChannel().declareQueue(queue, passive: true)
                }
            }
        }
    }

    @Test("Fetching is not limited by the prefetch", arguments: TestBroker.modes)
    func fetching(broker: TestBroker) async throws {
        try await broker.run { url in
            try await withConnection(url) { connection in
                let channel = try await connection.openChannel()
                let queue = try await channel.declareQueue("", exclusive: true).name
                try await channel.confirmSelect()
                for number in 0..<3 {
                    try await channel.publishConfirmed(AMQPMessage("\(number)"), routingKey: queue)
                }
                try await channel.qos(prefetchCount: 1)
                for number in 0..<3 { #expect(try await channel.get(queue)?.text == "\(number)") }
                #expect(try await channel.get(queue) == nil)
            }
        }
    }

    @Test("A queue that is full and rejects is a nack", arguments: TestBroker.modes)
    func overflow(broker: TestBroker) async throws {
        try await broker.run { url in
            try await withConfirmingChannel(url) { channel in
                let queue = try await channel.declareQueue(
                    "", exclusive: true, arguments: ["x-max-length": 1, "x-overflow": "reject-publish"]
                ).name
                try await channel.publishConfirmed(AMQPMessage("fits"), routingKey: queue)
                do {
                    try await channel.publishConfirmed(AMQPMessage("does not"), routingKey: queue)
                    Issue.record("confirmed")
                } catch let error as AMQPError {
                    #expect(error.code == .nacked)
                }
                #expect(channel.failure == nil)
            }
        }
    }

    @Test("A quorum queue counts deliveries, and needs a name", arguments: TestBroker.modes)
    func quorum(broker: TestBroker) async throws {
        try await broker.run { url in
            try await withConnection(url) { connection in
                let channel = try await connection.openChannel()
                let queue = TestBroker.uniqueName()
                let arguments: AMQPTable = ["x-queue-type": "quorum"]
                try await channel.declareQueue(queue, durable: true, arguments: arguments)
                try await channel.confirmSelect()
                try await channel.publishConfirmed(AMQPMessage("x"), routingKey: queue)
                let first = try #require(try await channel.get(queue))
                #expect(first.properties.headers?["x-delivery-count"]?.integer ?? 0 == 0)
                try first.reject(requeue: true)
                try await eventually("it is back") {
                    try await channel.declareQueue(queue, passive: true).messageCount == 1
                }
                let second = try #require(try await channel.get(queue))
                #expect(second.redelivered)
                #expect(second.properties.headers?["x-delivery-count"]?.integer == 1)
                try second.ack()
                try await channel.deleteQueue(queue)
                await expectRefusal(406) {
                    try await connection.openChannel().declareQueue("", durable: true, arguments: arguments)
                }
            }
        }
    }

    @Test("Line ends in a name are left out, and the name that counts is the broker's", arguments: TestBroker.modes)
    func lineEnds(broker: TestBroker) async throws {
        try await broker.run { url in
            try await withConnection(url) { connection in
                let channel = try await connection.openChannel()
                let name = TestBroker.uniqueName()
                #expect(try await channel.declareQueue("\(name)\r\nx", exclusive: true).name == "\(name)x")
            }
        }
    }

    @Test(
        "Direct replies come without a queue, to the channel that consumed before it asked",
        arguments: TestBroker.modes)
    func directReplies(broker: TestBroker) async throws {
        try await broker.run { url in
            try await withConnection(url) { connection in
                let channel = try await connection.openChannel()
                let queue = try await channel.declareQueue("", exclusive: true).name
                let consumer = try await channel.consume("amq.rabbitmq.reply-to", acknowledgement: .automatic)
                var request = AMQPMessage("request")
                request.properties.replyTo = "amq.rabbitmq.reply-to"
                try await channel.publish(request, routingKey: queue)
                // Behind it, in the order of the channel.
                try await channel.qos(prefetchCount: 10)
                let service = try await connection.openChannel()
                let asked = try #require(try await service.get(queue, acknowledgement: .automatic))
                let address = try #require(asked.properties.replyTo)
                #expect(address.hasPrefix("amq.rabbitmq.reply-to."))
                try await service.publish(AMQPMessage("reply"), routingKey: address)
                #expect(try await consumer.deliveries.makeFirst()?.text == "reply")

                await expectRefusal(406, "fast reply consumer does not exist") {
                    let early = try await connection.openChannel()
                    try await early.confirmSelect()
                    try await early.publishConfirmed(request, routingKey: queue)
                }
                await expectRefusal(406, "reply consumer") {
                    _ = try await connection.openChannel().consume("amq.rabbitmq.reply-to")
                }
            }
        }
    }
}

extension AMQPDeliveries {
    /// The next delivery, in a loop of its own.
    fileprivate func makeFirst() async throws -> AMQPDelivery? {
        var iterator = self.makeAsyncIterator()
        return try await iterator.next()
    }
}
