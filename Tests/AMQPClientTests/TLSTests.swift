// SPDX-License-Identifier: Apache-2.0
import AMQPWire
import NIOConcurrencyHelpers
import NIOCore
import NIOSSL
import TestSupport
import Testing

@_spi(HareDo) @testable import AMQPClient

/// TLS with a scripted broker: what is accepted, and what is said of what is not.
@Suite(.timeLimit(.minutes(1))) struct TLSTests {
    private enum Outcome {
        case connected
        /// And what was said.
        case failed(AMQPError)
    }

    /// Lets a client with `settings` connect to a broker that speaks TLS as `server` says.
    private func connect(
        _ settings: AMQPTLS, host: String = "localhost", to server: NIOSSLContext
    ) async throws -> Outcome {
        let broker = try await ScriptedBroker.start(tls: server)
        var configuration = broker.configuration
        configuration.address = .tcp(host: host, port: broker.port)
        configuration.tls = settings
        // It ends with its connection.
        let script = Task {
            let peer = try await broker.accept()
            try await peer.handshake()
            try await peer.closeConnection()
        }
        defer { script.cancel() }
        let outcome: Outcome
        do {
            let connection = try await AMQPConnection.connect(configuration)
            await connection.close()
            try await script.value
            outcome = .connected
        } catch let error as AMQPError {
            outcome = .failed(error)
        }
        await broker.stop()
        return outcome
    }

    private func expectConnected(_ outcome: Outcome, sourceLocation: SourceLocation = #_sourceLocation) {
        guard case .failed(let error) = outcome else { return }
        Issue.record("\(error)", sourceLocation: sourceLocation)
    }

    private func expectFailure(
        _ outcome: Outcome, _ part: String, sourceLocation: SourceLocation = #_sourceLocation
    ) {
        guard case .failed(let error) = outcome else {
            Issue.record("it was accepted", sourceLocation: sourceLocation)
            return
        }
        #expect(error.code == .tlsFailed, "\(error)", sourceLocation: sourceLocation)
        #expect(error.message.contains(part), "\(error)", sourceLocation: sourceLocation)
        #expect(error.message.contains("localhost") || error.message.contains("127.0.0.1"))
    }

    private func trusting(_ authority: String = "ca.pem") throws -> AMQPTLS {
        AMQPTLS(trust: .authorities(try Certificates.pem(authority)))
    }

    static let versions: [TLSVersion] = [.tlsv12, .tlsv13]

    // MARK: - The broker's certificate

    @Test(arguments: Self.versions, ["localhost", "LOCALHOST", "127.0.0.1"])
    func aCertificateThatIsRightIsAccepted(version: TLSVersion, host: String) async throws {
        let server = try Certificates.server(from: version, upTo: version)
        self.expectConnected(try await self.connect(self.trusting(), host: host, to: server))
    }

    @Test(arguments: Self.versions) func anUnknownAuthorityIsRefused(version: TLSVersion) async throws {
        let server = try Certificates.server(from: version, upTo: version)
        var settings = try self.trusting("other-ca.pem")
        self.expectFailure(try await self.connect(settings, to: server), "not signed by the authority")
        settings.verification = .withoutHostName
        self.expectFailure(try await self.connect(settings, to: server), "not signed by the authority")
        settings.verification = .none
        self.expectConnected(try await self.connect(settings, to: server))
    }

    @Test func theSystemsAuthoritiesDoNotKnowOurs() async throws {
        guard case .failed(let error) = try await self.connect(AMQPTLS(), to: Certificates.server()) else {
            Issue.record("it was accepted")
            return
        }
        // Not every machine has any.
        let part = error.code == .invalidArgument ? "ca-certificates" : "this system trusts"
        #expect([.tlsFailed, .invalidArgument].contains(error.code))
        #expect(error.message.contains(part), "\(error)")
    }

    @Test func bothAuthoritiesOfOneTextAreTrusted() async throws {
        let text = try [Certificates.path("other-ca.pem"), Certificates.path("ca.pem")]
            .flatMap { path in try FileBytes.read(path, limit: 100_000) }
        let settings = AMQPTLS(trust: .authorities(.bytes(text)))
        self.expectConnected(try await self.connect(settings, to: Certificates.server()))
    }

    @Test(arguments: Self.versions) func anotherHostsCertificateIsRefused(version: TLSVersion) async throws {
        let server = try Certificates.server("elsewhere", from: version, upTo: version)
        var settings = try self.trusting()
        self.expectFailure(try await self.connect(settings, to: server), "not made out to 'localhost'")
        self.expectFailure(
            try await self.connect(settings, host: "127.0.0.1", to: server), "the IP address of '127.0.0.1'")
        settings.serverName = .name("wrong.example")
        self.expectFailure(try await self.connect(settings, to: server), "not made out to 'wrong.example'")
        settings.verification = .withoutHostName
        self.expectConnected(try await self.connect(settings, to: server))
        settings.verification = .full
        settings.serverName = .name("elsewhere.example")
        self.expectConnected(try await self.connect(settings, to: server))
    }

    /// The certificate names the address, but nobody asked for that.
    @Test(arguments: Self.versions) func aCertificateForTheAddressIsNoneForTheHost(version: TLSVersion) async throws {
        let server = try Certificates.server(from: version, upTo: version)
        var settings = try self.trusting()
        settings.serverName = .name("broker.example")
        self.expectFailure(
            try await self.connect(settings, host: "127.0.0.1", to: server), "not made out to 'broker.example'")
        settings.serverName = .notSent
        self.expectConnected(try await self.connect(settings, host: "127.0.0.1", to: server))
    }

    @Test(arguments: Self.versions) func anExpiredCertificateIsRefused(version: TLSVersion) async throws {
        let server = try Certificates.server("expired", from: version, upTo: version)
        var settings = try self.trusting()
        self.expectFailure(try await self.connect(settings, to: server), "expired")
        settings.verification = .withoutHostName
        self.expectFailure(try await self.connect(settings, to: server), "expired")
        settings.verification = .none
        self.expectConnected(try await self.connect(settings, to: server))
    }

    @Test func aServerThatSpeaksOnlyOldVersionsIsRefused() async throws {
        let server = try Certificates.server(from: .tlsv1, upTo: .tlsv11)
        self.expectFailure(try await self.connect(self.trusting(), to: server), "TLS")
    }

    @Test(
        arguments: [
            ("localhost", .host, "localhost"), ("127.0.0.1", .host, nil), ("127.0.0.1", .notSent, nil),
            ("127.0.0.1", .name("localhost"), "localhost"), ("127.0.0.1", .name("localhost."), "localhost"),
        ] as [(String, AMQPTLS.ServerName, String?)])
    func theServerIsAskedForByName(host: String, name: AMQPTLS.ServerName, asked: String?) async throws {
        let seen = NIOLockedValueBox<[String?]>([])
        let server = try Certificates.server(onServerName: { name in seen.withLockedValue { $0.append(name) } })
        var settings = try self.trusting()
        settings.serverName = name
        self.expectConnected(try await self.connect(settings, host: host, to: server))
        #expect(seen.withLockedValue { $0 } == [asked])
    }

    // MARK: - The client's certificate

    @Test(arguments: Self.versions) func aClientCertificateIsRequired(version: TLSVersion) async throws {
        let server = try Certificates.server(from: version, upTo: version, requiresClientCertificate: true)
        var settings = try self.trusting()
        // With TLS 1.3 the server says so when for the client all seems well.
        self.expectFailure(try await self.connect(settings, to: server), "a certificate of the client")
        settings.identity = try Certificates.identity("client")
        self.expectConnected(try await self.connect(settings, to: server))
        settings.identity = try Certificates.identity("stranger")
        self.expectFailure(try await self.connect(settings, to: server), "the client's certificate")
    }

    // MARK: - What is no TLS

    /// RabbitMQ answers what it does not understand with the protocol header it would have liked.
    @Test(arguments: [Array("AMQP\0\0\u{9}\u{1}".utf8), Array("HTTP/1.1 400 Bad Request\r\n\r\n".utf8), []])
    func aPlainPortIsRecognised(answer: [UInt8]) async throws {
        let broker = try await ScriptedBroker.start()
        var configuration = broker.configuration
        configuration.tls = try self.trusting()
        async let told = failure { [configuration] () async throws(AMQPError) in
            try await AMQPConnection.connect(configuration)
        }
        let peer = try await broker.accept()
        #expect(try await peer.next() == .garbage)
        if !answer.isEmpty { try await peer.send(bytes: answer) }
        await peer.close()
        let error = await told
        #expect(error?.code == .tlsFailed)
        #expect(error?.message.contains("does not speak TLS there") == true, "\(error?.message ?? "")")
        #expect(error?.message.contains("5671") == true)
        await broker.stop()
    }

    @Test func aPlainClientIsToldOfATLSPort() async throws {
        let broker = try await ScriptedBroker.start(tls: Certificates.server())
        let configuration = broker.configuration
        let error = await failure { () async throws(AMQPError) in try await AMQPConnection.connect(configuration) }
        #expect([.tlsFailed, .connectFailed].contains(error?.code))
        #expect(error?.message.contains("amqps") == true, "\(error?.message ?? "")")
        await broker.stop()
    }

    @Test func aTLSAlertIsRecognised() async throws {
        let broker = try await ScriptedBroker.start()
        let configuration = broker.configuration
        async let told = failure { () async throws(AMQPError) in try await AMQPConnection.connect(configuration) }
        let peer = try await broker.accept()
        try await peer.expectProtocolHeader()
        try await peer.send(bytes: [0x15, 3, 1, 0, 2, 2, 70])
        let error = await told
        #expect(error?.code == .tlsFailed)
        #expect(error?.message.contains("amqps") == true)
        await peer.close()
        await broker.stop()
    }

    // MARK: - Broken and silent

    /// Hands `count` bytes of the broker's on to the client, and then `ends` happens.
    private func cut(
        after count: Int, version: TLSVersion, timeout: Duration = .seconds(10), hangUp: Bool
    ) async throws -> AMQPError? {
        let broker = try await ScriptedBroker.start(tls: Certificates.server(from: version, upTo: version))
        let proxy = try await CuttingProxy.start(to: broker.port, after: count, hangUp: hangUp)
        var configuration = broker.configuration
        configuration.address = .tcp(host: "127.0.0.1", port: proxy.port)
        configuration.tls = try self.trusting()
        configuration.connectTimeout = timeout
        let error = await failure { [configuration] () async throws(AMQPError) in
            try await AMQPConnection.connect(configuration)
        }
        await proxy.stop()
        await broker.stop()
        return error
    }

    @Test(arguments: Self.versions, [0, 1, 5, 6, 60, 200, 500])
    func aHandshakeThatIsCutEndsAtOnce(version: TLSVersion, count: Int) async throws {
        let error = try await self.cut(after: count, version: version, hangUp: true)
        #expect(error?.code == .tlsFailed, "\(String(describing: error))")
        #expect(error?.message.contains("during the handshake") == true, "\(String(describing: error))")
    }

    @Test(arguments: [0, 100]) func aHandshakeThatStopsIsGivenUpInTime(count: Int) async throws {
        let canary = Canary()
        let start = ContinuousClock.now
        let error = try await self.cut(after: count, version: .tlsv13, timeout: .seconds(1), hangUp: false)
        #expect(error?.code == .connectTimedOut)
        await expectTime(
            "connect timeout", ContinuousClock.now - start, from: .seconds(1), to: .milliseconds(1250), canary)
    }

    @Test func connectingThatIsCancelledDuringTheHandshakeLeavesNoSocket() async throws {
        let broker = try await ScriptedBroker.start()
        var configuration = broker.configuration
        configuration.tls = try self.trusting()
        let told = Task { [configuration] in
            await failure { () async throws(AMQPError) in try await AMQPConnection.connect(configuration) }
        }
        let peer = try await broker.accept()
        #expect(try await peer.next() == .garbage)
        told.cancel()
        #expect(await told.value?.code == .cancelled)
        while try await peer.next() != .closed {}
        await broker.stop()
    }

    // MARK: - What goes through

    @Test(arguments: Self.versions) func largeMessagesGoThrough(version: TLSVersion) async throws {
        let broker = try await ScriptedBroker.start(tls: Certificates.server(from: version, upTo: version))
        var configuration = broker.configuration
        configuration.tls = try self.trusting()
        async let connected = AMQPConnection.connect(configuration)
        let peer = try await broker.accept()
        try await peer.handshake()
        let connection = try await connected
        let scripted = Scripted(broker: broker, connection: connection, peer: peer)
        let channel = try await scripted.channel()
        let consumer = try await scripted.consumer(on: channel)
        let text = String(repeating: "0123456789abcdef", count: 65_536)
        try await channel.publish(AMQPMessage(ByteBuffer(string: text)), exchange: "", routingKey: "q")
        let published = try await peer.expectPublish()
        #expect(published.text == text)
        try await peer.write { try $0.deliver(text, tag: 1) }
        #expect(try await consumer.deliveries.next()?.body == ByteBuffer(string: text))
        await peer.close()
        let ended = NIOLockedValueBox<AMQPError?>(nil)
        await connection.whenEnded { error in ended.withLockedValue { $0 = error } }
        try await eventually { ended.withLockedValue { $0 != nil } }
        await connection.close()
        await broker.stop()
    }

    @Test func closingIsNotHeldUpByABrokerThatDoesNotSayGoodbyeInTLS() async throws {
        let broker = try await ScriptedBroker.start(tls: Certificates.server())
        var configuration = broker.configuration
        configuration.tls = try self.trusting()
        async let connected = AMQPConnection.connect(configuration)
        let peer = try await broker.accept()
        try await peer.handshake()
        let connection = try await connected
        try await peer.pauseReading()
        let canary = Canary()
        let start = ContinuousClock.now
        await connection.close(within: .milliseconds(500))
        await expectTime(
            "close", ContinuousClock.now - start, from: .milliseconds(500), to: .milliseconds(750), canary)
        await peer.close()
        await broker.stop()
    }
}
