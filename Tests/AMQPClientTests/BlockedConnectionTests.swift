// SPDX-License-Identifier: Apache-2.0
import AMQPWire
import Testing

@_spi(HareDo) @testable import AMQPClient

/// A broker that blocks a connection reads nothing from it. That it does not answer says nothing about its health.
@Suite(.timeLimit(.minutes(1))) struct BlockedConnectionTests {
    private static func withBlockedBroker(_ body: (Scripted, AMQPChannel) async throws -> Void) async throws {
        try await withScriptedBroker {
            $0.replyTimeout = .seconds(1)
        } _: { scripted in
            let channel = try await scripted.channel()
            try await scripted.peer.send(.connectionBlocked(.init(reason: "low on memory")), on: 0)
            try await scripted.peer.expectNothingElse()
            try await body(scripted, channel)
        }
    }

    private static func declared(_ name: String) -> AMQPMethod {
        .queueDeclareOk(.init(queue: name, messageCount: 0, consumerCount: 0))
    }

    private static func unblock(_ scripted: Scripted) async throws {
        try await scripted.peer.send(.connectionUnblocked(.init()), on: 0)
    }

    @Test func whatItDoesNotAnswerMeanwhileDoesNotCostTheChannel() async throws {
        try await Self.withBlockedBroker { scripted, channel in
            let first = await failure { () async throws(AMQPError) in try await channel.declareQueue("first") }
            #expect(first?.code == .timedOut)
            #expect(first?.message.contains("low on memory") == true)
            try await scripted.peer.expect(.queueDeclare)
            // Waits behind the first, and is dropped.
            let second = await failure { () async throws(AMQPError) in try await channel.declareQueue("second") }
            #expect(second?.code == .timedOut)
            // No `channel.close`.
            try await scripted.peer.expectNothingElse()
            async let third = channel.declareQueue("third")
            try await scripted.peer.expectNothingElse()
            try await Self.unblock(scripted)
            try await scripted.peer.send(Self.declared("first"))
            try await scripted.peer.expect(.queueDeclare)
            try await scripted.peer.send(Self.declared("third"))
            #expect(try await third.name == "third")
        }
    }

    @Test func afterwardsItHasToAnswer() async throws {
        try await Self.withBlockedBroker { scripted, channel in
            _ = await failure { () async throws(AMQPError) in try await channel.declareQueue("first") }
            try await scripted.peer.expect(.queueDeclare)
            try await Self.unblock(scripted)
            try await scripted.peer.expectNothingElse()
            let second = await failure { () async throws(AMQPError) in try await channel.declareQueue("second") }
            #expect(second?.code == .timedOut)
            try await scripted.peer.expect(.channelClose)
        }
    }

    @Test(arguments: [true, false]) func aCloseThatItDoesNotAnswerMeanwhileDoesNotCostTheConnection(
        answers: Bool
    ) async throws {
        try await Self.withBlockedBroker { scripted, channel in
            let other = try await scripted.channel(2)
            await channel.close()
            try await scripted.peer.expect(.channelClose)
            // Its second deadline has passed too when that of a later request has.
            _ = await failure { () async throws(AMQPError) in try await other.declareQueue("q") }
            try await scripted.peer.expect(.queueDeclare, on: 2)
            try await scripted.peer.expectNothingElse(on: 2)
            #expect(await scripted.connection.isOpen)
            try await Self.unblock(scripted)
            if answers {
                try await scripted.peer.send(.channelCloseOk(.init()))
                try await scripted.peer.send(Self.declared("q"), on: 2)
                _ = try await scripted.channel(3)
            } else {
                try await scripted.peer.expectClosed()
            }
        }
    }
}
