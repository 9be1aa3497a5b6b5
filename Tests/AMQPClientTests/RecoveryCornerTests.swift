// SPDX-License-Identifier: Apache-2.0
import AMQPWire
import NIOConcurrencyHelpers
import NIOCore
import Testing

@_spi(HareDo) @testable import AMQPClient

/// Things that happen at an unlucky moment.
@Suite(.timeLimit(.minutes(1))) struct RecoveryCornerTests {
    private func cutAndWait(_ session: PlayingSession, _ connection: AMQPConnection) async {
        await session.cut()
        while await connection.isOpen { await Task.yield() }
    }

    @Test func aConsumerThatIsCancelledMeanwhileStaysAway() async throws {
        try await withPlayingBroker { broker, connection, session in
            let channel = try await connection.openChannel()
            let leaving = try await channel.consume("leaving")
            let staying = try await channel.consume("staying")
            await broker.stopListening()
            await self.cutAndWait(session, connection)
            let cancelled = Task { try? await leaving.cancel() }
            let events = EventLog(connection)
            try await broker.listen()
            try await events.recovered()
            await cancelled.value
            #expect(try await leaving.deliveries.next() == nil)
            let current = try await broker.nextSession()
            // If it was started again, it was cancelled again.
            let started = current.consumers.map(\.tag)
            #expect(started.contains(staying.consumerTag))
            if started.contains(leaving.consumerTag) {
                #expect(
                    broker.methods(in: current.index).contains(
                        .basicCancel(.init(consumerTag: leaving.consumerTag))))
            }
            #expect(await connection.consumerCount == 1)
        }
    }

    @Test func fewerChannelsThanBeforeEndThoseThatAreTooMany() async throws {
        try await withPlayingBroker { broker, connection, session in
            var channels: [AMQPChannel] = []
            for _ in 0..<4 { channels.append(try await connection.openChannel()) }
            broker.play { heard in
                guard heard.session == 1, case .connectionStartOk? = heard.method else { return .usual }
                return .answerOnConnection([.connectionTune(.init(channelMax: 2, frameMax: 131_072, heartbeat: 0))])
            }
            let events = EventLog(connection)
            await session.cut()
            let report = try await events.recovered()
            #expect(report.channels == 2 && report.failures.count == 2)
            #expect(channels.map { $0.failure == nil } == [true, true, false, false])
            #expect(try await channels[0].declareQueue("q").name == "q")
        }
    }

    @Test func smallerFramesThanBeforeAreKept() async throws {
        try await withPlayingBroker { broker, connection, session in
            let channel = try await connection.openChannel()
            await broker.stopListening()
            await self.cutAndWait(session, connection)
            broker.play { heard in
                guard heard.session > 0, case .connectionStartOk? = heard.method else { return .usual }
                return .answerOnConnection([.connectionTune(.init(channelMax: 10, frameMax: 4096, heartbeat: 0))])
            }
            let body = ByteBuffer(repeating: 7, count: 50_000)
            async let published: Void = channel.publish(AMQPMessage(body), routingKey: "q")
            try await broker.listen()
            try await published
            #expect(try await broker.nextMessage().body == body)
            #expect(await connection.frameMax == 4096)
            let current = try await broker.nextSession()
            #expect(current.isClean == true)
            #expect(current.largestFrame <= 4096)
        }
    }

    @Test func aBlockedConnectionThatIsLostIsNotBlockedAnyMore() async throws {
        try await withPlayingBroker { broker, connection, session in
            let channel = try await connection.openChannel()
            try await session.send(.connectionBlocked(.init(reason: "memory")), on: 0)
            let events = EventLog(connection)
            while true { if case .blocked = try await events.next() { break } }
            async let published: Void = channel.publish(AMQPMessage("held"), routingKey: "q")
            try await eventually { connection.gate.suspendedCount == 1 }
            await session.cut()
            try await published
            #expect(try await broker.nextMessage().session == 1)
        }
    }

    @Test func aChannelPausedByFlowIsNotPausedInItsNextLife() async throws {
        try await withPlayingBroker { broker, connection, session in
            let channel = try await connection.openChannel()
            try await session.send(.channelFlow(.init(active: false)))
            try await eventually { broker.methods(in: 0).contains(.channelFlowOk(.init(active: false))) }
            async let published: Void = channel.publish(AMQPMessage("held"), routingKey: "q")
            try await eventually { connection.gate.suspendedCount == 1 }
            await session.cut()
            try await published
            #expect(try await broker.nextMessage().session == 1)
        }
    }

    @Test func halfADeliveryIsForgottenWithItsConnection() async throws {
        try await withPlayingBroker { broker, connection, session in
            let channel = try await connection.openChannel()
            let consumer = try await channel.consume("q")
            // Method and header, and the body is to follow.
            var output = AMQPOutput()
            try output.deliver("whole", to: consumer.consumerTag, tag: 1, on: 1)
            var bytes = ByteBuffer()
            for piece in output.take() { bytes.writeImmutableBuffer(piece) }
            let half = try #require(bytes.getSlice(at: bytes.readerIndex, length: bytes.readableBytes - 5))
            try await session.send(bytes: half)
            let events = EventLog(connection)
            await session.cut()
            try await events.recovered()
            let current = try await broker.nextSession()
            try await current.write { try $0.deliver("new", to: consumer.consumerTag, tag: 1) }
            #expect(try await consumer.deliveries.next()?.body == ByteBuffer(string: "new"))
        }
    }

    @Test func aConnectionThatIsLostWhileAChannelComesBackIsRecoveredOnce() async throws {
        try await withPlayingBroker { broker, connection, session in
            let channel = try await connection.openChannel()
            let consumer = try await channel.consume("q")
            let other = try await connection.openChannel()
            broker.play { heard in
                // The channel's second life is cut off with the connection.
                guard heard.session == 0, case .channelOpen? = heard.method, heard.channel != 2 else { return .usual }
                return .hangUp
            }
            let events = EventLog(connection)
            try await session.send(
                .channelClose(.init(replyCode: 406, replyText: "", failingClassID: 60, failingMethodID: 80)))
            let report = try await events.recovered()
            #expect(report.channels == 2 && report.consumers == 1)
            #expect(broker.sessionCount == 2)
            #expect(broker.methods(in: 1).filter { $0 == .channelOpen(.init()) }.count == 2)
            let current = try await broker.nextSession()
            let started = try #require(current.consumers.first)
            #expect(current.consumers.count == 1)
            try await current.write { try $0.deliver("new", to: started.tag, tag: 1, on: started.channel) }
            #expect(try await consumer.deliveries.next()?.body == ByteBuffer(string: "new"))
            #expect(other.failure == nil)
        }
    }

    @Test func aChannelThatIsClosedAgainAndAgainDoesNotHammerTheBroker() async throws {
        try await withPlayingBroker {
            $0.recovery.minimumDelay = .milliseconds(50)
            $0.recovery.maximumDelay = .milliseconds(100)
        } _: { broker, connection, session in
            let channel = try await connection.openChannel()
            let consumer = try await channel.consume("q")
            // The broker closes it as soon as it is there.
            broker.play { heard in
                guard case .channelOpen? = heard.method else { return .usual }
                return .answer([
                    .channelOpenOk(.init()),
                    .channelClose(.init(replyCode: 406, replyText: "", failingClassID: 0, failingMethodID: 0)),
                ])
            }
            try await session.send(
                .channelClose(.init(replyCode: 406, replyText: "", failingClassID: 60, failingMethodID: 80)))
            let began = ContinuousClock.now
            try await Task.sleep(for: .milliseconds(500))
            let count = { broker.methods(in: 0).filter { $0 == .channelOpen(.init()) }.count }
            try await eventually { count() >= 3 }
            let (opened, elapsed) = (count(), ContinuousClock.now - began)
            broker.play { _ in .usual }
            // On average a pause is half its bound; without pauses there would be thousands.
            #expect(Double(opened) <= 20 + elapsed / .milliseconds(10), "\(opened) in \(elapsed)")
            try await eventually { session.consumers.count == 2 }
            let started = try #require(session.consumers.last)
            try await session.write { try $0.deliver("new", to: started.tag, tag: 1, on: started.channel) }
            #expect(try await consumer.deliveries.next()?.body == ByteBuffer(string: "new"))
        }
    }

    @Test func whatIsFetchedInTheMomentOfTheLossIsToldAndNotAcknowledged() async throws {
        try await withPlayingBroker { broker, connection, session in
            let channel = try await connection.openChannel()
            let heard = Mailbox<Void>()
            broker.play { method in
                guard method.session == 0, case .basicGet? = method.method else { return .usual }
                heard.put(())
                return .silence
            }
            let got = Task { await failure { () async throws(AMQPError) in try await channel.get("q") } }
            try await heard.next()
            await session.cut()
            #expect(await got.value?.code == .connectionLost)
            #expect(try await channel.get("q") == nil)
        }
    }

    @Test func aTransactionThatWasLostIsNotCommittedByHalf() async throws {
        try await withPlayingBroker { broker, connection, session in
            let channel = try await connection.openChannel()
            try await channel.selectTransactions()
            try await channel.publish(AMQPMessage("first half"), routingKey: "q")
            #expect(try await broker.nextMessage().session == 0)
            let events = EventLog(connection)
            await session.cut()
            try await events.recovered()
            #expect(broker.methods(in: 1).contains(.txSelect(.init())))
            try await channel.publish(AMQPMessage("second half"), routingKey: "q")
            // What was published before the loss is gone, and with it the transaction.
            #expect(
                await failure { () async throws(AMQPError) in try await channel.commit() }?.code == .connectionLost)
            _ = try await channel.declareQueue("q")
            #expect(!broker.methods(in: 1).contains(.txCommit(.init())))
            #expect(broker.methods(in: 1).contains(.txRollback(.init())))
            // The next one is whole.
            try await channel.publish(AMQPMessage("whole"), routingKey: "q")
            try await channel.commit()
            #expect(broker.methods(in: 1).last == .txCommit(.init()))
        }
    }

    @Test func aCommitThatIsLostIsToldOnce() async throws {
        try await withPlayingBroker { broker, connection, session in
            let channel = try await connection.openChannel()
            try await channel.selectTransactions()
            let heard = Mailbox<Void>()
            broker.play { method in
                guard method.session == 0, case .txCommit? = method.method else { return .usual }
                heard.put(())
                return .silence
            }
            let committed = Task { await failure { () async throws(AMQPError) in try await channel.commit() } }
            try await heard.next()
            await session.cut()
            #expect(await committed.value?.code == .connectionLost)
            try await channel.publish(AMQPMessage("next"), routingKey: "q")
            try await channel.commit()
            #expect(broker.methods(in: 1).last == .txCommit(.init()))
        }
    }
}
