// SPDX-License-Identifier: Apache-2.0
import AMQPWire
import NIOConcurrencyHelpers
import NIOCore
import TestSupport
import Testing

@_spi(HareDo) @testable import AMQPClient

/// How connections end, by whoever ends them: everybody who waits is told, once.
@Suite(.timeLimit(.minutes(1))) struct ConnectionEndTests {
    enum Ending: CaseIterable {
        case serverClose, hangUp, reset, garbage, ourClose, silentClose
    }

    @Test(arguments: Ending.allCases) func everythingPendingFailsOnce(ending: Ending) async throws {
        try await withScriptedBroker { scripted in
            let (connection, peer) = (scripted.connection, scripted.peer)
            let channel = try await scripted.confirmingChannel()
            let consumer = try await scripted.consumer(on: channel)
            let ends = NIOLockedValueBox(0)
            await channel.whenEnded { _ in ends.withLockedValue { $0 += 1 } }
            await connection.whenEnded { _ in ends.withLockedValue { $0 += 1 } }

            async let confirmed = failure { () async throws(AMQPError) in
                try await channel.publishConfirmed(AMQPMessage("a"), routingKey: "q")
            }
            try await peer.expectPublish()
            async let inFlight = failure { () async throws(AMQPError) in try await channel.declareQueue("a") }
            try await peer.expect(.queueDeclare)
            async let queued = failure { () async throws(AMQPError) in try await channel.declareQueue("b") }
            async let sequence = failure { () async throws(AMQPError) in
                var iterator = consumer.deliveries.makeAsyncIterator()
                return try await iterator.next()
            }
            // The second declaration waits behind the first once the loop has come to it.
            try await peer.expectNothingElse()

            switch ending {
            case .serverClose:
                try await peer.send(
                    .connectionClose(
                        .init(replyCode: 320, replyText: "CONNECTION_FORCED", failingClassID: 0, failingMethodID: 0)),
                    on: 0)
                try await peer.expect(.connectionCloseOk, on: 0)
                try await peer.expectClosed()
            case .hangUp: await peer.close()
            case .reset: try await peer.reset()
            case .garbage:
                try await peer.send(bytes: [0xFF, 0xFF])
                try await peer.expect(.connectionClose, on: 0)
                try await peer.expectClosed()
            case .ourClose:
                async let closed: Void = connection.close()
                try await peer.closeConnection()
                await closed
            case .silentClose:
                async let closed: Void = connection.close(within: .milliseconds(100))
                try await peer.expect(.connectionClose, on: 0)
                try await peer.expectClosed()
                await closed
            }

            let unknown = await confirmed
            #expect(unknown?.code == .outcomeUnknown)
            let expected: AMQPError.Code = ending == .garbage ? .protocolViolation : .connectionClosed
            #expect(await inFlight?.code == expected)
            #expect(await queued?.code == expected)
            #expect(await sequence?.code == expected)
            if ending == .serverClose {
                #expect(unknown?.reply == .init(code: 320, text: "CONNECTION_FORCED"))
                #expect(await inFlight?.reply == .init(code: 320, text: "CONNECTION_FORCED"))
                #expect(await sequence?.origin == .peer)
            }
            #expect(ends.withLockedValue { $0 } == 2)
            #expect(channel.failure?.code == expected)
            #expect(await !connection.isOpen)
            // Whoever comes later is told as well, and at once.
            #expect(
                await failure { () async throws(AMQPError) in try await connection.openChannel() }?.code == expected)
            #expect(
                await failure { () async throws(AMQPError) in try await channel.declareQueue("c") }?.code == expected)
            #expect(
                await failure { () async throws(AMQPError) in
                    try await channel.publish(AMQPMessage("b"), routingKey: "q")
                }?.code == expected)
            await channel.whenEnded { _ in ends.withLockedValue { $0 += 1 } }
            await connection.whenEnded { _ in ends.withLockedValue { $0 += 1 } }
            #expect(ends.withLockedValue { $0 } == 4)
        }
    }

    @Test func closingWritesWhatWasPublishedFirstAndNothingAfter() async throws {
        try await withScriptedBroker { scripted in
            let channel = try await scripted.channel()
            for number in 0..<100 { try await channel.publish(AMQPMessage("\(number)"), routingKey: "q") }
            async let closed: Void = scripted.connection.close()
            for number in 0..<100 { #expect(try await scripted.peer.expectPublish().text == "\(number)") }
            try await scripted.peer.expect(.connectionClose, on: 0)
            // While closing, nothing is taken any more, and nothing is written behind the farewell.
            #expect(
                await failure { () async throws(AMQPError) in
                    try await channel.publish(AMQPMessage("late"), routingKey: "q")
                }?.code == .connectionClosed)
            #expect(
                await failure { () async throws(AMQPError) in try await channel.declareQueue("late") }?.code
                    == .connectionClosed)
            async let channelClosed: Void = channel.close()
            try await scripted.peer.send(.channelFlow(.init(active: true)))
            try await scripted.peer.send(.connectionCloseOk(.init()), on: 0)
            try await scripted.peer.expectClosed()
            await closed
            await channelClosed
        }
    }

    @Test func closingTwiceAndTogetherIsOneClose() async throws {
        try await withScriptedBroker { scripted in
            let connection = scripted.connection
            async let first: Void = connection.close()
            async let second: Void = connection.close()
            try await scripted.peer.closeConnection()
            await first
            await second
            await connection.close()
        }
    }

    @Test func closesThatCrossEndTheConnection() async throws {
        try await withScriptedBroker { scripted in
            let connection = scripted.connection
            async let closed: Void = connection.close()
            try await scripted.peer.expect(.connectionClose, on: 0)
            try await scripted.peer.send(
                .connectionClose(.init(replyCode: 320, replyText: "bye", failingClassID: 0, failingMethodID: 0)), on: 0)
            try await scripted.peer.expect(.connectionCloseOk, on: 0)
            try await scripted.peer.expectClosed()
            await closed
        }
    }

    @Test func aSilentBrokerIsHungUpOnInTime() async throws {
        try await withScriptedBroker { scripted in
            let canary = Canary()
            let start = ContinuousClock.now
            await scripted.connection.close(within: .milliseconds(200))
            await expectTime(
                "close", ContinuousClock.now - start, from: .milliseconds(200), to: .milliseconds(250), canary)
            try await scripted.peer.expect(.connectionClose, on: 0)
            try await scripted.peer.expectClosed()
        }
    }

    @Test func closingGoesOnWhenItsTaskIsCancelled() async throws {
        try await withScriptedBroker { scripted in
            let connection = scripted.connection
            let closed = Task {
                withUnsafeCurrentTask { $0?.cancel() }
                await connection.close()
            }
            try await scripted.peer.closeConnection()
            await closed.value
            #expect(await !connection.isOpen)
        }
    }

    enum Violation: CaseIterable {
        case tooLarge, neverOpened, contentWithoutMethod, contentOnConnection, methodInsideContent, unaskedReply
        case unknownConnectionMethod, unaskedCloseOk, unaskedChannelCloseOk, bodyTooLong
        case badFrameEnd, unknownFrameType, heartbeatOnChannel, headerOfOtherClass, unknownMethod, frameTooShort

        func send(to peer: ScriptedPeer) async throws {
            switch self {
            case .tooLarge: try await peer.send(bytes: [1, 0, 1, 0, 1, 0xFF, 0xF9])
            case .neverOpened: try await peer.send(.channelOpenOk(.init()), on: 77)
            case .contentWithoutMethod: try await peer.send(bytes: [3, 0, 1, 0, 0, 0, 1, 65, 0xCE])
            case .contentOnConnection: try await peer.send(bytes: [3, 0, 0, 0, 0, 0, 1, 65, 0xCE])
            case .methodInsideContent:
                try await peer.send(
                    .basicDeliver(
                        .init(consumerTag: "c1", deliveryTag: 1, redelivered: false, exchange: "", routingKey: "")),
                    .basicAck(.init(deliveryTag: 1)))
            case .unaskedReply: try await peer.send(.queueDeleteOk(.init(messageCount: 1)))
            case .unknownConnectionMethod: try await peer.send(.connectionOpenOk(.init()), on: 0)
            case .unaskedCloseOk: try await peer.send(.connectionCloseOk(.init()), on: 0)
            case .unaskedChannelCloseOk: try await peer.send(.channelCloseOk(.init()))
            case .bodyTooLong:
                try await peer.send(
                    .basicDeliver(
                        .init(consumerTag: "c1", deliveryTag: 1, redelivered: false, exchange: "", routingKey: "")))
                try await peer.send(bytes: [2, 0, 1, 0, 0, 0, 14, 0, 60, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0xCE])
                try await peer.send(bytes: [3, 0, 1, 0, 0, 0, 2, 65, 65, 0xCE])
            case .badFrameEnd: try await peer.send(bytes: [1, 0, 1, 0, 0, 0, 4, 0, 60, 0, 111, 0xCD])
            case .unknownFrameType: try await peer.send(bytes: [4, 0, 1])
            case .heartbeatOnChannel: try await peer.send(bytes: [8, 0, 1, 0, 0, 0, 0, 0xCE])
            case .headerOfOtherClass:
                try await peer.send(
                    .basicDeliver(
                        .init(consumerTag: "c1", deliveryTag: 1, redelivered: false, exchange: "", routingKey: "")))
                try await peer.send(bytes: [2, 0, 1, 0, 0, 0, 14, 0, 50, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0xCE])
            case .unknownMethod: try await peer.send(bytes: [1, 0, 1, 0, 0, 0, 4, 0, 60, 3, 231, 0xCE])
            case .frameTooShort: try await peer.send(bytes: [1, 0, 1, 0, 0, 0, 3, 0, 60, 0, 0xCE])
            }
        }

        var replyCode: UInt16 {
            switch self {
            case .tooLarge, .bodyTooLong, .badFrameEnd, .unknownFrameType: 501
            case .unknownMethod: 503
            case .neverOpened: 504
            case .frameTooShort: 502
            case .unaskedReply, .unknownConnectionMethod, .unaskedCloseOk, .unaskedChannelCloseOk: 503
            default: 505
            }
        }
    }

    @Test(arguments: Violation.allCases) func aBrokenProtocolEndsTheConnection(violation: Violation) async throws {
        try await withScriptedBroker { scripted in
            let channel = try await scripted.channel()
            let told = Mailbox<AMQPError>()
            await channel.whenEnded { told.put($0) }
            try await violation.send(to: scripted.peer)
            guard case .connectionClose(let close) = try await scripted.peer.expect(.connectionClose, on: 0) else {
                return
            }
            #expect(close.replyCode == violation.replyCode)
            #expect(try await told.next().code == .protocolViolation)
            try await scripted.peer.expectClosed()
        }
    }

    @Test func aHalfClosedSocketEndsTheConnection() async throws {
        try await withScriptedBroker { scripted in
            let channel = try await scripted.channel()
            async let declared = failure { () async throws(AMQPError) in try await channel.declareQueue("q") }
            try await scripted.peer.expect(.queueDeclare)
            // The broker says that it will say no more; what we say it would still read.
            try await scripted.peer.channel.close(mode: .output)
            #expect(await declared?.code == .connectionClosed)
            #expect(await !scripted.connection.isOpen)
        }
    }

    @Test(arguments: [311, 312, 313, 403, 404, 405, 406] as [UInt16])
    func aSoftErrorEndsItsChannelOnly(code: UInt16) async throws {
        try await withScriptedBroker { scripted in
            let channel = try await scripted.channel(1)
            let other = try await scripted.channel(2)
            async let declared = failure { () async throws(AMQPError) in try await channel.declareQueue("q") }
            try await scripted.peer.expect(.queueDeclare)
            try await scripted.peer.send(
                .channelClose(.init(replyCode: code, replyText: "SOFT", failingClassID: 50, failingMethodID: 10)))
            try await scripted.peer.expect(.channelCloseOk)
            #expect(await declared?.code == .channelClosed)
            #expect(await declared?.reply == .init(code: code, text: "SOFT", method: .queueDeclare))
            try await scripted.peer.expectNothingElse(on: 2)
            #expect(other.failure == nil)
        }
    }

    @Test(arguments: [320, 402, 501, 502, 503, 504, 505, 506, 530, 540, 541] as [UInt16])
    func aHardErrorEndsTheConnection(code: UInt16) async throws {
        try await withScriptedBroker { scripted in
            let channel = try await scripted.channel(1)
            async let declared = failure { () async throws(AMQPError) in try await channel.declareQueue("q") }
            try await scripted.peer.expect(.queueDeclare)
            try await scripted.peer.send(
                .connectionClose(.init(replyCode: code, replyText: "HARD", failingClassID: 0, failingMethodID: 0)),
                on: 0)
            try await scripted.peer.expect(.connectionCloseOk, on: 0)
            try await scripted.peer.expectClosed()
            #expect(await declared?.reply == .init(code: code, text: "HARD"))
            #expect(channel.failure?.origin == .peer)
        }
    }

    @Test func stragglersOfAClosedChannelAreForgiven() async throws {
        try await withScriptedBroker { scripted in
            let first = try await scripted.channel(1)
            let second = try await scripted.channel(2)
            async let closed: Void = first.close()
            try await scripted.peer.expect(.channelClose, on: 1)
            try await scripted.peer.send(.channelCloseOk(.init()), on: 1)
            await closed
            try await scripted.peer.write { output in
                try output.deliver("late", tag: 1, on: 1)
                try output.append(.basicAck(.init(deliveryTag: 1)), channel: 1)
                try output.append(.channelCloseOk(.init()), channel: 1)
            }
            try await scripted.peer.expectNothingElse(on: 2)
            #expect(second.failure == nil)
        }
    }
}
