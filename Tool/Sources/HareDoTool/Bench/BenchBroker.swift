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
        // On a shared machine the port is open to all.
        configuration.users = ["bench": .init(password: String(UInt64.random(in: 0 ... .max), radix: 36))]
        let broker = try await AMQPEmbeddedBroker.start(configuration)
        do {
            let result = try await body(broker.url)
            await broker.stop()
            return result
        } catch {
            await broker.stop()
            throw error
        }
    }
}
