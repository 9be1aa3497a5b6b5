// SPDX-License-Identifier: Apache-2.0
import AMQPClient
import AMQPWire
import Foundation
import NIOCore
import TestSupport
import Testing

/// TLS and logins with RabbitMQ. Its node for all tests asks for a client's certificate and goes on without one.
@Suite(
    .enabled(if: TestBroker.hasRabbitMQTLS, "no RabbitMQ with TLS: `make test` starts one"), .timeLimit(.minutes(2)))
struct TLSTests {
    struct Missing: Error, CustomStringConvertible {
        let description: String
    }

    private static func environment(_ name: String) throws -> String {
        guard let value = ProcessInfo.processInfo.environment[name] else {
            throw Missing(description: "\(name) is not set: `make test` sets it")
        }
        return value
    }

    /// How to reach the listener for TLS, with the authority that signed its certificate.
    private static func configuration() throws -> AMQPConfiguration {
        var configuration = try AMQPConfiguration(uri: Self.environment("HAREDO_TEST_RABBITMQ_TLS"))
        configuration.tls = AMQPTLS(trust: .authorities(.file(try Self.certificate("ca.pem"))))
        return configuration
    }

    private static func certificate(_ name: String, in folder: String? = nil) throws -> String {
        "\(try folder ?? Self.environment("HAREDO_TEST_CERTIFICATES"))/\(name)"
    }

    private static func identity(_ name: String, in folder: String? = nil) throws -> AMQPTLS.Identity {
        .init(
            certificateChain: .file(try Self.certificate("\(name).pem", in: folder)),
            privateKey: .file(try Self.certificate("\(name).key", in: folder)))
    }

    /// A message goes there and comes back.
    private func exchange(_ configuration: AMQPConfiguration) async throws {
        let connection = try await AMQPConnection.connect(configuration)
        let channel = try await connection.openChannel()
        let queue = try await channel.declareQueue("", exclusive: true).name
        let consumer = try await channel.consume(queue)
        let text = String(repeating: "x", count: 300_000)
        try await channel.publish(AMQPMessage(text), exchange: "", routingKey: queue)
        var deliveries = consumer.deliveries.makeAsyncIterator()
        let delivery = try await deliveries.next()
        #expect(delivery?.body.readableBytes == text.utf8.count)
        await connection.close()
    }

    private func refusal(
        _ configuration: AMQPConfiguration, sourceLocation: SourceLocation = #_sourceLocation
    ) async -> AMQPError? {
        do throws(AMQPError) {
            let connection = try await AMQPConnection.connect(configuration)
            await connection.close()
            Issue.record("it was accepted", sourceLocation: sourceLocation)
            return nil
        } catch {
            return error
        }
    }

    @Test func messagesGoThrough() async throws {
        try await TestBroker.runOnRabbitMQ { _ in
            try await self.exchange(Self.configuration())
        }
    }

    @Test func aURISaysItAll() async throws {
        try await TestBroker.runOnRabbitMQ { _ in
            let uri =
                try Self.environment("HAREDO_TEST_RABBITMQ_TLS")
                + "?cacertfile=\(Self.certificate("ca.pem"))&certfile=\(Self.certificate("client.pem"))"
                + "&keyfile=\(Self.certificate("client.key"))&verify=verify_peer&server_name_indication=localhost"
                + "&auth_mechanism=external&heartbeat=10&connection_timeout=5000&channel_max=10"
            try await self.exchange(AMQPConfiguration(uri: uri))
        }
    }

    @Test func anUnknownAuthorityIsRefused() async throws {
        try await TestBroker.runOnRabbitMQ { _ in
            var configuration = try Self.configuration()
            configuration.tls?.trust = .authorities(.file(try Self.certificate("other-ca.pem")))
            let error = await self.refusal(configuration)
            #expect(error?.code == .tlsFailed)
            #expect(error?.message.contains("not signed by the authority") == true, "\(error?.message ?? "")")
            configuration.tls?.verification = .none
            try await self.exchange(configuration)
        }
    }

    @Test func anotherHostsCertificateIsRefused() async throws {
        try await TestBroker.runOnRabbitMQ { _ in
            var configuration = try Self.configuration()
            configuration.tls?.serverName = .name("elsewhere.example")
            let error = await self.refusal(configuration)
            #expect(error?.code == .tlsFailed)
            #expect(error?.message.contains("elsewhere.example") == true, "\(error?.message ?? "")")
            configuration.tls?.verification = .withoutHostName
            try await self.exchange(configuration)
        }
    }

