// SPDX-License-Identifier: Apache-2.0
import AMQPClient
import TestSupport
import Testing

/// The tools themselves: a test that believes a node was killed should be right about it.
@Suite("RabbitMQ in the hands of its operator", .enabled(if: TestBroker.hasRabbitMQ, "needs RabbitMQ"))
struct RabbitMQControlTests {
    @Test("A node of a test's own is killed, comes back on its port with its data, and is gone in the end")
    func crashAndResume() async throws {
        try await within(.seconds(60)) {
            try await TestBroker.runOnOwnRabbitMQ { broker in
                let url = try await broker.url()
                try await withChannel(url) { channel in
                    try await channel.declareQueue("kept", durable: true)
                    await #expect(throws: RabbitMQControl.Failure.self) { try await broker.ctl("no_such_command") }
                }
                try await broker.crash()
                await #expect(throws: AMQPError.self) { try await withChannel(url) { _ in } }
                await #expect(throws: RabbitMQControl.Failure.self) { try await broker.ctl("list_queues") }
                try await broker.resume()
                #expect(try await broker.url() == url)
                let queues = try await broker.ctl("list_queues", "name")
                #expect(queues == "kept")
            }
        }
    }
}
