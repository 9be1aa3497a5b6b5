// SPDX-License-Identifier: Apache-2.0
import AMQPClient
import TestSupport

/// Looks at queues from the side.
enum TestQueues {
    static func count(_ name: String, _ url: String) async throws -> Int {
        try await withChannel(url) { try await $0.declareQueue(name, passive: true).messageCount }
    }

    static func consumers(_ name: String, _ url: String) async throws -> Int {
        try await withChannel(url) { try await $0.declareQueue(name, passive: true).consumerCount }
    }

    static func delete(_ name: String, _ url: String) async throws {
        try await withChannel(url) { _ = try await $0.deleteQueue(name) }
    }
}
