// SPDX-License-Identifier: Apache-2.0
import AMQPBroker
import AMQPWire
import NIOConcurrencyHelpers
import NIOCore
import Testing

@Suite("Against a client that misbehaves, the broker", .timeLimit(.minutes(1)))
struct HostileInputTests {
    /// The broker still serves others.
    func expectAlive(_ broker: AMQPEmbeddedBroker) async throws {
        let client = try await RawClient.open(broker)
        try await client.close()
    }

    @Test(
        "answers another protocol with its own header and closes",
        arguments: ["GET / HTTP/1.1\r\n\r\n", "AMQP\u{0}\u{1}\u{0}\u{0}", "\u{16}\u{3}\u{1}", "X"])
    func otherProtocol(bytes: String) async throws {
        try await withBroker { broker in
            let client = try await RawClient.connect(broker)
            try await client.send(bytes: Array(bytes.utf8))
            try await client.expectClosed()
            try await self.expectAlive(broker)
        }
    }

    @Test("closes when the handshake takes too long", arguments: [0, 3, 8])
    func slowHandshake(sent: Int) async throws {
        try await withBroker {
            // It begins when the socket is accepted, and the whole header has to be there before it ends.
            $0.handshakeTimeout = sent == 8 ? .seconds(2) : .milliseconds(50)
        } _: { broker in
            let client = try await RawClient.connect(broker)
            try await client.send(bytes: AMQPProtocolHeader.bytes.prefix(sent))
            if sent == 8 { _ = try await client.method() }
            try await client.expectClosed()
        }
    }

    @Test("survives a client that hangs up in the middle", arguments: [0, 3, 8])
    func halfHandshake(sent: Int) async throws {
        try await withBroker { broker in
            let client = try await RawClient.connect(broker)
            try await client.send(bytes: AMQPProtocolHeader.bytes.prefix(sent))
            await client.drop()
            try await self.expectAlive(broker)
        }
    }

    @Test(
        "closes with the code that fits",
        arguments: [
            // Unknown frame type; wrong frame end; frame too large; heartbeat on a channel; unknown method; a header
            // that nothing announced; a body likewise; a method cut short; a channel method on channel 0.
            ([9, 0, 0, 0, 0, 0, 0, 0xCE], 501), ([8, 0, 0, 0, 0, 0, 0, 0xCD], 501),
            ([1, 0, 1, 0xFF, 0xFF, 0xFF, 0xFF], 501), ([8, 0, 1, 0, 0, 0, 0, 0xCE], 505),
            ([1, 0, 1, 0, 0, 0, 4, 0, 99, 0, 99, 0xCE], 503),
            ([2, 0, 1, 0, 0, 0, 14, 0, 60, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0xCE], 505),
            ([3, 0, 1, 0, 0, 0, 1, 65, 0xCE], 505), ([1, 0, 1, 0, 0, 0, 4, 0, 60, 0, 40, 0xCE], 502),
            ([1, 0, 0, 0, 0, 0, 5, 0, 20, 0, 10, 0, 0xCE], 504),
        ] as [([UInt8], UInt16)])
    func badFrames(bytes: [UInt8], code: UInt16) async throws {
        try await withBroker { broker in
            let client = try await RawClient.open(broker)
            try await client.send(bytes: bytes)
            #expect(try await client.connectionClose().replyCode == code)
            await client.drop()
            try await self.expectAlive(broker)
        }
    }

    @Test("closes with 505 when a method comes inside a content")
    func interruptedContent() async throws {
        try await withBroker { broker in
            let client = try await RawClient.open(broker)
            try await client.send(.basicQos(.init(prefetchSize: 0, prefetchCount: 1)))
            _ = try await client.method()
            try await client.send(bytes: [1, 0, 1, 0, 0, 0, 9, 0, 60, 0, 40, 0, 0, 0, 0, 0, 0xCE])
            try await client.send(.queueDeclare(.init(queue: "q")))
            #expect(try await client.connectionClose().replyCode == 505)
        }
    }

    @Test("closes with 502 for properties that contradict themselves, and delivers them to nobody")
    func malformedProperties() async throws {
        try await withBroker { broker in
            let client = try await RawClient.open(broker)
            try await client.send {
                try $0.append(
                    .basicPublish(.init(exchange: "", routingKey: "q")), properties: ByteBuffer(bytes: [0x80, 0, 9]),
                    body: ByteBuffer(), channel: 1)
            }
            #expect(try await client.connectionClose().replyCode == 502)
        }
    }

    @Test("survives random bytes", arguments: 0..<20)
    func garbage(seed: UInt64) async throws {
        try await withBroker { broker in
            var state = seed &* 0x9E37_79B9_7F4A_7C15 &+ 1
            let bytes = (0..<2000).map { _ -> UInt8 in
                state = state &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
                return UInt8(truncatingIfNeeded: state >> 33)
            }
            let client = try await RawClient.open(broker)
            // Half of them begin like a method on the open channel.
            try await client.send(bytes: seed.isMultiple(of: 2) ? bytes : [1, 0, 1, 0, 0, 0, 50] + bytes)
            _ = try await client.connectionClose()
            await client.drop()
            try await self.expectAlive(broker)
        }
    }

