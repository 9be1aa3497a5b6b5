// SPDX-License-Identifier: Apache-2.0
import AMQPWire
import NIOConcurrencyHelpers
import NIOCore
import TestSupport
import Testing

@_spi(HareDo) @testable import AMQPClient

/// A sink that keeps everything and is full when told so.
private final class TestSink: DeliverySink {
    struct State {
        var deliveries: [AMQPDelivery] = []
        var isFull = false
        var whenRoom: (@Sendable () -> Void)?
        var ends: [AMQPError?] = []
    }
    let state = NIOLockedValueBox(State())

    func received(_ delivery: AMQPDelivery) { self.state.withLockedValue { $0.deliveries.append(delivery) } }
    func batchEnded() -> Bool { self.state.withLockedValue { $0.isFull } }
    func whenRoom(_ action: @escaping @Sendable () -> Void) { self.state.withLockedValue { $0.whenRoom = action } }
    func interrupted(requeued: Bool) {}
    func ended(_ error: AMQPError?) { self.state.withLockedValue { $0.ends.append(error) } }

    func setFull(_ isFull: Bool) {
        let action = self.state.withLockedValue { state in
            state.isFull = isFull
            return isFull ? nil : state.whenRoom
        }
        action?()
    }

    var count: Int { self.state.withLockedValue { $0.deliveries.count } }
}

