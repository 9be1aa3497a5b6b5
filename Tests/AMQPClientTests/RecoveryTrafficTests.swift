// SPDX-License-Identifier: Apache-2.0
import AMQPWire
import NIOConcurrencyHelpers
import NIOCore
import TestSupport
import Testing

@_spi(HareDo) @testable import AMQPClient

/// What becomes of messages, acknowledgements and requests when the connection is lost and comes back.
@Suite(.timeLimit(.minutes(1))) struct RecoveryTrafficTests {
    private static let notFound = AMQPMethod.channelClose(
        .init(replyCode: 404, replyText: "NOT_FOUND", failingClassID: 60, failingMethodID: 40))

    private func deliver(_ text: String, tag: UInt64, in session: PlayingSession) async throws {
        let consumer = try #require(session.consumers.last)
        try await session.write { try $0.deliver(text, to: consumer.tag, tag: tag, on: consumer.channel) }
    }

    // MARK: - Deliveries

    @Test func aWaitingLoopGoesOnAndStaleAcknowledgementsAreNotWritten() async throws {
        try await withPlayingBroker { broker, connection, session in
            let channel = try await connection.openChannel()
            let consumer = try await channel.consume("q")
            let got = Mailbox<AMQPDelivery>()
            let loop = Task { for try await delivery in consumer.deliveries { got.put(delivery) } }
            for tag in 1...4 as ClosedRange<UInt64> { try await self.deliver("old \(tag)", tag: tag, in: session) }
            var old: [AMQPDelivery] = []
            for _ in 0..<4 { old.append(try await got.next()) }
            try old[0].ack()
            let events = EventLog(connection)
            await session.cut()
            // While it is lost as well as when it is back.
            while true { if case .lost = try await events.next() { break } }
            #expect(await failure { () async throws(AMQPError) in try old[1].ack() }?.code == .deliveryExpired)
            try await events.recovered()
            let second = try await broker.nextSession()
            // The new ones have the same tags.
            for tag in 1...2 as ClosedRange<UInt64> { try await self.deliver("new \(tag)", tag: tag, in: second) }
            let new = [try await got.next(), try await got.next()]
            #expect(new.map { String(buffer: $0.body) } == ["new 1", "new 2"])
            for stale in [
                await failure { () async throws(AMQPError) in try old[1].ack(multiple: true) },
                await failure { () async throws(AMQPError) in try old[2].nack() },
                await failure { () async throws(AMQPError) in try old[3].reject(requeue: true) },
            ] {
                #expect(stale?.code == .deliveryExpired)
            }
            try new[1].ack()
            #expect(await failure { () async throws(AMQPError) in try new[1].ack() }?.code == .alreadySettled)
            _ = try await channel.declareQueue("behind", passive: true)
            let settled = broker.methods(in: 1).filter { method in
                switch method {
                case .basicAck, .basicNack, .basicReject: true
                default: false
                }
            }
            #expect(settled == [.basicAck(.init(deliveryTag: 2))])
            await connection.close()
            _ = await loop.result
        }
    }

    @Test func aConsumerThatTheBrokerCancelsIsStartedAgain() async throws {
        try await withPlayingBroker { broker, connection, session in
            let channel = try await connection.openChannel()
            try await channel.declareQueue("q", durable: true)
            let consumer = try await channel.consume("q")
            try await self.deliver("before", tag: 1, in: session)
            #expect(try await consumer.deliveries.next()?.body == ByteBuffer(string: "before"))
            async let next = consumer.deliveries.next()
            try await session.send(.basicCancel(.init(consumerTag: consumer.consumerTag, noWait: true)))
            try await eventually { session.consumers.count == 2 }
            // The queue first, which was deleted; and nothing in answer to the cancel.
            let methods = broker.methods(in: 0)
            #expect(methods.filter { $0 == .queueDeclare(.init(queue: "q", durable: true)) }.count == 2)
            #expect(!methods.contains { if case .basicCancelOk = $0 { true } else { false } })
            try await self.deliver("after", tag: 2, in: session)
            #expect(try await next?.body == ByteBuffer(string: "after"))
            #expect(channel.failure == nil)
        }
    }

    @Test func aChannelThatTheBrokerClosesIsOpenedAgainAlone() async throws {
        try await withPlayingBroker { broker, connection, session in
            let channel = try await connection.openChannel()
            let other = try await connection.openChannel()
            try await channel.confirmSelect()
            try await channel.qos(prefetchCount: 5)
            let consumer = try await channel.consume("q")
            try await self.deliver("old", tag: 1, in: session)
            let old = try #require(try await consumer.deliveries.next())
            broker.confirm { _ in .silence }
            async let unconfirmed = failure { () async throws(AMQPError) in
                try await channel.publishConfirmed(AMQPMessage("lost"), exchange: "missing", routingKey: "")
            }
            #expect(try await broker.nextMessage().tag == 1)
            try await session.send(Self.notFound)
            #expect(await unconfirmed?.code == .outcomeUnknown)
            #expect(await unconfirmed?.reply == .init(code: 404, text: "NOT_FOUND", method: .basicPublish))
            broker.confirm { _ in .ack }
            // As it was, and counting from 1.
            try await channel.publishConfirmed(AMQPMessage("again"), routingKey: "q")
            #expect(try await broker.nextMessage().tag == 1)
            try await eventually { session.consumers.count == 2 }
            #expect(await failure { () async throws(AMQPError) in try old.ack() }?.code == .deliveryExpired)
            try await self.deliver("new", tag: 1, in: session)
            #expect(try await consumer.deliveries.next()?.body == ByteBuffer(string: "new"))
            let methods = broker.methods(in: 0)
            #expect(methods.filter { $0 == .basicQos(.init(prefetchSize: 0, prefetchCount: 5)) }.count == 2)
            #expect(methods.filter { $0 == .confirmSelect(.init()) }.count == 2)
            #expect(other.failure == nil && channel.failure == nil)
            #expect(broker.sessionCount == 1)
        }
    }

    // MARK: - Publishing

    @Test func whatWasNotConfirmedIsUnknownAndCountingBeginsAgain() async throws {
        try await withPlayingBroker { broker, connection, session in
            let channel = try await connection.openChannel()
            try await channel.confirmSelect()
            broker.confirm { $0.session == 0 ? ($0.tag == 2 ? .ack : .silence) : ($0.tag % 2 == 0 ? .nack : .ack) }
            var publishes: [Task<AMQPError?, Never>] = []
            for number in 1...3 {
                publishes.append(
                    Task {
                        do throws(AMQPError) {
                            try await channel.publishConfirmed(AMQPMessage("\(number)"), routingKey: "q")
                            return nil
                        } catch { return error }
                    })
                #expect(try await broker.nextMessage().text == "\(number)")
            }
            #expect(await publishes[1].value == nil)
            let events = EventLog(connection)
            await session.cut()
            #expect(await publishes[0].value?.code == .outcomeUnknown)
            #expect(await publishes[2].value?.code == .outcomeUnknown)
            try await events.recovered()
            // Who gets another's confirm is found out: every second one is refused.
            for tag in 1...4 as ClosedRange<UInt64> {
                var code: AMQPError.Code?
                do throws(AMQPError) {
                    try await channel.publishConfirmed(AMQPMessage("new"), routingKey: "q")
                } catch { code = error.code }
                #expect(code == (tag % 2 == 0 ? .nacked : nil))
                #expect(try await broker.nextMessage().tag == tag)
            }
        }
    }

    @Test func whatIsUnknownIsPublishedAgainAfterEachLoss() async throws {
        try await withPlayingBroker { broker, connection, session in
            let channel = try await connection.openChannel()
            try await channel.confirmSelect()
            broker.confirm { $0.session < 2 ? .silence : .ack }
            async let published: Void = channel.publishConfirmed(
                AMQPMessage("once or twice"), routingKey: "q", onUnknownOutcome: .publishAgain)
            let first = try await broker.nextMessage()
            #expect(first.properties.messageID?.isEmpty == false)
            await session.cut()
            let second = try await broker.nextMessage()
            let middle = try await broker.nextSession()
            await middle.cut()
            let third = try await broker.nextMessage()
            try await published
            for again in [second, third] {
                #expect(again.properties == first.properties)
                #expect(again.body == first.body)
                #expect(again.tag == 1)
            }
        }
    }

    @Test func directRepliesComeBackBeforeAnythingIsAsked() async throws {
        try await withPlayingBroker { broker, connection, session in
            let channel = try await connection.openChannel()
            let replies = try await channel.consume("amq.rabbitmq.reply-to", acknowledgement: .automatic)
            await broker.stopListening()
            await session.cut()
            while await connection.isOpen { await Task.yield() }
            var request = AMQPMessage("request")
            request.properties.replyTo = "amq.rabbitmq.reply-to"
            // What the consumers were, when the request came.
            let consumers = NIOLockedValueBox<[AMQPMethod]>([])
            broker.confirm { [broker] message in
                let methods = broker.methods(in: message.session)
                consumers.withLockedValue { consumers in
                    consumers = methods.filter { if case .basicConsume = $0 { true } else { false } }
                }
                return .silence
            }
            async let asked: Void = channel.publish(request, routingKey: "service")
            try await broker.listen()
            try await asked
            let message = try await broker.nextMessage()
            #expect(message.channel == 1)
            #expect(
                consumers.withLockedValue { $0 } == [
                    .basicConsume(
                        .init(queue: "amq.rabbitmq.reply-to", consumerTag: replies.consumerTag, noAck: true))
                ])
            let current = try await broker.nextSession()
            try await self.deliver("reply", tag: 1, in: current)
            #expect(try await replies.deliveries.next()?.body == ByteBuffer(string: "reply"))
        }
    }

    // MARK: - While it is away

    @Test func whatIsAskedForMeanwhileWaits() async throws {
        try await withPlayingBroker { broker, connection, session in
            let channel = try await connection.openChannel()
            try await channel.confirmSelect()
            await broker.stopListening()
            let events = EventLog(connection)
            await session.cut()
            while true { if case .recovering(2, _) = try await events.next() { break } }
            async let declared = channel.declareQueue("meanwhile")
            async let opened = connection.openChannel()
            async let published: Void = channel.publish(AMQPMessage("plain"), routingKey: "q")
            async let confirmed: Void = channel.publishConfirmed(AMQPMessage("confirmed"), routingKey: "q")
            while true { if case .recovering(4, _) = try await events.next() { break } }
            try await broker.listen()
            #expect(try await declared.name == "meanwhile")
            _ = try await opened
            try await published
            try await confirmed
            let texts = [try await broker.nextMessage().text, try await broker.nextMessage().text]
            #expect(Set(texts) == ["plain", "confirmed"])
        }
    }

    @Test func whatWaitsTooLongIsTold() async throws {
        try await withPlayingBroker {
            $0.replyTimeout = .seconds(2)
            $0.publishTimeout = .seconds(2)
        } _: { broker, connection, session in
            let channel = try await connection.openChannel()
            try await channel.confirmSelect()
            await broker.stopListening()
            await session.cut()
            while await connection.isOpen { await Task.yield() }
            let canary = Canary()
            let start = ContinuousClock.now
            async let declared = failure { () async throws(AMQPError) in try await channel.declareQueue("q") }
            async let opened = failure { () async throws(AMQPError) in try await connection.openChannel() }
            async let published = failure { () async throws(AMQPError) in
                try await channel.publish(AMQPMessage("x"), routingKey: "q")
            }
            async let confirmed = failure { () async throws(AMQPError) in
                try await channel.publishConfirmed(AMQPMessage("x"), routingKey: "q")
            }
            for error in [await declared, await opened, await published, await confirmed] {
                #expect(error?.code == .timedOut)
            }
            await expectTime(
                "deadlines while recovering", ContinuousClock.now - start, from: .seconds(2),
                to: .milliseconds(2050), canary)
            // And none of it is made up for later.
            let events = EventLog(connection)
            try await broker.listen()
            try await events.recovered()
            _ = try await channel.declareQueue("later")
            #expect(broker.messages.isEmpty)
            #expect(broker.methods(in: broker.sessionCount - 1).contains(.queueDeclare(.init(queue: "later"))))
            #expect(!broker.methods(in: broker.sessionCount - 1).contains(.queueDeclare(.init(queue: "q"))))
        }
    }

    @Test func cancellingEndsAWaitForTheRecovery() async throws {
        try await withPlayingBroker { broker, connection, session in
            let channel = try await connection.openChannel()
            await broker.stopListening()
            await session.cut()
            while await connection.isOpen { await Task.yield() }
            let waiting = [
                Task { await failure { () async throws(AMQPError) in try await channel.declareQueue("q") } },
                Task { await failure { () async throws(AMQPError) in try await connection.openChannel() } },
                Task {
                    await failure { () async throws(AMQPError) in
                        try await channel.publish(AMQPMessage("x"), routingKey: "q")
                    }
                },
            ]
            for task in waiting { task.cancel() }
            for task in waiting { #expect(await task.value?.code == .cancelled) }
        }
    }

    @Test func aRequestInFlightIsToldAndTheNextGetsItsOwnReply() async throws {
        try await withPlayingBroker { broker, connection, session in
            let channel = try await connection.openChannel()
            let heard = Mailbox<Void>()
            broker.play { method in
                guard method.session == 0, case .queueDeclare? = method.method else { return .usual }
                heard.put(())
                return .silence
            }
            async let first = failure { () async throws(AMQPError) in try await channel.declareQueue("first") }
            try await heard.next()
            let second = Task {
                do throws(AMQPError) {
                    return try await channel.declareQueue("second").name
                } catch { return "\(error.code)" }
            }
            await session.cut()
            #expect(await first?.code == .connectionLost)
            // It was queued behind the first, or came when the connection was lost already.
            #expect(await ["second", "connectionLost"].contains(second.value))
            #expect(try await channel.declareQueue("third").name == "third")
        }
    }

    @Test func closingAChannelWhileItIsAwayIsForGood() async throws {
        try await withPlayingBroker { broker, connection, session in
            let closing = try await connection.openChannel()
            let consumer = try await closing.consume("q")
            let kept = try await connection.openChannel()
            await broker.stopListening()
            await session.cut()
            while await connection.isOpen { await Task.yield() }
            await closing.close()
            let events = EventLog(connection)
            try await broker.listen()
            #expect(try await events.recovered().channels == 1)
            #expect(
                !broker.methods(in: broker.sessionCount - 1).contains {
                    if case .basicConsume = $0 { true } else { false }
                })
            #expect(closing.failure?.code == .channelClosed)
            #expect(try await consumer.deliveries.next() == nil)
            #expect(try await kept.declareQueue("q").name == "q")
        }
    }

    @Test func twoLossesAtOnceAreOneRecovery() async throws {
        try await withPlayingBroker { broker, connection, session in
            _ = try await connection.openChannel()
            let events = EventLog(connection)
            // The broker says goodbye, and the socket ends behind it; bytes that are no AMQP lie between.
            try await session.write { output in
                try output.append(
                    .connectionClose(.init(replyCode: 320, replyText: "", failingClassID: 0, failingMethodID: 0)),
                    channel: 0)
                try output.append(.queueDeleteOk(.init(messageCount: 1)), channel: 1)
            }
            await session.cut()
            #expect(try await events.recovered().channels == 1)
            #expect(broker.sessionCount == 2)
            #expect(broker.methods(in: 1) == [.channelOpen(.init())])
        }
    }
}
