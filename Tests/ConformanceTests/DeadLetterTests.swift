// SPDX-License-Identifier: Apache-2.0
import AMQPClient
import AMQPWire
import Foundation
import NIOCore
import TestSupport
import Testing

@Suite("Dead letters", .timeLimit(.minutes(2)))
struct DeadLetterTests {
    // MARK: - Why messages die

    @Test("What is rejected for good is dead-lettered, by reject and by nack", arguments: TestBroker.modes)
    func rejected(broker: TestBroker) async throws {
        try await broker.run { url in
            try await withConfirmingChannel(url) { channel in
                let graveyard = try await Graveyard(on: channel)
                let queue = try await channel.declareQueue("", exclusive: true, arguments: graveyard.arguments()).name
                for text in ["by reject", "by nack"] { try await channel.put(text, in: queue) }
                try #require(try await channel.get(queue)).reject(requeue: false)
                try #require(try await channel.get(queue)).nack(requeue: false)
                for text in ["by reject", "by nack"] {
                    let letter = try await graveyard.next()
                    #expect(letter.text == text && !letter.redelivered)
                    #expect(letter.deaths == [Death(queue: queue, reason: "rejected", routingKeys: [queue])])
                    letter.expectFirstDeath(queue: queue, reason: "rejected")
                }
            }
        }
    }

