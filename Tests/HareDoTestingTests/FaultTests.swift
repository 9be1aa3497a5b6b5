// SPDX-License-Identifier: Apache-2.0
import AMQPBroker
import AMQPClient
import HareDoTesting
import Testing

@Suite("A broker that is told to misbehave", .timeLimit(.minutes(2)))
struct FaultTests {
    /// A connection that does not come back, so that what happens to it can be seen.
    func connect(_ broker: AMQPEmbeddedBroker, heartbeat: Duration = .seconds(60)) async throws -> AMQPConnection {
        var configuration = try AMQPConfiguration(uri: broker.url)
        configuration.recovery = .disabled
        configuration.heartbeat = heartbeat
        return try await AMQPConnection.connect(configuration)
    }

    /// Why a connection ended.
    func end(of connection: AMQPConnection) async -> AMQPError? {
        for await event in connection.events {
            if case .closed(let error) = event { return error }
        }
        return nil
    }

    @Test("closes connections as an operator does, only those that are meant")
    func close() async throws {
        try await withBroker { broker in
            let one = try await self.connect(broker)
            let other = try await self.connect(broker)
            let id = try #require(broker.snapshot().connections.first?.id)
            async let end = self.end(of: one)
            #expect(await broker.faults.drop(.close(code: 320, text: "CONNECTION_FORCED - bye")) { $0.id == id } == 1)
            let error = await end
            #expect(error?.reply?.code == 320 && error?.reply?.text == "CONNECTION_FORCED - bye")
            _ = try await other.openChannel()
            await other.close()
        }
    }

    @Test("resets sockets")
    func reset() async throws {
        try await withBroker { broker in
            let connection = try await self.connect(broker)
            async let end = self.end(of: connection)
            #expect(await broker.faults.drop() == 1)
            let error = await end
            #expect(error?.code == .connectionClosed, "\(error as Any)")
            try await broker.wait { $0.connections.isEmpty }
        }
    }

    @Test("falls silent: the client finds out by its heartbeats, and what belonged to it stays until then")
    func silence() async throws {
        try await withBroker { broker in
            let connection = try await self.connect(broker, heartbeat: .seconds(1))
            let channel = try await connection.openChannel()
            try await channel.declareQueue("mine", exclusive: true)
            async let end = self.end(of: connection)
            await broker.faults.drop(.silence)
            #expect(broker.snapshot().queue("mine") != nil)
            let error = await end
            #expect(error?.code == .connectionClosed, "\(error as Any)")
            try await broker.wait { $0.queue("mine") == nil }
        }
    }

    @Test("turns away who connects, for a while")
    func refuse() async throws {
        try await withBroker { broker in
            broker.faults.refuseConnections()
            await #expect(throws: AMQPError.self) { try await self.connect(broker) }
            broker.faults.refuseConnections(false)
            await (try await self.connect(broker)).close()
        }
    }

    @Test("withholds confirms, and sends them in the end")
    func withheld() async throws {
        try await withBroker { broker in
            let connection = try await self.connect(broker)
            let channel = try await connection.openChannel()
            try await channel.confirmSelect()
            let queue = try await channel.declareQueue("", exclusive: true).name
            broker.faults.setConfirms(.withheld)
            let isConfirmed = Flag()
            let publish = Task {
                try await channel.publishConfirmed(AMQPMessage("a"), routingKey: queue)
                await isConfirmed.set()
            }
            try await broker.wait { $0.queue(queue)?.ready == 1 }
            // A round trip on the same channel: had there been a confirm, it would have come before.
            #expect(try await channel.declareQueue(queue, passive: true).messageCount == 1)
            #expect(await !isConfirmed.isSet)
            broker.faults.setConfirms(.sent)
            try await publish.value
            await connection.close()
        }
    }

    @Test("delays confirms")
    func delayed() async throws {
        try await withBroker { broker in
            let connection = try await self.connect(broker)
            let channel = try await connection.openChannel()
            try await channel.confirmSelect()
            let queue = try await channel.declareQueue("", exclusive: true).name
            broker.faults.setConfirms(.delayed(.milliseconds(100)))
            let duration = try await ContinuousClock().measure {
                try await channel.publishConfirmed(AMQPMessage("a"), routingKey: queue)
            }
            #expect(duration >= .milliseconds(100))
            await connection.close()
        }
    }

