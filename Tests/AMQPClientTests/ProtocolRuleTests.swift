// SPDX-License-Identifier: Apache-2.0
import AMQPWire
import NIOCore
import Testing

@_spi(HareDo) @testable import AMQPClient

/// Rules about tags, confirms and acknowledgements that a client keeps on its own side.
@Suite(.timeLimit(.minutes(1))) struct ProtocolRuleTests {
    @Test func consumersHaveTagsOfOurOwnAndWaitForTheAnswer() async throws {
        try await withScriptedBroker { scripted in
            let channel = try await scripted.channel()
            var tags: Set<String> = []
            for _ in 0..<3 {
                async let consumer = channel.consume("q")
                guard case .basicConsume(let consume) = try await scripted.peer.expect(.basicConsume) else { return }
                // With no-wait there would be no answer, and with an empty tag nobody knew whose deliveries they are.
                #expect(!consume.noWait && !consume.consumerTag.isEmpty)
                try await scripted.peer.send(.basicConsumeOk(.init(consumerTag: consume.consumerTag)))
                tags.insert(try await consumer.consumerTag)
            }
            #expect(tags.count == 3)
        }
    }

    @Test func deliveryTagsBelongToTheirChannel() async throws {
        try await withScriptedBroker { scripted in
            let first = try await scripted.channel(1)
            let second = try await scripted.channel(2)
            let ofFirst = try await scripted.consumer(on: first, 1)
            let ofSecond = try await scripted.consumer(on: second, 2)
            try await scripted.peer.write { output in
                try output.deliver("1", to: ofFirst.consumerTag, tag: 1, on: 1)
                try output.deliver("1", to: ofSecond.consumerTag, tag: 1, on: 2)
            }
            let one = try #require(try await ofFirst.deliveries.next())
            let two = try #require(try await ofSecond.deliveries.next())
            // A message that is fetched counts along with those that are delivered.
            async let got = first.get("q")
            try await scripted.peer.expect(.basicGet)
            try await scripted.peer.write { output in
                try output.append(
                    .basicGetOk(
                        .init(deliveryTag: 2, redelivered: false, exchange: "", routingKey: "q", messageCount: 0)),
                    properties: AMQPBasicProperties(), body: ByteBuffer(string: "2"), channel: 1)
                try output.deliver("3", to: ofFirst.consumerTag, tag: 3, on: 1)
            }
            let fetched = try #require(try await got)
            let three = try #require(try await ofFirst.deliveries.next())
            #expect((one.deliveryTag, fetched.deliveryTag, three.deliveryTag) == (1, 2, 3))
            try two.ack()
            #expect(try await scripted.peer.expect(.basicAck, on: 2) == .basicAck(.init(deliveryTag: 1)))
            try three.ack(multiple: true)
            #expect(try await scripted.peer.expect(.basicAck) == .basicAck(.init(deliveryTag: 3, multiple: true)))
            // The fetched one was settled along with it.
            #expect(await failure { () async throws(AMQPError) in try fetched.ack() }?.code == .alreadySettled)
            try await scripted.peer.expectNothingElse()
        }
    }

    @Test func acknowledgingSeveralByATagThatIsSettledIsRefusedLocally() async throws {
        try await withScriptedBroker { scripted in
            let channel = try await scripted.channel()
            let consumer = try await scripted.consumer(on: channel)
            try await scripted.peer.write { output in
                try output.deliver("1", tag: 1)
                try output.deliver("2", tag: 2)
            }
            let first = try #require(try await consumer.deliveries.next())
            let second = try #require(try await consumer.deliveries.next())
            try second.ack()
            try await scripted.peer.expect(.basicAck)
            // The broker would close the channel (406), although the first is outstanding.
            #expect(
                await failure { () async throws(AMQPError) in try second.ack(multiple: true) }?.code == .alreadySettled)
            try first.ack()
            #expect(try await scripted.peer.expect(.basicAck) == .basicAck(.init(deliveryTag: 1)))
        }
    }

    @Test func whatNeedsNoAcknowledgementCannotBeAcknowledged() async throws {
        try await withScriptedBroker { scripted in
            let channel = try await scripted.channel()
            async let consumed = channel.consume("q", acknowledgement: .automatic)
            guard case .basicConsume(let consume) = try await scripted.peer.expect(.basicConsume) else { return }
            #expect(consume.noAck)
            try await scripted.peer.write { output in
                try output.append(.basicConsumeOk(.init(consumerTag: consume.consumerTag)), channel: 1)
                try output.deliver("x", to: consume.consumerTag, tag: 1)
            }
            let delivery = try #require(try await consumed.deliveries.next())
            let errors = [
                await failure { () async throws(AMQPError) in try delivery.ack() },
                await failure { () async throws(AMQPError) in try delivery.nack() },
                await failure { () async throws(AMQPError) in try delivery.reject(requeue: true) },
            ]
            for error in errors { #expect(error?.code == .alreadySettled) }
            try await scripted.peer.expectNothingElse()
        }
    }

    @Test func theLimitOfUnacknowledgedDeliveriesIsACountAndNoSize() async throws {
        try await withScriptedBroker { scripted in
            let channel = try await scripted.channel()
            for (scope, global) in [(AMQPChannel.QosScope.consumer, false), (.channel, true)] {
                async let done: Void = channel.qos(prefetchCount: 7, scope: scope)
                // A size is something RabbitMQ ends the connection for (540).
                #expect(
                    try await scripted.peer.expect(.basicQos)
                        == .basicQos(.init(prefetchSize: 0, prefetchCount: 7, global: global)))
                try await scripted.peer.send(.basicQosOk(.init()))
                try await done
            }
        }
    }

    @Test func recoveringAsksForRequeueing() async throws {
        try await withScriptedBroker { scripted in
            let channel = try await scripted.channel()
            let consumer = try await scripted.consumer(on: channel)
            try await scripted.peer.write { try $0.deliver("x", tag: 1) }
            let before = try #require(try await consumer.deliveries.next())
            async let done: Void = channel.recover()
            #expect(try await scripted.peer.expect(.basicRecover) == .basicRecover(.init(requeue: true)))
            try await scripted.peer.write { output in
                try output.append(.basicRecoverOk(.init()), channel: 1)
                try output.deliver("x", tag: 2)
            }
            try await done
            // It went back, and the broker would close the channel for its acknowledgement (406).
            #expect(await failure { () async throws(AMQPError) in try before.ack() }?.code == .alreadySettled)
            let after = try #require(try await consumer.deliveries.next())
            try after.ack()
            #expect(try await scripted.peer.expect(.basicAck) == .basicAck(.init(deliveryTag: 2)))
            try await scripted.peer.expectNothingElse()
        }
    }

    /// As when a consumer did not acknowledge in time: nobody's method was at fault.
    @Test func anErrorOfNoMethodNamesNone() async throws {
        try await withScriptedBroker { scripted in
            let channel = try await scripted.channel()
            let consumer = try await scripted.consumer(on: channel)
            try await scripted.peer.send(
                .channelClose(
                    .init(
                        replyCode: 406, replyText: "PRECONDITION_FAILED - delivery acknowledgement timed out",
                        failingClassID: 0, failingMethodID: 0)))
            try await scripted.peer.expect(.channelCloseOk)
            let error = await failure { () async throws(AMQPError) in try await consumer.deliveries.next() }
            #expect(error?.reply?.code == 406)
            #expect(error?.reply?.method == nil)
        }
    }

    @Test func confirmModeTwiceGoesOnCounting() async throws {
        try await withScriptedBroker { scripted in
            let channel = try await scripted.confirmingChannel()
            async let first: Void = channel.publishConfirmed(AMQPMessage("1"), routingKey: "q")
            try await scripted.peer.expectPublish()
            async let again: Void = channel.confirmSelect()
            try await scripted.peer.expect(.confirmSelect)
            try await scripted.peer.send(.confirmSelectOk(.init()))
            try await again
            async let second: Void = channel.publishConfirmed(AMQPMessage("2"), routingKey: "q")
            try await scripted.peer.expectPublish()
            try await scripted.peer.send(.basicAck(.init(deliveryTag: 2)), .basicAck(.init(deliveryTag: 1)))
            try await first
            try await second
        }
    }

    @Test func returnsComeBeforeTheirAcksWithOthersBetween() async throws {
        try await withScriptedBroker { scripted in
            let channel = try await scripted.confirmingChannel()
            var publishes: [Task<AMQPError?, Never>] = []
            var published: [ScriptedPeer.Published] = []
            for number in 0..<4 {
                publishes.append(
                    Task {
                        do throws(AMQPError) {
                            try await channel.publishConfirmed(
                                AMQPMessage("\(number)"), routingKey: "q", mandatory: number != 1)
                            return nil
                        } catch { return error }
                    })
                published.append(try await scripted.peer.expectPublish())
            }
            try await scripted.peer.write { output in
                func giveBack(_ index: Int) throws {
                    try output.append(
                        .basicReturn(.init(replyCode: 312, replyText: "NO_ROUTE", exchange: "", routingKey: "q")),
                        properties: published[index].properties, body: published[index].body, channel: 1)
                }
                try giveBack(3)
                try output.append(.basicAck(.init(deliveryTag: 2)), channel: 1)
                try giveBack(0)
                try output.append(.basicAck(.init(deliveryTag: 3)), channel: 1)
                try output.append(.basicAck(.init(deliveryTag: 4)), channel: 1)
                try output.append(.basicAck(.init(deliveryTag: 1)), channel: 1)
            }
            let codes: [AMQPError.Code?] = [.returned, nil, nil, .returned]
            for (publish, code) in zip(publishes, codes) { #expect(await publish.value?.code == code) }
        }
    }
}