    @Test("Several that are rejected at once die in their order", arguments: TestBroker.modes)
    func rejectedTogether(broker: TestBroker) async throws {
        try await broker.run { url in
            try await withConfirmingChannel(url) { channel in
                let graveyard = try await Graveyard(on: channel)
                let queue = try await channel.declareQueue("", exclusive: true, arguments: graveyard.arguments()).name
                for number in 0..<4 { try await channel.put("\(number)", in: queue) }
                var deliveries: [AMQPDelivery] = []
                for _ in 0..<4 { deliveries.append(try #require(try await channel.get(queue))) }
                try deliveries[2].reject(requeue: false)
                try deliveries[3].nack(requeue: false, multiple: true)
                for text in ["2", "0", "1", "3"] { #expect(try await graveyard.next().text == text) }
            }
        }
    }

    @Test("What outlives x-message-ttl is dead-lettered, in its order", arguments: TestBroker.modes)
    func messageTimeToLive(broker: TestBroker) async throws {
        try await broker.run { url in
            try await withConfirmingChannel(url) { channel in
                let graveyard = try await Graveyard(on: channel)
                let queue = try await channel.declareQueue(
                    "", exclusive: true, arguments: graveyard.arguments(["x-message-ttl": 20])
                ).name
                for number in 0..<5 { try await channel.put("\(number)", in: queue) }
                for number in 0..<5 {
                    let letter = try await graveyard.next()
                    #expect(letter.text == "\(number)")
                    #expect(letter.deaths == [Death(queue: queue, reason: "expired", routingKeys: [queue])])
                    letter.expectFirstDeath(queue: queue, reason: "expired")
                    #expect(letter.deathEntries.first?["original-expiration"] == nil)
                }
                try await channel.expectReady(0, in: queue)
            }
        }
    }

    @Test(
        "What outlives its expiration is dead-lettered without it, and with all else it had",
        arguments: TestBroker.modes)
    func expiration(broker: TestBroker) async throws {
        try await broker.run { url in
            try await withConfirmingChannel(url) { channel in
                let graveyard = try await Graveyard(on: channel)
                let queue = try await channel.declareQueue("", exclusive: true, arguments: graveyard.arguments()).name
                var message = AMQPMessage("expires")
                message.properties.expiration = "20"
                message.properties.headers = ["mine": "kept"]
                message.properties.messageID = "id"
                message.properties.deliveryMode = AMQPBasicProperties.persistent
                message.properties.priority = 3
                message.properties.contentType = "text/plain"
                try await channel.publishConfirmed(message, routingKey: queue)
                let letter = try await graveyard.next()
                #expect(letter.text == "expires")
                #expect(letter.deaths == [Death(queue: queue, reason: "expired", routingKeys: [queue])])
                #expect(letter.deathEntries.first?["original-expiration"]?.string == "20")
                #expect(letter.header("mine") == "kept")
                // Otherwise it would expire again where it is now.
                #expect(letter.properties.expiration == nil)
                var others = letter.properties
                others.headers = nil
                message.properties.headers = nil
                message.properties.expiration = nil
                #expect(others == message.properties)
            }
        }
    }

    @Test("Whatever a message dies of, it loses its expiration", arguments: TestBroker.modes)
    func expirationOfRejected(broker: TestBroker) async throws {
        try await broker.run { url in
            try await withConfirmingChannel(url) { channel in
                let graveyard = try await Graveyard(on: channel)
                let queue = try await channel.declareQueue("", exclusive: true, arguments: graveyard.arguments()).name
                try await channel.put("x", in: queue, expiration: "600000")
                let delivery = try #require(try await channel.get(queue))
                #expect(delivery.properties.expiration == "600000")
                try delivery.reject(requeue: false)
                let letter = try await graveyard.next()
                #expect(letter.properties.expiration == nil)
                #expect(letter.deaths.map(\.reason) == ["rejected"])
                #expect(letter.deathEntries.first?["original-expiration"]?.string == "600000")
            }
        }
    }

    @Test("What was out while its time ended dies when it comes back", arguments: TestBroker.modes)
    func expiredWhileOut(broker: TestBroker) async throws {
        try await broker.run { url in
            try await withConfirmingChannel(url) { channel in
                let graveyard = try await Graveyard(on: channel)
                // With no time at all a message goes to a consumer that waits, or it dies.
                let queue = try await channel.declareQueue(
                    "", exclusive: true, arguments: graveyard.arguments(["x-message-ttl": 0])
                ).name
                try await channel.put("nobody waits", in: queue)
                #expect(try await graveyard.next().text == "nobody waits")
                let consumer = try await channel.consume(queue)
                try await channel.put("somebody waits", in: queue)
                let delivery = try await consumer.next()
                #expect(delivery.text == "somebody waits")
                try delivery.reject(requeue: true)
                let letter = try await graveyard.next()
                #expect(letter.text == "somebody waits")
                #expect(letter.deaths == [Death(queue: queue, reason: "expired", routingKeys: [queue])])
            }
        }
    }

    @Test("What expires behind another message dies when its turn comes", arguments: TestBroker.modes)
    func expiredBehindAnother(broker: TestBroker) async throws {
        try await broker.run { url in
            try await withConfirmingChannel(url) { channel in
                let graveyard = try await Graveyard(on: channel)
                let queue = try await channel.declareQueue("", exclusive: true, arguments: graveyard.arguments()).name
                try await channel.put("stays", in: queue)
                try await channel.put("expires", in: queue, expiration: "0")
                #expect(try await channel.drain(queue) == ["stays"])
                let letter = try await graveyard.next()
                #expect(letter.text == "expires")
                #expect(letter.deaths == [Death(queue: queue, reason: "expired", routingKeys: [queue])])
            }
        }
    }

    @Test("What makes room for others is dead-lettered as maxlen, in its order", arguments: TestBroker.modes)
    func maximumLength(broker: TestBroker) async throws {
        try await broker.run { url in
            try await withConfirmingChannel(url) { channel in
                let graveyard = try await Graveyard(on: channel)
                let queue = try await channel.declareQueue(
                    "", exclusive: true, arguments: graveyard.arguments(["x-max-length": 1])
                ).name
                for number in 0..<3 { try await channel.put("\(number)", in: queue) }
                for number in 0..<2 {
                    let letter = try await graveyard.next()
                    #expect(letter.text == "\(number)")
                    #expect(letter.deaths == [Death(queue: queue, reason: "maxlen", routingKeys: [queue])])
                    letter.expectFirstDeath(queue: queue, reason: "maxlen")
                }
                // What comes back above the limit makes room as well.
                let out = try #require(try await channel.get(queue))
                try await channel.put("3", in: queue)
                try out.reject(requeue: true)
                #expect(try await graveyard.next().text == "2")
                #expect(try await channel.drain(queue) == ["3"])
            }
        }
    }

    @Test("Purging and deleting a queue kills nothing", arguments: TestBroker.modes)
    func purgeAndDeletion(broker: TestBroker) async throws {
        try await broker.run { url in
            try await withConfirmingChannel(url) { channel in
                let graveyard = try await Graveyard(on: channel)
                let queue = try await channel.declareQueue("", exclusive: true, arguments: graveyard.arguments()).name
                try await channel.put("purged", in: queue)
                #expect(try await channel.purgeQueue(queue) == 1)
                let deleted = try await channel.declareQueue(
                    "", exclusive: true, arguments: graveyard.arguments()
                ).name
                for text in ["deleted with its queue", "out"] { try await channel.put(text, in: deleted) }
                let out = try #require(try await channel.get(deleted))
                #expect(try await channel.deleteQueue(deleted) == 1)
                // Nothing is left that could dead-letter it.
                try out.reject(requeue: false)
                try await channel.put("rejected", in: queue)
                try #require(try await channel.get(queue)).reject(requeue: false)
                #expect(try await graveyard.next().text == "rejected")
            }
        }
    }

    // MARK: - Where they go

    @Test("Without x-dead-letter-routing-key a message keeps its own key", arguments: TestBroker.modes)
    func ownKey(broker: TestBroker) async throws {
        try await broker.run { url in
            try await withConfirmingChannel(url) { channel in
                let graveyard = try await Graveyard(on: channel)
                let (source, dead) = (TestBroker.uniqueName("source"), TestBroker.uniqueName("dead"))
                for exchange in [source, dead] {
                    try await channel.declareExchange(exchange, type: .direct, autoDelete: true)
                }
                try await channel.bindQueue(graveyard.queue, to: dead, routingKey: "key")
                let queue = try await channel.declareQueue(
                    "", exclusive: true, arguments: ["x-dead-letter-exchange": .text(dead)]
                ).name
                try await channel.bindQueue(queue, to: source, routingKey: "key")
                try await channel.publishConfirmed(AMQPMessage("x"), exchange: source, routingKey: "key")
                try #require(try await channel.get(queue)).reject(requeue: false)
                let letter = try await graveyard.next()
                #expect(letter.exchange == dead && letter.routingKey == "key")
                #expect(
                    letter.deaths == [
                        Death(queue: queue, reason: "rejected", exchange: source, routingKeys: ["key"])
                    ])
                letter.expectFirstDeath(queue: queue, reason: "rejected", exchange: source)
            }
        }
    }

    @Test("x-dead-letter-routing-key takes the place of the message's key", arguments: TestBroker.modes)
    func anotherKey(broker: TestBroker) async throws {
        try await broker.run { url in
            try await withConfirmingChannel(url) { channel in
                let graveyard = try await Graveyard(on: channel)
                let dead = TestBroker.uniqueName("dead")
                try await channel.declareExchange(dead, type: .direct, autoDelete: true)
                try await channel.bindQueue(graveyard.queue, to: dead, routingKey: "dead")
                let queue = try await channel.declareQueue(
                    "", exclusive: true,
                    arguments: ["x-dead-letter-exchange": .text(dead), "x-dead-letter-routing-key": "dead"]
                ).name
                try await channel.put("x", in: queue)
                try #require(try await channel.get(queue)).reject(requeue: false)
                let letter = try await graveyard.next()
                #expect(letter.exchange == dead && letter.routingKey == "dead")
                // Which key it had is in the death.
                #expect(letter.deaths == [Death(queue: queue, reason: "rejected", routingKeys: [queue])])
            }
        }
    }

    @Test("Bad arguments for dead letters are refused with 406", arguments: TestBroker.modes)
    func badArguments(broker: TestBroker) async throws {
        try await broker.run { url in
            try await withConnection(url) { connection in
                let queue = TestBroker.uniqueName()
                let place = "queue '\(queue)' in vhost '/'"
                let cases: [(arguments: AMQPTable, text: String)] = [
                    (
                        ["x-dead-letter-routing-key": "key"],
                        "invalid arg 'x-dead-letter-routing-key' for \(place): routing_key_but_no_dlx_defined"
                    ),
                    (
                        ["x-dead-letter-exchange": "", "x-dead-letter-routing-key": .int32(1)],
                        "invalid arg 'x-dead-letter-routing-key' for \(place): {unacceptable_type,signedint}"
                    ),
                    (
                        ["x-dead-letter-exchange": .int32(1)],
                        "invalid type 'signedint' for arg 'x-dead-letter-exchange' in \(place)"
                    ),
                ]
                for (arguments, text) in cases {
                    await expectRefusal(406, text) {
                        try await connection.openChannel().declareQueue(queue, exclusive: true, arguments: arguments)
                    }
                }
            }
        }
    }

    @Test("Declared again, the dead-letter exchange and key have to be the same", arguments: TestBroker.modes)
    func inequivalent(broker: TestBroker) async throws {
        try await broker.run { url in
            try await withConnection(url) { connection in
                let queue = TestBroker.uniqueName()
                let arguments: AMQPTable = ["x-dead-letter-exchange": "a", "x-dead-letter-routing-key": "b"]
                let channel = try await connection.openChannel()
                try await channel.declareQueue(queue, exclusive: true, arguments: arguments)
                try await channel.declareQueue(queue, exclusive: true, arguments: arguments)
                for (name, current) in [("x-dead-letter-exchange", "a"), ("x-dead-letter-routing-key", "b")] {
                    var others = arguments
                    others[name] = "c"
                    await expectRefusal(
                        406,
                        "inequivalent arg '\(name)' for queue '\(queue)' in vhost '/': "
                            + "received 'c' but current is '\(current)'"
                    ) {
                        try await connection.openChannel().declareQueue(queue, exclusive: true, arguments: others)
                    }
                }
            }
        }
    }

    @Test(
        "Without its exchange a dead letter is dropped; the exchange counts that is there when a message dies",
        arguments: TestBroker.modes)
    func missingExchange(broker: TestBroker) async throws {
        try await broker.run { url in
            try await withConfirmingChannel(url) { channel in
                let graveyard = try await Graveyard(on: channel)
                let dead = TestBroker.uniqueName("dead")
                let queue = try await channel.declareQueue(
                    "", exclusive: true, arguments: ["x-dead-letter-exchange": .text(dead)]
                ).name
                for text in ["dropped", "kept"] { try await channel.put(text, in: queue) }
                try #require(try await channel.get(queue)).reject(requeue: false)
                // An answer of the queue: it has dealt with what was sent before.
                let kept = try #require(try await channel.get(queue))
                #expect(channel.failure == nil)
                try await channel.declareExchange(dead, type: .fanout, autoDelete: true)
                try await channel.bindQueue(graveyard.queue, to: dead)
                try kept.reject(requeue: false)
                #expect(try await graveyard.next().text == "kept")
            }
        }
    }

    @Test("CC goes when the key is overridden, and still routes otherwise", arguments: TestBroker.modes)
    func carbonCopies(broker: TestBroker) async throws {
        try await broker.run { url in
            try await withConfirmingChannel(url) { channel in
                let graveyard = try await Graveyard(on: channel)
                let other = try await channel.declareQueue("", exclusive: true).name
                let copies: AMQPFieldValue = .array([.text(other)])
                let source = TestBroker.uniqueName("source")
                try await channel.declareExchange(source, type: .direct, autoDelete: true)
                var message = AMQPMessage("x")
                message.properties.headers = ["CC": copies]

                let overriding = try await channel.declareQueue(
                    "", exclusive: true, arguments: graveyard.arguments()
                ).name
                try await channel.bindQueue(overriding, to: source, routingKey: "overridden")
                try await channel.publishConfirmed(message, exchange: source, routingKey: "overridden")
                try #require(try await channel.get(overriding)).reject(requeue: false)
                let overridden = try await graveyard.next()
                #expect(overridden.properties.headers?["CC"] == nil)
                #expect(
                    overridden.deaths == [
                        Death(
                            queue: overriding, reason: "rejected", exchange: source,
                            routingKeys: ["overridden", other])
                    ])
                try await channel.expectReady(0, in: other)

                // The key and the copies are those of the message: now both name queues.
                let keeping = try await channel.declareQueue(
                    "", exclusive: true, arguments: ["x-dead-letter-exchange": ""]
                ).name
                try await channel.bindQueue(keeping, to: source, routingKey: graveyard.queue)
                try await channel.publishConfirmed(message, exchange: source, routingKey: graveyard.queue)
                try #require(try await channel.get(keeping)).reject(requeue: false)
                let kept = try await graveyard.next()
                #expect(kept.properties.headers?["CC"] == copies)
                let consumer = try await channel.consume(other, acknowledgement: .automatic)
                #expect(try await consumer.next().deaths == kept.deaths)
            }
        }
    }

    // MARK: - What is written into them

    @Test("An entry of x-death has these fields, of these types", arguments: TestBroker.modes)
    func entry(broker: TestBroker) async throws {
        try await broker.run { url in
            try await withConfirmingChannel(url) { channel in
                let graveyard = try await Graveyard(on: channel)
                let source = TestBroker.uniqueName("source")
                try await channel.declareExchange(source, type: .direct, autoDelete: true)
                let queue = try await channel.declareQueue("", exclusive: true, arguments: graveyard.arguments()).name
                try await channel.bindQueue(queue, to: source, routingKey: "key")
                var message = AMQPMessage("x")
                message.properties.expiration = "600000"
                try await channel.publishConfirmed(message, exchange: source, routingKey: "key")
                try #require(try await channel.get(queue)).reject(requeue: false)
                let letter = try await graveyard.next()
                #expect(letter.deathEntries.count == 1)
                var entry = try #require(letter.deathEntries.first)
                guard case .timestamp(let time)? = entry["time"] else {
                    Issue.record("no timestamp")
                    return
                }
                // Seconds, not milliseconds.
                #expect(abs(Date(timeIntervalSince1970: Double(time)).timeIntervalSinceNow) < 60)
                entry["time"] = nil
                let expected: AMQPTable = [
                    "count": .int64(1), "reason": "rejected", "queue": .text(queue), "exchange": .text(source),
                    "routing-keys": .array(["key"]), "original-expiration": "600000",
                ]
                // Their order differs between versions.
                #expect(Set(entry.entries) == Set(expected.entries))
            }
        }
    }

    @Test(
        "Dying again in the same queue for the same reason counts; the newest death is the first",
        arguments: TestBroker.modes)
    func counting(broker: TestBroker) async throws {
        try await broker.run { url in
            try await withConfirmingChannel(url) { channel in
                // What a worker rejects waits for a while and comes back.
                let (work, retry) = (TestBroker.uniqueName("work"), TestBroker.uniqueName("retry"))
                try await channel.declareQueue(
                    work, exclusive: true,
                    arguments: ["x-dead-letter-exchange": "", "x-dead-letter-routing-key": .text(retry)])
                try await channel.declareQueue(
                    retry, exclusive: true,
                    arguments: [
                        "x-dead-letter-exchange": "", "x-dead-letter-routing-key": .text(work), "x-message-ttl": 10,
                    ])
                let worker = try await channel.consume(work)
                try await channel.put("x", in: work)
                try await worker.next().reject(requeue: false)
                for round: Int64 in 1...3 {
                    let again = try await worker.next()
                    #expect(!again.redelivered)
                    let expected = [
                        Death(queue: retry, reason: "expired", count: round, routingKeys: [retry]),
                        Death(queue: work, reason: "rejected", count: round, routingKeys: [work]),
                    ]
                    #expect(again.deaths == expected)
                    again.expectFirstDeath(queue: work, reason: "rejected")
                    try again.reject(requeue: false)
                }
            }
        }
    }

    @Test("Every queue has its entry, and for every reason one of its own", arguments: TestBroker.modes)
    func severalQueues(broker: TestBroker) async throws {
        try await broker.run { url in
            try await withConfirmingChannel(url) { channel in
                let graveyard = try await Graveyard(on: channel)
                let exchange = TestBroker.uniqueName()
                try await channel.declareExchange(exchange, type: .direct, autoDelete: true)
                let last = try await channel.declareQueue("", exclusive: true, arguments: graveyard.arguments()).name
                let middle = try await channel.declareQueue(
                    "", exclusive: true,
                    arguments: [
                        "x-message-ttl": 20, "x-dead-letter-exchange": "", "x-dead-letter-routing-key": .text(last),
                    ]
                ).name
                try await channel.bindQueue(middle, to: exchange, routingKey: "middle")
                let first = try await channel.declareQueue(
                    "", exclusive: true,
                    arguments: ["x-dead-letter-exchange": .text(exchange), "x-dead-letter-routing-key": "middle"]
                ).name
                try await channel.put("x", in: first)
                try #require(try await channel.get(first)).reject(requeue: false)
                try await channel.consume(last).next().reject(requeue: false)
                let letter = try await graveyard.next()
                let earlier = [
                    Death(queue: middle, reason: "expired", exchange: exchange, routingKeys: ["middle"]),
                    Death(queue: first, reason: "rejected", routingKeys: [first]),
                ]
                let newest = Death(queue: last, reason: "rejected", routingKeys: [last])
                // RabbitMQ 3.10 turns the older ones round with every death; 4.x has all of them newest first.
                #expect(letter.deaths == [newest] + (broker.isStrict ? earlier : earlier.reversed()))
                letter.expectFirstDeath(queue: first, reason: "rejected")
            }
        }
    }

    @Test("One queue that kills for two reasons has two entries", arguments: TestBroker.modes)
    func severalReasons(broker: TestBroker) async throws {
        try await broker.run { url in
            try await withConfirmingChannel(url) { channel in
                let graveyard = try await Graveyard(on: channel)
                let queue = TestBroker.uniqueName()
                let exchange = TestBroker.uniqueName()
                try await channel.declareExchange(exchange, type: .fanout, autoDelete: true)
                try await channel.bindQueue(graveyard.queue, to: exchange)
                try await channel.declareQueue(
                    queue, exclusive: true,
                    arguments: ["x-dead-letter-exchange": .text(exchange), "x-max-length": 1])
                try await channel.bindQueue(queue, to: exchange)
                try await channel.put("0", in: queue)
                try #require(try await channel.get(queue)).reject(requeue: false)
                #expect(try await graveyard.next().text == "0")
                // It is there again, and makes room.
                try await eventually("it is there again") { try await channel.readyCount(queue) == 1 }
                try await channel.put("1", in: queue)
                let letter = try await graveyard.next()
                #expect(letter.text == "0")
                let expected = [
                    Death(queue: queue, reason: "maxlen", exchange: exchange, routingKeys: [queue]),
                    Death(queue: queue, reason: "rejected", routingKeys: [queue]),
                ]
                #expect(letter.deaths == expected)
                letter.expectFirstDeath(queue: queue, reason: "rejected")
            }
        }
    }

    // MARK: - Cycles

    @Test("What would go round for ever without anybody's rejection is left out", arguments: TestBroker.modes)
    func cycleWithoutRejection(broker: TestBroker) async throws {
        try await broker.run { url in
            try await withConfirmingChannel(url) { channel in
                let graveyard = try await Graveyard(on: channel)
                let exchange = TestBroker.uniqueName()
                try await channel.declareExchange(exchange, type: .fanout, autoDelete: true)
                let queue = try await channel.declareQueue(
                    "", exclusive: true, arguments: ["x-dead-letter-exchange": .text(exchange), "x-message-ttl": 20]
                ).name
                // To itself, where it is dropped, and to another queue, which gets it all the same.
                for queue in [queue, graveyard.queue] { try await channel.bindQueue(queue, to: exchange) }
                for text in ["0", "1"] {
                    try await channel.put(text, in: queue)
                    // Had the first one gone round, it would be here once more before the second.
                    let letter = try await graveyard.next()
                    #expect(letter.text == text)
                    #expect(letter.deaths == [Death(queue: queue, reason: "expired", routingKeys: [queue])])
                }
                try await channel.expectReady(0, in: queue)
            }
        }
    }

    @Test("What would go round over two queues is left out too", arguments: TestBroker.modes)
    func longCycleWithoutRejection(broker: TestBroker) async throws {
        try await broker.run { url in
            try await withConfirmingChannel(url) { channel in
                let graveyard = try await Graveyard(on: channel)
                let (one, two) = (TestBroker.uniqueName("one"), TestBroker.uniqueName("two"))
                let exchange = TestBroker.uniqueName()
                try await channel.declareExchange(exchange, type: .fanout, autoDelete: true)
                try await channel.declareQueue(
                    one, exclusive: true,
                    arguments: [
                        "x-dead-letter-exchange": "", "x-dead-letter-routing-key": .text(two), "x-message-ttl": 10,
                    ])
                try await channel.declareQueue(
                    two, exclusive: true,
                    arguments: ["x-dead-letter-exchange": .text(exchange), "x-message-ttl": 10])
                for queue in [one, graveyard.queue] { try await channel.bindQueue(queue, to: exchange) }
                for text in ["0", "1"] {
                    try await channel.put(text, in: one)
                    let letter = try await graveyard.next()
                    #expect(letter.text == text)
                    let expected = [
                        Death(queue: two, reason: "expired", routingKeys: [two]),
                        Death(queue: one, reason: "expired", routingKeys: [one]),
                    ]
                    #expect(letter.deaths == expected)
                }
                for queue in [one, two] { try await channel.expectReady(0, in: queue) }
            }
        }
    }

    @Test("What a consumer rejects may go round as often as it likes", arguments: TestBroker.modes)
    func cycleWithRejection(broker: TestBroker) async throws {
        try await broker.run { url in
            try await withConfirmingChannel(url) { channel in
                let queue = TestBroker.uniqueName()
                try await channel.declareQueue(
                    queue, exclusive: true,
                    arguments: ["x-dead-letter-exchange": "", "x-dead-letter-routing-key": .text(queue)])
                let consumer = try await channel.consume(queue)
                try await channel.put("x", in: queue)
                try await consumer.next().reject(requeue: false)
                for round: Int64 in 1...4 {
                    let again = try await consumer.next()
                    #expect(!again.redelivered)
                    let death = Death(queue: queue, reason: "rejected", count: round, routingKeys: [queue])
                    #expect(again.deaths == [death])
                    try again.reject(requeue: false)
                }
            }
        }
    }
}
