// SPDX-License-Identifier: Apache-2.0
import AMQPClient
import TestSupport
import Testing

extension OperatorTests {
    /// The tool itself: a test that believes a node was killed should be right about it.
    @Test("A node is killed, and comes back on its port with its data")
    func crashAndResume() async throws {
        try await within(.seconds(60)) {
            try await TestBroker.runOnSpareRabbitMQ { broker in
                let url = try await broker.url()
                let queue = TestBroker.uniqueName()
                try await withChannel(url) { channel in
                    try await channel.declareQueue(queue, durable: true)
                    await #expect(throws: RabbitMQControl.Failure.self) { try await broker.ctl("no_such_command") }
                }
                try await broker.flush()
                try await broker.crash()
                await #expect(throws: AMQPError.self) { try await withChannel(url) { _ in } }
                await #expect(throws: RabbitMQControl.Failure.self) { try await broker.ctl("list_queues") }
                try await broker.resume()
                #expect(try await broker.url() == url)
                let queues = try await broker.ctl("list_queues", "name")
                #expect(queues.contains(queue))
                _ = try await withChannel(url) { channel in try await channel.deleteQueue(queue) }
            }
        }
    }
}
