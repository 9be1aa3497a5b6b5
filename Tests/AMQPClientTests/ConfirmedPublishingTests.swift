// SPDX-License-Identifier: Apache-2.0
import AMQPWire
import NIOConcurrencyHelpers
import NIOCore
import TestSupport
import Testing

@_spi(HareDo) @testable import AMQPClient

@Suite(.timeLimit(.minutes(1))) struct ConfirmedPublishingTests {
    @Test func anUnknownOutcomeIsPublishedAgainWithTheSameID() async throws {
        try await withScriptedBroker(recovering) { scripted in
            let channel = try await scripted.confirmingChannel()
            async let confirmed: Void = channel.publishConfirmed(
                AMQPMessage("once"), routingKey: "q", onUnknownOutcome: .publishAgain)
            let first = try await scripted.peer.expectPublish()
            await scripted.peer.close()
            let peer = try await scripted.broker.accept()
            try await peer.handshake()
            try await peer.openChannel()
            try await peer.expect(.confirmSelect)
            try await peer.send(.confirmSelectOk(.init()))
            let second = try await peer.expectPublish()
            #expect(second.text == "once" && second.properties.messageID != nil)
            #expect(second.properties.messageID == first.properties.messageID)
            try await peer.send(.basicAck(.init(deliveryTag: 1, multiple: false)))
            try await confirmed
            try await peer.expectNothingElse()
            await peer.close()
        }
    }

    @Test func aMessageThatClosesItsChannelIsPublishedAgainOnceAndNotForEver() async throws {
        try await withScriptedBroker(recovering) { scripted in
            let channel = try await scripted.confirmingChannel()
            async let outcome = failure { () async throws(AMQPError) in
                try await channel.publishConfirmed(
                    AMQPMessage("bad"), exchange: "none", routingKey: "q", onUnknownOutcome: .publishAgain)
            }
            for number in 1...2 as ClosedRange<UInt16> {
                try await scripted.peer.expectPublish(on: number)
                try await scripted.peer.send(
                    .channelClose(
                        .init(
                            replyCode: 404, replyText: "NOT_FOUND - no exchange", failingClassID: 60,
                            failingMethodID: 40)), on: number)
                try await scripted.peer.expect(.channelCloseOk, on: number)
                try await scripted.peer.openChannel(number + 1)
                try await scripted.peer.expect(.confirmSelect, on: number + 1)
                try await scripted.peer.send(.confirmSelectOk(.init()), on: number + 1)
            }
            let error = await outcome
            #expect(error?.code == .outcomeUnknown && error?.reply?.code == 404)
        }
    }

    @Test func nothingIsPublishedAgainWhereNothingIsRecovered() async throws {
        try await withScriptedBroker { scripted in
            let channel = try await scripted.confirmingChannel()
            async let outcome = failure { () async throws(AMQPError) in
                try await channel.publishConfirmed(
                    AMQPMessage("once"), routingKey: "q", onUnknownOutcome: .publishAgain)
            }
            try await scripted.peer.expectPublish()
            await scripted.peer.close()
            #expect(await outcome?.code == .outcomeUnknown)
        }
    }

    @Test func theWindowOfUnconfirmedMessagesIsBounded() async throws {
        try await withScriptedBroker {
            $0.maximumUnconfirmed = 3
        } _: { scripted in
            let channel = try await scripted.confirmingChannel()
            // Those that nobody waits for count as well.
            for number in 0..<3 { try await channel.publish(AMQPMessage("\(number)"), routingKey: "q") }
            async let fourth: Void = channel.publish(AMQPMessage("3"), routingKey: "q")
            for number in 0..<3 { #expect(try await scripted.peer.expectPublish().text == "\(number)") }
            try await scripted.peer.expectNothingElse()
            try await scripted.peer.send(.basicAck(.init(deliveryTag: 1, multiple: false)))
            #expect(try await scripted.peer.expectPublish().text == "3")
            try await fourth
        }
    }

    @Test func aSequenceIsPublishedInOrderThroughAWindow() async throws {
        try await withScriptedBroker { scripted in
            let channel = try await scripted.confirmingChannel()
            async let outcome = channel.publishConfirmed(
                contentsOf: (0..<10).map { AMQPMessage("\($0)") }, routingKey: "q", window: 4)
            for number in 0..<4 { #expect(try await scripted.peer.expectPublish().text == "\(number)") }
            try await scripted.peer.expectNothingElse()
            try await scripted.peer.send(.basicNack(.init(deliveryTag: 2, multiple: false, requeue: false)))
            #expect(try await scripted.peer.expectPublish().text == "4")
            try await scripted.peer.expectNothingElse()
            try await scripted.peer.send(.basicAck(.init(deliveryTag: 5, multiple: true)))
            for number in 5..<9 { #expect(try await scripted.peer.expectPublish().text == "\(number)") }
            try await scripted.peer.send(.basicAck(.init(deliveryTag: 9, multiple: true)))
            #expect(try await scripted.peer.expectPublish().text == "9")
            try await scripted.peer.send(.basicAck(.init(deliveryTag: 10, multiple: false)))
            let (confirmed, failures) = try await outcome
            #expect(confirmed == 9 && failures.map(\.index) == [1] && failures.first?.error.code == .nacked)
        }
    }

    @Test func aSequenceWithoutEndIsLeftWhenItsConnectionEnds() async throws {
        try await withScriptedBroker { scripted in
            let channel = try await scripted.confirmingChannel()
            let published = Task {
                try await channel.publishConfirmed(
                    contentsOf: sequence(first: AMQPMessage("x")) { $0 }, routingKey: "q", window: 2)
            }
            for _ in 0..<2 { try await scripted.peer.expectPublish() }
            await scripted.peer.close()
            let (confirmed, failures) = try await published.value
            #expect(confirmed == 0)
            #expect(failures.prefix(2).map(\.error.code) == [.outcomeUnknown, .outcomeUnknown])
            // One more told it that there is no point in going on.
            #expect(failures.count == 3 && failures.last?.error.code == .connectionClosed)
        }
    }

    private struct Broken: Error {}

    @Test func aSequenceThatThrowsWaitsForWhatItGave() async throws {
        try await withScriptedBroker { scripted in
            let channel = try await scripted.confirmingChannel()
            let (messages, feed) = AsyncThrowingStream<AMQPMessage, any Error>.makeStream()
            feed.yield(AMQPMessage("1"))
            feed.yield(AMQPMessage("2"))
            feed.finish(throwing: Broken())
            let hasEnded = NIOLockedValueBox(false)
            let published = Task {
                defer { hasEnded.withLockedValue { $0 = true } }
                return try await channel.publishConfirmed(contentsOf: messages, routingKey: "q")
            }
            for _ in 0..<2 { try await scripted.peer.expectPublish() }
            try await scripted.peer.expectNothingElse()
            #expect(hasEnded.withLockedValue { !$0 })
            try await scripted.peer.send(.basicAck(.init(deliveryTag: 2, multiple: true)))
            await #expect(throws: Broken.self) { try await published.value }
        }
    }

    @Test func aSequenceWhoseTaskIsCancelledTakesNoMore() async throws {
        try await withScriptedBroker { scripted in
            let channel = try await scripted.confirmingChannel()
            // Also with a window that makes no sense.
            let published = Task {
                try await channel.publishConfirmed(
                    contentsOf: sequence(first: AMQPMessage("x")) { $0 }, routingKey: "q", window: 0)
            }
            try await scripted.peer.expectPublish()
            published.cancel()
            let (confirmed, failures) = try await published.value
            #expect(confirmed == 0 && failures.allSatisfy { $0.error.code == .cancelled })
        }
    }

    @Test func whatMayHaveArrivedIsNotCalledUnsent() async throws {
        try await withPlayingBroker { broker, connection, session in
            let channel = try await connection.openChannel()
            try await channel.confirmSelect()
            broker.confirm { _ in .silence }
            async let outcome = failure { () async throws(AMQPError) in
                try await channel.publishConfirmed(
                    AMQPMessage("once"), routingKey: "q", onUnknownOutcome: .publishAgain)
            }
            _ = try await broker.nextMessage()
            await broker.stopListening()
            await session.cut()
            // It waits to be published again, and then nothing will be.
            try await eventually { connection.gate.suspendedCount == 1 }
            await connection.close()
            #expect(await outcome?.code == .outcomeUnknown)
        }
    }

    @Test func aConfirmModeThatWasNotAgreedOnIsNoneAfterALoss() async throws {
        try await withPlayingBroker { broker, connection, session in
            let channel = try await connection.openChannel()
            let asked = Mailbox<Void>()
            broker.play { heard in
                guard heard.session == 0, case .confirmSelect? = heard.method else { return .usual }
                asked.put(())
                return .silence
            }
            let selected = Task { await failure { () async throws(AMQPError) in try await channel.confirmSelect() } }
            try await asked.next()
            let events = EventLog(connection)
            await session.cut()
            #expect(await selected.value?.code == .connectionLost)
            try await events.recovered()
            #expect(
                await failure { () async throws(AMQPError) in
                    try await channel.publishConfirmed(AMQPMessage("early"), routingKey: "q")
                }?.code == .invalidArgument)
            // The broker counts from 1 behind confirm.select, and this one comes before it.
            try await channel.publish(AMQPMessage("uncounted"), routingKey: "q")
            try await channel.confirmSelect()
            let current = try await broker.nextSession()
            broker.confirm { _ in .silence }
            async let confirmed: Void = channel.publishConfirmed(AMQPMessage("counted"), routingKey: "q")
            while try await broker.nextMessage().text != "counted" {}
            try await current.send(.basicAck(.init(deliveryTag: 1)))
            try await confirmed
        }
    }

    @Test func waitingForRoomAndForTheConfirmHaveOneDeadline() async throws {
        try await withScriptedBroker {
            $0.publishTimeout = .seconds(4)
        } _: { scripted in
            let channel = try await scripted.confirmingChannel()
            let canary = Canary()
            let start = ContinuousClock.now
            try await scripted.peer.send(.connectionBlocked(.init(reason: "memory")), on: 0)
            try await scripted.peer.expectNothingElse()
            async let outcome = failure { () async throws(AMQPError) in
                try await channel.publishConfirmed(AMQPMessage("x"), routingKey: "q")
            }
            try await eventually { scripted.connection.gate.suspendedCount == 1 }
            // Part of its time is gone when there is room.
            try await Task.sleep(for: .milliseconds(1500))
            try await scripted.peer.send(.connectionUnblocked(.init()), on: 0)
            try await scripted.peer.expectPublish()
            #expect(await outcome?.code == .timedOut)
            await expectTime(
                "room and confirm together", ContinuousClock.now - start, from: .seconds(4), to: .seconds(4), canary)
        }
    }
}
