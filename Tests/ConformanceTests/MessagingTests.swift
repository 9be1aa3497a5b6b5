// SPDX-License-Identifier: Apache-2.0
import AMQPClient
import AMQPWire
import NIOCore
import TestSupport
import Testing

@Suite("Publishing and consuming")
struct MessagingTests {
    @Test("All fourteen properties and every header type survive", arguments: TestBroker.modes)
    func properties(broker: TestBroker) async throws {
        try await broker.run { url in
            try await withConnection(url) { connection in
                let channel = try await connection.openChannel()
                let queue = try await channel.declareQueue("", exclusive: true).name
                var properties = AMQPBasicProperties()
                properties.contentType = "text/plain"
                properties.contentEncoding = "utf-8"
                properties.headers = [
                    "t": true, "b": .int8(-1), "B": .uint8(255), "s": .int16(-2), "u": .uint16(2), "I": .int32(-3),
                    "i": .uint32(3), "l": .int64(-4), "f": .float(0.5), "d": .double(0.25),
                    "D": .decimal(scale: 2, value: 314), "S": "text", "x": .byteArray([0, 1]), "A": [1, "two"],
                    "T": .timestamp(1), "F": ["inner": 1], "V": .void,
                ]
                properties.deliveryMode = 2
                properties.priority = 5
                properties.correlationID = "correlation"
                properties.replyTo = "reply"
                properties.expiration = "60000"
                properties.messageID = "message"
                properties.timestamp = 1_700_000_000
                properties.type = "type"
                properties.userID = connection.configuration.user
                properties.appID = "app"
                try await channel.publish(AMQPMessage("x", properties: properties), routingKey: queue)
                let delivery = try #require(try await channel.get(queue, acknowledgement: .automatic))
                #expect(delivery.properties == properties)
                #expect(delivery.exchange == "" && delivery.routingKey == queue && !delivery.redelivered)
                #expect(try await channel.get(queue) == nil)
            }
        }
    }

    @Test("Bodies around the frame size arrive", arguments: TestBroker.modes)
    func bodies(broker: TestBroker) async throws {
        try await broker.run { url in
            try await withConnection(url) { connection in
                let channel = try await connection.openChannel()
                let queue = try await channel.declareQueue("", exclusive: true).name
                let consumer = try await channel.consume(queue)
                var iterator = consumer.deliveries.makeAsyncIterator()
                let frame = Int(await connection.frameMax) - AMQPFrame.overhead
                for size in [0, 1, frame - 1, frame, frame + 1, 2 * frame, 1 << 20] {
                    var body = ByteBuffer()
                    for word in 0..<(UInt64(size) / 8 + 1) { body.writeInteger(word &* 0x9e37_79b9_7f4a_7c15) }
                    body = body.getSlice(at: 0, length: size) ?? body
                    try await channel.publish(AMQPMessage(body), routingKey: queue)
                    let delivery = try #require(try await iterator.next())
                    #expect(delivery.body == body, "\(size)")
                    try delivery.ack()
                }
            }
        }
    }

