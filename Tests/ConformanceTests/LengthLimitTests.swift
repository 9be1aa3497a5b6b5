// SPDX-License-Identifier: Apache-2.0
import AMQPClient
import AMQPWire
import NIOCore
import TestSupport
import Testing

@Suite("Length limits of queues", .timeLimit(.minutes(2)))
struct LengthLimitTests {
    @Test("Beyond x-max-length the oldest messages go, and the publisher is not told", arguments: TestBroker.modes)
    func dropHead(broker: TestBroker) async throws {
        try await broker.run { url in
            try await withConfirmingChannel(url) { channel in
                // The second says what the first one leaves out.
                for arguments in [["x-max-length": 2], ["x-max-length": 2, "x-overflow": "drop-head"]] as [AMQPTable] {
                    let queue = try await channel.declareQueue("", exclusive: true, arguments: arguments).name
                    for number in 0..<5 { try await channel.put("\(number)", in: queue) }
                    try await channel.expectReady(2, in: queue)
                    #expect(try await channel.drain(queue) == ["3", "4"])
                }
            }
        }
    }

    @Test("x-max-length-bytes counts bodies, and nothing else", arguments: TestBroker.modes)
    func bytes(broker: TestBroker) async throws {
        try await broker.run { url in
            try await withConfirmingChannel(url) { channel in
                let queue = try await channel.declareQueue(
                    "", exclusive: true, arguments: ["x-max-length-bytes": 10]
                ).name
                let headers: AMQPTable = ["padding": .text(String(repeating: "x", count: 100))]
                for text in ["aaaa", "bbbb", "cccc"] { try await channel.put(text, in: queue, headers: headers) }
                #expect(try await channel.drain(queue) == ["bbbb", "cccc"])
                // As much as it may hold, beside a message that needs no room.
                for text in ["", "dddddddddd"] { try await channel.put(text, in: queue) }
                #expect(try await channel.drain(queue) == ["", "dddddddddd"])
            }
        }
    }

