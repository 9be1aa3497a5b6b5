// SPDX-License-Identifier: Apache-2.0
public import AMQPBroker
public import HareDo

/// Runs a test with a broker of its own, which is gone afterwards, whatever the test does.
///
/// The broker listens on a free port of this machine and behaves as RabbitMQ 4.3 unless the configuration says otherwise.
/// Tests that run at the same time do not meet.
///
/// - Throws: `AMQPBrokerError` if the broker cannot be started, and what `body` throws.
public func withBroker<Result>(
    _ configuration: AMQPEmbeddedBroker.Configuration = .init(),
    _ body: (AMQPEmbeddedBroker) async throws -> Result
) async throws -> Result {
    try await AMQPEmbeddedBroker.with(configuration, body)
}

/// The same with a peer that is connected to it.
///
/// - Throws: `AMQPBrokerError`, `HareDoError`, and what `body` throws.
public func withBroker<Result: Sendable>(
    _ configuration: AMQPEmbeddedBroker.Configuration = .init(),
    _ body: (AMQPEmbeddedBroker, Peer) async throws -> Result
) async throws -> Result {
    try await withBroker(configuration) { broker in
        try await Peer.with(broker.peerConfiguration) { peer in try await body(broker, peer) }
    }
}

extension AMQPEmbeddedBroker {
    /// How peers reach this broker. They come back at once after a loss, for tests are in a hurry.
    public var peerConfiguration: Peer.Configuration {
        var configuration = Peer.Configuration.url(self.url)
        configuration.maximumReconnectDelay = .milliseconds(50)
        return configuration
    }
}
