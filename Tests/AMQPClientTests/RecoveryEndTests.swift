// SPDX-License-Identifier: Apache-2.0
import AMQPWire
import NIOConcurrencyHelpers
import NIOCore
import TestSupport
import Testing

@_spi(HareDo) @testable import AMQPClient

/// When a recovery goes on, when it gives up, and that closing wins over it.
@Suite(.timeLimit(.minutes(1))) struct RecoveryEndTests {
    private static let forced = AMQPMethod.connectionClose(
        .init(replyCode: 320, replyText: "CONNECTION_FORCED", failingClassID: 0, failingMethodID: 0))
    private static let refused = AMQPMethod.connectionClose(
        .init(replyCode: 403, replyText: "ACCESS_REFUSED", failingClassID: 0, failingMethodID: 0))

    /// Where an attempt is, by what the broker heard last.
    enum HandshakeStep: CaseIterable {
        case protocolHeader, startOk, tuneOk, open

        func isReached(by heard: PlayingBroker.Heard) -> Bool {
            switch (self, heard.method) {
            case (.protocolHeader, nil), (.startOk, .connectionStartOk), (.tuneOk, .connectionTuneOk),
                (.open, .connectionOpen):
                true
            default: false
            }
        }
    }

    enum Failing: CaseIterable {
        /// The socket ends without a word.
        case eof
        /// `connection.close` 320 in place of the answer.
        case forced
    }

    @Test(arguments: HandshakeStep.allCases, Failing.allCases)
    func aHandshakeThatFailsIsTriedAgain(at step: HandshakeStep, by failing: Failing) async throws {
        try await withPlayingBroker { broker, connection, session in
            broker.play { heard in
                guard (1...2).contains(heard.session), step.isReached(by: heard) else { return .usual }
                return failing == .eof ? .hangUp : .answerOnConnection([Self.forced])
            }
            let events = EventLog(connection)
            await session.cut()
            guard case .connected = try await events.next(), case .lost(let error) = try await events.next() else {
                Issue.record("not lost")
                return
            }
            #expect(error.code == .connectionClosed)
            var attempts: [Int] = []
            while true {
                let event = try await events.next()
                if case .recovering(let attempt, let delay) = event {
                    attempts.append(attempt)
                    #expect(delay <= .milliseconds(20))
                } else if case .recovered = event {
                    break
                } else {
                    Issue.record("\(event)")
                    return
                }
            }
            #expect(attempts == [1, 2, 3])
            #expect(broker.sessionCount == 4)
            #expect(await connection.isOpen)
        }
    }

    @Test func theHandshakeOfTheFirstConnectionIsNotTriedAgain() async throws {
        for step in HandshakeStep.allCases {
            let broker = try await PlayingBroker.start()
            broker.play { step.isReached(by: $0) ? .hangUp : .usual }
            #expect(
                await failure { () async throws(AMQPError) in
                    try await AMQPConnection.connect(broker.configuration)
                } != nil)
            #expect(broker.sessionCount == 1)
            await broker.stop()
        }
    }

    @Test func aForcedCloseIsRecoveredFrom() async throws {
        try await withPlayingBroker { broker, connection, session in
            let channel = try await connection.openChannel()
            let events = EventLog(connection)
            try await session.send(Self.forced, on: 0)
            #expect(try await events.recovered().channels == 1)
            #expect(broker.methods(in: 0).last == .connectionCloseOk(.init()))
            #expect(try await channel.declareQueue("q").name == "q")
        }
    }

    @Test func refusedCredentialsEndIt() async throws {
        try await withPlayingBroker { broker, connection, session in
            let channel = try await connection.openChannel()
            let consumer = try await channel.consume("q")
            broker.play { heard in
                guard heard.session > 0, case .connectionStartOk? = heard.method else { return .usual }
                return .answerOnConnection([Self.refused])
            }
            let events = EventLog(connection)
            async let waiting = failure { () async throws(AMQPError) in try await consumer.deliveries.next() }
            await session.cut()
            #expect(try await events.closed().code == .authenticationFailed)
            #expect(await waiting?.code == .authenticationFailed)
            #expect(broker.sessionCount == 2)
            #expect(
                await failure { () async throws(AMQPError) in try await connection.openChannel() }?.code
                    == .authenticationFailed)
            #expect(channel.failure?.code == .authenticationFailed)
        }
    }

    /// A broker that hangs up behind the login may have died just then, so it is asked again, however often.
    @Test func silenceBehindTheLoginIsNoRefusal() async throws {
        try await withPlayingBroker { broker, connection, session in
            broker.play { heard in
                guard (1...5).contains(heard.session), case .connectionStartOk? = heard.method else { return .usual }
                return .hangUp
            }
            let events = EventLog(connection)
            await session.cut()
            try await events.recovered()
            #expect(broker.sessionCount == 7)
        }
    }

    @Test func anotherHostIsTriedWhenOneIsGone() async throws {
        let (one, other) = (try await PlayingBroker.start(), try await PlayingBroker.start())
        var configuration = one.configuration
        configuration.addresses = [one, other].map { .tcp(host: "127.0.0.1", port: $0.port) }
        let connection = try await AMQPConnection.connect(configuration)
        let channel = try await connection.openChannel()
        let events = EventLog(connection)
        // Whichever it is: its listener goes as well, and the other one takes over; and back again.
        for _ in 0..<4 {
            let current = one.isConnected ? one : other
            let next = current === one ? other : one
            await current.stop()
            try await events.recovered()
            #expect(next.isConnected && !current.isConnected)
            #expect(try await channel.declareQueue("q").name == "q")
            try await current.listen()
        }
        await connection.close()
        await one.stop()
        await other.stop()
    }

    @Test func refusedCredentialsAreTriedAgainIfAskedFor() async throws {
        try await withPlayingBroker {
            $0.recovery.stopsOnRefusedCredentials = false
        } _: { broker, connection, session in
            broker.play { heard in
                guard (1...3).contains(heard.session), case .connectionStartOk? = heard.method else { return .usual }
                return .answerOnConnection([Self.refused])
            }
            let events = EventLog(connection)
            await session.cut()
            try await events.recovered()
            #expect(broker.sessionCount == 5)
        }
    }

    @Test func afterSoManyAttemptsItIsOver() async throws {
        try await withPlayingBroker {
            $0.recovery.maximumAttempts = 3
        } _: { broker, connection, session in
            let channel = try await connection.openChannel()
            broker.play { $0.session > 0 ? .hangUp : .usual }
            let events = EventLog(connection)
            async let waiting = failure { () async throws(AMQPError) in
                try await channel.whenCut(session)
                return try await channel.declareQueue("q")
            }
            let error = try await events.closed()
            #expect(error.code == .connectionClosed)
            #expect((error.cause as? AMQPError)?.code == .connectFailed)
            #expect(await waiting?.code == .connectionClosed)
            #expect(broker.sessionCount == 4)
        }
    }

    @Test func withoutRecoveryALossIsFinal() async throws {
        try await withPlayingBroker {
            $0.recovery = .disabled
        } _: { broker, connection, session in
            let channel = try await connection.openChannel()
            let events = EventLog(connection)
            await session.cut()
            #expect(try await events.closed().code == .connectionClosed)
            #expect(channel.failure?.code == .connectionClosed)
            #expect(broker.sessionCount == 1)
        }
    }

    enum Moment: CaseIterable {
        /// Nobody listens, and the next attempt is some time away.
        case pausing
        /// The broker has accepted the socket and says nothing.
        case connecting
        /// It does not answer the login.
        case handshake
        /// Channels and topology are on their way.
        case restoring
    }

    @Test(arguments: Moment.allCases) func closingWinsOverARecovery(in moment: Moment) async throws {
        try await withPlayingBroker {
            if moment == .pausing {
                $0.recovery.minimumDelay = .seconds(60)
                $0.recovery.maximumDelay = .seconds(60)
            }
        } _: { broker, connection, session in
            let channel = try await connection.openChannel()
            try await channel.declareQueue("q", durable: true)
            let consumer = try await channel.consume("q")
            let reached = Mailbox<Void>()
            broker.play { heard in
                guard heard.session > 0 else { return .usual }
                let isThere =
                    switch (moment, heard.method) {
                    case (.connecting, nil), (.handshake, .connectionStartOk), (.restoring, .queueDeclare): true
                    default: false
                    }
                guard isThere else { return .usual }
                reached.put(())
                return .silence
            }
            let events = EventLog(connection)
            // A pause is a random part of its bound, and may be none.
            if moment == .pausing { await broker.stopListening() }
            async let sequence = failure { () async throws(AMQPError) in try await consumer.deliveries.next() }
            async let waiting = failure { () async throws(AMQPError) in
                try await channel.whenCut(session)
                return try await channel.declareQueue("more")
            }
            if moment == .pausing {
                while true { if case .recovering = try await events.next() { break } }
            } else {
                try await reached.next()
            }
            let start = ContinuousClock.now
            let canary = Canary()
            await connection.close()
            await expectTime(
                "closing while \(moment)", ContinuousClock.now - start, from: .zero, to: .milliseconds(500), canary)
            #expect(try await events.closed().code == .connectionClosed)
            #expect(await sequence?.code == .connectionClosed)
            #expect(await waiting?.code == .connectionClosed)
            let sessions = broker.sessionCount
            await connection.close()
            await connection.close()
            #expect(await !connection.isOpen)
            // Nobody goes on behind the scenes: a pause is over sooner than this.
            if moment != .pausing { try await Task.sleep(for: .milliseconds(60)) }
            #expect(broker.sessionCount == sessions)
            if moment == .restoring {
                #expect(
                    broker.methods(in: 1).contains { if case .connectionClose = $0 { true } else { false } })
            }
        }
    }

    @Test func nobodyListeningIsTriedAgainUntilSomebodyDoes() async throws {
        try await withPlayingBroker { broker, connection, session in
            let channel = try await connection.openChannel()
            let events = EventLog(connection)
            await broker.stopListening()
            await session.cut()
            while true { if case .recovering(4, _) = try await events.next() { break } }
            try await broker.listen()
            try await events.recovered()
            #expect(try await channel.declareQueue("q").name == "q")
        }
    }

    @Test func eventsAreTheSameForEverybody() async throws {
        try await withPlayingBroker { broker, connection, session in
            let logs = [EventLog(connection), EventLog(connection)]
            try await session.send(.connectionBlocked(.init(reason: "memory")), on: 0)
            try await session.send(.connectionUnblocked(.init()), on: 0)
            for log in logs {
                guard case .connected = try await log.next(), case .blocked("memory") = try await log.next(),
                    case .unblocked = try await log.next()
                else {
                    Issue.record("not connected, blocked, unblocked")
                    return
                }
            }
            await session.cut()
            for log in logs { try await log.recovered() }
            // Whoever comes late begins with how it is.
            let late = EventLog(connection)
            guard case .connected = try await late.next() else {
                Issue.record("not connected")
                return
            }
            await connection.close()
            for log in logs + [late] { #expect(try await log.closed().code == .connectionClosed) }
        }
    }
}

extension AMQPChannel {
    /// Cuts the connection and returns when the client has noticed.
    func whenCut(_ session: PlayingSession) async throws(AMQPError) {
        await session.cut()
        while await self.connection.isOpen { await Task.yield() }
    }
}