@Suite(.timeLimit(.minutes(1))) struct ConsumerTests {
    private func texts(_ deliveries: AMQPDeliveries, _ count: Int) async throws -> [String] {
        var texts: [String] = []
        guard count > 0 else { return [] }
        for try await delivery in deliveries {
            texts.append(String(buffer: delivery.body))
            if texts.count == count { break }
        }
        return texts
    }

    @Test(arguments: [false, true]) func deliveriesRightBehindConsumeOkAreNotLost(dripping: Bool) async throws {
        try await withScriptedBroker { scripted in
            let channel = try await scripted.channel()
            async let consumed = channel.consume("q", consumerTag: "mine", acknowledgement: .manual)
            guard case .basicConsume(let consume) = try await scripted.peer.expect(.basicConsume) else { return }
            #expect(consume == .init(queue: "q", consumerTag: "mine"))
            func answer(_ output: inout AMQPOutput) throws {
                try output.append(.basicConsumeOk(.init(consumerTag: "mine")), channel: 1)
                for tag in 1...3 as ClosedRange<UInt64> { try output.deliver("\(tag)", to: "mine", tag: tag) }
            }
            if dripping { try await scripted.peer.drip(answer) } else { try await scripted.peer.write(answer) }
            let consumer = try await consumed
            #expect(try await self.texts(consumer.deliveries, 3) == ["1", "2", "3"])
        }
    }

    @Test func deliveriesAreSettledOnceAndInOrder() async throws {
        try await withScriptedBroker { scripted in
            let channel = try await scripted.channel()
            let consumer = try await scripted.consumer(on: channel)
            try await scripted.peer.write { output in
                for tag in 1...6 as ClosedRange<UInt64> { try output.deliver("\(tag)", tag: tag) }
            }
            var deliveries: [AMQPDelivery] = []
            for try await delivery in consumer.deliveries {
                deliveries.append(delivery)
                if deliveries.count == 6 { break }
            }
            try deliveries[0].ack()
            try deliveries[1].nack(requeue: false)
            try deliveries[2].reject(requeue: true)
            try deliveries[4].ack(multiple: true)
            for index in 0..<5 {
                #expect(
                    await failure { () async throws(AMQPError) in try deliveries[index].ack() }?.code == .alreadySettled
                )
            }
            #expect(try await scripted.peer.expect(.basicAck) == .basicAck(.init(deliveryTag: 1)))
            #expect(
                try await scripted.peer.expect(.basicNack) == .basicNack(.init(deliveryTag: 2, requeue: false)))
            #expect(try await scripted.peer.expect(.basicReject) == .basicReject(.init(deliveryTag: 3, requeue: true)))
            #expect(try await scripted.peer.expect(.basicAck) == .basicAck(.init(deliveryTag: 5, multiple: true)))
            try await scripted.peer.expectNothingElse()
            #expect(scripted.connection.gate.unsettled(channel: channel.id) == 1)
        }
    }

    @Test func theServersCancelEndsTheSequenceAndIsNotAnswered() async throws {
        try await withScriptedBroker { scripted in
            let channel = try await scripted.channel()
            let consumer = try await scripted.consumer(on: channel)
            try await scripted.peer.write { output in
                try output.deliver("last", tag: 1)
                try output.append(.basicCancel(.init(consumerTag: consumer.consumerTag, noWait: true)), channel: 1)
            }
            #expect(try await self.texts(consumer.deliveries, 1) == ["last"])
            let error = await failure { () async throws(AMQPError) in try await consumer.deliveries.next() }
            #expect(error?.code == .consumerCancelled)
            #expect(error?.origin == .peer)
            try await scripted.peer.expectNothingElse()
            #expect(channel.failure == nil)
        }
    }

    @Test func cancellingGivesBackWhatWasNotHandedOut() async throws {
        try await withScriptedBroker { scripted in
            let channel = try await scripted.channel()
            let consumer = try await scripted.consumer(on: channel)
            try await scripted.peer.write { output in
                for tag in 1...3 as ClosedRange<UInt64> { try output.deliver("\(tag)", tag: tag) }
            }
            let first = try #require(try await consumer.deliveries.next())
            async let cancelled: Void = consumer.cancel()
            try await scripted.peer.expect(.basicCancel)
            // They keep coming until the broker has answered.
            try await scripted.peer.write { output in
                try output.deliver("4", tag: 4)
                try output.append(.basicCancelOk(.init(consumerTag: consumer.consumerTag)), channel: 1)
            }
            for tag in 2...4 as ClosedRange<UInt64> {
                #expect(
                    try await scripted.peer.expect(.basicNack) == .basicNack(.init(deliveryTag: tag, requeue: true)))
            }
            try await cancelled
            #expect(try await consumer.deliveries.next() == nil)
            try first.ack()
            try await scripted.peer.expect(.basicAck)
        }
    }

    enum Undoing: CaseIterable {
        /// The broker answers after the caller has gone.
        case inFlight
        /// It is cancelled before it was sent.
        case queued
        /// Answer and deliveries are there before the caller has noticed that it was cancelled.
        case answered
    }

    @Test(arguments: Undoing.allCases) func aCancelledConsumeIsUndone(when: Undoing) async throws {
        try await withScriptedBroker { scripted in
            let (channel, connection) = (try await scripted.channel(), scripted.connection)
            if when == .queued {
                async let declared = channel.declareQueue("q")
                try await scripted.peer.expect(.queueDeclare)
                let consumed = Task {
                    await failure { () async throws(AMQPError) in try await channel.consume("q", consumerTag: "c") }
                }
                try await scripted.peer.expectNothingElse()
                consumed.cancel()
                #expect(await consumed.value?.code == .cancelled)
                try await scripted.peer.send(.queueDeclareOk(.init(queue: "q", messageCount: 0, consumerCount: 0)))
                _ = try await declared
                try await scripted.peer.expectNothingElse()
            } else {
                let consumed = Task {
                    await failure { () async throws(AMQPError) in try await channel.consume("q", consumerTag: "c") }
                }
                try await scripted.peer.expect(.basicConsume)
                func answer(_ output: inout AMQPOutput) throws {
                    try output.append(.basicConsumeOk(.init(consumerTag: "c")), channel: 1)
                    try output.deliver("1", to: "c", tag: 1)
                    try output.deliver("2", to: "c", tag: 2)
                }
                if when == .answered {
                    // The loop finds both at once: bytes that wait to be read, and behind them the caller's return.
                    let hold = LoopHold()
                    try await hold.take(connection.eventLoop)
                    consumed.cancel()
                    try await scripted.peer.write(answer)
                    hold.release()
                    #expect(await consumed.value?.code == .cancelled)
                } else {
                    consumed.cancel()
                    #expect(await consumed.value?.code == .cancelled)
                    try await scripted.peer.write(answer)
                }
                var seen: Set<AMQPMethod> = []
                for _ in 0..<3 { seen.insert(try await scripted.peer.method().0) }
                #expect(
                    seen == [
                        .basicCancel(.init(consumerTag: "c")), .basicNack(.init(deliveryTag: 1, requeue: true)),
                        .basicNack(.init(deliveryTag: 2, requeue: true)),
                    ])
                try await scripted.peer.send(.basicCancelOk(.init(consumerTag: "c")))
                try await scripted.peer.expectNothingElse()
            }
            #expect(await connection.consumerCount == 0)
            // The tag is free again.
            async let again = channel.consume("q", consumerTag: "c")
            try await scripted.peer.expect(.basicConsume)
            try await scripted.peer.send(.basicConsumeOk(.init(consumerTag: "c")))
            _ = try await again
        }
    }

    @Test func aTagInUseIsRefusedLocally() async throws {
        try await withScriptedBroker { scripted in
            let channel = try await scripted.channel()
            _ = try await scripted.consumer(on: channel)
            #expect(
                await failure { () async throws(AMQPError) in try await channel.consume("q", consumerTag: "c1") }?.code
                    == .invalidArgument)
            try await scripted.peer.expectNothingElse()
        }
    }

    @Test func aMessageGotForNobodyGoesBack() async throws {
        try await withScriptedBroker { scripted in
            let channel = try await scripted.channel()
            let got = Task { await failure { () async throws(AMQPError) in try await channel.get("q") } }
            try await scripted.peer.expect(.basicGet)
            got.cancel()
            #expect(await got.value?.code == .cancelled)
            try await scripted.peer.write { output in
                try output.append(
                    .basicGetOk(
                        .init(deliveryTag: 1, redelivered: false, exchange: "", routingKey: "q", messageCount: 0)),
                    properties: AMQPBasicProperties(), body: ByteBuffer(string: "x"), channel: 1)
            }
            #expect(try await scripted.peer.expect(.basicNack) == .basicNack(.init(deliveryTag: 1, requeue: true)))
        }
    }

    @Test func anEmptyQueueGivesNothing() async throws {
        try await withScriptedBroker { scripted in
            let channel = try await scripted.channel()
            async let got = channel.get("q")
            try await scripted.peer.expect(.basicGet)
            try await scripted.peer.send(.basicGetEmpty(.init()))
            #expect(try await got == nil)
        }
    }

    @Test func aDeliveryForNobodyIsNoError() async throws {
        try await withScriptedBroker { scripted in
            _ = try await scripted.channel()
            try await scripted.peer.write { output in try output.deliver("x", to: "nobody", tag: 1) }
            try await scripted.peer.expectNothingElse()
        }
    }

    @MainActor @Test func theMainActorIteratesToo() async throws {
        try await withScriptedBroker { scripted in
            let channel = try await scripted.channel()
            let consumer = try await scripted.consumer(on: channel)
            let writer = Task {
                for tag in 1...1000 as ClosedRange<UInt64> {
                    try await scripted.peer.write { output in try output.deliver("\(tag)", tag: tag) }
                }
            }
            #expect(try await self.texts(consumer.deliveries, 1000) == (1...1000).map { "\($0)" })
            try await writer.value
        }
    }

    // MARK: - Not reading while a consumer is full

    private func consume(_ sink: TestSink, _ tag: String, _ scripted: Scripted, _ channel: AMQPChannel) async throws {
        async let consumed = channel.consume("q", consumerTag: tag, sink: sink)
        try await scripted.peer.expect(.basicConsume)
        try await scripted.peer.send(.basicConsumeOk(.init(consumerTag: tag)))
        _ = try await consumed
    }

    @Test func aFullConsumerStopsTheReadingAndRoomResumesIt() async throws {
        try await withScriptedBroker { scripted in
            let channel = try await scripted.channel()
            let sink = TestSink()
            try await self.consume(sink, "c", scripted, channel)
            sink.setFull(true)
            try await scripted.peer.write { output in try output.deliver("1", to: "c", tag: 1) }
            try await eventually { sink.count == 1 }
            let chunk = ByteBuffer(repeating: 65, count: 65_536)
            var writes = 0
            // Until the system's buffers are full as well, or a good deal more than the client may read.
            let writer = Task {
                for tag in 2...1000 as ClosedRange<UInt64> {
                    try await scripted.peer.write { output in
                        try output.append(
                            .basicDeliver(
                                .init(
                                    consumerTag: "c", deliveryTag: tag, redelivered: false, exchange: "", routingKey: ""
                                )),
                            properties: AMQPBasicProperties(), body: chunk, channel: 1)
                    }
                }
            }
            _ = await Task { try await Task.sleep(for: .milliseconds(300)) }.result
            writes = sink.count
            #expect(writes < 20)
            sink.setFull(false)
            try await writer.value
            try await eventually { sink.count == 1000 }
        }
    }

    enum Leaving: CaseIterable {
        case cancelOk, serverCancel, channelClose
    }

    @Test(arguments: Leaving.allCases) func aFullConsumerThatLeavesDoesNotKeepOthersWaiting(how: Leaving) async throws {
        try await withScriptedBroker { scripted in
            let channel = try await scripted.channel(1)
            let other = try await scripted.channel(2)
            let sink = TestSink()
            try await self.consume(sink, "c", scripted, channel)
            sink.setFull(true)
            let cancelled = Task { if how == .cancelOk { try await channel.cancel("c") } }
            if how == .cancelOk { try await scripted.peer.expect(.basicCancel) }
            // All in one read: the consumer is full when it is gone already.
            try await scripted.peer.write { output in
                try output.deliver("1", to: "c", tag: 1)
                switch how {
                case .cancelOk: try output.append(.basicCancelOk(.init(consumerTag: "c")), channel: 1)
                case .serverCancel: try output.append(.basicCancel(.init(consumerTag: "c", noWait: true)), channel: 1)
                case .channelClose:
                    try output.append(
                        .channelClose(.init(replyCode: 404, replyText: "", failingClassID: 0, failingMethodID: 0)),
                        channel: 1)
                }
            }
            if how == .channelClose { try await scripted.peer.expect(.channelCloseOk) }
            try await scripted.peer.expectNothingElse(on: 2)
            _ = await cancelled.result
            #expect(sink.state.withLockedValue { $0.ends.count } == 1)
            #expect(other.failure == nil)
        }
    }

    /// The consumer "c", because of which nothing is read.
    private func fullConsumer(_ scripted: Scripted, _ channel: AMQPChannel) async throws -> TestSink {
        let sink = TestSink()
        try await self.consume(sink, "c", scripted, channel)
        sink.setFull(true)
        try await scripted.peer.write { output in try output.deliver("1", to: "c", tag: 1) }
        try await eventually { await scripted.connection.isReadingPaused }
        return sink
    }

    @Test func aFullConsumerCanBeCancelled() async throws {
        try await withScriptedBroker { scripted in
            let channel = try await scripted.channel()
            _ = try await self.fullConsumer(scripted, channel)
            async let cancelled: Void = channel.cancel("c")
            try await scripted.peer.expect(.basicCancel)
            // What was on its way has no place to go.
            try await scripted.peer.write { output in
                try output.deliver("2", to: "c", tag: 2)
                try output.append(.basicCancelOk(.init(consumerTag: "c")), channel: 1)
            }
            #expect(try await scripted.peer.expect(.basicNack) == .basicNack(.init(deliveryTag: 2, requeue: true)))
            try await cancelled
            #expect(await scripted.connection.consumerCount == 0)
        }
    }

    @Test func aConnectionWithAFullConsumerCanBeClosed() async throws {
        try await withScriptedBroker { scripted in
            let channel = try await scripted.channel()
            let sink = try await self.fullConsumer(scripted, channel)
            let (canary, start) = (Canary(), ContinuousClock.now)
            async let closed: Void = scripted.connection.close(within: .seconds(8))
            try await scripted.peer.expect(.connectionClose, on: 0)
            try await scripted.peer.write { output in
                try output.deliver("2", to: "c", tag: 2)
                try output.append(.connectionCloseOk(.init()), channel: 0)
            }
            await closed
            await expectTime("closing", ContinuousClock.now - start, from: .zero, to: .seconds(1), canary)
            #expect(sink.count == 1)
        }
    }

    @Test(arguments: [false, true]) func aCancelledTaskEndsItsSubscriptionAllTheSame(whileQueued: Bool) async throws {
        try await withScriptedBroker { scripted in
            let channel = try await scripted.channel()
            let consumer = try await scripted.consumer(on: channel)
            try await scripted.peer.write { output in
                for tag in 1...3 as ClosedRange<UInt64> { try output.deliver("\(tag)", tag: tag) }
            }
            try await eventually { consumer.deliveries.buffer.count == 3 }
            let declared = Task { if whileQueued { _ = try await channel.declareQueue("q") } }
            if whileQueued { try await scripted.peer.expect(.queueDeclare) }
            let cancelled = Task {
                await failure { () async throws(AMQPError) in try await consumer.cancel() }
            }
            if whileQueued { try await scripted.peer.expectNothingElse() } else { cancelled.cancel() }
            cancelled.cancel()
            #expect(await cancelled.value?.code == .cancelled)
            if whileQueued {
                try await scripted.peer.send(.queueDeclareOk(.init(queue: "q", messageCount: 0, consumerCount: 0)))
            }
            try await scripted.peer.expect(.basicCancel)
            try await scripted.peer.send(.basicCancelOk(.init(consumerTag: consumer.consumerTag)))
            for tag in 1...3 as ClosedRange<UInt64> {
                #expect(
                    try await scripted.peer.expect(.basicNack) == .basicNack(.init(deliveryTag: tag, requeue: true)))
            }
            try await declared.value
            #expect(try await consumer.deliveries.next() == nil)
        }
    }

    @Test func roomInAnOldConsumerDoesNotResumeForANewOneOfTheSameName() async throws {
        try await withScriptedBroker { scripted in
            let channel = try await scripted.channel()
            let (old, new) = (TestSink(), TestSink())
            try await self.consume(old, "c", scripted, channel)
            async let cancelled: Void = channel.cancel("c")
            try await scripted.peer.expect(.basicCancel)
            try await scripted.peer.send(.basicCancelOk(.init(consumerTag: "c")))
            try await cancelled
            try await self.consume(new, "c", scripted, channel)
            new.setFull(true)
            try await scripted.peer.write { output in try output.deliver("1", to: "c", tag: 1) }
            try await eventually { await scripted.connection.isReadingPaused }
            old.setFull(false)
            #expect(await scripted.connection.isReadingPaused)
            new.setFull(false)
            try await eventually { await !scripted.connection.isReadingPaused }
        }
    }
}
