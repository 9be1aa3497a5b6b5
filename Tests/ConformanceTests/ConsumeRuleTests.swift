// SPDX-License-Identifier: Apache-2.0
import AMQPWire
import NIOCore
import TestSupport
import Testing

/// Who gets a message, when, and what becomes of it after.
@Suite("Rules of consuming", .timeLimit(.minutes(2)))
struct ConsumeRuleTests {
    // MARK: - Subscribing

    @Test("The answer comes before the first delivery, with a tag if none was given", arguments: TestBroker.modes)
    func start(broker: TestBroker) async throws {
        try await broker.run { url in
            try await withRawConnection(url) { connection in
                let queue = try await connection.declare()
                try await connection.fill(queue, 2)
                let reply = try await connection.call(.basicConsume(.init(queue: queue, consumerTag: "")))
                guard case .basicConsumeOk(let ok) = reply else { throw RawConnection.Unexpected("\(reply)") }
                #expect(ok.consumerTag.hasPrefix("amq.ctag-"))
                for (tag, text) in [(1, "0"), (2, "1")] as [(UInt64, String)] {
                    let delivery = try await connection.delivery()
                    #expect(
                        delivery.deliver
                            == AMQPMethod.BasicDeliver(
                                consumerTag: ok.consumerTag, deliveryTag: tag, exchange: "", routingKey: queue))
                    #expect(delivery.text == text)
                }
                let missing = TestBroker.uniqueName()
                #expect(
                    try await connection.refusal(of: .basicConsume(.init(queue: missing, consumerTag: "")))
                        == Refusal(404, "NOT_FOUND - no queue '\(missing)' in vhost '/'"))
            }
        }
    }

    @Test("A tag is for one consumer of its channel: 530", arguments: TestBroker.modes)
    func tags(broker: TestBroker) async throws {
        try await broker.run { url in
            try await withRawConnection(url) { connection in
                let queue = try await connection.declare()
                try await connection.consume(queue, tag: "twice")
                let other = try await connection.openChannel()
                try await connection.consume(queue, tag: "twice", on: other)
                #expect(
                    try await connection.fatalRefusal(of: .basicConsume(.init(queue: queue, consumerTag: "twice")))
                        == Refusal(530, "NOT_ALLOWED - attempt to reuse consumer tag 'twice'"))
            }
        }
    }

    @Test("An exclusive consumer bears no other, and comes after none: 403", arguments: TestBroker.modes)
    func exclusive(broker: TestBroker) async throws {
        try await broker.run { url in
            try await withRawConnection(url) { connection in
                let queue = try await connection.declare()
                let refusal = Refusal(403, "ACCESS_REFUSED - queue '\(queue)' in vhost '/' in exclusive use")
                let shared = AMQPMethod.basicConsume(.init(queue: queue, consumerTag: "another"))
                let exclusive = AMQPMethod.basicConsume(.init(queue: queue, consumerTag: "another", exclusive: true))
                try await connection.consume(queue, exclusive: true)
                #expect(try await connection.refusal(of: shared) == refusal)
                #expect(try await connection.refusal(of: exclusive) == refusal)
                // It is about consumers only.
                #expect(try await connection.get(queue) == nil)
                try await connection.cancel()
                try await connection.consume(queue)
                #expect(try await connection.refusal(of: exclusive) == refusal)
                try await connection.cancel()
                try await connection.consume(queue, exclusive: true)
            }
        }
    }

    @Test("Who asks not to get its own messages gets them all the same", arguments: TestBroker.modes)
    func noLocal(broker: TestBroker) async throws {
        try await broker.run { url in
            try await withRawConnection(url) { connection in
                let queue = try await connection.declare()
                try await connection.perform(.basicConsume(.init(queue: queue, consumerTag: "c", noLocal: true)))
                try await connection.publish("own", to: queue)
                #expect(try await connection.delivery().text == "own")
            }
        }
    }

    @Test("Cancelling leaves what was delivered; an unknown tag is no error", arguments: TestBroker.modes)
    func cancel(broker: TestBroker) async throws {
        try await broker.run { url in
            try await withRawConnection(url) { connection in
                let queue = try await connection.declare()
                try await connection.fill(queue, 3)
                try await connection.prefetch(1)
                try await connection.consume(queue)
                #expect(try await connection.delivery().text == "0")
                try await connection.cancel()
                #expect(try await connection.ready(queue) == 2)
                // Nobody is there for whom this would make room.
                try await connection.ack(1)
                #expect(try await connection.counts(queue).consumerCount == 0)
                #expect(try await connection.ready(queue) == 2)
                // Its tag is free.
                try await connection.consume(queue)
                #expect(try await connection.delivery().text == "1")
                #expect(
                    try await connection.call(.basicCancel(.init(consumerTag: "nobody")))
                        == .basicCancelOk(.init(consumerTag: "nobody")))
            }
        }
    }

    @Test("Who deletes a queue it consumes has its answer, and then is told of the end", arguments: TestBroker.modes)
    func deletingWhatIsConsumed(broker: TestBroker) async throws {
        try await broker.run { url in
            try await withRawConnection(url) { connection in
                let queue = try await connection.declare()
                for tag in ["2", "1", "3"] { try await connection.consume(queue, tag: tag) }
                let answer = try await connection.call(.queueDelete(.init(queue: queue)))
                #expect(answer == .queueDeleteOk(.init(messageCount: 0)))
                for tag in ["1", "2", "3"] {
                    #expect(try await connection.method() == .basicCancel(.init(consumerTag: tag, noWait: true)))
                }
            }
        }
    }

    @Test("A consumer whose queue is deleted is told, if it can be", arguments: TestBroker.modes)
    func cancelledByTheBroker(broker: TestBroker) async throws {
        try await broker.run { url in
            try await withRawConnection(url) { connection in
                let queue = try await connection.declare()
                try await connection.consume(queue)
                let other = try await connection.openChannel()
                try await connection.perform(.queueDelete(.init(queue: queue)), on: other)
                #expect(try await connection.method() == .basicCancel(.init(consumerTag: "c", noWait: true)))
                // It needs no answer, and its tag is free.
                try await connection.declare(queue)
                try await connection.consume(queue)
            }
            // Without consumer_cancel_notify among its capabilities.
            try await withRawConnection(url, properties: [:]) { connection in
                let queue = try await connection.declare()
                try await connection.consume(queue)
                let other = try await connection.openChannel()
                try await connection.perform(.queueDelete(.init(queue: queue)), on: other)
                try await connection.sync()
                try await connection.closeChannel(1)
            }
        }
    }

    // MARK: - Whose turn it is

    @Test("Consumers take turns", arguments: TestBroker.modes)
    func roundRobin(broker: TestBroker) async throws {
        try await broker.run { url in
            try await withRawConnection(url) { connection in
                let queue = try await connection.declare()
                for tag in ["a", "b", "c"] {
                    try await connection.consume(queue, tag: tag, on: connection.openChannel())
                }
                var tags: [String] = []
                for _ in 0..<7 {
                    try await connection.publish("x", to: queue)
                    tags.append(try await connection.delivery(on: nil).deliver.consumerTag)
                }
                #expect(tags == ["a", "b", "c", "a", "b", "c", "a"])
            }
        }
    }

    @Test("Higher priorities are served first while they can take more, and take turns", arguments: TestBroker.modes)
    func priorities(broker: TestBroker) async throws {
        try await broker.run { url in
            try await withRawConnection(url) { connection in
                let queue = try await connection.declare()
                var channels: [UInt16] = []
                let consumers: [(tag: String, arguments: AMQPTable)] = [
                    ("low", ["x-priority": .int32(-1)]), ("none", [:]), ("one", ["x-priority": .int8(5)]),
                    ("two", ["x-priority": .int64(5)]),
                ]
                for consumer in consumers {
                    let channel = try await connection.openChannel()
                    try await connection.prefetch(2, on: channel)
                    try await connection.consume(
                        queue, tag: consumer.tag, arguments: consumer.arguments, on: channel)
                    channels.append(channel)
                }
                var tags: [String] = []
                for _ in 0..<8 {
                    try await connection.publish("x", to: queue)
                    tags.append(try await connection.delivery(on: nil).deliver.consumerTag)
                }
                #expect(tags == ["one", "two", "one", "two", "none", "none", "low", "low"])
                // Now it waits for whoever has room first.
                try await connection.publish("x", to: queue)
                try await connection.expectReady(1, in: queue)
                try await connection.ack(1, on: channels[2])
                #expect(try await connection.delivery(on: nil).deliver.consumerTag == "one")
            }
        }
    }

    @Test("A priority that is no integer is 406", arguments: TestBroker.modes)
    func badPriorities(broker: TestBroker) async throws {
        try await broker.run { url in
            try await withRawConnection(url) { connection in
                let queue = try await connection.declare()
                let wrong: [(value: AMQPFieldValue, type: String)] = [
                    ("high", "longstr"), (true, "bool"), (.double(1), "double"), (.void, "void"),
                ]
                for (value, type) in wrong {
                    let consume = AMQPMethod.basicConsume(
                        .init(queue: queue, consumerTag: "c", arguments: ["x-priority": value]))
                    #expect(
                        try await connection.refusal(of: consume)
                            == Refusal(
                                406,
                                "PRECONDITION_FAILED - invalid arg 'x-priority' for queue '\(queue)' in vhost '/': "
                                    + "\"expected integer, got \(type)\""))
                }
            }
        }
    }

    // MARK: - How much at once

    @Test("A prefetch count is for each consumer that is started after it", arguments: TestBroker.modes)
    func prefetch(broker: TestBroker) async throws {
        try await broker.run { url in
            try await withRawConnection(url) { connection in
                let queue = try await connection.declare()
                try await connection.fill(queue, 10)
                try await connection.prefetch(2)
                try await connection.consume(queue, tag: "early")
                #expect(try await connection.deliveries(2).map(\.text) == ["0", "1"])
                try await connection.prefetch(4)
                #expect(try await connection.ready(queue) == 8)
                try await connection.consume(queue, tag: "late")
                let deliveries = try await connection.deliveries(4)
                #expect(deliveries.map(\.text) == ["2", "3", "4", "5"])
                #expect(deliveries.allSatisfy { $0.deliver.consumerTag == "late" })
                #expect(try await connection.ready(queue) == 4)
                // 0 is no limit.
                try await connection.prefetch(0)
                try await connection.consume(queue, tag: "unlimited")
                #expect(try await connection.deliveries(4).map(\.text) == ["6", "7", "8", "9"])
            }
        }
    }

    @Test("Acknowledging brings as many more, at once", arguments: TestBroker.modes)
    func acknowledgingBringsMore(broker: TestBroker) async throws {
        try await broker.run { url in
            try await withRawConnection(url) { connection in
                let queue = try await connection.declare()
                try await connection.fill(queue, 10)
                try await connection.prefetch(3)
                try await connection.consume(queue)
                #expect(try await connection.deliveries(3).map(\.text) == ["0", "1", "2"])
                try await connection.ack(2)
                #expect(try await connection.delivery().text == "3")
                try await connection.ack(3, multiple: true)
                #expect(try await connection.deliveries(2).map(\.text) == ["4", "5"])
                // All there are.
                try await connection.ack(0, multiple: true)
                #expect(try await connection.deliveries(3).map(\.text) == ["6", "7", "8"])
                #expect(try await connection.ready(queue) == 1)
                try await connection.reject(7, requeue: false)
                #expect(try await connection.delivery().text == "9")
            }
        }
    }

    @Test("A global prefetch count is the channel's, and in RabbitMQ 4.3 each consumer's", arguments: TestBroker.modes)
    func globalPrefetch(broker: TestBroker) async throws {
        try await broker.run { url in
            try await withRawConnection(url) { connection in
                let queue = try await connection.declare()
                try await connection.fill(queue, 10)
                try await connection.prefetch(2)
                try await connection.prefetch(3, global: true)
                try await connection.consume(queue, tag: "a")
                guard !broker.isStrict else {
                    _ = try await connection.deliveries(3)
                    try await connection.consume(queue, tag: "b")
                    _ = try await connection.deliveries(3)
                    #expect(try await connection.ready(queue) == 4)
                    return
                }
                // Both limits hold: two for each, and three together.
                #expect(try await connection.deliveries(2).map(\.text) == ["0", "1"])
                try await connection.consume(queue, tag: "b")
                #expect(try await connection.delivery().text == "2")
                #expect(try await connection.ready(queue) == 7)
                try await connection.ack(1)
                #expect(try await connection.delivery().text == "3")
                #expect(try await connection.ready(queue) == 6)
                // More at once, without an acknowledgement.
                try await connection.send(.basicQos(.init(prefetchSize: 0, prefetchCount: 5, global: true)))
                var (texts, isAnswered) = ([String](), false)
                while texts.isEmpty || !isAnswered {
                    switch try await connection.next(on: 1) {
                    case .method(_, .basicQosOk): isAnswered = true
                    case .content(_, let content): texts.append(String(buffer: content.body))
                    case let event: throw RawConnection.Unexpected("\(event)")
                    }
                }
                #expect(texts == ["4"])
                #expect(try await connection.ready(queue) == 5)
            }
        }
    }

    @Test("What needs no acknowledgement, and what is fetched, does not count", arguments: TestBroker.modes)
    func notCounted(broker: TestBroker) async throws {
        try await broker.run { url in
            try await withRawConnection(url) { connection in
                let queue = try await connection.declare()
                try await connection.fill(queue, 3)
                try await connection.prefetch(1)
                try await connection.consume(queue, noAck: true)
                #expect(try await connection.deliveries(3).map(\.text) == ["0", "1", "2"])
                try await connection.cancel()
                try await connection.fill(queue, 4)
                for number in 0..<3 {
                    #expect(try await connection.get(queue, noAck: false)?.text == "\(number)")
                }
                try await connection.consume(queue)
                #expect(try await connection.delivery().text == "3")
            }
        }
    }

    @Test("A limit in bytes is not to be had: 540", arguments: TestBroker.modes)
    func prefetchSize(broker: TestBroker) async throws {
        try await broker.run { url in
            try await withRawConnection(url) { connection in
                let answer = try await connection.fatalRefusal(
                    of: .basicQos(.init(prefetchSize: 1, prefetchCount: 0)))
                #expect(answer == Refusal(540, "NOT_IMPLEMENTED - prefetch_size!=0 (1)"))
            }
        }
    }

    @Test("A large message that its consumer does not read keeps nobody else waiting", arguments: TestBroker.modes)
    func slowConsumer(broker: TestBroker) async throws {
        try await broker.run { url in
            try await withRawConnection(url) { connection in
                let queue = try await connection.declare(durable: true, exclusive: false)
                let body = String(repeating: "x", count: 8 << 20)
                try await connection.publish(body, to: queue)
                try await connection.expectReady(1, in: queue)
                try await withRawConnection(url) { slow in
                    let other = try await slow.openChannel()
                    try await slow.stopReading()
                    try await slow.send(.basicConsume(.init(queue: queue, consumerTag: "c")))
                    try await slow.send(.queueDeclare(.init(queue: queue, passive: true)), on: other)
                    try await connection.expectReady(0, in: queue)
                    // Others go on.
                    let own = try await connection.declare()
                    try await connection.publish("x", to: own)
                    #expect(try await connection.get(own)?.text == "x")
                    // When it reads, it finds the answer on its other channel, whatever became of the message.
                    try await slow.startReading()
                    guard case .queueDeclareOk = try await slow.method(on: other) else {
                        throw RawConnection.Unexpected("no answer on the other channel")
                    }
                    guard case .basicConsumeOk = try await slow.method() else {
                        throw RawConnection.Unexpected("no answer to basic.consume")
                    }
                    #expect(try await slow.delivery().text.utf8.count == 8 << 20)
                }
                try await connection.perform(.queueDelete(.init(queue: queue)))
            }
        }
    }

    // MARK: - Fetching

    @Test("A fetched message says where it comes from and how many are left", arguments: TestBroker.modes)
    func get(broker: TestBroker) async throws {
        try await broker.run { url in
            try await withRawConnection(url) { connection in
                let queue = try await connection.declare()
                try await connection.bind(queue, to: "amq.direct", queue)
                for text in ["a", "b"] { try await connection.publish(text, to: queue, exchange: "amq.direct") }
                let first = try #require(try await connection.get(queue, noAck: false))
                #expect(first.text == "a")
                #expect(
                    first.ok
                        == AMQPMethod.BasicGetOk(
                            deliveryTag: 1, exchange: "amq.direct", routingKey: queue, messageCount: 1))
                // Out, and not ready.
                #expect(try await connection.ready(queue) == 1)
                #expect(try await connection.get(queue)?.ok.messageCount == 0)
                #expect(try await connection.get(queue) == nil)
                try await connection.nack(1)
                let again = try #require(try await connection.get(queue))
                #expect(
                    again.ok
                        == AMQPMethod.BasicGetOk(
                            deliveryTag: 3, redelivered: true, exchange: "amq.direct", routingKey: queue,
                            messageCount: 0))
            }
        }
    }

    // MARK: - Settling

    /// How a message comes back to its queue.
    private enum Return: CaseIterable {
        case nack, reject, recover, closedChannel, failedChannel
    }

    @Test("Whatever brings a message back, it is marked as redelivered", arguments: TestBroker.modes)
    func redelivered(broker: TestBroker) async throws {
        try await broker.run { url in
            try await withRawConnection(url) { connection in
                let queue = try await connection.declare()
                for way in Return.allCases {
                    try await connection.publish("x", to: queue)
                    let channel = try await connection.openChannel()
                    try await connection.consume(queue, on: channel)
                    let delivery = try await connection.delivery(on: channel)
                    #expect(!delivery.redelivered, "\(way)")
                    try await connection.cancel(on: channel)
                    switch way {
                    case .nack: try await connection.nack(delivery.tag, on: channel)
                    case .reject: try await connection.reject(delivery.tag, on: channel)
                    case .recover: try await connection.perform(.basicRecover(.init(requeue: true)), on: channel)
                    case .closedChannel: try await connection.closeChannel(channel)
                    case .failedChannel:
                        try await connection.send(
                            .queueDeclare(.init(queue: TestBroker.uniqueName(), passive: true)), on: channel)
                        _ = try await connection.channelClose(on: channel)
                    }
                    if way == .nack || way == .reject { try await connection.sync(on: channel) }
                    let again = try #require(try await connection.get(queue), "\(way)")
                    #expect(again.redelivered, "\(way)")
                }
            }
        }
    }

    @Test("So is what was handed out to a client that is gone, read or not", arguments: TestBroker.modes)
    func redeliveredAfterLoss(broker: TestBroker) async throws {
        try await broker.run { url in
            try await withRawConnection(url) { connection in
                let queue = try await connection.declare(durable: true, exclusive: false)
                try await connection.fill(queue, 3)
                try await withRawConnection(url) { leaving in
                    try await leaving.stopReading()
                    try await leaving.send(.basicConsume(.init(queue: queue, consumerTag: "c")))
                    try await connection.expectReady(0, in: queue)
                }
                try await connection.expectReady(3, in: queue)
                let all = try await connection.drain(queue)
                #expect(all.map(\.text) == ["0", "1", "2"] && all.allSatisfy(\.redelivered))
                try await connection.perform(.queueDelete(.init(queue: queue)))
            }
        }
    }

    @Test("What comes back goes to where it came from, in whatever order", arguments: TestBroker.modes)
    func requeueing(broker: TestBroker) async throws {
        try await broker.run { url in
            try await withRawConnection(url) { connection in
                let queue = try await connection.declare()
                try await connection.fill(queue, 5)
                for _ in 0..<4 { _ = try await connection.get(queue, noAck: false) }
                try await connection.nack(3)
                try await connection.reject(1)
                try await connection.expectReady(3, in: queue)
                try await connection.nack(2)
                try await connection.nack(4)
                let all = try await connection.drain(queue)
                #expect(all.map(\.text) == ["0", "1", "2", "3", "4"])
                #expect(all.map(\.redelivered) == [true, true, true, true, false])
                // Several at once.
                try await connection.fill(queue, 5)
                let channel = try await connection.openChannel()
                for _ in 0..<3 { _ = try await connection.get(queue, noAck: false, on: channel) }
                try await connection.nack(3, multiple: true, on: channel)
                #expect(try await connection.drain(queue, on: channel).map(\.text) == ["0", "1", "2", "3", "4"])
            }
        }
    }

    @Test("Refused for good, one or several, messages are gone", arguments: TestBroker.modes)
    func discarding(broker: TestBroker) async throws {
        try await broker.run { url in
            try await withRawConnection(url) { connection in
                let queue = try await connection.declare()
                try await connection.fill(queue, 4)
                let channel = try await connection.openChannel()
                for _ in 0..<4 { _ = try await connection.get(queue, noAck: false, on: channel) }
                try await connection.nack(2, multiple: true, requeue: false, on: channel)
                try await connection.reject(3, requeue: false, on: channel)
                try await connection.closeChannel(channel)
                #expect(try await connection.drain(queue).map(\.text) == ["3"])
            }
        }
    }

    @Test("A tag that is not outstanding is 406", arguments: TestBroker.modes)
    func unknownTags(broker: TestBroker) async throws {
        try await broker.run { url in
            try await withRawConnection(url) { connection in
                func ack(_ tag: UInt64, multiple: Bool = false) -> AMQPMethod {
                    .basicAck(.init(deliveryTag: tag, multiple: multiple))
                }
                func nack(_ tag: UInt64, multiple: Bool = false) -> AMQPMethod {
                    .basicNack(.init(deliveryTag: tag, multiple: multiple, requeue: true))
                }
                func reject(_ tag: UInt64) -> AMQPMethod { .basicReject(.init(deliveryTag: tag, requeue: true)) }
                // Three messages are out; the last method is wrong.
                let wrong: [(methods: [AMQPMethod], tag: UInt64)] = [
                    ([ack(4)], 4), ([ack(4, multiple: true)], 4), ([ack(1), ack(1)], 1), ([ack(0)], 0),
                    ([ack(2), ack(2, multiple: true)], 2), ([ack(3, multiple: true), ack(2, multiple: true)], 2),
                    ([nack(4)], 4), ([nack(4, multiple: true)], 4), ([nack(0)], 0), ([ack(1), nack(1)], 1),
                    ([reject(4)], 4), ([reject(0)], 0), ([ack(1), reject(1)], 1),
                ]
                for (methods, tag) in wrong {
                    let queue = try await connection.declare()
                    try await connection.fill(queue, 3)
                    let channel = try await connection.openChannel()
                    for _ in 0..<3 { _ = try await connection.get(queue, noAck: false, on: channel) }
                    for method in methods { try await connection.send(method, on: channel) }
                    let blamed = try #require(methods.last).id
                    #expect(
                        try await connection.refusal(blaming: blamed, on: channel)
                            == Refusal(406, "PRECONDITION_FAILED - unknown delivery tag \(tag)"))
                }
            }
        }
    }

    @Test("Neither is one that needs no acknowledgement, fetched or delivered", arguments: TestBroker.modes)
    func notToBeAcknowledged(broker: TestBroker) async throws {
        try await broker.run { url in
            try await withRawConnection(url) { connection in
                let queue = try await connection.declare()
                try await connection.fill(queue, 2)
                let fetching = try await connection.openChannel()
                _ = try await connection.get(queue, noAck: true, on: fetching)
                try await connection.ack(1, on: fetching)
                let refusal = Refusal(406, "PRECONDITION_FAILED - unknown delivery tag 1")
                #expect(try await connection.refusal(blaming: .basicAck, on: fetching) == refusal)
                let consuming = try await connection.openChannel()
                try await connection.consume(queue, noAck: true, on: consuming)
                _ = try await connection.delivery(on: consuming)
                try await connection.ack(1, on: consuming)
                #expect(try await connection.refusal(blaming: .basicAck, on: consuming) == refusal)
            }
        }
    }

    @Test("All there are may be acknowledged or refused, and none is no error", arguments: TestBroker.modes)
    func allThereAre(broker: TestBroker) async throws {
        try await broker.run { url in
            try await withRawConnection(url) { connection in
                let queue = try await connection.declare()
                try await connection.fill(queue, 3)
                // Nothing is out.
                try await connection.ack(0, multiple: true)
                try await connection.nack(0, multiple: true)
                try await connection.sync()
                for _ in 0..<3 { _ = try await connection.get(queue, noAck: false) }
                // Gaps are no error either.
                try await connection.ack(1)
                try await connection.ack(2, multiple: true)
                try await connection.nack(0, multiple: true)
                try await connection.nack(0, multiple: true)
                #expect(try await connection.drain(queue).map(\.text) == ["2"])
            }
        }
    }

    // MARK: - Recovering

    @Test("Recovering puts back what the channel holds, however it came by it", arguments: TestBroker.modes)
    func recover(broker: TestBroker) async throws {
        try await broker.run { url in
            try await withRawConnection(url) { connection in
                let queue = try await connection.declare()
                try await connection.fill(queue, 5)
                try await connection.prefetch(2)
                try await connection.consume(queue)
                _ = try await connection.deliveries(2)
                // Of a consumer that is gone, and fetched.
                try await connection.cancel()
                _ = try await connection.get(queue, noAck: false)
                #expect(
                    try await connection.call(.basicRecover(.init(requeue: true))) == .basicRecoverOk(.init()))
                try await connection.expectReady(5, in: queue)
                let all = try await connection.drain(queue)
                #expect(all.map(\.text) == ["0", "1", "2", "3", "4"])
                #expect(all.map(\.redelivered) == [true, true, true, false, false])
            }
        }
    }

    @Test("Recovering without an answer does the same", arguments: TestBroker.modes)
    func recoverAsync(broker: TestBroker) async throws {
        try await broker.run { url in
            try await withRawConnection(url) { connection in
                let queue = try await connection.declare()
                try await connection.fill(queue, 1)
                _ = try await connection.get(queue, noAck: false)
                try await connection.send(.basicRecoverAsync(.init(requeue: true)))
                #expect(try await connection.get(queue)?.redelivered == true)
            }
        }
    }

    @Test("Recovering to the same consumer is not to be had: 540", arguments: TestBroker.modes)
    func recoverWithoutRequeueing(broker: TestBroker) async throws {
        try await broker.run { url in
            for method in [
                .basicRecover(.init(requeue: false)), .basicRecoverAsync(.init(requeue: false)),
            ] as [AMQPMethod] {
                try await withRawConnection(url) { connection in
                    let answer = try await connection.fatalRefusal(of: method)
                    #expect(answer == Refusal(540, "NOT_IMPLEMENTED - requeue=false"))
                }
            }
        }
    }
}
