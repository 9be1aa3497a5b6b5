import AMQPBroker
import AMQPClient
import HareDo
import HareDoTesting
import Testing

@Suite struct OrderServiceTests {
    @Test func theServiceComesBackAfterALoss() async throws {
        try await withBroker { broker, client in
            let orders = Peer(name: "orders", broker.peerConfiguration)
            try await orders.connect()
            try await orders.listen { order in "shipped: \(order.text ?? "")" }

            // The network takes every connection away, in the middle of whatever they do.
            await broker.faults.drop(.reset)
            try await broker.wait { $0.queue("orders")?.consumers == 1 && $0.connections.count == 2 }

            let reply = try await client.call("orders", data: "a book", timeout: .seconds(10))
            #expect(reply?.text == "shipped: a book")
            await orders.disconnect()
        }
    }

    @Test func whatWasNotConfirmedIsNotTakenForSent() async throws {
        try await withBroker { broker in
            let connection = try await AMQPConnection.connect(AMQPConfiguration(uri: broker.url))
            let channel = try await connection.openChannel()
            try await channel.confirmSelect()
            try await channel.declareQueue("ledger", durable: true)

            // The broker takes the message and does not get to say so.
            broker.faults.setConfirms(.withheld)
            let entry = Task { try await channel.publishConfirmed(AMQPMessage("1 EUR"), routingKey: "ledger") }
            try await broker.wait { $0.queue("ledger")?.ready == 1 }
            await broker.faults.drop(.reset)

            // It may have arrived, or not: the publisher is told just that.
            let error = await #expect(throws: AMQPError.self) { try await entry.value }
            #expect(error?.code == .outcomeUnknown)
            await connection.close()
        }
    }
}
