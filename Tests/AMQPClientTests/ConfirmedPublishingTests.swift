// SPDX-License-Identifier: Apache-2.0
import AMQPWire
import NIOCore
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

    @Test func waitingForRoomAndForTheConfirmHaveOneDeadline() async throws {
        try await withScriptedBroker {
            $0.publishTimeout = .milliseconds(400)
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
            try await Task.sleep(for: .milliseconds(200))
            try await scripted.peer.send(.connectionUnblocked(.init()), on: 0)
            try await scripted.peer.expectPublish()
            #expect(await outcome?.code == .timedOut)
            await expectTime(
                "room and confirm together", ContinuousClock.now - start, from: .milliseconds(400),
                to: .milliseconds(400), canary)
        }
    }
}
