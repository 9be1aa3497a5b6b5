// SPDX-License-Identifier: Apache-2.0
import AMQPBroker
import AMQPWire
import NIOCore
import TestSupport
import Testing

@Suite("Memory", .timeLimit(.minutes(1)))
struct MemoryTests {
    static let capabilities: AMQPTable = ["capabilities": ["connection.blocked": true]]

    func withSmallBroker(_ body: (AMQPEmbeddedBroker) async throws -> Void) async throws {
        try await withBroker({ $0.memoryLimit = 1 << 20 }, body)
    }

    func open(_ broker: AMQPEmbeddedBroker, _ properties: AMQPTable = Self.capabilities) async throws -> RawClient {
        let client = try await RawClient.connect(broker)
        try await client.handshake(properties: properties)
        try await client.openChannel(1)
        return client
    }

    let body = String(repeating: "x", count: 100_000)

    @Test("that messages fill blocks who publishes, until it is free again; others go on")
    func blocks() async throws {
        try await self.withSmallBroker { broker in
            let publisher = try await self.open(broker)
            let reader = try await self.open(broker)
            _ = try await reader.call(.queueDeclare(.init(queue: "q", durable: true)))
            for _ in 0..<12 { try await publisher.publish(self.body, to: "q") }
            let blocked = try await publisher.method(channel: 0)
            #expect(blocked == .connectionBlocked(.init(reason: "low on memory")))
            let snapshot = broker.snapshot()
            #expect(snapshot.hasMemoryAlarm && snapshot.memoryBytes > snapshot.memoryLimit)
            #expect(snapshot.connections.map(\.isBlocked) == [true, false])
            // What it sends now is read only when there is room.
            try await publisher.send(.queueDeclare(.init(queue: "q", passive: true)))
            guard case .queuePurgeOk = try await reader.call(.queuePurge(.init(queue: "q"))) else {
                Issue.record("nothing was purged")
                return
            }
            #expect(try await publisher.method(channel: 0) == .connectionUnblocked(.init()))
            guard case .queueDeclareOk = try await publisher.method(channel: 1) else {
                Issue.record("it does not go on")
                return
            }
            #expect(broker.snapshot().memoryBytes < 400_000)
        }
    }

    /// Begins a message of 100,000 bytes on a channel and leaves out its last frame.
    private func begin(on channel: UInt16, _ client: RawClient) async throws {
        var bytes = ByteBuffer()
        var output = AMQPOutput(frameMax: 8192)
        try output.append(
            .basicPublish(.init(exchange: "", routingKey: "q")), properties: AMQPBasicProperties(),
            body: ByteBuffer(string: self.body), channel: channel)
        for piece in output.take() { bytes.writeImmutableBuffer(piece) }
        try await client.send(bytes: Array(bytes.readableBytesView.dropLast(1792 + AMQPFrame.overhead)))
    }

    @Test("that unfinished messages hold is counted until they are given up, and bounded")
    func unfinished() async throws {
        try await self.withSmallBroker { broker in
            let client = try await self.open(broker)
            for channel in UInt16(2)...4 { try await client.openChannel(channel) }
            for channel in UInt16(1)...2 { try await self.begin(on: channel, client) }
            try await eventually("what came is counted") { broker.snapshot().memoryBytes > 180_000 }
            _ = try await client.call(
                .channelClose(.init(replyCode: 200, replyText: "", failingClassID: 0, failingMethodID: 0)), channel: 1)
            try await eventually("what was given up is not") { broker.snapshot().memoryBytes < 100_000 }
            // Up to half a MiB, as the largest message of this broker has.
            for channel in UInt16(3)...4 { try await self.begin(on: channel, client) }
            for channel in UInt16(5)...7 {
                try await client.openChannel(channel)
                try await self.begin(on: channel, client)
            }
            let close = try await client.connectionClose()
            #expect(close.replyCode == 506 && close.replyText.hasPrefix("RESOURCE_ERROR - low on memory"))
            try await eventually("nothing is held any more") { broker.snapshot().memoryBytes == 0 }
        }
    }

    @Test("is counted once for a message in many queues, and not at all when it is gone")
    func shared() async throws {
        try await self.withSmallBroker { broker in
            let client = try await self.open(broker)
            for number in 0..<20 {
                _ = try await client.call(.queueDeclare(.init(queue: "q\(number)", durable: true)))
                _ = try await client.call(
                    .queueBind(.init(queue: "q\(number)", exchange: "amq.fanout", routingKey: "")))
            }
            try await client.publish(self.body, to: "", exchange: "amq.fanout")
            let before = try await client.call(.queueDeclare(.init(queue: "q0", passive: true)))
            #expect(before == .queueDeclareOk(.init(queue: "q0", messageCount: 1, consumerCount: 0)))
            // The places in the other nineteen take something too.
            #expect((101_500..<102_000).contains(broker.snapshot().memoryBytes))
            for number in 0..<20 { _ = try await client.call(.queueDelete(.init(queue: "q\(number)"))) }
            #expect(broker.snapshot().memoryBytes == 0)
        }
    }

    @Test("that is said to be short blocks those without the capability too, without a word")
    func forced() async throws {
        try await self.withSmallBroker { broker in
            let client = try await self.open(broker, [:])
            _ = try await client.call(.queueDeclare(.init(queue: "q", durable: true)))
            broker.faults.setMemoryAlarm(true)
            // Until it publishes nothing changes.
            _ = try await client.call(.queueDeclare(.init(queue: "q", passive: true)))
            try await client.publish("x", to: "q")
            while broker.snapshot().connections.first?.isBlocked != true { await Task.yield() }
            try await client.send(.queueDeclare(.init(queue: "q", passive: true)))
            broker.faults.setMemoryAlarm(false)
            let reply = try await client.method(channel: 1)
            #expect(reply == .queueDeclareOk(.init(queue: "q", messageCount: 1, consumerCount: 0)))
        }
    }
}
