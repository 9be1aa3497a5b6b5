// SPDX-License-Identifier: Apache-2.0
import AMQPWire
import NIOConcurrencyHelpers
import NIOCore
import TestSupport
import Testing

@_spi(HareDo) @testable import AMQPClient

/// What is missing although the connection is there, and what happens while a session is being restored.
@Suite(.timeLimit(.minutes(1))) struct RecoveryRepairTests {
    private static func refusal(
        _ code: UInt16, _ text: String = "", of method: AMQPMethodID = .basicConsume
    ) -> AMQPMethod {
        .channelClose(
            .init(
                replyCode: code, replyText: text, failingClassID: method.classID, failingMethodID: method.methodID))
    }

    /// The last consumer started on a session gets a delivery, and its loop sees it.
    private func expectDelivery(
        to consumer: AMQPConsumer, in session: PlayingSession, sourceLocation: SourceLocation = #_sourceLocation
    ) async throws {
        let started = try #require(session.consumers.last { $0.tag == consumer.consumerTag })
        try await session.write { try $0.deliver("new", to: started.tag, tag: 1, on: started.channel) }
        let delivery = try await consumer.deliveries.next()
        #expect(delivery?.body == ByteBuffer(string: "new"), sourceLocation: sourceLocation)
    }

    @Test func aQueueThatWentWithItsChannelIsDeclaredAgain() async throws {
        try await withPlayingBroker { broker, connection, session in
            let channel = try await connection.openChannel()
            try await channel.declareQueue("a", autoDelete: true)
            let consumer = try await channel.consume("a")
            let isThere = NIOLockedValueBox(false)
            broker.play { heard in
                switch heard.method {
                case .queueDeclare(let declare) where declare.queue == "a" && !declare.passive:
                    isThere.withLockedValue { $0 = true }
                case .queueDeclare(let declare) where declare.queue == "a":
                    if !isThere.withLockedValue({ $0 }) { return .answer([Self.refusal(404, of: .queueDeclare)]) }
                case .basicConsume:
                    if !isThere.withLockedValue({ $0 }) { return .answer([Self.refusal(404)]) }
                default: break
                }
                return .usual
            }
            let events = EventLog(connection)
            // The channel's only consumer was the queue's only one.
            try await session.send(Self.refusal(404, of: .basicPublish))
            try await events.recovered()
            #expect(await connection.isHealthy)
            try await self.expectDelivery(to: consumer, in: session)
        }
    }

    @Test func aConsumerThatTheBrokerCancelsDuringTheRecoveryIsStartedAgain() async throws {
        try await withPlayingBroker { broker, connection, session in
            let channel = try await connection.openChannel()
            let consumer = try await channel.consume("q")
            let isFirst = NIOLockedValueBox(true)
            broker.play { heard in
                guard case .basicConsume(let consume)? = heard.method,
                    isFirst.withLockedValue({ first in
                        defer { first = false }; return first
                    })
                else { return .usual }
                return .answer([
                    .basicConsumeOk(.init(consumerTag: consume.consumerTag)),
                    .basicCancel(.init(consumerTag: consume.consumerTag, noWait: true)),
                ])
            }
            let events = EventLog(connection)
            await session.cut()
            let report = try await events.recovered()
            let current = try await broker.nextSession()
            // Either the report says so, or it happened just behind it.
            if report.consumers == report.expectedConsumers { #expect(report.failures.isEmpty) }
            while await !connection.isHealthy { try await events.recovered() }
            #expect(current.consumers.count == 2)
            try await self.expectDelivery(to: consumer, in: current)
        }
    }

    @Test func aSessionThatEndsWithItsHandshakeCostsNoReplyTimeout() async throws {
        try await withPlayingBroker { broker, connection, session in
            let channel = try await connection.openChannel()
            broker.play { heard in
                guard heard.session == 1, case .connectionOpen? = heard.method else { return .usual }
                return .hangUpAfter([
                    .connectionOpenOk(.init()),
                    .connectionClose(
                        .init(replyCode: 320, replyText: "CONNECTION_FORCED", failingClassID: 0, failingMethodID: 0)),
                ])
            }
            let canary = Canary()
            let start = ContinuousClock.now
            let events = EventLog(connection)
            await session.cut()
            let report = try await events.recovered(within: .seconds(40))
            await expectTime(
                "recovery over a session that ended at once", ContinuousClock.now - start, from: .zero,
                to: .seconds(1), canary)
            #expect(report.channels == 1 && broker.sessionCount == 3)
            #expect(channel.failure == nil)
        }
    }

    @Test func closingAChannelWhileItIsOpenedAgainCostsTheOthersNothing() async throws {
        try await withPlayingBroker { broker, connection, session in
            let leaving = try await connection.openChannel()
            let staying = try await connection.openChannel()
            let asked = Mailbox<Void>()
            broker.play { heard in
                guard heard.session == 1, heard.channel == 1, case .channelOpen? = heard.method else { return .usual }
                asked.put(())
                return .silence
            }
            let events = EventLog(connection)
            await session.cut()
            try await asked.next()
            await leaving.close()
            let report = try await events.recovered()
            #expect(report.channels == 1 && report.failures.isEmpty)
            #expect(broker.sessionCount == 2)
            #expect(leaving.failure?.origin == .local && staying.failure == nil)
        }
    }

    @Test func aConsumerThatIsRefusedAgainAndAgainLeavesItsChannelAlone() async throws {
        try await withPlayingBroker {
            $0.recovery.minimumDelay = .milliseconds(1)
            $0.recovery.maximumDelay = .milliseconds(5)
        } _: { broker, connection, session in
            let channel = try await connection.openChannel()
            let alone = try await channel.consume("held", exclusive: true)
            let beside = try await channel.consume("q")
            let refused = Mailbox<Void>()
            let isHeld = NIOLockedValueBox(true)
            broker.play { heard in
                guard heard.session == 1, case .basicConsume(let consume)? = heard.method, consume.queue == "held",
                    isHeld.withLockedValue({ $0 })
                else { return .usual }
                refused.put(())
                return .answer([Self.refusal(403, "ACCESS_REFUSED - queue 'held' in exclusive use")])
            }
            let events = EventLog(connection)
            await session.cut()
            let report = try await events.recovered()
            #expect(report.failures.count == 1 && report.consumers == 1 && report.expectedConsumers == 2)
            let current = try await broker.nextSession()
            let started = try #require(current.consumers.last { $0.tag == beside.consumerTag })
            try await current.write { try $0.deliver("kept", to: started.tag, tag: 1, on: started.channel) }
            let delivery = try await beside.deliveries.next()
            // It is tried on a channel of its own.
            for _ in 0..<5 { try await refused.next() }
            try delivery?.ack()
            isHeld.withLockedValue { $0 = false }
            try await events.recovered()
            #expect(await connection.isHealthy)
            try await self.expectDelivery(to: alone, in: current)
            #expect(current.consumers.filter { $0.tag == beside.consumerTag }.count <= 2)
        }
    }

    @Test func aConsumerThatIsCancelledWhileItIsStartedAgainKeepsNoMessages() async throws {
        try await withPlayingBroker { broker, connection, session in
            let channel = try await connection.openChannel()
            let consumer = try await channel.consume("q")
            let asked = Mailbox<UInt16>()
            broker.play { heard in
                guard heard.session == 1, case .basicConsume? = heard.method else { return .usual }
                asked.put(heard.channel)
                return .silence
            }
            let events = EventLog(connection)
            await session.cut()
            let number = try await asked.next()
            try await consumer.cancel()
            let current = try await broker.nextSession()
            try await current.write { output in
                try output.append(.basicConsumeOk(.init(consumerTag: consumer.consumerTag)), channel: number)
                try output.deliver("stray", to: consumer.consumerTag, tag: 1, on: number)
            }
            try await events.recovered()
            #expect(try await consumer.deliveries.next() == nil)
            let methods = broker.methods(in: 1)
            #expect(methods.contains(.basicNack(.init(deliveryTag: 1, requeue: true))))
            #expect(methods.contains(.basicCancel(.init(consumerTag: consumer.consumerTag))))
            #expect(await connection.consumerCount == 0)
        }
    }

    @Test func aCancelThatIsLostWithItsConnectionHolds() async throws {
        try await withPlayingBroker { broker, connection, session in
            let channel = try await connection.openChannel()
            let consumer = try await channel.consume("q")
            let asked = Mailbox<Void>()
            broker.play { heard in
                guard heard.session == 0, case .basicCancel? = heard.method else { return .usual }
                asked.put(())
                return .silence
            }
            async let cancelled: Void = consumer.cancel()
            try await asked.next()
            let events = EventLog(connection)
            await session.cut()
            try await cancelled
            let report = try await events.recovered()
            #expect(report.expectedConsumers == 0)
            #expect(broker.methods(in: 1).allSatisfy { if case .basicConsume = $0 { false } else { true } })
            #expect(try await consumer.deliveries.next() == nil)
        }
    }

    @Test func deletingAQueueOfOnesOwnIsNoMishap() async throws {
        try await withPlayingBroker { broker, connection, session in
            let channel = try await connection.openChannel()
            try await channel.declareQueue("q")
            let consumer = try await channel.consume("q")
            broker.play { heard in
                guard case .queueDelete? = heard.method else { return .usual }
                return .answer([
                    .queueDeleteOk(.init(messageCount: 0)),
                    .basicCancel(.init(consumerTag: consumer.consumerTag, noWait: true)),
                ])
            }
            let events = EventLog(connection)
            _ = try await channel.deleteQueue("q")
            await #expect(throws: AMQPError.self) { try await consumer.deliveries.next() }
            #expect(await connection.isHealthy)
            await connection.close()
            while true {
                let event = try await events.next()
                if case .unhealthy(let report) = event { Issue.record("\(report.failures)") }
                if case .closed = event { break }
            }
        }
    }

    @Test func aQueueThatIsDeletedWhileOthersComeBackStaysDeleted() async throws {
        try await withPlayingBroker { broker, connection, session in
            let channel = try await connection.openChannel()
            try await channel.declareQueue("first")
            try await channel.declareQueue("second")
            let consumers = [try await channel.consume("first"), try await channel.consume("second")]
            let asked = Mailbox<UInt16>()
            broker.play { heard in
                guard case .queueDeclare(let declare)? = heard.method, declare.queue == "first" else { return .usual }
                asked.put(heard.channel)
                return .silence
            }
            for consumer in consumers {
                try await session.send(.basicCancel(.init(consumerTag: consumer.consumerTag, noWait: true)))
            }
            let number = try await asked.next()
            _ = try await channel.deleteQueue("second")
            let events = EventLog(connection)
            // Before the answer, behind which the queue is looked for.
            broker.play { _ in .usual }
            try await session.send(
                .queueDeclareOk(.init(queue: "first", messageCount: 0, consumerCount: 0)), on: number)
            try await events.recovered()
            let declared = broker.methods(in: 0).filter { method in
                if case .queueDeclare(let declare) = method {
                    declare.queue == "second" && !declare.passive
                } else {
                    false
                }
            }
            #expect(declared.count == 1)
        }
    }

    @Test func aLockedQueueIsCalledMissingOnlyAfterTwoHeartbeatsAndAMargin() async throws {
        try await withPlayingBroker {
            $0.heartbeat = .seconds(2)
        } _: { broker, connection, session in
            await connection.setLockMargin(.milliseconds(500))
            let channel = try await connection.openChannel()
            try await channel.declareQueue("mine", exclusive: true)
            let consumer = try await channel.consume("mine")
            let isLocked = NIOLockedValueBox(true)
            broker.play { heard in
                guard heard.session > 0, case .queueDeclare(let declare)? = heard.method, declare.queue == "mine",
                    isLocked.withLockedValue({ $0 })
                else { return .usual }
                return .answer([Self.refusal(405, "RESOURCE_LOCKED", of: .queueDeclare)])
            }
            let events = EventLog(connection)
            // Its patience begins when it is connected again.
            let (canary, start) = (Canary(), ContinuousClock.now)
            await session.cut()
            try await events.recovered()
            let current = try await broker.nextSession()
            // The broker of this test sends no heartbeats of its own.
            let beating = Task {
                while !Task.isCancelled {
                    try await current.write { $0.appendHeartbeat() }
                    try await Task.sleep(for: .milliseconds(200))
                }
            }
            defer { beating.cancel() }
            while true { if case .unhealthy = try await events.next() { break } }
            await expectTime(
                "patience with a lock", ContinuousClock.now - start, from: .milliseconds(4500),
                to: .milliseconds(4500) + .seconds(1), canary)
            #expect(await !connection.isHealthy)
            isLocked.withLockedValue { $0 = false }
            try await events.recovered()
            #expect(await connection.isHealthy)
            try await self.expectDelivery(to: consumer, in: current)
        }
    }

    @Test func waitingForARecoveryAndForTheAnswerHaveOneDeadline() async throws {
        try await withPlayingBroker {
            $0.replyTimeout = .seconds(4)
        } _: { broker, connection, session in
            let channel = try await connection.openChannel()
            await broker.stopListening()
            await session.cut()
            while await connection.isOpen { await Task.yield() }
            broker.play { heard in
                guard case .queueDeclare? = heard.method else { return .usual }
                return .silence
            }
            let (canary, start) = (Canary(), ContinuousClock.now)
            async let outcome = failure { () async throws(AMQPError) in try await channel.declareQueue("q") }
            // Most of its time is gone when the broker is back.
            try await Task.sleep(for: .seconds(3))
            try await broker.listen()
            #expect(await outcome?.code == .timedOut)
            await expectTime(
                "recovery and answer together", ContinuousClock.now - start, from: .seconds(4), to: .seconds(4), canary)
            // The channel had less than its time to answer, and stays.
            #expect(channel.failure == nil)
            #expect(!broker.methods(in: 1).contains { if case .channelClose = $0 { true } else { false } })
        }
    }

    @Test func heartbeatTimersDoNotPileUp() async throws {
        try await withPlayingBroker {
            $0.heartbeat = .seconds(60)
        } _: { broker, connection, session in
            let events = EventLog(connection)
            let before = connection.scheduler.count
            var session = session
            for _ in 0..<5 {
                await session.cut()
                try await events.recovered()
                session = try await broker.nextSession()
            }
            #expect(connection.scheduler.count == before)
        }
    }

    @Test func whoLooksLateLearnsOfAnAlarmAndOfWhatIsMissing() async throws {
        let subscriptions = EventSubscriptions()
        var report = AMQPRecoveryReport()
        report.failures = [.init(entity: "queue 'q'", error: AMQPError(.channelClosed, "no"))]
        subscriptions.send(.connected)
        for _ in 0..<1000 { subscriptions.send(.blocked(reason: "memory")) }
        subscriptions.send(.unhealthy(report))
        var seen = subscriptions.subscribe().makeAsyncIterator()
        if case .unhealthy? = await seen.next() {} else { Issue.record("not unhealthy") }
        if case .blocked? = await seen.next() {} else { Issue.record("not blocked") }
        subscriptions.send(.unblocked)
        if case .unblocked? = await seen.next() {} else { Issue.record("more than one event of the past") }
        var later = subscriptions.subscribe().makeAsyncIterator()
        if case .unhealthy? = await later.next() {} else { Issue.record("healthy, only because it is unblocked") }
    }
}
