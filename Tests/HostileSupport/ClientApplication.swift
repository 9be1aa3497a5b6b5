// SPDX-License-Identifier: Apache-2.0
import AMQPClient
package import AMQPWire
import NIOConcurrencyHelpers
package import NIOCore

/// A program on the client that uses all of it: topology, confirms, returns, deliveries, gets, two channels.
package final class ClientApplication: Sendable {
    /// A message as it reached the application.
    package struct Received: Hashable, Sendable {
        package var source: String
        package var routingKey: String
        package var properties: AMQPBasicProperties
        package var body: ByteBuffer
    }

    private let loop: DrivenLoop
    private let transport: any Channel
    private let runningTasks = NIOLockedValueBox(0)
    private let messages = NIOLockedValueBox<[Received]>([])

    package init(loop: DrivenLoop, transport: any Channel) {
        self.loop = loop
        self.transport = transport
    }

    /// Calls that have not come back.
    package var running: Int { self.runningTasks.withLockedValue { $0 } }

    /// Messages that came since this was asked last, in order.
    package func takeReceived() -> [Received] {
        self.messages.withLockedValue { messages in
            defer { messages = [] }
            return messages
        }
    }

    package func start() {
        self.spawn {
            var configuration = AMQPConfiguration(host: "hostile")
            configuration.heartbeat = .zero
            configuration.maximumIncomingMessageSize = 1 << 20
            let connection = try await AMQPConnection.connect(configuration, on: self.loop, over: self.transport)
            self.spawn { try await self.useFirstChannel(connection) }
            self.spawn { try await self.useSecondChannel(connection) }
        }
    }

    private func spawn(_ body: @escaping @Sendable () async throws -> Void) {
        self.runningTasks.withLockedValue { $0 += 1 }
        Task(executorPreference: self.loop) {
            // However a call ends is right, as long as it ends.
            try? await body()
            self.runningTasks.withLockedValue { $0 -= 1 }
        }
    }

    private func received(_ message: Received) { self.messages.withLockedValue { $0.append(message) } }

    private func useFirstChannel(_ connection: AMQPConnection) async throws {
        let channel = try await connection.openChannel()
        try await channel.confirmSelect()
        try await channel.declareQueue("q", exclusive: true)
        // At once: one is in flight, and two wait for their turn.
        for _ in 0..<2 { self.spawn { try await channel.qos(prefetchCount: 100) } }
        try await channel.qos(prefetchCount: 100)
        let returned = try await channel.returnedMessages()
        self.spawn {
            for try await message in returned {
                self.received(
                    Received(
                        source: "returned", routingKey: message.routingKey, properties: message.properties,
                        body: message.body))
            }
        }
        let consumer = try await channel.consume("q", consumerTag: "c")
        self.spawn {
            for try await delivery in consumer.deliveries {
                self.received(
                    Received(
                        source: "delivered", routingKey: delivery.routingKey, properties: delivery.properties,
                        body: delivery.body))
                if delivery.redelivered { try? delivery.ack() } else { try? delivery.nack(requeue: false) }
            }
        }
        var properties = AMQPBasicProperties()
        properties.messageID = "m"
        properties.headers = ["x": 1]
        // One that arrives and one that comes back.
        let (one, two) = (AMQPMessage("one", properties: properties), AMQPMessage("two", properties: properties))
        self.spawn { try await channel.publishConfirmed(one, routingKey: "q") }
        self.spawn { try await channel.publishConfirmed(two, routingKey: "nowhere", mandatory: true) }
        try await channel.declareExchange("x", type: .topic, durable: true)
        try await channel.bindQueue("q", to: "x", routingKey: "#")
    }

    private func useSecondChannel(_ connection: AMQPConnection) async throws {
        let channel = try await connection.openChannel()
        try await channel.declareQueue("r", exclusive: true)
        for body in ["a", "b", "c"] { try await channel.publish(AMQPMessage(body), routingKey: "r") }
        if let first = try await channel.get("r") { try first.ack() }
        _ = try await channel.get("r", acknowledgement: .automatic)
        try await channel.recover()
        try await channel.purgeQueue("r")
        _ = try await channel.get("r")
        try await channel.deleteQueue("r")
        await channel.close()
        // A channel that is refused.
        let other = try await connection.openChannel()
        do { try await other.purgeQueue("not there") } catch { _ = try await connection.openChannel() }
    }
}
