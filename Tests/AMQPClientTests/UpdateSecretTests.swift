// SPDX-License-Identifier: Apache-2.0
import AMQPWire
import NIOConcurrencyHelpers
import Testing

@_spi(HareDo) @testable import AMQPClient

/// Secrets that expire while the connection is open.
@Suite(.timeLimit(.minutes(1))) struct UpdateSecretTests {
    /// Gives one answer after the other, and then the last one for ever.
    private final class Provider: Sendable {
        struct Failed: Error {}
        private let answers: NIOLockedValueBox<[AMQPCredentials.Secret?]>
        private let asked = NIOLockedValueBox(0)

        /// - Parameter answers: `nil` for a failure.
        init(_ answers: [(password: String, life: Duration)?]) {
            self.answers = NIOLockedValueBox(
                answers.map { answer in
                    answer.map { .init(user: "u", password: $0.password, expiresAt: .now + $0.life) }
                })
        }

        var count: Int { self.asked.withLockedValue { $0 } }

        func next() throws -> AMQPCredentials.Secret {
            self.asked.withLockedValue { $0 += 1 }
            let answer = self.answers.withLockedValue { $0.count > 1 ? $0.removeFirst() : $0.first ?? nil }
            guard let answer else { throw Failed() }
            return answer
        }
    }

    private func withBroker(
        _ provider: Provider, recovery: AMQPRecovery = .disabled,
        _ body: (ScriptedBroker, ScriptedPeer, AMQPConnection) async throws -> Void
    ) async throws {
        let broker = try await ScriptedBroker.start()
        var configuration = broker.configuration
        configuration.credentials = .provider { try provider.next() }
        configuration.replyTimeout = .seconds(3)
        configuration.recovery = recovery
        async let connected = AMQPConnection.connect(configuration)
        let peer = try await broker.accept()
        try await peer.handshake()
        let connection = try await connected
        do {
            try await body(broker, peer, connection)
        } catch {
            await peer.close()
            await connection.close()
            await broker.stop()
            throw error
        }
        await peer.close()
        await connection.close()
        await broker.stop()
    }

    private func expectUpdate(_ password: String, from peer: ScriptedPeer) async throws {
        guard case .connectionUpdateSecret(let update) = try await peer.expect(.connectionUpdateSecret, on: 0) else {
            return
        }
        #expect(update.newSecret == AMQPLongString(password))
    }

    @Test func theBrokerGetsNewSecretsBeforeTheOldOnesExpire() async throws {
        let provider = Provider([("first", .seconds(1)), ("second", .seconds(2)), ("third", .seconds(1000))])
        try await self.withBroker(provider) { _, peer, connection in
            try await self.expectUpdate("second", from: peer)
            try await peer.send(.connectionUpdateSecretOk(.init()), on: 0)
            try await self.expectUpdate("third", from: peer)
            try await peer.send(.connectionUpdateSecretOk(.init()), on: 0)
            #expect(await connection.isOpen)
            #expect(provider.count == 3)
        }
    }

    @Test func aProviderThatFailsIsAskedAgainAndABrokerThatIsSlowGetsOneSecretAtATime() async throws {
        let provider = Provider([("first", .zero), nil, ("second", .zero), ("third", .seconds(1000))])
        try await self.withBroker(provider) { _, peer, connection in
            try await self.expectUpdate("second", from: peer)
            // Much longer than it may take, and than the provider would be asked again after.
            try await Task.sleep(for: .milliseconds(4500))
            async let channel = connection.openChannel()
            try await peer.openChannel()
            _ = try await channel
            #expect(provider.count == 3)
            try await peer.send(.connectionUpdateSecretOk(.init()), on: 0)
            try await self.expectUpdate("third", from: peer)
            try await peer.send(.connectionUpdateSecretOk(.init()), on: 0)
            async let opened = connection.openChannel()
            try await peer.openChannel(2)
            _ = try await opened
        }
    }

    @Test func anAnswerThatNobodyAskedForBreaksTheProtocol() async throws {
        try await self.withBroker(Provider([("first", .seconds(1000))])) { _, peer, connection in
            try await peer.send(.connectionUpdateSecretOk(.init()), on: 0)
            try await peer.expect(.connectionClose, on: 0)
            try await peer.expectClosed()
            #expect(await !connection.isOpen)
        }
    }

    /// RabbitMQ closes the connection if it does not like the new secret (530).
    @Test func aRefusedSecretIsALossAndAskedForAnew() async throws {
        let provider = Provider([("first", .zero), ("bad", .seconds(1000)), ("good", .seconds(1000))])
        try await self.withBroker(provider, recovery: AMQPRecovery()) { broker, peer, connection in
            try await self.expectUpdate("bad", from: peer)
            try await peer.send(
                .connectionClose(
                    .init(replyCode: 530, replyText: "NOT_ALLOWED", failingClassID: 10, failingMethodID: 70)),
                on: 0)
            try await peer.expect(.connectionCloseOk, on: 0)
            let next = try await broker.accept()
            #expect(try await next.handshake().startOk.response == "\0u\0good")
            await connection.close(within: .milliseconds(50))
        }
    }

    @Test func whatWasAskedForTheLostConnectionIsNotSentOnTheNextOne() async throws {
        let asked = NIOLockedValueBox(0)
        let (release, releasing) = AsyncStream.makeStream(of: Void.self)
        let (returned, returning) = AsyncStream.makeStream(of: Void.self)
        let broker = try await ScriptedBroker.start()
        var configuration = broker.configuration
        configuration.recovery = AMQPRecovery()
        configuration.credentials = .provider {
            let count = asked.withLockedValue { count in
                count += 1
                return count
            }
            guard count == 2 else {
                return .init(user: "u", password: "\(count)", expiresAt: .now + .seconds(count == 1 ? 0 : 1000))
            }
            // It takes longer than the connection lives, and does not heed that it is cancelled.
            await Task { for await _ in release {} }.value
            defer { returning.finish() }
            return .init(user: "u", password: "stale", expiresAt: .now + .seconds(1000))
        }
        async let connected = AMQPConnection.connect(configuration)
        let peer = try await broker.accept()
        try await peer.handshake()
        let connection = try await connected
        try await eventually { asked.withLockedValue { $0 } == 2 }
        await peer.close()
        let next = try await broker.accept()
        releasing.finish()
        for await _ in returned {}
        #expect(try await next.handshake().startOk.response == "\0u\03")
        async let opened = connection.openChannel()
        try await next.openChannel()
        _ = try await opened
        await next.close()
        await connection.close()
        await broker.stop()
    }

    @Test func aClosedConnectionAsksNobody() async throws {
        let provider = Provider([("first", .seconds(1000)), ("second", .seconds(1000))])
        weak var connection: AMQPConnection?
        try await self.withBroker(provider) { _, peer, opened in
            connection = opened
            async let closed: Void = opened.close()
            try await peer.closeConnection()
            await closed
        }
        try await eventually { connection == nil }
        #expect(provider.count == 1)
    }
}