    @Test func anExpiredCertificateIsRefused() async throws {
        try await TestBroker.runOnOwnRabbitMQ(tls: .expired) { broker in
            var configuration = try AMQPConfiguration(uri: try await broker.tlsURL())
            let folder = try #require(broker.directory) + "/tls"
            configuration.tls = AMQPTLS(trust: .authorities(.file(try Self.certificate("ca.pem", in: folder))))
            let error = await self.refusal(configuration)
            #expect(error?.code == .tlsFailed)
            #expect(error?.message.contains("expired") == true, "\(error?.message ?? "")")
            configuration.tls?.verification = .none
            try await self.exchange(configuration)
        }
    }

    @Test func tlsMeetsAPlainPort() async throws {
        try await TestBroker.runOnRabbitMQ { url in
            var configuration = try Self.configuration()
            configuration.address = try AMQPConfiguration(uri: url).address
            let error = await self.refusal(configuration)
            #expect(error?.code == .tlsFailed)
            #expect(error?.message.contains("does not speak TLS there") == true, "\(error?.message ?? "")")
        }
    }

    @Test func aPlainClientMeetsTLS() async throws {
        try await TestBroker.runOnRabbitMQ { _ in
            var configuration = try Self.configuration()
            configuration.tls = nil
            let error = await self.refusal(configuration)
            #expect(error?.message.contains("amqps") == true, "\(error?.message ?? "")")
        }
    }

    @Test(arguments: AMQPSASLMechanism.allCases) func everyWayToLogIn(mechanism: AMQPSASLMechanism) async throws {
        try await TestBroker.runOnRabbitMQ { _ in
            var configuration = try Self.configuration()
            configuration.saslMechanisms = [mechanism]
            configuration.tls?.identity = try Self.identity("client")
            try await self.exchange(configuration)
        }
    }

    @Test(arguments: [AMQPSASLMechanism.plain, .amqplain]) func aWrongPassword(mechanism: AMQPSASLMechanism)
        async throws
    {
        try await TestBroker.runOnRabbitMQ { _ in
            var configuration = try Self.configuration()
            configuration.saslMechanisms = [mechanism]
            configuration.password = "hush"
            let error = await self.refusal(configuration)
            #expect(error?.code == .authenticationFailed)
            #expect(error?.reply?.code == 403)
            #expect("\(String(describing: error))".contains("hush") == false)
        }
    }

    @Test func aCertificateIsALogin() async throws {
        try await TestBroker.runOnRabbitMQ { _ in
            var configuration = try Self.configuration()
            configuration.credentials = .external
            let error = await self.refusal(configuration)
            #expect(error?.code == .authenticationFailed, "without a certificate")
            #expect(error?.message.contains("certificate") == true, "\(error?.message ?? "")")
            configuration.tls?.identity = try Self.identity("client")
            try await self.exchange(configuration)
        }
    }

    @Test func aProviderIsAskedForEveryLogin() async throws {
        try await TestBroker.runOnRabbitMQ { _ in
            var configuration = try Self.configuration()
            configuration.credentials = .provider { .init(user: "guest", password: "guest") }
            try await self.exchange(configuration)
            configuration.credentials = .provider { .init(user: "guest", password: "hush") }
            #expect(await self.refusal(configuration)?.code == .authenticationFailed)
        }
    }

    @Test func aClientCertificateIsRequired() async throws {
        try await TestBroker.runOnOwnRabbitMQ(tls: .required) { rabbit in
            let folder = "\(rabbit.directory ?? "")/tls"
            var configuration = try AMQPConfiguration(uri: await rabbit.tlsURL())
            configuration.tls = AMQPTLS(trust: .authorities(.file(try Self.certificate("ca.pem", in: folder))))
            let missing = await self.refusal(configuration)
            // What RabbitMQ has to say may be lost when it hangs up; that it is about the certificate is said anyway.
            #expect(
                missing?.message.contains("certificate of the client") == true, "\(missing?.description ?? "")")
            configuration.tls?.identity = try Self.identity("stranger", in: folder)
            let stranger = await self.refusal(configuration)
            #expect(stranger?.message.contains("the client's certificate") == true, "\(stranger?.description ?? "")")
            configuration.tls?.identity = try Self.identity("client", in: folder)
            try await self.exchange(configuration)
        }
    }
}
