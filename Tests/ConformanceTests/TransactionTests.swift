// SPDX-License-Identifier: Apache-2.0
import AMQPClient
import AMQPWire
import NIOCore
import TestSupport
import Testing

@Suite("Transactions")
struct TransactionTests {
    @Test("What is committed arrives together, what is rolled back never", arguments: TestBroker.modes)
    func commitAndRollback(broker: TestBroker) async throws {
        try await broker.run { url in
            try await withConnection(url) { connection in
                let other = try await connection.openChannel()
                let queue = try await other.declareQueue("", exclusive: true).name
                let channel = try await connection.openChannel()
                try await channel.selectTransactions()
                try await channel.selectTransactions()
                try await channel.publish(AMQPMessage("dropped"), routingKey: queue)
                try await channel.rollback()
                #expect(try await other.declareQueue(queue, passive: true).messageCount == 0)
                try await channel.publish(AMQPMessage("first"), routingKey: queue)
                try await channel.publish(AMQPMessage("second"), routingKey: queue)
                // Behind both, in the order of the channel.
                try await channel.qos(prefetchCount: 10)
                #expect(try await other.declareQueue(queue, passive: true).messageCount == 0)
                try await channel.commit()
                #expect(try await other.declareQueue(queue, passive: true).messageCount == 2)
            }
        }
    }

    @Test("Acknowledgements belong to the transaction", arguments: TestBroker.modes)
    func acknowledgements(broker: TestBroker) async throws {
        try await broker.run { url in
            try await withConnection(url) { connection in
                let other = try await connection.openChannel()
                let queue = try await other.declareQueue("", exclusive: true).name
                for text in ["kept", "gone"] { try await other.publish(AMQPMessage(text), routingKey: queue) }
                // Behind both, in the order of the channel.
                try await other.qos(prefetchCount: 10)
                let channel = try await connection.openChannel()
                try await channel.selectTransactions()
                try #require(try await channel.get(queue)).ack()
                try await channel.rollback()
                // As if it had never been acknowledged: it goes back.
                try await channel.recover()
                let again = try #require(try await channel.get(queue))
                #expect(again.text == "kept" && again.redelivered)
                try again.reject(requeue: true)
                try await channel.commit()
                #expect(try await channel.get(queue, acknowledgement: .automatic)?.text == "kept")
                try #require(try await channel.get(queue)).ack()
                try await channel.commit()
                await channel.close()
                #expect(try await other.deleteQueue(queue) == 0)
            }
        }
    }

    @Test("Transactions and confirms exclude each other, with 406", arguments: TestBroker.modes)
    func notWithConfirms(broker: TestBroker) async throws {
        try await broker.run { url in
            try await withConnection(url) { connection in
                let confirming = try await connection.openChannel()
                try await confirming.confirmSelect()
                await expectRefusal(406, "cannot switch from confirm to tx mode") {
                    try await confirming.selectTransactions()
                }
                let transactional = try await connection.openChannel()
                try await transactional.selectTransactions()
                await expectRefusal(406, "cannot switch from tx to confirm mode") {
                    try await transactional.confirmSelect()
                }
                let neither = try await connection.openChannel()
                await expectRefusal(406, "channel is not transactional") { try await neither.commit() }
                #expect(await connection.isOpen)
            }
        }
    }
}
