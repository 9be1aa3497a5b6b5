// SPDX-License-Identifier: Apache-2.0
import AMQPWire
import NIOCore
import TestSupport
import Testing

/// How queues come, what they are declared as, whose they are, and how they go.
///
/// Length limits, dead letters, priorities, single active consumers and quorum queues have suites of their own.
@Suite("Rules of queues", .timeLimit(.minutes(2)))
struct QueueDeclarationTests {
    // MARK: - Names and counts

    @Test("A declaration says how many messages are ready and how many consume", arguments: TestBroker.modes)
    func counts(broker: TestBroker) async throws {
        try await broker.run { url in
            try await withRawConnection(url) { connection in
                let queue = TestBroker.uniqueName()
                let declare = AMQPMethod.queueDeclare(.init(queue: queue, exclusive: true))
                #expect(
                    try await connection.call(declare)
                        == .queueDeclareOk(.init(queue: queue, messageCount: 0, consumerCount: 0)))
                try await connection.fill(queue, 3)
                #expect(
                    try await connection.call(declare)
                        == .queueDeclareOk(.init(queue: queue, messageCount: 3, consumerCount: 0)))
                try await connection.prefetch(2)
                try await connection.consume(queue)
                _ = try await connection.deliveries(2)
                // What is out is not ready.
                #expect(
                    try await connection.call(declare)
                        == .queueDeclareOk(.init(queue: queue, messageCount: 1, consumerCount: 1)))
            }
        }
    }

    @Test("Without a name a queue gets one, and names like it are the broker's: 403", arguments: TestBroker.modes)
    func names(broker: TestBroker) async throws {
        try await broker.run { url in
            try await withRawConnection(url) { connection in
                let (one, two) = try await (connection.declare(""), connection.declare(""))
                #expect(one.hasPrefix("amq.gen-") && two.hasPrefix("amq.gen-") && one != two)
                for name in [one, "amq.mine"] {
                    #expect(
                        try await connection.refusal(of: .queueDeclare(.init(queue: name, exclusive: true)))
                            == Refusal(403, "ACCESS_REFUSED - queue name '\(name)' contains reserved prefix 'amq.*'"))
                }
                // A look is another thing.
                #expect(try await connection.counts(one).queue == one)
                #expect(try await !connection.hasQueue("amq.mine"))
            }
        }
    }

    @Test("An empty name is the queue declared last on the channel; in a look it is 404", arguments: TestBroker.modes)
    func emptyNames(broker: TestBroker) async throws {
        try await broker.run { url in
            try await withRawConnection(url) { connection in
                let methods: [AMQPMethod] = [
                    .queueBind(.init(queue: "", exchange: "amq.direct", routingKey: "k")),
                    .queueUnbind(.init(queue: "", exchange: "amq.direct", routingKey: "k")),
                    .queuePurge(.init(queue: "")), .queueDelete(.init(queue: "")),
                    .basicConsume(.init(queue: "", consumerTag: "")), .basicGet(.init(queue: "")),
                ]
                for method in methods {
                    #expect(
                        try await connection.refusal(of: method)
                            == Refusal(404, "NOT_FOUND - no previously declared queue"), "\(method)")
                }
                let queue = try await connection.declare()
                #expect(try await connection.purge("") == 0)
                // An empty key with an empty name is the queue's name; with the name it is empty.
                try await connection.bind("", to: "amq.direct")
                try await connection.publish("x", to: queue, exchange: "amq.direct")
                #expect(try await connection.purge(queue) == 1)
                try await connection.unbind("", from: "amq.direct")
                try await connection.bind(queue, to: "amq.direct")
                try await connection.publish("x", to: queue, exchange: "amq.direct")
                #expect(try await connection.purge(queue) == 0)
                // One that is gone is still the last one.
                try await connection.perform(.queueDelete(.init(queue: "")))
                try await connection.send(.queuePurge(.init(queue: "")))
                #expect(
                    try await connection.refusal(blaming: .queuePurge)
                        == Refusal(404, "NOT_FOUND - no queue '\(queue)' in vhost '/'"))
                try await connection.openChannel(1)
                try await connection.declare()
                try await connection.send(.queueDeclare(.init(queue: "", passive: true)))
                #expect(
                    try await connection.refusal(blaming: .queueDeclare)
                        == Refusal(404, "NOT_FOUND - no queue '' in vhost '/'"))
            }
        }
    }

    @Test("A look asks for the name only, and for a missing queue is 404, answered or not", arguments: TestBroker.modes)
    func passive(broker: TestBroker) async throws {
        try await broker.run { url in
            try await withRawConnection(url) { connection in
                let missing = TestBroker.uniqueName()
                for noWait in [false, true] {
                    #expect(
                        try await connection.refusal(
                            of: .queueDeclare(.init(queue: missing, passive: true, noWait: noWait)))
                            == Refusal(404, "NOT_FOUND - no queue '\(missing)' in vhost '/'"))
                }
                let queue = try await connection.declare()
                try await connection.perform(
                    .queueDeclare(
                        .init(
                            queue: queue, passive: true, durable: true, autoDelete: true,
                            arguments: ["x-message-ttl": .int64(-1), "x-queue-type": "nonsense"])))
            }
        }
    }

    // MARK: - Arguments

    @Test("Declared again, a queue has to be the same: 406", arguments: TestBroker.modes)
    func equivalence(broker: TestBroker) async throws {
        try await broker.run { url in
            try await withRawConnection(url) { connection in
                func refusal(
                    _ queue: String, durable: Bool = false, autoDelete: Bool = false, _ arguments: AMQPTable = [:]
                ) async throws -> Refusal {
                    try await connection.refusal(
                        of: .queueDeclare(
                            .init(
                                queue: queue, durable: durable, exclusive: true, autoDelete: autoDelete,
                                arguments: arguments)))
                }
                func expected(_ key: String, _ queue: String, _ how: String) -> Refusal {
                    let resource = "queue '\(queue)' in vhost '/'"
                    return Refusal(406, "PRECONDITION_FAILED - inequivalent arg '\(key)' for \(resource): \(how)")
                }
                let plain = try await connection.declare()
                #expect(
                    try await refusal(plain, autoDelete: true)
                        == expected("auto_delete", plain, "received 'true' but current is 'false'"))
                #expect(
                    try await refusal(plain, ["x-message-ttl": .int32(1)])
                        == expected(
                            "x-message-ttl", plain, "received the value '1' of type 'signedint' but current is none"))
                #expect(
                    try await refusal(plain, ["x-expires": .int64(1000)])
                        == expected(
                            "x-expires", plain, "received the value '1000' of type 'long' but current is none"))
                // No type is the classic one; what the broker does not know is not compared.
                for arguments in [["x-queue-type": "classic"], ["x-unknown": 1], ["unknown": 1]] as [AMQPTable] {
                    try await connection.declare(plain, arguments: arguments)
                }

                let limited = try await connection.declare(arguments: ["x-message-ttl": .int32(1000)])
                #expect(
                    try await refusal(limited)
                        == expected(
                            "x-message-ttl", limited,
                            "received none but current is the value '1000' of type 'signedint'"))
                #expect(
                    try await refusal(limited, ["x-message-ttl": .int32(2)])
                        == expected("x-message-ttl", limited, "received '2' but current is '1000'"))
                // The same number is the same, however wide it is.
                try await connection.declare(limited, arguments: ["x-message-ttl": .int64(1000)])
                try await connection.declare(limited, arguments: ["x-message-ttl": .int16(1000)])
            }
        }
    }

    @Test("Durable and not durable are not the same: 406", arguments: TestBroker.modes)
    func durability(broker: TestBroker) async throws {
        try await broker.run { url in
            try await withRawConnection(url) { connection in
                let queue = try await connection.declare(durable: true, exclusive: false)
                #expect(
                    try await connection.refusal(of: .queueDeclare(.init(queue: queue)))
                        == Refusal(
                            406,
                            "PRECONDITION_FAILED - inequivalent arg 'durable' for queue '\(queue)' in vhost '/': "
                                + "received 'false' but current is 'true'"))
                try await connection.perform(.queueDelete(.init(queue: queue)))
                // An exclusive queue is never durable, whatever it was asked for.
                let exclusive = try await connection.declare(durable: true)
                try await connection.declare(exclusive)
            }
        }
    }

    @Test("Times that are none are refused with 406, and why", arguments: TestBroker.modes)
    func badTimes(broker: TestBroker) async throws {
        try await broker.run { url in
            try await withRawConnection(url) { connection in
                // RabbitMQ 4 has another word.
                let tooLarge = broker.isStrict ? "value_too_big" : "value_too_large"
                let wrong: [(key: String, value: AMQPFieldValue, fault: String)] = [
                    ("x-expires", .int64(0), "{value_zero,0}"), ("x-expires", .int64(-1), "{value_negative,-1}"),
                    ("x-expires", .int64(315_360_000_001), "{\(tooLarge),315360000001}"),
                    ("x-expires", "1", "\"expected integer, got longstr\""),
                    ("x-expires", true, "\"expected integer, got bool\""),
                    ("x-message-ttl", .int64(-1), "{value_negative,-1}"),
                    ("x-message-ttl", .int64(315_360_000_001), "{\(tooLarge),315360000001}"),
                    ("x-message-ttl", .timestamp(1), "\"expected integer, got timestamp\""),
                ]
                for (key, value, fault) in wrong {
                    let queue = TestBroker.uniqueName()
                    let resource = "queue '\(queue)' in vhost '/'"
                    let declare = AMQPMethod.QueueDeclare(queue: queue, exclusive: true, arguments: [key: value])
                    #expect(
                        try await connection.refusal(of: .queueDeclare(declare))
                            == Refusal(406, "PRECONDITION_FAILED - invalid arg '\(key)' for \(resource): \(fault)"))
                }
                for (key, value) in [("x-message-ttl", 0), ("x-expires", 315_360_000_000)] as [(String, Int64)] {
                    try await connection.declare(arguments: [key: .int64(value)])
                }
                try await connection.declare(arguments: ["x-expires": .uint8(200)])
            }
        }
    }

    @Test("Arguments of other types of queues are refused with 406, unknown ones not", arguments: TestBroker.modes)
    func foreignArguments(broker: TestBroker) async throws {
        try await broker.run { url in
            try await withRawConnection(url) { connection in
                let foreign: [(key: String, value: AMQPFieldValue)] = [
                    ("x-delivery-limit", 5), ("x-quorum-initial-group-size", 1), ("x-max-age", "1h"),
                    ("x-stream-max-segment-size-bytes", 1000), ("x-dead-letter-strategy", "at-least-once"),
                ]
                for (key, value) in foreign {
                    let queue = TestBroker.uniqueName()
                    let declare = AMQPMethod.QueueDeclare(queue: queue, exclusive: true, arguments: [key: value])
                    #expect(
                        try await connection.refusal(of: .queueDeclare(declare))
                            == Refusal(
                                406,
                                "PRECONDITION_FAILED - invalid arg '\(key)' for queue '\(queue)' in vhost '/' of queue "
                                    + "type rabbit_classic_queue"))
                }
                let queue = TestBroker.uniqueName()
                #expect(
                    try await connection.refusal(
                        of: .queueDeclare(.init(queue: queue, exclusive: true, arguments: ["x-queue-type": 5]))
                    ).code == 406)
                try await connection.declare(arguments: ["x-unknown": 5, "unknown": .void])
            }
        }
    }

    // MARK: - Whose it is

    @Test("An exclusive queue is locked for other connections: 405, before anything else", arguments: TestBroker.modes)
    func exclusive(broker: TestBroker) async throws {
        try await broker.run { url in
            try await withRawConnection(url) { owner in
                let queue = try await owner.declare()
                try await owner.bind(queue, to: "amq.direct", queue)
                let locked = Refusal(
                    405,
                    "RESOURCE_LOCKED - cannot obtain exclusive access to locked queue '\(queue)' in vhost '/'. "
                        + "It could be originally declared on another connection or the exclusive property value "
                        + "does not match that of the original declaration.")
                // Not even its owner may call it shared.
                #expect(try await owner.refusal(of: .queueDeclare(.init(queue: queue))) == locked)
                try await withRawConnection(url) { other in
                    let methods: [AMQPMethod] = [
                        .queueDeclare(.init(queue: queue, passive: true)),
                        .queueDeclare(.init(queue: queue, exclusive: true)),
                        // With arguments that would be refused otherwise.
                        .queueDeclare(
                            .init(
                                queue: queue, durable: true, autoDelete: true,
                                arguments: ["x-message-ttl": .int64(-1)])),
                        .queueBind(.init(queue: queue, exchange: "amq.direct", routingKey: "k")),
                        .queueUnbind(.init(queue: queue, exchange: "amq.direct", routingKey: queue)),
                        .queuePurge(.init(queue: queue)), .queueDelete(.init(queue: queue)),
                        .basicConsume(.init(queue: queue, consumerTag: "")), .basicGet(.init(queue: queue)),
                    ]
                    for method in methods {
                        #expect(try await other.refusal(of: method) == locked, "\(method)")
                    }
                    // Everybody may publish to it.
                    try await other.publish("x", to: queue)
                    try await other.sync()
                }
                try await owner.expectReady(1, in: queue)
            }
        }
    }

    @Test("A shared queue cannot be declared as one's own: 405", arguments: TestBroker.modes)
    func sharedIsNotExclusive(broker: TestBroker) async throws {
        try await broker.run { url in
            try await withRawConnection(url) { connection in
                let queue = try await connection.declare(durable: true, exclusive: false)
                let declare = AMQPMethod.queueDeclare(.init(queue: queue, durable: true, exclusive: true))
                #expect(try await connection.refusal(of: declare).code == 405)
                try await connection.perform(.queueDelete(.init(queue: queue)))
            }
        }
    }

    @Test("An exclusive queue goes with its connection, not with its channel", arguments: TestBroker.modes)
    func exclusiveLifetime(broker: TestBroker) async throws {
        try await broker.run { url in
            try await withRawConnection(url) { connection in
                let (closed, dropped) = (TestBroker.uniqueName("closed"), TestBroker.uniqueName("dropped"))
                try await withRawConnection(url) { owner in
                    let channel = try await owner.openChannel()
                    try await owner.declare(closed, on: channel)
                    try await owner.closeChannel(channel)
                    #expect(try await owner.hasQueue(closed))
                    try await owner.close()
                }
                #expect(try await !connection.hasQueue(closed))
                try await withRawConnection(url) { owner in
                    _ = try await owner.declare(dropped, durable: true)
                }
                // Until the broker has noticed it is locked, and then free for others.
                try await eventually("it is gone") {
                    let channel = try await connection.openChannel()
                    let reply = try await connection.call(
                        .queueDeclare(.init(queue: dropped, passive: true)), on: channel)
                    guard case .channelClose(let close) = reply else {
                        throw RawConnection.Unexpected("\(reply) in answer to queue.declare")
                    }
                    try await connection.send(.channelCloseOk(.init()), on: channel)
                    return close.replyCode == 404
                }
            }
        }
    }

    @Test("Neither durable nor exclusive is 541 since RabbitMQ 4.3, and no error before", arguments: TestBroker.modes)
    func transient(broker: TestBroker) async throws {
        try await broker.run { url in
            try await withRawConnection(url) { connection in
                let declare = AMQPMethod.queueDeclare(.init(queue: TestBroker.uniqueName(), autoDelete: true))
                guard broker.isStrict else {
                    guard case .queueDeclareOk(let ok) = try await connection.call(declare) else {
                        throw RawConnection.Unexpected("not declared")
                    }
                    try await connection.perform(.queueDelete(.init(queue: ok.queue)))
                    return
                }
                #expect(try await connection.fatalRefusal(of: declare).code == 541)
            }
        }
    }

    // MARK: - Bindings

    @Test("Bindings need queue and exchange: 404; what is not bound is unbound", arguments: TestBroker.modes)
    func missingEnds(broker: TestBroker) async throws {
        try await broker.run { url in
            try await withRawConnection(url) { connection in
                let queue = try await connection.declare()
                let missing = TestBroker.uniqueName()
                #expect(
                    try await connection.refusal(
                        of: .queueBind(.init(queue: missing, exchange: "amq.direct", routingKey: "k")))
                        == Refusal(404, "NOT_FOUND - no queue '\(missing)' in vhost '/'"))
                // The exchange is looked for first.
                for name in [queue, missing] {
                    #expect(
                        try await connection.refusal(
                            of: .queueBind(.init(queue: name, exchange: missing, routingKey: "k")))
                            == Refusal(404, "NOT_FOUND - no exchange '\(missing)' in vhost '/'"))
                }
                try await connection.unbind(missing, from: "amq.direct", "k")
                try await connection.unbind(queue, from: missing, "k")
                try await connection.unbind(queue, from: "amq.direct", "never bound")
            }
        }
    }

    @Test("A binding is its key and its arguments, and the same twice is one", arguments: TestBroker.modes)
    func bindingIdentity(broker: TestBroker) async throws {
        try await broker.run { url in
            try await withRawConnection(url) { connection in
                let queue = try await connection.declare()
                let name = TestBroker.uniqueName()
                try await connection.declareExchange(name, "fanout")
                func arrivals() async throws -> Int {
                    try await connection.publish("x", to: "x", exchange: name)
                    return try await connection.purge(queue)
                }
                for arguments in [[:], [:], ["n": 1], ["n": 2]] as [AMQPTable] {
                    try await connection.bind(queue, to: name, "k", arguments: arguments)
                }
                #expect(try await arrivals() == 1)
                try await connection.unbind(queue, from: name, "k")
                try await connection.unbind(queue, from: name, "k", arguments: ["n": 1])
                // Neither its key nor its arguments.
                try await connection.unbind(queue, from: name, "other", arguments: ["n": 2])
                try await connection.unbind(queue, from: name, "k", arguments: ["n": 3])
                #expect(try await arrivals() == 1)
                try await connection.unbind(queue, from: name, "k", arguments: ["n": 2])
                #expect(try await arrivals() == 0)
                try await connection.deleteExchange(name)
            }
        }
    }

    // MARK: - Purging and deleting

    @Test("Purging takes what is ready, and says how many", arguments: TestBroker.modes)
    func purging(broker: TestBroker) async throws {
        try await broker.run { url in
            try await withRawConnection(url) { connection in
                let queue = try await connection.declare()
                try await connection.fill(queue, 3)
                let channel = try await connection.openChannel()
                _ = try await connection.get(queue, noAck: false, on: channel)
                #expect(try await connection.purge(queue) == 2)
                try await connection.closeChannel(channel)
                #expect(try await connection.drain(queue).map(\.text) == ["0"])
                let missing = TestBroker.uniqueName()
                #expect(
                    try await connection.refusal(of: .queuePurge(.init(queue: missing)))
                        == Refusal(404, "NOT_FOUND - no queue '\(missing)' in vhost '/'"))
            }
        }
    }

    @Test("Deleting says how many were ready; what is out belongs to nobody any more", arguments: TestBroker.modes)
    func deleting(broker: TestBroker) async throws {
        try await broker.run { url in
            try await withRawConnection(url) { connection in
                let queue = try await connection.declare()
                try await connection.bind(queue, to: "amq.direct", queue)
                try await connection.fill(queue, 3)
                let holder = try await connection.openChannel()
                _ = try await connection.get(queue, noAck: false, on: holder)
                let delete = AMQPMethod.queueDelete(.init(queue: queue))
                #expect(try await connection.call(delete) == .queueDeleteOk(.init(messageCount: 2)))
                // There is none any more.
                #expect(try await connection.call(delete) == .queueDeleteOk(.init(messageCount: 0)))
                // Its tag is known to the channel still.
                try await connection.ack(1, on: holder)
                try await connection.sync(on: holder)
                // Its bindings are not those of the next one of its name.
                try await connection.declare(queue)
                try await connection.publish("x", to: queue, exchange: "amq.direct")
                #expect(try await connection.get(queue) == nil)
            }
        }
    }

    @Test("A queue with consumers or messages is not deleted, if so wished: 406", arguments: TestBroker.modes)
    func deletingConditionally(broker: TestBroker) async throws {
        try await broker.run { url in
            try await withRawConnection(url) { connection in
                let queue = try await connection.declare()
                let unused = AMQPMethod.queueDelete(.init(queue: queue, ifUnused: true))
                let empty = AMQPMethod.queueDelete(.init(queue: queue, ifEmpty: true))
                try await connection.consume(queue)
                #expect(
                    try await connection.refusal(of: unused)
                        == Refusal(406, "PRECONDITION_FAILED - queue '\(queue)' in vhost '/' in use"))
                try await connection.cancel()
                try await connection.fill(queue, 1)
                #expect(
                    try await connection.refusal(of: empty)
                        == Refusal(406, "PRECONDITION_FAILED - queue '\(queue)' in vhost '/' not empty"))
                // What is out does not count.
                _ = try await connection.get(queue, noAck: false)
                try await connection.perform(empty)
                #expect(try await !connection.hasQueue(queue))
            }
        }
    }

    // MARK: - Going by themselves

    /// How a consumer leaves.
    private enum Leaving: CaseIterable {
        case cancelled, channelClosed, channelFailed, connectionClosed
    }

    @Test("An auto-delete queue goes with its last consumer, however that leaves", arguments: TestBroker.modes)
    func autoDelete(broker: TestBroker) async throws {
        try await broker.run { url in
            try await withRawConnection(url) { connection in
                for way in Leaving.allCases {
                    let queue = try await connection.declare(durable: true, exclusive: false, autoDelete: true)
                    try await withRawConnection(url) { other in
                        let channel = try await other.openChannel()
                        try await other.consume(queue, on: channel)
                        try await other.consume(queue)
                        try await other.cancel()
                        // There is another one.
                        #expect(try await connection.counts(queue).consumerCount == 1)
                        switch way {
                        case .cancelled: try await other.cancel(on: channel)
                        case .channelClosed: try await other.closeChannel(channel)
                        case .channelFailed:
                            try await other.send(.queuePurge(.init(queue: TestBroker.uniqueName())), on: channel)
                            _ = try await other.channelClose(on: channel)
                        case .connectionClosed: try await other.close()
                        }
                        try await eventually("\(way): it is gone") { try await !connection.hasQueue(queue) }
                    }
                }
                // Fetching is no consuming: without a consumer it stays.
                let queue = try await connection.declare(autoDelete: true)
                #expect(try await connection.get(queue) == nil)
                #expect(try await connection.hasQueue(queue))
            }
        }
    }

    /// What keeps a queue with `x-expires`.
    private enum Use: CaseIterable {
        case fetching, declaring, consuming
    }

    @Test("A queue with x-expires stays as long as it is used, and goes after")
    func expires() async throws {
        try await TestBroker.modes.runAtOnce { url in
            try await withThrowingTaskGroup(of: Void.self) { group in
                for use in Use.allCases {
                    group.addTask {
                        try await withRawConnection(url) { connection in try await Self.check(use, connection) }
                    }
                }
                try await group.waitForAll()
            }
        }
    }

    private static func check(_ use: Use, _ connection: RawConnection) async throws {
        // Long enough for a use to be held up now and then.
        let arguments: AMQPTable = ["x-expires": 2000]
        let used = try await connection.declare(arguments: arguments)
        if use == .consuming { try await connection.consume(used) }
        // Later, and not used: when it has gone, the other one would have too.
        let unused = try await connection.declare(arguments: arguments)
        func isThere(_ queue: String) async throws -> Bool {
            try await connection.publish("x", to: queue, mandatory: true)
            // Publishing is no use; what cannot be routed comes back before this is answered.
            try await connection.send(.channelFlow(.init(active: true)))
            guard case .content = try await connection.next(on: 1) else { return true }
            _ = try await connection.method()
            return false
        }
        try await eventually("the unused one has gone") {
            switch use {
            case .fetching: #expect(try await connection.get(used) == nil)
            case .declaring: try await connection.declare(used, arguments: arguments)
            case .consuming: break
            }
            return try await !isThere(unused)
        }
        #expect(try await connection.hasQueue(used), "\(use)")
        if use == .consuming { try await connection.cancel() }
        try await eventually("the other one goes too") { try await !isThere(used) }
    }

    // MARK: - Messages that expire

    @Test("A message lives as long as the shorter of two times says", arguments: TestBroker.modes)
    func timesToLive(broker: TestBroker) async throws {
        try await broker.run { url in
            try await withRawConnection(url) { connection in
                try await connection.perform(.confirmSelect(.init()))
                var short = AMQPBasicProperties()
                short.expiration = "50"
                var long = AMQPBasicProperties()
                long.expiration = "60000"
                let (fifty, minute): (AMQPTable, AMQPTable) = (["x-message-ttl": 50], ["x-message-ttl": 60_000])
                for (arguments, properties) in [
                    (fifty, AMQPBasicProperties()), (fifty, long), (minute, short), (AMQPTable(), short),
                ] {
                    let queue = try await connection.declare(arguments: arguments)
                    try await connection.put("x", in: queue, properties: properties)
                    try await connection.put("stays", in: queue)
                    // Nobody asks for the message: it goes by itself.
                    let left: [String] = arguments["x-message-ttl"]?.integer == 50 ? [] : ["stays"]
                    try await connection.expectReady(left.count, in: queue)
                    #expect(try await connection.drain(queue).map(\.text) == left)
                }
            }
        }
    }

    @Test("With no time to live a message is for a consumer that waits, or nobody", arguments: TestBroker.modes)
    func noTimeToLive(broker: TestBroker) async throws {
        try await broker.run { url in
            try await withRawConnection(url) { connection in
                var none = AMQPBasicProperties()
                none.expiration = "0"
                let zero: AMQPTable = ["x-message-ttl": 0]
                for (arguments, properties) in [(zero, AMQPBasicProperties()), (AMQPTable(), none)] {
                    let queue = try await connection.declare(arguments: arguments)
                    try await connection.publish("nobody's", to: queue, properties: properties)
                    #expect(try await connection.get(queue) == nil)
                    let channel = try await connection.openChannel()
                    try await connection.consume(queue, on: channel)
                    try await connection.publish("somebody's", to: queue, properties: properties)
                    let delivery = try await connection.delivery(on: channel)
                    #expect(delivery.text == "somebody's")
                    // Its time is over when it comes back.
                    try await connection.cancel(on: channel)
                    try await connection.nack(delivery.tag, on: channel)
                    #expect(try await connection.get(queue, on: channel) == nil)
                }
            }
        }
    }

    @Test("What has expired behind another message goes when its turn comes", arguments: TestBroker.modes)
    func expiredBehindTheHead(broker: TestBroker) async throws {
        try await broker.run { url in
            try await withRawConnection(url) { connection in
                var expiring = AMQPBasicProperties()
                expiring.expiration = "50"
                try await connection.perform(.confirmSelect(.init()))
                let queue = try await connection.declare()
                let witness = try await connection.declare()
                try await connection.put("stays", in: queue)
                try await connection.put("expires", in: queue, properties: expiring)
                // Later, with the same time.
                try await connection.put("expires", in: witness, properties: expiring)
                try await connection.expectReady(0, in: witness)
                // Counted, and not delivered.
                #expect(try await connection.ready(queue) == 2)
                #expect(try await connection.drain(queue).map(\.text) == ["stays"])
            }
        }
    }

    @Test("What comes back to its queue expires when it would have anyway", arguments: TestBroker.modes)
    func requeueingKeepsTheTime(broker: TestBroker) async throws {
        try await broker.run { url in
            try await withRawConnection(url) { connection in
                var expiring = AMQPBasicProperties()
                expiring.expiration = "500"
                try await connection.perform(.confirmSelect(.init()))
                let queue = try await connection.declare()
                let witness = try await connection.declare()
                var fetched: RawConnection.Fetched?
                try await eventually("it is fetched in time") {
                    try await connection.put("x", in: queue, properties: expiring)
                    fetched = try await connection.get(queue, noAck: false)
                    return fetched != nil
                }
                let tag = try #require(fetched?.tag)
                // Later, with the same time.
                try await connection.put("x", in: witness, properties: expiring)
                try await connection.expectReady(0, in: witness)
                try await connection.nack(tag)
                #expect(try await connection.get(queue) == nil)
            }
        }
    }
}
