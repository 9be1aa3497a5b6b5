// SPDX-License-Identifier: Apache-2.0
import AMQPClient
import AMQPWire
import NIOCore
import TestSupport
import Testing

@Suite("Priorities of messages", .timeLimit(.minutes(2)))
struct PriorityTests {
    private static let five: AMQPTable = ["x-max-priority": 5]

    @Test(
        "Higher priorities come first; within one, and above the highest, order is kept; none is 0",
        arguments: TestBroker.modes)
    func order(broker: TestBroker) async throws {
        try await broker.run { url in
            try await withConfirmingChannel(url) { channel in
                let queue = try await channel.declareQueue("", exclusive: true, arguments: Self.five).name
                let messages: [(text: String, priority: UInt8?)] = [
                    ("none", nil), ("5", 5), ("9", 9), ("3", 3), ("0", 0), ("5 again", 5), ("3 again", 3),
                    ("255", 255),
                ]
                for (text, priority) in messages { try await channel.put(text, in: queue, priority: priority) }
                #expect(try await channel.readyCount(queue) == messages.count)
                let expected = ["5", "9", "5 again", "255", "3", "3 again", "none", "0"]
                #expect(try await channel.drain(queue) == expected)
            }
        }
    }

    @Test("A priority above the highest is delivered as it was", arguments: TestBroker.modes)
    func property(broker: TestBroker) async throws {
        try await broker.run { url in
            try await withConfirmingChannel(url) { channel in
                let queue = try await channel.declareQueue("", exclusive: true, arguments: Self.five).name
                try await channel.put("x", in: queue, priority: 9)
                let delivery = try #require(try await channel.get(queue, acknowledgement: .automatic))
                #expect(delivery.properties.priority == 9)
            }
        }
    }

    @Test("Without x-max-priority, and with 0, there is one level only", arguments: TestBroker.modes)
    func oneLevel(broker: TestBroker) async throws {
        try await broker.run { url in
            try await withConfirmingChannel(url) { channel in
                for arguments in [[:], ["x-max-priority": 0]] as [AMQPTable] {
                    let queue = try await channel.declareQueue("", exclusive: true, arguments: arguments).name
                    try await channel.put("first", in: queue)
                    try await channel.put("second", in: queue, priority: 5)
                    try await channel.put("third", in: queue, priority: 0)
                    #expect(try await channel.drain(queue) == ["first", "second", "third"])
                }
            }
        }
    }

    @Test("A consumer that has room again gets the highest that waits", arguments: TestBroker.modes)
    func consumer(broker: TestBroker) async throws {
        try await broker.run { url in
            try await withConfirmingChannel(url) { channel in
                let queue = try await channel.declareQueue("", exclusive: true, arguments: Self.five).name
                try await channel.qos(prefetchCount: 1)
                let consumer = try await channel.consume(queue)
                try await channel.put("0, alone", in: queue, priority: 0)
                let first = try await consumer.next()
                #expect(first.text == "0, alone")
                try await channel.put("0", in: queue, priority: 0)
                try await channel.put("5", in: queue, priority: 5)
                try first.ack()
                let second = try await consumer.next()
                #expect(second.text == "5")
                try second.ack()
                #expect(try await consumer.next().text == "0")
            }
        }
    }

