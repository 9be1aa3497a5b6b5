// SPDX-License-Identifier: Apache-2.0
import AMQPClient
import AMQPWire
import NIOCore
import TestSupport
import Testing

/// What becomes of a message on its way to the queues, and what its publisher is told.
@Suite("Rules of publishing", .timeLimit(.minutes(2)))
struct PublishRuleTests {
    // MARK: - Checks

    @Test("A message that is too large is 406, before anything else is looked at", arguments: TestBroker.modes)
    func tooLarge(broker: TestBroker) async throws {
        try await broker.run { url in
            try await withRawConnection(url) { connection in
                // The defaults of RabbitMQ 4 and 3.10.
                let limit = broker.isStrict ? 16 << 20 : 128 << 20
                // Not 404.
                let missing = TestBroker.uniqueName()
                try await connection.send(.basicPublish(.init(exchange: missing, routingKey: "x")))
                await connection.send(bytes: RawConnection.headerFrame(bodySize: UInt64(limit) + 1))
                let most = 131_072 - AMQPFrame.overhead
                let frame = ByteBuffer(bytes: RawConnection.frame(3, payload: [UInt8](repeating: 0, count: most)))
                for _ in 0..<((limit + 1) / most) { await connection.send(frame) }
                let rest = [UInt8](repeating: 0, count: (limit + 1) % most)
                await connection.send(bytes: RawConnection.frame(3, payload: rest))
                #expect(
                    try await connection.refusal(blaming: .basicPublish)
                        == Refusal(
                            406,
                            "PRECONDITION_FAILED - message size \(limit + 1) is larger than configured max size "
                                + "\(limit)"))
                try await connection.openChannel(1)
                try await connection.sync()
            }
        }
    }

    @Test("What is wrong with a message is looked for in this order", arguments: TestBroker.modes)
    func orderOfChecks(broker: TestBroker) async throws {
        try await broker.run { url in
            try await withRawConnection(url) { connection in
                // Everything at once, and then one fault less each time.
                var properties = AMQPBasicProperties()
                properties.replyTo = "amq.rabbitmq.reply-to"
                properties.userID = "nobody"
                properties.expiration = "soon"
                properties.headers = ["CC": "no array"]
                let missing = TestBroker.uniqueName()
                let answer1 = try await connection.refusal(
                    ofPublishingTo: "x", exchange: missing, properties: properties)
                #expect(answer1 == Refusal(404, "NOT_FOUND - no exchange '\(missing)' in vhost '/'"))
                let trace = "amq.rabbitmq.trace"
                let answer2 = try await connection.refusal(ofPublishingTo: "x", exchange: trace, properties: properties)
                #expect(
                    answer2
                        == Refusal(403, "ACCESS_REFUSED - cannot publish to internal exchange '\(trace)' in vhost '/'"))
                let answer3 = try await connection.refusal(ofPublishingTo: "x", properties: properties)
                #expect(answer3 == Refusal(406, "PRECONDITION_FAILED - fast reply consumer does not exist"))
                properties.replyTo = nil
                let user = Refusal(
                    406,
                    "PRECONDITION_FAILED - user_id property set to 'nobody' but authenticated user was "
                        + "'\(connection.configuration.user)'")
                let expiration = Refusal(406, "PRECONDITION_FAILED - invalid expiration 'soon': no_integer")
                // RabbitMQ 4 looks at the expiration first.
                let answer4 = try await connection.refusal(ofPublishingTo: "x", properties: properties)
                #expect(answer4 == (broker.isStrict ? expiration : user))
                if broker.isStrict { properties.expiration = nil } else { properties.userID = nil }
                let answer5 = try await connection.refusal(ofPublishingTo: "x", properties: properties).code
                #expect(answer5 == 406)
            }
        }
    }

    @Test("An expiration is a number of milliseconds, up to ten years", arguments: TestBroker.modes)
    func expirations(broker: TestBroker) async throws {
        try await broker.run { url in
            try await withRawConnection(url) { connection in
                // RabbitMQ 4 has another word.
                let tooLarge = broker.isStrict ? "value_too_big" : "value_too_large"
                let wrong = [
                    ("", "no_integer"), ("soon", "no_integer"), (" 5", "no_integer"), ("-1", "{value_negative,-1}"),
                    ("315360000001", "{\(tooLarge),315360000001}"),
                ]
                for (expiration, fault) in wrong {
                    var properties = AMQPBasicProperties()
                    properties.expiration = expiration
                    #expect(
                        try await connection.refusal(ofPublishingTo: "x", properties: properties)
                            == Refusal(406, "PRECONDITION_FAILED - invalid expiration '\(expiration)': \(fault)"))
                }
                // Digits and something else; how it is told differs.
                for expiration in ["5 ", "1.5", "1e3"] {
                    var properties = AMQPBasicProperties()
                    properties.expiration = expiration
                    let refusal = try await connection.refusal(ofPublishingTo: "x", properties: properties)
                    #expect(refusal.code == 406)
                    #expect(
                        refusal.text.hasPrefix("PRECONDITION_FAILED - invalid expiration '\(expiration)': "),
                        "\(refusal)")
                }
                for expiration in ["0", "007", "315360000000"] {
                    var properties = AMQPBasicProperties()
                    properties.expiration = expiration
                    try await connection.publish("x", to: TestBroker.uniqueName(), properties: properties)
                    try await connection.sync()
                }
            }
        }
    }

    @Test("A user id is the publisher's own, or 406", arguments: TestBroker.modes)
    func userID(broker: TestBroker) async throws {
        try await broker.run { url in
            try await withRawConnection(url) { connection in
                let queue = try await connection.declare()
                var properties = AMQPBasicProperties()
                properties.userID = connection.configuration.user
                try await connection.publish("x", to: queue, properties: properties)
                try await connection.expectReady(1, in: queue)
                for other in ["nobody", ""] {
                    properties.userID = other
                    #expect(
                        try await connection.refusal(ofPublishingTo: queue, properties: properties)
                            == Refusal(
                                406,
                                "PRECONDITION_FAILED - user_id property set to '\(other)' but authenticated user was "
                                    + "'\(connection.configuration.user)'"))
                }
                #expect(try await connection.ready(queue) == 1)
            }
        }
    }

    @Test("Delivery at once or not at all is not to be had: 540", arguments: TestBroker.modes)
    func immediate(broker: TestBroker) async throws {
        try await broker.run { url in
            try await withRawConnection(url) { connection in
                try await connection.publish("x", to: "x", immediate: true)
                let close = try await connection.connectionClose()
                #expect(close.refusal == Refusal(540, "NOT_IMPLEMENTED - immediate=true"))
                #expect(close.blamed == .basicPublish)
            }
        }
    }

    // MARK: - What passes unchanged

    @Test("Properties arrive byte for byte, known or not", arguments: TestBroker.modes)
    func properties(broker: TestBroker) async throws {
        try await broker.run { url in
            try await withRawConnection(url) { connection in
                let queue = try await connection.declare()
                let lists: [[UInt8]] = [
                    // A table with a name that stands there twice, an empty one, and a boolean that is 2.
                    [0x20, 0, 0, 0, 0, 19, 1, 65, 73, 0, 0, 0, 1, 1, 65, 73, 0, 0, 0, 2, 0, 86, 0, 116, 2],
                    // `L`, which has two readings.
                    [0x20, 0, 0, 0, 0, 11, 1, 65, 76, 255, 255, 255, 255, 255, 255, 255, 255],
                    // An empty table, which is not the same as none.
                    [0x20, 0, 0, 0, 0, 0],
                    // A content type that is no text, and the reserved property.
                    [0x80, 4, 1, 255, 2, 65, 66],
                    // Persistent, with a priority beyond 9.
                    [0x18, 0, 2, 254],
                ]
                for list in lists {
                    try await connection.publish("x", to: queue, encoded: list)
                    let fetched = try #require(try await connection.get(queue))
                    #expect(Array(fetched.content.header.properties.readableBytesView) == list)
                }
            }
        }
    }

    @Test("What one channel publishes to a queue stays in order, by whichever exchange", arguments: TestBroker.modes)
    func order(broker: TestBroker) async throws {
        try await broker.run { url in
            try await withRawConnection(url) { connection in
                let queue = try await connection.declare()
                try await connection.bind(queue, to: "amq.direct", queue)
                let bodies = (0..<300).map { "\($0) " + String(repeating: "x", count: $0 % 7 * 5000) }
                for (number, body) in bodies.enumerated() {
                    try await connection.publish(body, to: queue, exchange: number % 2 == 0 ? "" : "amq.direct")
                }
                try await connection.consume(queue, noAck: true)
                for body in bodies { #expect(try await connection.delivery().text == body) }
            }
        }
    }

    // MARK: - Returns and confirms

    @Test("A mandatory message without a way comes back whole, and then is confirmed", arguments: TestBroker.modes)
    func returned(broker: TestBroker) async throws {
        try await broker.run { url in
            try await withRawConnection(url) { connection in
                try await connection.perform(.confirmSelect(.init()))
                let nowhere = TestBroker.uniqueName()
                var properties = AMQPBasicProperties()
                properties.messageID = "id"
                properties.headers = ["a": 1]
                try await connection.publish(
                    "body", to: nowhere, exchange: "amq.direct", mandatory: true, properties: properties)
                let content = try await connection.content()
                #expect(
                    content.method
                        == .basicReturn(
                            .init(
                                replyCode: 312, replyText: "NO_ROUTE", exchange: "amq.direct", routingKey: nowhere)))
                #expect(try content.header.decodeProperties() == properties)
                #expect(String(buffer: content.body) == "body")
                #expect(try await connection.method() == .basicAck(.init(deliveryTag: 1)))
            }
        }
    }

    /// What a broker said of messages that were published in confirm mode.
    private struct Confirms {
        var acked: [UInt64] = []
        var nacked: [UInt64] = []

        /// Waits until it has said something of each of `count` messages; twice is an error.
        init(_ count: UInt64, on connection: RawConnection) async throws {
            var outstanding = [UInt64](1...count)
            while !outstanding.isEmpty {
                let method = try await connection.method()
                let tag: UInt64
                let multiple: Bool
                switch method {
                case .basicAck(let ack):
                    tag = ack.deliveryTag
                    multiple = ack.multiple
                case .basicNack(let nack):
                    tag = nack.deliveryTag
                    multiple = nack.multiple
                default: throw RawConnection.Unexpected("\(method) instead of a confirm")
                }
                let settled = outstanding.filter { multiple ? $0 <= tag : $0 == tag }
                guard settled.contains(tag) else { throw RawConnection.Unexpected("\(method), a second time") }
                outstanding.removeAll { settled.contains($0) }
                if case .basicAck = method { self.acked += settled } else { self.nacked += settled }
            }
            try await connection.sync()
        }
    }

    @Test("Confirms count from 1 and from confirm.select, on each channel anew", arguments: TestBroker.modes)
    func numbers(broker: TestBroker) async throws {
        try await broker.run { url in
            try await withRawConnection(url) { connection in
                let queue = try await connection.declare()
                // Not counted.
                try await connection.publish("x", to: queue)
                try await connection.perform(.confirmSelect(.init()))
                // Asking again changes nothing.
                try await connection.perform(.confirmSelect(.init()))
                for number in 0..<50 {
                    try await connection.publish("x", to: number % 10 == 9 ? TestBroker.uniqueName() : queue)
                }
                #expect(try await Confirms(50, on: connection).acked.sorted() == [UInt64](1...50))
                try await connection.closeChannel(1)
                try await connection.openChannel(1)
                try await connection.send(.confirmSelect(.init(noWait: true)))
                try await connection.publish("x", to: queue)
                #expect(try await Confirms(1, on: connection).acked == [UInt64(1)])
            }
        }
    }

    @Test("Each message is confirmed or refused, and none both", arguments: TestBroker.modes)
    func refusedByTheQueue(broker: TestBroker) async throws {
        try await broker.run { url in
            try await withRawConnection(url) { connection in
                let queue = try await connection.declare(
                    arguments: ["x-max-length": 3, "x-overflow": "reject-publish"])
                try await connection.perform(.confirmSelect(.init()))
                for _ in 0..<20 { try await connection.publish("x", to: queue) }
                let confirms = try await Confirms(20, on: connection)
                #expect(confirms.acked.sorted() == [UInt64](1...3))
                #expect(confirms.nacked.sorted() == [UInt64](4...20))
            }
        }
    }

    @Test("A channel has confirms or transactions, if it asked for them: otherwise 406", arguments: TestBroker.modes)
    func eitherOr(broker: TestBroker) async throws {
        try await broker.run { url in
            try await withRawConnection(url) { connection in
                let confirming = try await connection.openChannel()
                try await connection.perform(.confirmSelect(.init()), on: confirming)
                try await connection.send(.txSelect(.init()), on: confirming)
                #expect(
                    try await connection.refusal(blaming: .txSelect, on: confirming)
                        == Refusal(406, "PRECONDITION_FAILED - cannot switch from confirm to tx mode"))
                let transactional = try await connection.openChannel()
                try await connection.perform(.txSelect(.init()), on: transactional)
                try await connection.send(.confirmSelect(.init()), on: transactional)
                #expect(
                    try await connection.refusal(blaming: .confirmSelect, on: transactional)
                        == Refusal(406, "PRECONDITION_FAILED - cannot switch from tx to confirm mode"))
                for method in [.txCommit(.init()), .txRollback(.init())] as [AMQPMethod] {
                    #expect(
                        try await connection.refusal(of: method)
                            == Refusal(406, "PRECONDITION_FAILED - channel is not transactional"))
                }
            }
        }
    }

    // MARK: - Transactions

    @Test("What is published in a transaction arrives with its commit, or never", arguments: TestBroker.modes)
    func committedPublishes(broker: TestBroker) async throws {
        try await broker.run { url in
            try await withRawConnection(url) { connection in
                let queue = try await connection.declare()
                try await connection.perform(.txSelect(.init()))
                // Asking again changes nothing.
                try await connection.perform(.txSelect(.init()))
                for text in ["a", "b"] { try await connection.publish(text, to: queue) }
                #expect(try await connection.get(queue) == nil)
                try await connection.perform(.txCommit(.init()))
                try await connection.expectReady(2, in: queue)
                try await connection.publish("dropped", to: queue)
                try await connection.perform(.txRollback(.init()))
                try await connection.publish("c", to: queue)
                try await connection.perform(.txCommit(.init()))
                #expect(try await connection.drain(queue).map(\.text) == ["a", "b", "c"])
            }
        }
    }

    @Test("Acknowledgements wait for the commit; rolled back, they were never made", arguments: TestBroker.modes)
    func committedAcknowledgements(broker: TestBroker) async throws {
        try await broker.run { url in
            try await withRawConnection(url) { connection in
                let queue = try await connection.declare()
                try await connection.fill(queue, 3)
                let channel = try await connection.openChannel()
                try await connection.perform(.txSelect(.init()), on: channel)
                for _ in 0..<2 { _ = try await connection.get(queue, noAck: false, on: channel) }
                try await connection.ack(1, on: channel)
                try await connection.perform(.txRollback(.init()), on: channel)
                // Out as before, and neither ready nor gone: it can be acknowledged again.
                #expect(try await connection.ready(queue, on: channel) == 1)
                try await connection.ack(1, on: channel)
                try await connection.perform(.txCommit(.init()), on: channel)
                try await connection.closeChannel(channel)
                let left = try await connection.drain(queue)
                #expect(left.map(\.text) == ["1", "2"])
                #expect(left.map(\.redelivered) == [true, false])
            }
        }
    }

    @Test("What goes back to the queue waits for the commit too", arguments: TestBroker.modes)
    func committedRejections(broker: TestBroker) async throws {
        try await broker.run { url in
            try await withRawConnection(url) { connection in
                let queue = try await connection.declare()
                try await connection.fill(queue, 2)
                let channel = try await connection.openChannel()
                try await connection.perform(.txSelect(.init()), on: channel)
                for _ in 0..<2 { _ = try await connection.get(queue, noAck: false, on: channel) }
                try await connection.reject(1, on: channel)
                try await connection.nack(2, on: channel)
                #expect(try await connection.get(queue, on: channel) == nil)
                try await connection.perform(.txCommit(.init()), on: channel)
                #expect(try await connection.drain(queue, on: channel).map(\.text) == ["0", "1"])
            }
        }
    }

    @Test("The end of a channel rolls its transaction back", arguments: TestBroker.modes)
    func closeRollsBack(broker: TestBroker) async throws {
        try await broker.run { url in
            try await withRawConnection(url) { connection in
                let queue = try await connection.declare()
                try await connection.fill(queue, 1)
                let channel = try await connection.openChannel()
                try await connection.perform(.txSelect(.init()), on: channel)
                try await connection.publish("dropped", to: queue, on: channel)
                _ = try await connection.get(queue, noAck: false, on: channel)
                try await connection.ack(1, on: channel)
                try await connection.closeChannel(channel)
                // RabbitMQ's queue may hear of it later than we do.
                try await connection.expectReady(1, in: queue)
                let left = try await connection.drain(queue)
                #expect(left.map(\.text) == ["0"] && left.allSatisfy(\.redelivered))
            }
        }
    }

    @Test("A commit returns mandatory messages, and then is answered", arguments: TestBroker.modes)
    func returnedByCommit(broker: TestBroker) async throws {
        try await broker.run { url in
            try await withRawConnection(url) { connection in
                try await connection.perform(.txSelect(.init()))
                let nowhere = TestBroker.uniqueName()
                try await connection.publish("x", to: nowhere, mandatory: true)
                try await connection.perform(.txRollback(.init()))
                try await connection.publish("y", to: nowhere, mandatory: true)
                try await connection.sync()
                try await connection.send(.txCommit(.init()))
                let content = try await connection.content()
                #expect(content.method.id == .basicReturn && String(buffer: content.body) == "y")
                #expect(try await connection.method() == .txCommitOk(.init()))
            }
        }
    }

    @Test("What is wrong in a transaction is told at once, not with the commit", arguments: TestBroker.modes)
    func errorsInTransactions(broker: TestBroker) async throws {
        try await broker.run { url in
            try await withRawConnection(url) { connection in
                let queue = try await connection.declare()
                try await connection.fill(queue, 1)
                let one = try await connection.openChannel()
                try await connection.perform(.txSelect(.init()), on: one)
                let missing = TestBroker.uniqueName()
                try await connection.publish("x", to: "x", exchange: missing, on: one)
                #expect(
                    try await connection.refusal(blaming: .basicPublish, on: one)
                        == Refusal(404, "NOT_FOUND - no exchange '\(missing)' in vhost '/'"))
                let two = try await connection.openChannel()
                try await connection.perform(.txSelect(.init()), on: two)
                _ = try await connection.get(queue, noAck: false, on: two)
                try await connection.ack(1, on: two)
                try await connection.ack(1, on: two)
                #expect(
                    try await connection.refusal(blaming: .basicAck, on: two)
                        == Refusal(406, "PRECONDITION_FAILED - unknown delivery tag 1"))
                // The channel that was closed gives back what it had, in its own time.
                try await connection.expectReady(1, in: queue)
            }
        }
    }

    @Test("In a transaction, acknowledging makes room for more when it is committed", arguments: TestBroker.modes)
    func prefetchInTransactions(broker: TestBroker) async throws {
        try await broker.run { url in
            try await withRawConnection(url) { connection in
                let queue = try await connection.declare()
                try await connection.fill(queue, 2)
                try await connection.perform(.txSelect(.init()))
                try await connection.prefetch(1)
                try await connection.consume(queue)
                try await connection.ack(connection.delivery().tag)
                #expect(try await connection.ready(queue) == 1)
                // The delivery may come before or after the answer.
                try await connection.send(.txCommit(.init()))
                var delivered: [String] = []
                for _ in 0..<2 {
                    switch try await connection.next(on: 1) {
                    case .method(_, .txCommitOk): break
                    case .content(_, let content): delivered.append(String(buffer: content.body))
                    case let event: throw RawConnection.Unexpected("\(event)")
                    }
                }
                #expect(delivered == ["1"])
            }
        }
    }
}
