// SPDX-License-Identifier: Apache-2.0
import AMQPBroker

/// The broker of a benchmark.
enum BenchBroker {
    /// - Parameters:
    ///   - url: `embedded` for one that exists as long as `body` runs.
    ///   - body: gets a URL that clients and peers understand.
    static func with<R: Sendable>(_ url: String, _ body: (String) async throws -> R) async throws -> R {
        guard url == "embedded" else { return try await body(url) }
        var configuration = AMQPEmbeddedBroker.Configuration()
        // As peers that are embedded have it.
        configuration.address = .temporarySocket()
        return try await AMQPEmbeddedBroker.with(configuration) { broker in try await body(broker.url) }
    }
}
