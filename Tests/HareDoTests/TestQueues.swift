// SPDX-License-Identifier: Apache-2.0
import AMQPClient

/// Looks at queues from the side.
enum TestQueues {
    static func count(_ name: String, _ url: String) async throws -> Int {
        try await self.withChannel(url) { try await $0.declareQueue(name, passive: true).messageCount }
    }

    static func consumers(_ name: String, _ url: String) async throws -> Int {
        try await self.withChannel(url) { try await $0.declareQueue(name, passive: true).consumerCount }
    }

    static func delete(_ name: String, _ url: String) async throws {
        try await self.withChannel(url) { _ = try await $0.deleteQueue(name) }
    }

    private static func withChannel<R: Sendable>(
        _ url: String, _ body: (AMQPChannel) async throws -> R
    ) async throws -> R {
        let connection = try await AMQPConnection.connect(AMQPConfiguration(uri: url))
        do {
            let result = try await body(try await connection.openChannel())
            await connection.close()
            return result
        } catch {
            await connection.close()
            throw error
        }
    }
}