    @Test("What is requeued goes back to its old place in its level", arguments: TestBroker.modes)
    func requeue(broker: TestBroker) async throws {
        try await broker.run { url in
            try await withConfirmingChannel(url) { channel in
                let queue = try await channel.declareQueue("", exclusive: true, arguments: Self.five).name
                let messages: [(text: String, priority: UInt8)] = [
                    ("low 1", 1), ("low 2", 1), ("high 1", 5), ("high 2", 5),
                ]
                for (text, priority) in messages { try await channel.put(text, in: queue, priority: priority) }
                let order = ["high 1", "high 2", "low 1", "low 2"]
                // One by one, in an order that is none of theirs.
                var deliveries: [AMQPDelivery] = []
                for _ in 0..<3 { deliveries.append(try #require(try await channel.get(queue))) }
                #expect(deliveries.map(\.text) == Array(order.prefix(3)))
                for index in [2, 0, 1] { try deliveries[index].reject(requeue: true) }
                // All at once.
                deliveries = []
                for _ in 0..<4 { deliveries.append(try #require(try await channel.get(queue))) }
                #expect(deliveries.map(\.text) == order)
                #expect(deliveries.map(\.redelivered) == [true, true, true, false])
                try deliveries[3].nack(requeue: true, multiple: true)
                #expect(try await channel.drain(queue) == order)
            }
        }
    }

    @Test("Beyond the length limit the head goes, which is the highest priority", arguments: TestBroker.modes)
    func dropHead(broker: TestBroker) async throws {
        try await broker.run { url in
            try await withConfirmingChannel(url) { channel in
                let graveyard = try await Graveyard(on: channel)
                let queue = try await channel.declareQueue(
                    "", exclusive: true, arguments: graveyard.arguments(["x-max-priority": 5, "x-max-length": 2])
                ).name
                try await channel.put("high", in: queue, priority: 5)
                try await channel.put("low 1", in: queue, priority: 1)
                try await channel.put("low 2", in: queue, priority: 1)
                let letter = try await graveyard.next()
                #expect(letter.text == "high")
                #expect(letter.deaths == [Death(queue: queue, reason: "maxlen", routingKeys: [queue])])
                #expect(try await channel.drain(queue) == ["low 1", "low 2"])
                // Even if it is the one that came last.
                try await channel.put("low 3", in: queue, priority: 1)
                try await channel.put("low 4", in: queue, priority: 1)
                try await channel.put("high", in: queue, priority: 5)
                #expect(try await graveyard.next().text == "high")
                #expect(try await channel.drain(queue) == ["low 3", "low 4"])
            }
        }
    }

    @Test("Highest priorities that are none are refused with 406", arguments: TestBroker.modes)
    func badValues(broker: TestBroker) async throws {
        try await broker.run { url in
            try await withConnection(url) { connection in
                let cases: [(value: AMQPFieldValue, reason: String)] = [
                    (.int32(-1), "{value_negative,-1}"),
                    (256, "{max_value_exceeded,256}"),
                    ("1", #""expected integer, got longstr""#),
                    (true, #""expected integer, got bool""#),
                ]
                for (value, reason) in cases {
                    let queue = TestBroker.uniqueName()
                    await expectRefusal(
                        406, "invalid arg 'x-max-priority' for queue '\(queue)' in vhost '/': \(reason)"
                    ) {
                        try await connection.openChannel().declareQueue(
                            queue, exclusive: true, arguments: ["x-max-priority": value])
                    }
                }
                // 0 and 255 are the ends of what is allowed.
                for value in [0, 255] as [AMQPFieldValue] {
                    try await connection.openChannel().declareQueue(
                        "", exclusive: true, arguments: ["x-max-priority": value])
                }
            }
        }
    }

    @Test("Declared again, the highest priority has to be the same", arguments: TestBroker.modes)
    func inequivalent(broker: TestBroker) async throws {
        try await broker.run { url in
            try await withConnection(url) { connection in
                let queue = TestBroker.uniqueName()
                let channel = try await connection.openChannel()
                try await channel.declareQueue(queue, exclusive: true, arguments: ["x-max-priority": .int32(5)])
                // Another width is no other value.
                try await channel.declareQueue(queue, exclusive: true, arguments: ["x-max-priority": .int64(5)])
                let text = "inequivalent arg 'x-max-priority' for queue '\(queue)' in vhost '/': "
                await expectRefusal(406, text + "received '6' but current is '5'") {
                    try await connection.openChannel().declareQueue(
                        queue, exclusive: true, arguments: ["x-max-priority": .int32(6)])
                }
                await expectRefusal(406, text + "received none but current is the value '5' of type 'signedint'") {
                    try await connection.openChannel().declareQueue(queue, exclusive: true)
                }
            }
        }
    }
}
