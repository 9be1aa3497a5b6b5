// SPDX-License-Identifier: Apache-2.0
import AMQPBroker
import AMQPClient
import Foundation
import HareDoTesting
import Testing

/// `Scripts/test.sh` makes certificates; in CI they have to be there.
private let certificates = ProcessInfo.processInfo.environment["HAREDO_TEST_CERTIFICATES"]
private let isCI = ProcessInfo.processInfo.environment["CI"] != nil

@Suite(
    "The TLS listener", .enabled(if: certificates != nil || isCI, "no certificates: `make test` makes them"),
    .timeLimit(.minutes(1)))
struct TLSTests {
    private static func file(_ name: String) throws -> String { "\(try #require(certificates))/\(name)" }

    private static func configuration(authority: String? = nil) throws -> AMQPEmbeddedBroker.Configuration {
        var configuration = AMQPEmbeddedBroker.Configuration()
        configuration.tls = .init(
            certificateChainFile: try Self.file("server.pem"), privateKeyFile: try Self.file("server.key"),
            clientAuthorityFile: try authority.map(Self.file))
        return configuration
    }

    private static func client(
        _ broker: AMQPEmbeddedBroker, identity: String? = nil
    ) throws -> AMQPConfiguration {
        var configuration = try AMQPConfiguration(uri: try #require(broker.tlsURL))
        configuration.tls = AMQPTLS(trust: .authorities(.file(try Self.file("ca.pem"))))
        if let identity {
            configuration.tls?.identity = .init(
                certificateChain: .file(try Self.file("\(identity).pem")),
                privateKey: .file(try Self.file("\(identity).key")))
        }
        return configuration
    }

    /// A message goes there and comes back.
    private func exchange(_ configuration: AMQPConfiguration) async throws {
        let connection = try await AMQPConnection.connect(configuration)
        let channel = try await connection.openChannel()
        try await channel.confirmSelect()
        let queue = try await channel.declareQueue("", exclusive: true).name
        try await channel.publishConfirmed(
            AMQPMessage(String(repeating: "x", count: 300_000)), routingKey: queue)
        #expect(try await channel.get(queue)?.body.readableBytes == 300_000)
        await connection.close()
    }

    @Test("speaks TLS, beside the plain one")
    func both() async throws {
        try await withBroker(try Self.configuration()) { broker in
            #expect(broker.tlsURL?.hasPrefix("amqps://guest:guest@127.0.0.1:") == true)
            try await self.exchange(try Self.client(broker))
            try await self.exchange(try AMQPConfiguration(uri: broker.url))
        }
    }

    @Test("takes only clients with a certificate of its authority, if it is given one")
    func clientCertificates() async throws {
        try await withBroker(try Self.configuration(authority: "ca.pem")) { broker in
            try await self.exchange(try Self.client(broker, identity: "client"))
            for identity in [nil, "stranger"] {
                await #expect(throws: AMQPError.self) {
                    try await self.exchange(try Self.client(broker, identity: identity))
                }
            }
        }
    }

    @Test("does not start with files that are not what they should be")
    func wrongFiles() async throws {
        var missing = try Self.configuration()
        missing.tls?.privateKeyFile = "/nowhere.key"
        var mixed = try Self.configuration()
        mixed.tls?.privateKeyFile = try Self.file("client.key")
        for (configuration, text) in [(missing, "/nowhere.key"), (mixed, "do not go together")] {
            let error = await #expect(throws: AMQPBrokerError.self) {
                try await AMQPEmbeddedBroker.start(configuration)
            }
            #expect(error?.code == .invalidConfiguration && error?.message.contains(text) == true, "\(error as Any)")
        }
    }
}