    @Test("A message larger than the whole queue goes, with all that was before it", arguments: TestBroker.modes)
    func tooLarge(broker: TestBroker) async throws {
        try await broker.run { url in
            try await withConfirmingChannel(url) { channel in
                let graveyard = try await Graveyard(on: channel)
                let queue = try await channel.declareQueue(
                    "", exclusive: true, arguments: graveyard.arguments(["x-max-length-bytes": 5])
                ).name
                for text in ["aa", "bb", "cccccc"] { try await channel.put(text, in: queue) }
                try await channel.expectReady(0, in: queue)
                for text in ["aa", "bb", "cccccc"] { #expect(try await graveyard.next().text == text) }
            }
        }
    }

    @Test("With both limits, the one that is reached first counts", arguments: TestBroker.modes)
    func bothLimits(broker: TestBroker) async throws {
        try await broker.run { url in
            try await withConfirmingChannel(url) { channel in
                let queue = try await channel.declareQueue(
                    "", exclusive: true, arguments: ["x-max-length": 3, "x-max-length-bytes": 4]
                ).name
                for text in ["a", "b", "c", "d"] { try await channel.put(text, in: queue) }
                try await channel.expectReady(3, in: queue)
                try await channel.put("eee", in: queue)
                #expect(try await channel.drain(queue) == ["d", "eee"])
            }
        }
    }

    @Test("Only what is ready counts; what comes back above the limit drops the oldest", arguments: TestBroker.modes)
    func onlyReady(broker: TestBroker) async throws {
        try await broker.run { url in
            try await withConfirmingChannel(url) { channel in
                let queue = try await channel.declareQueue("", exclusive: true, arguments: ["x-max-length": 2]).name
                for text in ["0", "1"] { try await channel.put(text, in: queue) }
                let first = try #require(try await channel.get(queue))
                let second = try #require(try await channel.get(queue))
                for text in ["2", "3"] { try await channel.put(text, in: queue) }
                try await channel.expectReady(2, in: queue)
                try second.nack(requeue: true, multiple: true)
                try await channel.expectReady(2, in: queue)
                // They had gone back to the head.
                #expect(first.text == "0" && second.text == "1")
                #expect(try await channel.drain(queue) == ["2", "3"])
            }
        }
    }

    @Test("What comes back above the limit in bytes drops the oldest too", arguments: TestBroker.modes)
    func onlyReadyBytes(broker: TestBroker) async throws {
        try await broker.run { url in
            try await withConfirmingChannel(url) { channel in
                let queue = try await channel.declareQueue(
                    "", exclusive: true, arguments: ["x-max-length-bytes": 10]
                ).name
                try await channel.put("aaaa", in: queue)
                let out = try #require(try await channel.get(queue))
                try await channel.put("bbbbbbbbb", in: queue)
                try await channel.expectReady(1, in: queue)
                try out.reject(requeue: true)
                #expect(try await channel.drain(queue) == ["bbbbbbbbb"])
            }
        }
    }

    @Test("With reject-publish a full queue is a nack, until there is room again", arguments: TestBroker.modes)
    func rejectPublish(broker: TestBroker) async throws {
        try await broker.run { url in
            try await withConfirmingChannel(url) { channel in
                let queue = try await channel.declareQueue(
                    "", exclusive: true, arguments: ["x-max-length": 1, "x-overflow": "reject-publish"]
                ).name
                #expect(try await channel.accepts("fits", routingKey: queue))
                #expect(try await !channel.accepts("does not", routingKey: queue))
                #expect(try await channel.get(queue)?.text == "fits")
                // What is out takes no room.
                #expect(try await channel.accepts("fits again", routingKey: queue))
                #expect(try await !channel.accepts("does not", routingKey: queue))
                #expect(try await channel.drain(queue) == ["fits again"])
                #expect(channel.failure == nil)
            }
        }
    }

    @Test("With reject-publish, what comes back above the limit stays", arguments: TestBroker.modes)
    func rejectPublishAndRequeue(broker: TestBroker) async throws {
        try await broker.run { url in
            try await withConfirmingChannel(url) { channel in
                let queue = try await channel.declareQueue(
                    "", exclusive: true, arguments: ["x-max-length": 1, "x-overflow": "reject-publish"]
                ).name
                #expect(try await channel.accepts("0", routingKey: queue))
                let out = try #require(try await channel.get(queue))
                #expect(try await channel.accepts("1", routingKey: queue))
                try out.reject(requeue: true)
                try await channel.expectReady(2, in: queue)
                #expect(try await !channel.accepts("2", routingKey: queue))
                #expect(try await channel.drain(queue) == ["0", "1"])
            }
        }
    }

    @Test("With reject-publish a message is refused that does not fit as a whole", arguments: TestBroker.modes)
    func rejectPublishBytes(broker: TestBroker) async throws {
        try await broker.run { url in
            try await withConfirmingChannel(url) { channel in
                let queue = try await channel.declareQueue(
                    "", exclusive: true, arguments: ["x-max-length-bytes": 10, "x-overflow": "reject-publish"]
                ).name
                #expect(try await channel.accepts("aaaaaaaa", routingKey: queue))
                #expect(try await !channel.accepts("bbb", routingKey: queue))
                #expect(try await channel.accepts("cc", routingKey: queue))
                #expect(try await !channel.accepts("d", routingKey: queue))
                #expect(try await channel.accepts("", routingKey: queue))
                #expect(try await channel.drain(queue) == ["aaaaaaaa", "cc", ""])
            }
        }
    }

    @Test("One full queue is a nack, although others have the message", arguments: TestBroker.modes)
    func rejectedByOneOfTwo(broker: TestBroker) async throws {
        try await broker.run { url in
            try await withConfirmingChannel(url) { channel in
                let exchange = TestBroker.uniqueName()
                try await channel.declareExchange(exchange, type: .fanout, autoDelete: true)
                let full = try await channel.declareQueue(
                    "", exclusive: true, arguments: ["x-max-length": 1, "x-overflow": "reject-publish"]
                ).name
                let other = try await channel.declareQueue("", exclusive: true).name
                for queue in [full, other] { try await channel.bindQueue(queue, to: exchange) }
                #expect(try await channel.accepts("0", exchange: exchange, routingKey: ""))
                #expect(try await !channel.accepts("1", exchange: exchange, routingKey: ""))
                #expect(try await channel.drain(full) == ["0"])
                #expect(try await channel.drain(other) == ["0", "1"])
            }
        }
    }

    @Test("With reject-publish, what is refused is not dead-lettered", arguments: TestBroker.modes)
    func rejectPublishIsNoDeath(broker: TestBroker) async throws {
        try await broker.run { url in
            try await withConfirmingChannel(url) { channel in
                let graveyard = try await Graveyard(on: channel)
                let queue = try await channel.declareQueue(
                    "", exclusive: true,
                    arguments: graveyard.arguments(["x-max-length": 1, "x-overflow": "reject-publish"])
                ).name
                #expect(try await channel.accepts("fits", routingKey: queue))
                #expect(try await !channel.accepts("does not", routingKey: queue))
                // Behind it, from the same queue: the first dead letter is this one.
                try #require(try await channel.get(queue)).reject(requeue: false)
                let letter = try await graveyard.next()
                #expect(letter.text == "fits")
                #expect(letter.deaths == [Death(queue: queue, reason: "rejected", routingKeys: [queue])])
            }
        }
    }

    @Test("With reject-publish-dlx, what is refused is dead-lettered as maxlen", arguments: TestBroker.modes)
    func rejectPublishDeadLetter(broker: TestBroker) async throws {
        try await broker.run { url in
            try await withConfirmingChannel(url) { channel in
                let graveyard = try await Graveyard(on: channel)
                let queue = try await channel.declareQueue(
                    "", exclusive: true,
                    arguments: graveyard.arguments(["x-max-length": 1, "x-overflow": "reject-publish-dlx"])
                ).name
                #expect(try await channel.accepts("fits", routingKey: queue))
                #expect(try await !channel.accepts("does not", routingKey: queue))
                let letter = try await graveyard.next()
                #expect(letter.text == "does not")
                #expect(letter.deaths == [Death(queue: queue, reason: "maxlen", routingKeys: [queue])])
                #expect(try await channel.drain(queue) == ["fits"])
            }
        }
    }

    @Test("Without confirms, what a full queue refuses is gone without a word", arguments: TestBroker.modes)
    func withoutConfirms(broker: TestBroker) async throws {
        try await broker.run { url in
            try await withConnection(url) { connection in
                let channel = try await connection.openChannel()
                let queue = try await channel.declareQueue(
                    "", exclusive: true, arguments: ["x-max-length": 1, "x-overflow": "reject-publish"]
                ).name
                for text in ["fits", "does not"] { try await channel.publish(AMQPMessage(text), routingKey: queue) }
                #expect(try await channel.drain(queue) == ["fits"])
                #expect(channel.failure == nil)
            }
        }
    }

    @Test("With x-max-length 0 only what a consumer can take arrives", arguments: TestBroker.modes)
    func zero(broker: TestBroker) async throws {
        try await broker.run { url in
            try await withConfirmingChannel(url) { channel in
                let queue = try await channel.declareQueue("", exclusive: true, arguments: ["x-max-length": 0]).name
                try await channel.put("nobody waits", in: queue)
                try await channel.expectReady(0, in: queue)
                try await channel.qos(prefetchCount: 1)
                let consumer = try await channel.consume(queue)
                try await channel.put("first", in: queue)
                try await channel.put("no room", in: queue)
                let first = try await consumer.next()
                #expect(first.text == "first")
                // Nor does it come back to a queue of no length.
                try first.reject(requeue: true)
                try await channel.expectReady(0, in: queue)
                try await channel.put("last", in: queue)
                #expect(try await consumer.next().text == "last")
            }
        }
    }

    @Test(
        "With x-max-length 0 and reject-publish nothing is taken, not even for a consumer",
        arguments: TestBroker.modes)
    func zeroAndRejectPublish(broker: TestBroker) async throws {
        try await broker.run { url in
            try await withConfirmingChannel(url) { channel in
                let queue = try await channel.declareQueue(
                    "", exclusive: true, arguments: ["x-max-length": 0, "x-overflow": "reject-publish"]
                ).name
                #expect(try await !channel.accepts("nobody waits", routingKey: queue))
                let consumer = try await channel.consume(queue)
                // RabbitMQ looks at the length before it looks for a consumer.
                #expect(try await !channel.accepts("somebody waits", routingKey: queue))
                try await consumer.cancel()
                try await channel.expectReady(0, in: queue)
            }
        }
    }

    @Test("Limits that are none are refused with 406", arguments: TestBroker.modes)
    func badValues(broker: TestBroker) async throws {
        try await broker.run { url in
            try await withConnection(url) { connection in
                let integer = #""expected integer, got longstr""#
                let cases: [(name: String, value: AMQPFieldValue, reason: String)] = [
                    ("x-max-length", .int64(-1), "{value_negative,-1}"),
                    ("x-max-length", "1", integer),
                    ("x-max-length-bytes", .int32(-1), "{value_negative,-1}"),
                    ("x-max-length-bytes", "1", integer),
                    ("x-overflow", "drop-tail", "invalid_overflow"),
                    ("x-overflow", .int32(1), "{unacceptable_type,signedint}"),
                ]
                for (name, value, reason) in cases {
                    let queue = TestBroker.uniqueName()
                    await expectRefusal(406, "invalid arg '\(name)' for queue '\(queue)' in vhost '/': \(reason)") {
                        try await connection.openChannel().declareQueue(
                            queue, exclusive: true, arguments: [name: value])
                    }
                }
            }
        }
    }

    @Test("Declared again, a limit has to be the same", arguments: TestBroker.modes)
    func inequivalent(broker: TestBroker) async throws {
        try await broker.run { url in
            try await withConnection(url) { connection in
                let channel = try await connection.openChannel()
                let queue = TestBroker.uniqueName()
                let arguments: AMQPTable = [
                    "x-max-length": .int32(5), "x-max-length-bytes": 9, "x-overflow": "reject-publish",
                ]
                try await channel.declareQueue(queue, exclusive: true, arguments: arguments)
                try await channel.declareQueue(queue, exclusive: true, arguments: arguments)
                let cases: [(name: String, value: AMQPFieldValue?, difference: String)] = [
                    ("x-max-length", .int32(6), "received '6' but current is '5'"),
                    ("x-max-length", nil, "received none but current is the value '5' of type 'signedint'"),
                    ("x-max-length-bytes", 8, "received '8' but current is '9'"),
                    ("x-overflow", "drop-head", "received 'drop-head' but current is 'reject-publish'"),
                ]
                for (name, value, difference) in cases {
                    var others = arguments
                    others[name] = value
                    let text = "inequivalent arg '\(name)' for queue '\(queue)' in vhost '/': \(difference)"
                    await expectRefusal(406, text) {
                        try await connection.openChannel().declareQueue(queue, exclusive: true, arguments: others)
                    }
                }
            }
        }
    }
}