    @Test("refuses as many publishes as asked for")
    func refused() async throws {
        try await withBroker { broker in
            let connection = try await self.connect(broker)
            let channel = try await connection.openChannel()
            try await channel.confirmSelect()
            let queue = try await channel.declareQueue("", exclusive: true).name
            broker.faults.refuseConfirms(next: 2)
            for _ in 0..<2 {
                let error = await #expect(throws: AMQPError.self) {
                    try await channel.publishConfirmed(AMQPMessage("a"), routingKey: queue)
                }
                #expect(error?.code == .nacked)
            }
            try await channel.publishConfirmed(AMQPMessage("a"), routingKey: queue)
            await connection.close()
        }
    }

    @Test("closes a channel with an error of the test's")
    func channel() async throws {
        try await withBroker { broker in
            let connection = try await self.connect(broker)
            let channel = try await connection.openChannel()
            let snapshot = try #require(broker.snapshot().channels.first)
            await broker.faults.closeChannel(
                snapshot.number, of: snapshot.connection, code: 406, text: "PRECONDITION_FAILED - because")
            let error = await #expect(throws: AMQPError.self) { try await channel.declareQueue("q", passive: true) }
            #expect(error?.reply?.code == 406 && error?.reply?.text == "PRECONDITION_FAILED - because")
            _ = try await connection.openChannel()
            await connection.close()
        }
    }

    @Test("cancels consumers")
    func cancel() async throws {
        try await withBroker { broker in
            let connection = try await self.connect(broker)
            let channel = try await connection.openChannel()
            try await channel.declareQueue("q", durable: true)
            let consumer = try await channel.consume("q")
            #expect(broker.faults.cancelConsumers(of: "q") == 1)
            var deliveries = consumer.deliveries.makeAsyncIterator()
            let error = await #expect(throws: AMQPError.self) { try await deliveries.next() }
            #expect(error?.code == .consumerCancelled)
            #expect(broker.snapshot().queue("q")?.consumers == 0)
            await connection.close()
        }
    }

    @Test("holds deliveries back, and delivers one twice")
    func deliveries() async throws {
        try await withBroker { broker in
            let connection = try await self.connect(broker)
            let channel = try await connection.openChannel()
            try await channel.confirmSelect()
            try await channel.declareQueue("q", durable: true)
            let consumer = try await channel.consume("q")
            broker.faults.holdDeliveries(of: "q")
            broker.faults.duplicateDeliveries(of: "q")
            try await channel.publishConfirmed(AMQPMessage("a"), routingKey: "q")
            try await channel.publishConfirmed(AMQPMessage("b"), routingKey: "q")
            #expect(broker.snapshot().queue("q")?.ready == 3)
            broker.faults.holdDeliveries(of: "q", false)
            var deliveries = consumer.deliveries.makeAsyncIterator()
            var received: [Bool] = []
            for _ in 0..<3 {
                let delivery = try #require(try await deliveries.next())
                received.append(delivery.redelivered)
                try delivery.ack()
            }
            #expect(received == [false, true, false])
            try await broker.wait { $0.queue("q")?.unacknowledged == 0 }
            await connection.close()
        }
    }

    @Test("lets time pass: messages and queues expire")
    func clock() async throws {
        try await withBroker { broker in
            let connection = try await self.connect(broker)
            let channel = try await connection.openChannel()
            try await channel.confirmSelect()
            try await channel.declareQueue("dead", durable: true)
            try await channel.declareQueue(
                "slow", durable: true,
                arguments: [
                    "x-message-ttl": 3_600_000, "x-dead-letter-exchange": "", "x-dead-letter-routing-key": "dead",
                ])
            try await channel.declareQueue("unused", durable: true, arguments: ["x-expires": 7_200_000])
            try await channel.publishConfirmed(AMQPMessage("a"), routingKey: "slow")
            broker.faults.advanceClock(by: .seconds(3599))
            #expect(broker.snapshot().queue("slow")?.ready == 1)
            broker.faults.advanceClock(by: .seconds(2))
            #expect(broker.snapshot().queue("slow")?.ready == 0 && broker.snapshot().queue("dead")?.ready == 1)
            broker.faults.advanceClock(by: .seconds(3600))
            #expect(broker.snapshot().queue("unused") == nil)
            await connection.close()
        }
    }

    @Test("says what it holds")
    func snapshot() async throws {
        try await withBroker { broker in
            var configuration = try AMQPConfiguration(uri: broker.url)
            configuration.connectionName = "observed"
            let connection = try await AMQPConnection.connect(configuration)
            let channel = try await connection.openChannel()
            try await channel.confirmSelect()
            try await channel.declareExchange("ex", type: .topic, durable: true)
            try await channel.declareQueue("q", durable: true)
            try await channel.bindQueue("q", to: "ex", routingKey: "a.#")
            try await channel.qos(prefetchCount: 1)
            let consumer = try await channel.consume("q", consumerTag: "c", arguments: ["x-priority": 3])
            for _ in 0..<3 { try await channel.publishConfirmed(AMQPMessage("xy"), exchange: "ex", routingKey: "a.b") }
            let snapshot = broker.snapshot()
            let id = try #require(snapshot.connections.first?.id)
            #expect(snapshot.connections.map(\.name) == ["observed"] && snapshot.connections.map(\.user) == ["guest"])
            let seen = try #require(snapshot.channels.first)
            #expect(snapshot.channels.count == 1 && seen.connection == id && seen.number == 1 && seen.consumers == 1)
            #expect(seen.unacknowledged == 1 && seen.prefetch == 1 && seen.isConfirming && !seen.isTransactional)
            let reader = try #require(snapshot.consumers.first)
            #expect(snapshot.consumers.count == 1 && reader.tag == "c" && reader.queue == "q" && reader.channel == 1)
            #expect(
                reader.connection == id && reader.acknowledges && reader.prefetch == 1 && reader.unacknowledged == 1)
            #expect(reader.priority == 3 && reader.isActive && !reader.isExclusive)
            #expect(snapshot.exchanges.map(\.name).contains("ex") && snapshot.exchanges.count == 7)
            let binding = try #require(snapshot.bindings.first)
            #expect(snapshot.bindings.count == 1 && binding.source == "ex" && binding.destination == "q")
            #expect(binding.routingKey == "a.#" && !binding.isToExchange)
            let queue = try #require(snapshot.queue("q"))
            #expect(queue.ready == 2 && queue.readyBytes == 4 && queue.unacknowledged == 1)
            #expect(queue.published == 3 && queue.delivered == 1 && queue.isDurable && queue.type == "classic")
            withExtendedLifetime(consumer) {}
            await connection.close()
        }
    }

    private actor Flag {
        private(set) var isSet = false
        func set() { self.isSet = true }
    }
}