    @Test("closes the channel with 406 for a message that is too large, and takes the next one")
    func tooLarge() async throws {
        try await withBroker {
            $0.maximumMessageSize = 100_000
        } _: { broker in
            let client = try await RawClient.open(broker)
            try await client.declare("q")
            try await client.publish(String(repeating: "x", count: 300_000), to: "q")
            let close = try await client.channelClose()
            #expect(close.replyCode == 406)
            #expect(
                close.replyText
                    == "PRECONDITION_FAILED - message size 300000 is larger than configured max size 100000")
            try await client.openChannel(1)
            try await client.publish(String(repeating: "x", count: 100_000), to: "q")
            #expect(try await client.get("q")?.text.utf8.count == 100_000)
        }
    }

    @Test("stops delivering to a client that does not read, and goes on when it does")
    func clientThatNeverReads() async throws {
        try await withBroker { broker in
            let producer = try await RawClient.open(broker)
            try await producer.declare("q")
            let body = String(repeating: "x", count: 100_000)
            for _ in 0..<300 { try await producer.publish(body, to: "q") }
            let consumer = try await RawClient.open(broker)
            try await consumer.stopReading()
            try await consumer.send(.basicConsume(.init(queue: "q", consumerTag: "c", noAck: true)))
            // 30 MB wait. The kernel's buffers take a few, the broker holds one, the rest stays in the queue.
            var left: UInt32 = 300
            while left == 300 { left = try await producer.count("q").messages }
            var before: UInt32 = 0
            while left != before {
                before = left
                for _ in 0..<50 { left = try await producer.count("q").messages }
            }
            #expect(left > 100)
            try await consumer.startReading()
            #expect(try await consumer.method() == .basicConsumeOk(.init(consumerTag: "c")))
            for _ in 0..<300 { #expect(try await consumer.delivery().content.body.readableBytes == 100_000) }
            #expect(try await producer.count("q").messages == 0)
        }
    }

    @Test("stops answering a client that asks and does not read, and answers all when it does")
    func getsThatAreNotRead() async throws {
        try await withBroker { broker in
            let client = try await RawClient.open(broker)
            try await client.declare("q")
            for _ in 0..<150 { try await client.publish(String(repeating: "x", count: 200_000), to: "q") }
            _ = try await client.count("q")
            try await client.stopReading()
            try await client.send {
                for _ in 0..<151 { try $0.append(.basicGet(.init(queue: "q", noAck: true)), channel: 1) }
            }
            let other = try await RawClient.open(broker)
            var left: UInt32 = 150
            while left == 150 { left = try await other.count("q").messages }
            for _ in 0..<50 { left = try await other.count("q").messages }
            #expect(left > 50)
            try await client.startReading()
            for _ in 0..<150 { #expect(try await client.content().body.readableBytes == 200_000) }
            #expect(try await client.method() == .basicGetEmpty(.init()))
        }
    }

    @Test("does not read on from a client that does not read its answers")
    func floodWithoutReading() async throws {
        try await withBroker { broker in
            let client = try await RawClient.open(broker)
            try await client.declare("q")
            for _ in 0..<200 { try await client.publish(String(repeating: "x", count: 200_000), to: "q") }
            _ = try await client.count("q")
            try await client.stopReading()
            let hasWritten = NIOLockedValueBox(false)
            async let writing: Void = {
                try await client.send {
                    for _ in 0..<200 { try $0.append(.basicGet(.init(queue: "q", noAck: true)), channel: 1) }
                }
                // 64 MiB of heartbeats: more than all buffers in between hold, which the system makes up to 36 MiB.
                var heartbeats: [UInt8] = [8, 0, 0, 0, 0, 0, 0, 0xCE]
                for _ in 0..<17 { heartbeats += heartbeats }
                let bytes = ByteBuffer(bytes: heartbeats)
                for _ in 0..<64 { try await client.send(bytes) }
                hasWritten.withLockedValue { $0 = true }
            }()
            let other = try await RawClient.open(broker)
            var left: UInt32 = 200
            while left == 200 { left = try await other.count("q").messages }
            for _ in 0..<200 { left = try await other.count("q").messages }
            #expect(left > 50)
            #expect(!hasWritten.withLockedValue { $0 })
            await client.drop()
            try? await writing
        }
    }

    @Test("requeues what a client had not acknowledged when its socket was dropped")
    func droppedSocket() async throws {
        try await withBroker { broker in
            let one = try await RawClient.open(broker)
            try await one.declare("q")
            for text in ["a", "b"] { try await one.publish(text, to: "q") }
            let two = try await RawClient.open(broker)
            try await one.consume("q")
            _ = try await one.delivery()
            _ = try await one.delivery()
            try await two.consume("q")
            await one.drop()
            let first = try await two.delivery()
            let second = try await two.delivery()
            #expect([first.text, second.text] == ["a", "b"])
            #expect(first.deliver.redelivered && second.deliver.redelivered)
        }
    }
}
