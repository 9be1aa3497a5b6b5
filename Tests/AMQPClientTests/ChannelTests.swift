// SPDX-License-Identifier: Apache-2.0
import AMQPWire
import NIOConcurrencyHelpers
import NIOCore
import TestSupport
import Testing

@_spi(HareDo) @testable import AMQPClient

@Suite(.timeLimit(.minutes(1))) struct ChannelTests {
    private func declared(_ name: String) -> AMQPMethod {
        .queueDeclareOk(.init(queue: name, messageCount: 0, consumerCount: 0))
    }

    private let notFound = AMQPMethod.channelClose(
        .init(replyCode: 404, replyText: "NOT_FOUND", failingClassID: 50, failingMethodID: 10))

    // MARK: - Requests

    @Test func requestsAreAnsweredInOrderOneAtATime() async throws {
        try await withScriptedBroker { scripted in
            let channel = try await scripted.channel()
            let names = (0..<20).map { "q\($0)" }
            async let results = withThrowingTaskGroup(of: (String, String).self) { group in
                for name in names { group.addTask { (name, try await channel.declareQueue(name).name) } }
                return try await group.reduce(into: [:]) { $0[$1.0] = $1.1 }
            }
            for _ in names {
                guard case .queueDeclare(let declare) = try await scripted.peer.expect(.queueDeclare) else { return }
                try await scripted.peer.expectNothingElse()
                try await scripted.peer.send(self.declared(declare.queue))
            }
            #expect(try await results == Dictionary(uniqueKeysWithValues: names.map { ($0, $0) }))
        }
    }

    @Test func whatCannotBeEncodedFailsItsCallerAndNobodyElse() async throws {
        try await withScriptedBroker { scripted in
            let channel = try await scripted.channel()
            let tooLong = String(repeating: "x", count: 256)
            #expect(
                await failure { () async throws(AMQPError) in try await channel.declareQueue(tooLong) }?.code
                    == .invalidArgument)
            async let first = channel.declareQueue("first")
            try await scripted.peer.expect(.queueDeclare)
            async let refused = failure { () async throws(AMQPError) in try await channel.declareQueue(tooLong) }
            try await scripted.peer.expectNothingElse()
            async let second = channel.declareQueue("second")
            try await scripted.peer.expectNothingElse()
            try await scripted.peer.send(self.declared("first"))
            try await scripted.peer.expect(.queueDeclare)
            try await scripted.peer.send(self.declared("second"))
            #expect(try await first.name == "first")
            #expect(try await second.name == "second")
            #expect(await refused?.code == .invalidArgument)
        }
    }

    @Test func aCancelledRequestLeavesATombstoneAndTheNextGetsItsOwnReply() async throws {
        try await withScriptedBroker { scripted in
            let channel = try await scripted.channel()
            let first = Task {
                await failure { () async throws(AMQPError) in try await channel.declareQueue("first") }
            }
            try await scripted.peer.expect(.queueDeclare)
            async let second = channel.declareQueue("second")
            let third = Task {
                await failure { () async throws(AMQPError) in try await channel.declareQueue("third") }
            }
            try await scripted.peer.expectNothingElse()
            first.cancel()
            third.cancel()
            #expect(await first.value?.code == .cancelled)
            #expect(await third.value?.code == .cancelled)
            try await scripted.peer.send(self.declared("first"))
            guard case .queueDeclare(let declare) = try await scripted.peer.expect(.queueDeclare) else { return }
            if declare.queue == "second" {
                try await scripted.peer.send(self.declared("second"))
                #expect(try await second.name == "second")
            }
            // The third was cancelled before its turn came and never reaches the wire.
            try await scripted.peer.expectNothingElse()
            #expect(declare.queue == "second")
        }
    }

    @Test func aRequestThatTakesTooLongClosesTheChannel() async throws {
        try await withScriptedBroker {
            $0.replyTimeout = .seconds(2)
        } _: { scripted in
            let channel = try await scripted.channel()
            let consumer = try await scripted.consumer(on: channel)
            let told = Mailbox<AMQPError>()
            await channel.whenEnded { told.put($0) }
            let canary = Canary()
            let start = ContinuousClock.now
            let error = await failure { () async throws(AMQPError) in try await channel.declareQueue("slow") }
            await expectTime(
                "reply timeout", ContinuousClock.now - start, from: .seconds(2), to: .milliseconds(2050), canary)
            #expect(error?.code == .timedOut)
            try await scripted.peer.expect(.queueDeclare)
            try await scripted.peer.expect(.channelClose)
            // The channel has ended for everybody, whenever the broker answers.
            #expect(try await told.next().code == .timedOut)
            #expect(channel.failure?.code == .timedOut)
            #expect(
                await failure { () async throws(AMQPError) in
                    try await consumer.deliveries.next()
                }?.code == .timedOut)
            #expect(
                await failure { () async throws(AMQPError) in try await channel.declareQueue("more") }?.code
                    == .timedOut)
            #expect(
                await failure { () async throws(AMQPError) in
                    try await channel.publish(AMQPMessage("x"), routingKey: "q")
                }?.code == .timedOut)
            // The late reply is for nobody.
            try await scripted.peer.send(self.declared("slow"), .channelCloseOk(.init()))
            let other = try await scripted.channel(2)
            try await scripted.peer.expectNothingElse(on: 2)
            #expect(other.failure == nil)
            #expect(await scripted.connection.isOpen)
        }
    }

    @Test func openingThatIsCancelledClosesTheChannelAndFreesItsNumber() async throws {
        try await withScriptedBroker(channelMax: 1) { scripted in
            let connection = scripted.connection
            let told = Task { await failure { () async throws(AMQPError) in try await connection.openChannel() } }
            try await scripted.peer.expect(.channelOpen)
            told.cancel()
            #expect(await told.value?.code == .cancelled)
            try await scripted.peer.send(.channelOpenOk(.init()))
            try await scripted.peer.expect(.channelClose)
            try await scripted.peer.send(.channelCloseOk(.init()))
            try await eventually { await connection.channelCount == 0 }
            _ = try await scripted.channel()
        }
    }

    @Test func noMoreChannelsAreOpenedThanAgreedOn() async throws {
        try await withScriptedBroker(channelMax: 2) { scripted in
            let first = try await scripted.channel(1)
            _ = try await scripted.channel(2)
            let connection = scripted.connection
            #expect(
                await failure { () async throws(AMQPError) in try await connection.openChannel() }?.code
                    == .invalidArgument)
            async let closed: Void = first.close()
            try await scripted.peer.expect(.channelClose)
            try await scripted.peer.send(.channelCloseOk(.init()))
            await closed
            _ = try await scripted.channel(1)
        }
    }

    // MARK: - Ends

    @Test func theServersCloseFailsWhatIsPendingAndNothingFollowsTheAnswer() async throws {
        try await withScriptedBroker { scripted in
            let channel = try await scripted.confirmingChannel()
            let consumer = try await scripted.consumer(on: channel)
            try await scripted.peer.write { output in try output.deliver("x", tag: 1) }
            let delivery = try #require(try await consumer.deliveries.next())
            async let confirmed = failure { () async throws(AMQPError) in
                try await channel.publishConfirmed(AMQPMessage("a"), routingKey: "q")
            }
            try await scripted.peer.expectPublish()
            async let declared = failure { () async throws(AMQPError) in try await channel.declareQueue("a") }
            try await scripted.peer.expect(.queueDeclare)
            async let got = failure { () async throws(AMQPError) in try await channel.get("a") }
            try await scripted.peer.expectNothingElse()
            try await scripted.peer.send(self.notFound)
            try await scripted.peer.expect(.channelCloseOk)

            #expect(await confirmed?.code == .outcomeUnknown)
            #expect(await declared?.reply == .init(code: 404, text: "NOT_FOUND", method: .queueDeclare))
            #expect(await got?.code == .channelClosed)
            #expect(
                await failure { () async throws(AMQPError) in
                    try await consumer.deliveries.next()
                }?.reply?.code == 404)
            for error in [
                await failure { () async throws(AMQPError) in
                    try await channel.publish(AMQPMessage("b"), routingKey: "q")
                },
                await failure { () async throws(AMQPError) in
                    try await channel.publishConfirmed(AMQPMessage("b"), routingKey: "q")
                },
                await failure { () async throws(AMQPError) in try await channel.declareQueue("b") },
            ] {
                #expect(error?.code == .channelClosed)
                #expect(error?.reply?.code == 404)
            }
            #expect(await failure { () async throws(AMQPError) in try delivery.ack() } != nil)
            await channel.close()
            // None of that reached the wire: the next thing there is another channel.
            _ = try await scripted.channel(2)
            #expect(await scripted.connection.isOpen)
        }
    }

    @Test func closingWaitsForTheAnswerAndIsDoneOnce() async throws {
        try await withScriptedBroker { scripted in
            let channel = try await scripted.channel()
            let isClosed = NIOLockedValueBox(false)
            let closed = Task {
                await channel.close()
                isClosed.withLockedValue { $0 = true }
            }
            try await scripted.peer.expect(.channelClose)
            #expect(!isClosed.withLockedValue { $0 })
            try await scripted.peer.send(.channelCloseOk(.init()))
            await closed.value
            await channel.close()
            _ = try await scripted.channel(2)
        }
    }

    @Test func closesThatCrossAreBothAnswered() async throws {
        try await withScriptedBroker { scripted in
            let channel = try await scripted.channel()
            let isClosed = NIOLockedValueBox(false)
            let closed = Task {
                await channel.close()
                isClosed.withLockedValue { $0 = true }
            }
            try await scripted.peer.expect(.channelClose)
            try await scripted.peer.send(self.notFound)
            try await scripted.peer.expect(.channelCloseOk)
            #expect(!isClosed.withLockedValue { $0 })
            try await scripted.peer.send(.channelCloseOk(.init()))
            await closed.value
            _ = try await scripted.channel(2)
        }
    }

    @Test func afterOurCloseEverythingButTheAnswerIsDiscarded() async throws {
        try await withScriptedBroker { scripted in
            let channel = try await scripted.confirmingChannel()
            _ = try await scripted.consumer(on: channel)
            let returns = Mailbox<AMQPReturnedMessage>()
            try await channel.onReturn { returns.put($0) }
            async let closed: Void = channel.close()
            try await scripted.peer.expect(.channelClose)
            try await scripted.peer.write { output in
                try output.deliver("late", tag: 1)
                try output.append(.channelFlow(.init(active: false)), channel: 1)
                try output.append(.basicAck(.init(deliveryTag: 1)), channel: 1)
                try output.append(.basicCancel(.init(consumerTag: "c1", noWait: true)), channel: 1)
                try output.append(
                    .basicReturn(.init(replyCode: 312, replyText: "", exchange: "", routingKey: "")),
                    properties: AMQPBasicProperties(), body: ByteBuffer(), channel: 1)
                try output.append(self.declared("late"), channel: 1)
                try output.append(.channelCloseOk(.init()), channel: 1)
            }
            await closed
            _ = try await scripted.channel(2)
            #expect(returns.poll() == nil)
        }
    }

    @Test func aBrokerThatDoesNotAnswerTheCloseIsHungUpOn() async throws {
        try await withScriptedBroker {
            $0.replyTimeout = .seconds(2)
        } _: { scripted in
            let channel = try await scripted.channel()
            await channel.close()
            try await scripted.peer.expect(.channelClose)
            try await scripted.peer.expectClosed()
        }
    }

    // MARK: - Publishing

    @Test(arguments: [0, 1, 8192 - 8, 8192 - 8 + 1, 1 << 20]) func bodiesAreCutIntoFrames(size: Int) async throws {
        try await withScriptedBroker(frameMax: 8192) { scripted in
            let channel = try await scripted.channel()
            let body = ByteBuffer(bytes: (0..<size).map { UInt8(truncatingIfNeeded: $0 &* 7) })
            var properties = AMQPBasicProperties()
            properties.messageID = "m"
            properties.headers = ["n": 1]
            try await channel.publish(
                AMQPMessage(body, properties: properties), exchange: "e", routingKey: "r", mandatory: true)
            let published = try await scripted.peer.expectPublish()
            #expect(published.method == .init(exchange: "e", routingKey: "r", mandatory: true))
            #expect(published.properties == properties)
            #expect(published.body == body)
            #expect(published.fragments.allSatisfy { (1...8184).contains($0) })
            #expect(published.fragments.count == (size + 8183) / 8184)
            // And the same way back.
            async let got = channel.get("q", acknowledgement: .automatic)
            try await scripted.peer.expect(.basicGet)
            try await scripted.peer.write { output in
                try output.append(
                    .basicGetOk(
                        .init(deliveryTag: 1, redelivered: true, exchange: "e", routingKey: "r", messageCount: 0)),
                    properties: properties, body: body, channel: 1)
            }
            let delivery = try #require(try await got)
            #expect(delivery.body == body)
            #expect(delivery.properties == properties)
            #expect(delivery.redelivered)
        }
    }

    @Test func whatIsTooLargeOrTooLongIsNotPublished() async throws {
        try await withScriptedBroker {
            $0.maximumMessageSize = 10
        } _: { scripted in
            let channel = try await scripted.confirmingChannel()
            var properties = AMQPBasicProperties()
            properties.type = String(repeating: "x", count: 256)
            for message in [AMQPMessage("12345678901"), AMQPMessage("", properties: properties)] {
                #expect(
                    await failure { () async throws(AMQPError) in
                        try await channel.publishConfirmed(message, routingKey: "q")
                    }?.code == .invalidArgument)
            }
            // Neither took a tag.
            async let confirmed: Void = channel.publishConfirmed(AMQPMessage("1234567890"), routingKey: "q")
            try await scripted.peer.expectPublish()
            try await scripted.peer.send(.basicAck(.init(deliveryTag: 1)))
            try await confirmed
        }
    }

    @Test func confirmsReachTheirPublishers() async throws {
        try await withScriptedBroker { scripted in
            let channel = try await scripted.confirmingChannel()
            func publish(_ text: String, mandatory: Bool = false) async -> AMQPError? {
                do {
                    try await channel.publishConfirmed(AMQPMessage(text), routingKey: "q", mandatory: mandatory)
                    return nil
                } catch {
                    return error
                }
            }
            async let acked = publish("acked")
            try await scripted.peer.expectPublish()
            async let nacked = publish("nacked")
            try await scripted.peer.expectPublish()
            async let returned = publish("returned", mandatory: true)
            let message = try await scripted.peer.expectPublish()
            #expect(message.method.mandatory)
            #expect(message.properties.messageID?.isEmpty == false)
            try await scripted.peer.write { output in
                try output.append(
                    .basicReturn(.init(replyCode: 312, replyText: "NO_ROUTE", exchange: "", routingKey: "q")),
                    properties: message.properties, body: message.body, channel: 1)
                try output.append(.basicNack(.init(deliveryTag: 2)), channel: 1)
                try output.append(.basicAck(.init(deliveryTag: 3, multiple: true)), channel: 1)
            }
            #expect(await acked == nil)
            #expect(await nacked?.code == .nacked)
            #expect(await returned?.code == .returned)
            #expect(await returned?.reply?.code == 312)
        }
    }

    @Test func withoutConfirmModeThereAreNoConfirms() async throws {
        try await withScriptedBroker { scripted in
            let channel = try await scripted.channel()
            #expect(
                await failure { () async throws(AMQPError) in
                    try await channel.publishConfirmed(AMQPMessage("x"), routingKey: "q")
                }?.code == .invalidArgument)
        }
    }

    @Test func whatIsPublishedBehindConfirmSelectIsCountedBeforeItsAnswer() async throws {
        try await withScriptedBroker { scripted in
            let channel = try await scripted.channel()
            async let selected: Void = channel.confirmSelect()
            try await scripted.peer.expect(.confirmSelect)
            // The broker counts from `confirm.select` on, whenever its answer arrives.
            try await channel.publish(AMQPMessage("first"), routingKey: "q")
            try await scripted.peer.expectPublish()
            try await scripted.peer.send(.confirmSelectOk(.init()))
            try await selected
            async let second: Void = channel.publishConfirmed(AMQPMessage("second"), routingKey: "q")
            try await scripted.peer.expectPublish()
            try await scripted.peer.send(.basicAck(.init(deliveryTag: 2)))
            try await second
        }
    }

    @Test func aConfirmThatDoesNotComeIsWaitedForSoLong() async throws {
        try await withScriptedBroker {
            $0.publishTimeout = .milliseconds(300)
        } _: { scripted in
            let channel = try await scripted.confirmingChannel()
            #expect(
                await failure { () async throws(AMQPError) in
                    try await channel.publishConfirmed(AMQPMessage("x"), routingKey: "q")
                }?.code == .timedOut)
            // Its late ack is harmless.
            try await scripted.peer.expectPublish()
            try await scripted.peer.send(.basicAck(.init(deliveryTag: 1)))
            try await scripted.peer.expectNothingElse()
        }
    }

    @Test func returnedMessagesComeAsASequence() async throws {
        try await withScriptedBroker { scripted in
            let channel = try await scripted.channel()
            let returned = try await channel.returnedMessages()
            try await scripted.peer.write { output in
                for number in 0..<3 {
                    try output.append(
                        .basicReturn(
                            .init(replyCode: 312, replyText: "NO_ROUTE", exchange: "", routingKey: "\(number)")),
                        properties: AMQPBasicProperties(), body: ByteBuffer(), channel: 1)
                }
            }
            var keys: [String] = []
            for try await message in returned {
                keys.append(message.routingKey)
                if keys.count == 3 { break }
            }
            #expect(keys == ["0", "1", "2"])
        }
    }

    // MARK: - Back-pressure

    @Test func aBlockedConnectionHoldsPublishesBackUntilItIsUnblocked() async throws {
        try await withScriptedBroker { scripted in
            let channel = try await scripted.channel()
            try await scripted.peer.send(.connectionBlocked(.init(reason: "memory")), on: 0)
            try await scripted.peer.expectNothingElse()
            let told = Mailbox<AMQPError?>()
            for number in 0..<3 {
                Task {
                    do throws(AMQPError) {
                        try await channel.publish(AMQPMessage("\(number)"), routingKey: "q")
                        told.put(nil)
                    } catch { told.put(error) }
                }
                try await eventually { scripted.connection.gate.suspendedCount == number + 1 }
            }
            // Requests go on.
            async let declared = channel.declareQueue("q")
            try await scripted.peer.expect(.queueDeclare)
            try await scripted.peer.send(self.declared("q"))
            _ = try await declared
            #expect(told.poll() == nil)
            try await scripted.peer.send(.connectionUnblocked(.init()), on: 0)
            for number in 0..<3 { #expect(try await scripted.peer.expectPublish().text == "\(number)") }
            for _ in 0..<3 { #expect(try await told.next() == nil) }
        }
    }

    enum GivingUp: CaseIterable {
        case cancelled, timedOut, channelClosed, connectionLost
    }

    @Test(arguments: GivingUp.allCases) func aPublisherThatGivesUpSendsNothing(why: GivingUp) async throws {
        try await withScriptedBroker {
            if why == .timedOut { $0.publishTimeout = .milliseconds(300) }
        } _: { scripted in
            let channel = try await scripted.confirmingChannel()
            try await scripted.peer.send(.connectionBlocked(.init(reason: "memory")), on: 0)
            try await scripted.peer.expectNothingElse()
            let plain = Task {
                await failure { () async throws(AMQPError) in
                    try await channel.publish(AMQPMessage("x"), routingKey: "q")
                }
            }
            let confirmed = Task {
                await failure { () async throws(AMQPError) in
                    try await channel.publishConfirmed(AMQPMessage("x"), routingKey: "q")
                }
            }
            if why != .timedOut { try await eventually { scripted.connection.gate.suspendedCount == 2 } }
            let code: AMQPError.Code
            switch why {
            case .cancelled:
                plain.cancel()
                confirmed.cancel()
                code = .cancelled
            case .timedOut: code = .timedOut
            case .channelClosed:
                try await scripted.peer.send(self.notFound)
                try await scripted.peer.expect(.channelCloseOk)
                code = .channelClosed
            case .connectionLost:
                await scripted.peer.close()
                code = .connectionClosed
            }
            #expect(await plain.value?.code == code)
            #expect(await confirmed.value?.code == code)
            #expect(scripted.connection.gate.suspendedCount == 0)
            guard why == .cancelled || why == .timedOut else { return }
            try await scripted.peer.send(.connectionUnblocked(.init()), on: 0)
            async let next: Void = channel.publish(AMQPMessage("next"), routingKey: "q")
            #expect(try await scripted.peer.expectPublish().text == "next")
            _ = try? await next
        }
    }

    @MainActor @Test(arguments: [false, true])
    func aPublisherThatIsCancelledAsEverythingEndsIsNotToldItWasSent(byChannel: Bool) async throws {
        try await withScriptedBroker { scripted in
            let (channel, gate) = (try await scripted.channel(), scripted.connection.gate)
            try await scripted.peer.send(.connectionBlocked(.init(reason: "memory")), on: 0)
            try await scripted.peer.expectNothingElse()
            let publisher = Task { @MainActor in
                await failure { () async throws(AMQPError) in
                    try await channel.publish(AMQPMessage("x"), routingKey: "q")
                }
            }
            try await eventually { gate.suspendedCount == 1 }
            // Both before the publisher, which runs on this actor too, can go on.
            publisher.cancel()
            let error = AMQPError(.connectionClosed, "gone")
            if byChannel { gate.closeChannel(channel.id, error, farewell: nil) } else { gate.lost(error) }
            #expect(await publisher.value?.code == .cancelled)
        }
    }

    @Test func channelFlowHoldsBackThatChannelOnly() async throws {
        try await withScriptedBroker { scripted in
            let first = try await scripted.channel(1)
            let second = try await scripted.channel(2)
            try await scripted.peer.send(.channelFlow(.init(active: false)), on: 1)
            #expect(try await scripted.peer.expect(.channelFlowOk) == .channelFlowOk(.init(active: false)))
            async let held: Void = first.publish(AMQPMessage("held"), routingKey: "q")
            try await eventually { scripted.connection.gate.suspendedCount == 1 }
            try await second.publish(AMQPMessage("free"), routingKey: "q")
            #expect(try await scripted.peer.expectPublish(on: 2).text == "free")
            try await scripted.peer.send(.channelFlow(.init(active: true)), on: 1)
            try await scripted.peer.expect(.channelFlowOk)
            #expect(try await scripted.peer.expectPublish(on: 1).text == "held")
            try await held
        }
    }

    @Test func aBrokerThatDoesNotReadHoldsPublishersBack() async throws {
        try await withScriptedBroker {
            $0.outputHighWaterMark = 64 << 10
        } _: { scripted in
            let channel = try await scripted.channel()
            try await scripted.peer.pauseReading()
            let count = 400
            let body = ByteBuffer(repeating: 1, count: 32 << 10)
            let sent = NIOLockedValueBox(0)
            let publisher = Task {
                for number in 0..<count {
                    var properties = AMQPBasicProperties()
                    properties.messageID = "\(number)"
                    try await channel.publish(AMQPMessage(body, properties: properties), routingKey: "q")
                    sent.withLockedValue { $0 += 1 }
                }
            }
            try await eventually { scripted.connection.gate.suspendedCount == 1 }
            #expect(sent.withLockedValue { $0 } < count)
            // Not more than the mark and one message; the rest is in the system's buffers.
            #expect(scripted.connection.gate.waitingBytes <= (64 << 10) + (33 << 10))
            try await scripted.peer.resumeReading()
            for number in 0..<count {
                #expect(try await scripted.peer.expectPublish().properties.messageID == "\(number)")
            }
            try await publisher.value
            try await eventually { scripted.connection.gate.waitingBytes == 0 }
        }
    }

    @Test func manyThreadsPublishInOrderAndEachGetsItsConfirm() async throws {
        try await withScriptedBroker {
            $0.outputHighWaterMark = 4096
        } _: { scripted in
            let channel = try await scripted.confirmingChannel()
            let (tasks, each) = (8, 200)
            let outcomes = Task {
                await withTaskGroup(of: [Bool].self) { group in
                    for task in 0..<tasks {
                        group.addTask { @concurrent in
                            var outcomes: [Bool] = []
                            for number in 0..<each {
                                do throws(AMQPError) {
                                    try await channel.publishConfirmed(
                                        AMQPMessage("\(task) \(number)"), routingKey: "q")
                                    outcomes.append(true)
                                } catch {
                                    if error.code == .nacked { outcomes.append(false) }
                                }
                            }
                            return outcomes
                        }
                    }
                    return await group.reduce(into: []) { $0.append($1) }
                }
            }
            var next = Array(repeating: 0, count: tasks)
            for tag in 1...UInt64(tasks * each) {
                let parts = try await scripted.peer.expectPublish().text.split(separator: " ").compactMap { Int($0) }
                #expect(parts[1] == next[parts[0]])
                next[parts[0]] += 1
                // Odd ones are refused: whoever gets another's confirm is found out.
                if parts[1] % 2 == 0 {
                    try await scripted.peer.send(.basicAck(.init(deliveryTag: tag)))
                } else {
                    try await scripted.peer.send(.basicNack(.init(deliveryTag: tag)))
                }
            }
            let expected = (0..<each).map { $0 % 2 == 0 }
            #expect(await outcomes.value == Array(repeating: expected, count: tasks))
        }
    }
}