    @Test("Prefetch bounds what is delivered; acknowledging brings more", arguments: TestBroker.modes)
    func prefetch(broker: TestBroker) async throws {
        try await broker.run { url in
            try await withConnection(url) { connection in
                let channel = try await connection.openChannel()
                let queue = try await channel.declareQueue("", exclusive: true).name
                try await channel.confirmSelect()
                for i in 0..<10 { try await channel.publishConfirmed(AMQPMessage("\(i)"), routingKey: queue) }
                try await channel.qos(prefetchCount: 3)
                let consumer = try await channel.consume(queue)
                var iterator = consumer.deliveries.makeAsyncIterator()
                var deliveries: [AMQPDelivery] = []
                for _ in 0..<3 { deliveries.append(try #require(try await iterator.next())) }
                #expect(try await channel.declareQueue(queue, passive: true).messageCount == 7)
                try deliveries[2].ack(multiple: true)
                for i in 3..<6 {
                    let delivery = try #require(try await iterator.next())
                    #expect(delivery.text == "\(i)")
                    deliveries.append(delivery)
                }
                try deliveries[3].nack(requeue: true)
                let again = try #require(try await iterator.next())
                #expect(again.text == "3" && again.redelivered)
                #expect(throws: AMQPError.self) { try deliveries[0].ack() }
                // Cancelling keeps what is unacknowledged with the channel; closing the channel gives it back.
                try await consumer.cancel()
                try again.ack()
                await channel.close()
                let other = try await connection.openChannel()
                // 4 and 5 were out, 6 to 9 never were.
                try await eventually("all are back") {
                    try await other.declareQueue(queue, passive: true).messageCount == 6
                }
                let first = try #require(try await other.get(queue, acknowledgement: .automatic))
                #expect(first.text == "4" && first.redelivered)
            }
        }
    }

    @Test("Confirmed, returned and unroutable messages", arguments: TestBroker.modes)
    func confirms(broker: TestBroker) async throws {
        try await broker.run { url in
            try await withConnection(url) { connection in
                let channel = try await connection.openChannel()
                let queue = try await channel.declareQueue("", exclusive: true).name
                await #expect(throws: AMQPError.self) {
                    try await channel.publishConfirmed(AMQPMessage("x"), routingKey: queue)
                }
                try await channel.confirmSelect()
                try await channel.confirmSelect()
                let returned = try await channel.returnedMessages()
                let nowhere = TestBroker.uniqueName()
                try await withThrowingTaskGroup(of: Void.self) { group in
                    for i in 0..<100 {
                        group.addTask {
                            let key = i % 10 == 0 ? nowhere : queue
                            do {
                                try await channel.publishConfirmed(
                                    AMQPMessage("\(i)"), routingKey: key, mandatory: true)
                                #expect(key == queue)
                            } catch let error as AMQPError {
                                #expect(key == nowhere)
                                #expect(error.code == .returned && error.reply?.code == 312)
                            }
                        }
                    }
                    try await group.waitForAll()
                }
                // Not mandatory: confirmed although it reached nobody.
                try await channel.publishConfirmed(AMQPMessage("x"), routingKey: nowhere)
                #expect(try await channel.declareQueue(queue, passive: true).messageCount == 90)
                var iterator = returned.makeAsyncIterator()
                for _ in 0..<10 {
                    let message = try #require(try await iterator.next())
                    #expect(message.reply.code == 312 && message.routingKey == nowhere)
                }
            }
        }
    }

    @Test(
        "Publishing to an exchange that does not exist closes the channel and only it, until it is opened again",
        arguments: TestBroker.modes
    )
    func missingExchange(broker: TestBroker) async throws {
        try await broker.run { url in
            try await withConnection(url) { connection in
                let channel = try await connection.openChannel()
                try await channel.confirmSelect()
                do {
                    try await channel.publishConfirmed(
                        AMQPMessage("x"), exchange: TestBroker.uniqueName(), routingKey: "x")
                    Issue.record("confirmed")
                } catch let error as AMQPError {
                    #expect(error.code == .outcomeUnknown && error.reply?.code == 404)
                }
                // It is opened again, in confirm mode as before.
                try await channel.publishConfirmed(AMQPMessage("x"), routingKey: TestBroker.uniqueName())
            }
            var final = try AMQPConfiguration(uri: url)
            final.recovery = .disabled
            try await withConnection(final) { connection in
                let channel = try await connection.openChannel()
                try await channel.publish(AMQPMessage("x"), exchange: TestBroker.uniqueName(), routingKey: "x")
                try await eventually("it is closed") { channel.failure != nil }
                await expectRefusal(404) { try await channel.publish(AMQPMessage("x"), routingKey: "x") }
                _ = try await connection.openChannel()
            }
        }
    }

    @Test("A deleted queue ends its consumers", arguments: TestBroker.modes)
    func consumerCancelled(broker: TestBroker) async throws {
        try await broker.run { url in
            try await withConnection(url) { connection in
                let channel = try await connection.openChannel()
                let queue = try await channel.declareQueue("", exclusive: true).name
                let consumer = try await channel.consume(queue)
                try await channel.deleteQueue(queue)
                do {
                    for try await _ in consumer.deliveries {}
                    Issue.record("ended without an error")
                } catch let error as AMQPError {
                    #expect(error.code == .consumerCancelled)
                }
            }
        }
    }

    @Test("Expired messages are not delivered", arguments: TestBroker.modes)
    func expiration(broker: TestBroker) async throws {
        try await broker.run { url in
            try await withConnection(url) { connection in
                let channel = try await connection.openChannel()
                let queue = try await channel.declareQueue("", exclusive: true).name
                try await channel.confirmSelect()
                var expiring = AMQPMessage("expires")
                expiring.properties.expiration = "50"
                try await channel.publishConfirmed(expiring, routingKey: queue)
                try await channel.publishConfirmed(AMQPMessage("stays"), routingKey: queue)
                try await eventually("the first has expired") {
                    try await channel.declareQueue(queue, passive: true).messageCount == 1
                }
                #expect(try await channel.get(queue)?.text == "stays")
                for wrong in ["abc", "-1", "315360000001"] {
                    let refused = try await connection.openChannel()
                    try await refused.confirmSelect()
                    expiring.properties.expiration = wrong
                    await expectRefusal(406, "invalid expiration '\(wrong)'") {
                        try await refused.publishConfirmed(expiring, routingKey: queue)
                    }
                }
            }
        }
    }

    @Test("Wrong password and unknown virtual host have their own errors", arguments: TestBroker.modes)
    func refusedLogins(broker: TestBroker) async throws {
        try await broker.run { url in
            var configuration = try AMQPConfiguration(uri: url)
            configuration.password = "wrong"
            do {
                _ = try await AMQPConnection.connect(configuration)
                Issue.record("connected")
            } catch let error as AMQPError {
                #expect(error.code == .authenticationFailed)
                #expect(!error.message.contains("wrong"))
            }
            configuration = try AMQPConfiguration(uri: url)
            configuration.virtualHost = "nowhere"
            do {
                _ = try await AMQPConnection.connect(configuration)
                Issue.record("connected")
            } catch let error as AMQPError {
                #expect(error.code == .virtualHostRefused)
                #expect(error.message.contains("'nowhere'"))
            }
        }
    }

    @Test("A name of 256 bytes is refused before anything is sent", arguments: TestBroker.modes)
    func longNames(broker: TestBroker) async throws {
        try await broker.run { url in
            try await withConnection(url) { connection in
                let channel = try await connection.openChannel()
                let long = String(repeating: "x", count: 256)
                for _ in 0..<2 {
                    do {
                        try await channel.declareQueue(long)
                        Issue.record("declared")
                    } catch let error as AMQPError {
                        #expect(error.code == .invalidArgument && error.message.contains("256 bytes"))
                    }
                }
                do {
                    try await channel.publish(AMQPMessage("x"), routingKey: long)
                    Issue.record("published")
                } catch let error as AMQPError {
                    #expect(error.code == .invalidArgument)
                }
                let name = String(repeating: "ü", count: 127) + "x"
                let queue = try await channel.declareQueue(name, exclusive: true)
                #expect(queue.name == name)
            }
        }
    }
}
