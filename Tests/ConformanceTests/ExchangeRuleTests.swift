// SPDX-License-Identifier: Apache-2.0
import AMQPWire
import NIOCore
import TestSupport
import Testing

/// Which exchanges there are and may be, and where they send a message.
@Suite("Rules of exchanges", .timeLimit(.minutes(2)))
struct ExchangeRuleTests {
    // MARK: - Declaring and deleting

    @Test("An exchange of each type is there from the beginning, and durable", arguments: TestBroker.modes)
    func predeclared(broker: TestBroker) async throws {
        try await broker.run { url in
            try await withRawConnection(url) { connection in
                let names = [
                    ("amq.direct", "direct"), ("amq.fanout", "fanout"), ("amq.topic", "topic"),
                    ("amq.headers", "headers"), ("amq.match", "headers"),
                ]
                for (name, type) in names {
                    try await connection.perform(.exchangeDeclare(.init(exchange: name, type: type, durable: true)))
                }
                try await connection.perform(
                    .exchangeDeclare(
                        .init(exchange: "amq.rabbitmq.trace", type: "topic", durable: true, internal: true)))
            }
        }
    }

    @Test("The default exchange routes to queues by name, and is not touched: 403", arguments: TestBroker.modes)
    func defaultExchange(broker: TestBroker) async throws {
        try await broker.run { url in
            try await withRawConnection(url) { connection in
                let queue = try await connection.declare()
                try await connection.publish("x", to: queue)
                #expect(try await connection.get(queue)?.ok.exchange == "")
                let methods: [AMQPMethod] = [
                    .exchangeDeclare(.init(exchange: "", type: "direct", durable: true)),
                    .exchangeDeclare(.init(exchange: "", type: "direct", passive: true)),
                    .exchangeDelete(.init(exchange: "")),
                    .exchangeBind(.init(destination: "amq.direct", source: "", routingKey: "k")),
                    .exchangeBind(.init(destination: "", source: "amq.direct", routingKey: "k")),
                    .exchangeUnbind(.init(destination: "amq.direct", source: "", routingKey: "k")),
                    .exchangeUnbind(.init(destination: "", source: "amq.direct", routingKey: "k")),
                    .queueBind(.init(queue: queue, exchange: "", routingKey: "k")),
                    .queueUnbind(.init(queue: queue, exchange: "", routingKey: queue)),
                ]
                for method in methods {
                    #expect(
                        try await connection.refusal(of: method)
                            == Refusal(403, "ACCESS_REFUSED - operation not permitted on the default exchange"),
                        "\(method)")
                }
            }
        }
    }

    @Test("Names that begin with amq. are the broker's, to make and to delete: 403", arguments: TestBroker.modes)
    func reserved(broker: TestBroker) async throws {
        try await broker.run { url in
            try await withRawConnection(url) { connection in
                let answer1 = try await connection.refusal(
                    of: .exchangeDeclare(.init(exchange: "amq.mine", type: "direct")))
                #expect(
                    answer1
                        == Refusal(403, "ACCESS_REFUSED - exchange name 'amq.mine' contains reserved prefix 'amq.*'"))
                for name in ["amq.direct", "amq.mine"] {
                    let answer2 = try await connection.refusal(of: .exchangeDelete(.init(exchange: name)))
                    #expect(
                        answer2
                            == Refusal(
                                403, "ACCESS_REFUSED - deletion of system exchange '\(name)' in vhost '/' not allowed"))
                }
                // One that exists is as good as any other to be declared again, if that is equivalent.
                let fault = "inequivalent arg 'type' for exchange 'amq.direct' in vhost '/': "
                let answer3 = try await connection.refusal(
                    of: .exchangeDeclare(.init(exchange: "amq.direct", type: "fanout", durable: true)))
                #expect(
                    answer3 == Refusal(406, "PRECONDITION_FAILED - \(fault)received 'fanout' but current is 'direct'"))
            }
        }
    }

    @Test("A type that does not exist is 406, and before RabbitMQ 4 503", arguments: TestBroker.modes)
    func unknownType(broker: TestBroker) async throws {
        try await broker.run { url in
            try await withRawConnection(url) { connection in
                let declare = AMQPMethod.exchangeDeclare(
                    .init(exchange: TestBroker.uniqueName(), type: "nonsense", autoDelete: true))
                if broker.isStrict {
                    let answer1 = try await connection.refusal(of: declare)
                    #expect(answer1 == Refusal(406, "PRECONDITION_FAILED - unknown exchange type 'nonsense'"))
                } else {
                    let answer2 = try await connection.fatalRefusal(of: declare)
                    #expect(answer2 == Refusal(503, "COMMAND_INVALID - unknown exchange type 'nonsense'"))
                }
            }
        }
    }

    @Test("Declared again, an exchange has to be the same: 406", arguments: TestBroker.modes)
    func equivalence(broker: TestBroker) async throws {
        try await broker.run { url in
            try await withRawConnection(url) { connection in
                let (plain, other) = (TestBroker.uniqueName("plain"), TestBroker.uniqueName("other"))
                try await connection.declareExchange(plain, "direct")
                // What the broker does not know is not compared.
                try await connection.declareExchange(plain, "direct", arguments: ["x-unknown": 1])
                try await connection.declareExchange(other, "direct", arguments: ["alternate-exchange": "one"])
                let alternate: AMQPTable = ["alternate-exchange": "two"]
                let differing: [(declare: AMQPMethod.ExchangeDeclare, key: String, how: String)] = [
                    (.init(exchange: plain, type: "topic"), "type", "received 'topic' but current is 'direct'"),
                    (
                        .init(exchange: plain, type: "direct", durable: true), "durable",
                        "received 'true' but current is 'false'"
                    ),
                    (
                        .init(exchange: plain, type: "direct", autoDelete: true), "auto_delete",
                        "received 'true' but current is 'false'"
                    ),
                    (
                        .init(exchange: plain, type: "direct", internal: true), "internal",
                        "received 'true' but current is 'false'"
                    ),
                    (
                        .init(exchange: plain, type: "direct", arguments: alternate), "alternate-exchange",
                        "received the value 'two' of type 'longstr' but current is none"
                    ),
                    (
                        .init(exchange: other, type: "direct"), "alternate-exchange",
                        "received none but current is the value 'one' of type 'longstr'"
                    ),
                    (
                        .init(exchange: other, type: "direct", arguments: alternate), "alternate-exchange",
                        "received 'two' but current is 'one'"
                    ),
                ]
                for (declare, key, how) in differing {
                    let resource = "exchange '\(declare.exchange)' in vhost '/'"
                    #expect(
                        try await connection.refusal(of: .exchangeDeclare(declare))
                            == Refusal(406, "PRECONDITION_FAILED - inequivalent arg '\(key)' for \(resource): \(how)"))
                }
                try await connection.deleteExchange(plain)
                try await connection.deleteExchange(other)
            }
        }
    }

    @Test("A look at an exchange asks for its name only, and for a missing one is 404", arguments: TestBroker.modes)
    func passive(broker: TestBroker) async throws {
        try await broker.run { url in
            try await withRawConnection(url) { connection in
                let name = TestBroker.uniqueName()
                #expect(
                    try await connection.refusal(
                        of: .exchangeDeclare(.init(exchange: name, type: "direct", passive: true)))
                        == Refusal(404, "NOT_FOUND - no exchange '\(name)' in vhost '/'"))
                try await connection.declareExchange(name, "direct")
                try await connection.perform(
                    .exchangeDeclare(
                        .init(
                            exchange: name, type: "nonsense", passive: true, durable: true, autoDelete: true,
                            internal: true, arguments: ["alternate-exchange": 5])))
                try await connection.deleteExchange(name)
            }
        }
    }

    @Test("Only an exchange that is in use is kept from being deleted, if so wished: 406", arguments: TestBroker.modes)
    func deleting(broker: TestBroker) async throws {
        try await broker.run { url in
            try await withRawConnection(url) { connection in
                let (source, destination) = (TestBroker.uniqueName("source"), TestBroker.uniqueName("destination"))
                // There is none.
                try await connection.deleteExchange(source)
                try await connection.declareExchange(source, "direct")
                try await connection.declareExchange(destination, "direct")
                try await connection.perform(
                    .exchangeBind(.init(destination: destination, source: source, routingKey: "k")))
                #expect(
                    try await connection.refusal(of: .exchangeDelete(.init(exchange: source, ifUnused: true)))
                        == Refusal(406, "PRECONDITION_FAILED - exchange '\(source)' in vhost '/' in use"))
                // Bindings that lead to it are no use.
                try await connection.perform(.exchangeDelete(.init(exchange: destination, ifUnused: true)))
                try await connection.perform(.exchangeDelete(.init(exchange: source, ifUnused: true)))
                #expect(try await !connection.hasExchange(source))
            }
        }
    }

    @Test("An auto-delete exchange goes with its last binding, wherever that led", arguments: TestBroker.modes)
    func autoDelete(broker: TestBroker) async throws {
        try await broker.run { url in
            try await withRawConnection(url) { connection in
                let (name, other) = (TestBroker.uniqueName("auto"), TestBroker.uniqueName("other"))
                let queue = try await connection.declare()
                try await connection.declareExchange(other, "direct")
                let incoming = AMQPMethod.ExchangeBind(destination: name, source: other, routingKey: "k")
                let outgoing = AMQPMethod.ExchangeBind(destination: other, source: name, routingKey: "k")
                // A binding that leads to it is none of its own, and without one it stays.
                try await connection.declareExchange(name, "direct", autoDelete: true)
                try await connection.perform(.exchangeBind(incoming))
                try await connection.perform(
                    .exchangeUnbind(.init(destination: name, source: other, routingKey: "k")))
                #expect(try await connection.hasExchange(name))
                // Unbound.
                try await connection.bind(queue, to: name, "one")
                try await connection.bind(queue, to: name, "two")
                try await connection.unbind(queue, from: name, "one")
                #expect(try await connection.hasExchange(name))
                try await connection.unbind(queue, from: name, "two")
                #expect(try await !connection.hasExchange(name))
                // Bound to a queue that is deleted.
                try await connection.declareExchange(name, "direct", autoDelete: true)
                try await connection.bind(queue, to: name)
                try await connection.perform(.queueDelete(.init(queue: queue)))
                #expect(try await !connection.hasExchange(name))
                // Bound to an exchange that is deleted.
                try await connection.declareExchange(name, "direct", autoDelete: true)
                try await connection.perform(.exchangeBind(outgoing))
                try await connection.deleteExchange(other)
                #expect(try await !connection.hasExchange(name))
            }
        }
    }

    @Test("An argument that is no name is 406", arguments: TestBroker.modes)
    func badArguments(broker: TestBroker) async throws {
        try await broker.run { url in
            try await withRawConnection(url) { connection in
                let name = TestBroker.uniqueName()
                let answer = try await connection.refusal(
                    of: .exchangeDeclare(.init(exchange: name, type: "direct", arguments: ["alternate-exchange": 5])))
                #expect(
                    answer
                        == Refusal(
                            406,
                            "PRECONDITION_FAILED - invalid type 'long' for arg 'alternate-exchange' in exchange "
                                + "'\(name)' in vhost '/'"))
            }
        }
    }

    // MARK: - Publishing to them

    @Test("A missing exchange is 404, and what follows on the channel is dropped", arguments: TestBroker.modes)
    func missing(broker: TestBroker) async throws {
        try await broker.run { url in
            try await withRawConnection(url) { connection in
                let queue = try await connection.declare()
                let missing = TestBroker.uniqueName()
                let channel = try await connection.openChannel()
                try await connection.publish("x", to: queue, exchange: missing, on: channel)
                try await connection.publish("x", to: queue, on: channel)
                #expect(
                    try await connection.refusal(blaming: .basicPublish, on: channel)
                        == Refusal(404, "NOT_FOUND - no exchange '\(missing)' in vhost '/'"))
                try await connection.openChannel(channel)
                #expect(try await connection.get(queue, on: channel) == nil)
            }
        }
    }

    @Test("To an internal exchange only other exchanges publish: 403", arguments: TestBroker.modes)
    func internalExchange(broker: TestBroker) async throws {
        try await broker.run { url in
            try await withRawConnection(url) { connection in
                let (source, name) = (TestBroker.uniqueName("source"), TestBroker.uniqueName("internal"))
                try await connection.declareExchange(source, "fanout")
                try await connection.perform(.exchangeDeclare(.init(exchange: name, type: "fanout", internal: true)))
                try await connection.perform(.exchangeBind(.init(destination: name, source: source, routingKey: "")))
                let queue = try await connection.declare()
                try await connection.bind(queue, to: name)
                #expect(
                    try await connection.refusal(ofPublishingTo: "x", exchange: name)
                        == Refusal(
                            403, "ACCESS_REFUSED - cannot publish to internal exchange '\(name)' in vhost '/'"))
                try await connection.publish("x", to: "x", exchange: source)
                #expect(try await connection.purge(queue) == 1)
                try await connection.deleteExchange(source)
                try await connection.deleteExchange(name)
            }
        }
    }

    // MARK: - Routing

    @Test("A fanout exchange ignores the key, a direct one compares it whole", arguments: TestBroker.modes)
    func directAndFanout(broker: TestBroker) async throws {
        try await broker.run { url in
            try await withRawConnection(url) { connection in
                let queue = try await connection.declare()
                for type in ["direct", "fanout"] {
                    let name = TestBroker.uniqueName(type)
                    try await connection.declareExchange(name, type, autoDelete: true)
                    try await connection.bind(queue, to: name, "a.b")
                    for key in ["a.b", "a.B", "a", "a.b.c", ""] {
                        try await connection.publish("x", to: key, exchange: name)
                        let expected = type == "fanout" || key == "a.b" ? 1 : 0
                        #expect(try await connection.purge(queue) == expected, "\(type) \(key)")
                    }
                    try await connection.unbind(queue, from: name, "a.b")
                }
            }
        }
    }

    @Test("A topic is words between dots: * is one, # any number", arguments: TestBroker.modes)
    func topics(broker: TestBroker) async throws {
        try await broker.run { url in
            try await withRawConnection(url) { connection in
                let name = TestBroker.uniqueName("topic")
                try await connection.declareExchange(name, "topic")
                let patterns: [(pattern: String, matching: [String], other: [String])] = [
                    ("#", ["", "a", "a.b", ".", "a..b"], []),
                    ("*", ["a"], ["", "a.b", "."]),
                    ("*.*", ["a.b", "."], ["", "a", "a..b"]),
                    ("a.#", ["a", "a.", "a.b", "a.b.c"], ["", "ab", ".a"]),
                    ("#.a", ["a", "b.a", ".a"], ["a.b"]),
                    ("a.#.b", ["a.b", "a.x.b", "a.x.y.b", "a..b"], ["ab", "a", "b"]),
                    ("a.*.#", ["a.b", "a.b.c"], ["a"]),
                    ("#.*", ["a", "a.b"], [""]),
                    ("", [""], ["a"]),
                    ("a.b", ["a.b"], ["A.b", "a.b."]),
                    // Signs are signs only as whole words.
                    ("a*", [], ["a", "ab"]),
                    ("a.#b", ["a.#b"], ["a.b", "a.xb"]),
                ]
                for (pattern, matching, other) in patterns {
                    let queue = try await connection.declare()
                    try await connection.bind(queue, to: name, pattern)
                    for key in matching {
                        try await connection.publish("x", to: key, exchange: name)
                        #expect(try await connection.purge(queue) == 1, "'\(pattern)' and '\(key)'")
                    }
                    for key in other {
                        try await connection.publish("x", to: key, exchange: name)
                        #expect(try await connection.purge(queue) == 0, "'\(pattern)' and '\(key)'")
                    }
                    try await connection.perform(.queueDelete(.init(queue: queue)))
                }
                try await connection.deleteExchange(name)
            }
        }
    }

    @Test("More than two # in a pattern are refused since RabbitMQ 4.3: 406", arguments: TestBroker.modes)
    func manyHashes(broker: TestBroker) async throws {
        try await broker.run { url in
            try await withRawConnection(url) { connection in
                let queue = try await connection.declare()
                try await connection.bind(queue, to: "amq.topic", "\(queue).#.#")
                let bind = AMQPMethod.queueBind(
                    .init(queue: queue, exchange: "amq.topic", routingKey: "\(queue).#.#.#"))
                if broker.isStrict {
                    #expect(try await connection.refusal(of: bind).code == 406)
                } else {
                    try await connection.perform(bind)
                }
            }
        }
    }

    @Test("A headers exchange compares the headers that a binding names", arguments: TestBroker.modes)
    func headers(broker: TestBroker) async throws {
        try await broker.run { url in
            try await withRawConnection(url) { connection in
                let name = TestBroker.uniqueName("headers")
                try await connection.declareExchange(name, "headers")
                func check(_ arguments: AMQPTable, matching: [AMQPTable], other: [AMQPTable]) async throws {
                    let queue = try await connection.declare()
                    try await connection.bind(queue, to: name, "ignored", arguments: arguments)
                    for (tables, expected) in [(matching, 1), (other, 0)] {
                        for table in tables {
                            var properties = AMQPBasicProperties()
                            properties.headers = table
                            try await connection.publish("x", to: "any", exchange: name, properties: properties)
                            #expect(try await connection.purge(queue) == expected, "\(arguments) and \(table)")
                        }
                    }
                    // A message without headers is one with none.
                    try await connection.publish("x", to: "any", exchange: name)
                    let expected = matching.contains([:]) ? 1 : 0
                    #expect(try await connection.purge(queue) == expected, "\(arguments)")
                    try await connection.perform(.queueDelete(.init(queue: queue)))
                }
                // Nothing to compare.
                try await check([:], matching: [[:], ["a": 1]], other: [])
                try await check(["x-match": "any"], matching: [], other: [[:], ["a": 1]])
                // All of them, which is what no x-match means too.
                try await check(
                    ["a": 1, "b": "2"], matching: [["a": 1, "b": "2", "c": 3]],
                    other: [[:], ["a": 1], ["a": 1, "b": "3"]])
                try await check(
                    ["x-match": "all", "a": 1], matching: [["a": 1], ["a": .int8(1)]],
                    other: [["a": 2], ["a": "1"], ["b": 1]])
                try await check(
                    ["x-match": "any", "a": 1, "b": "2"], matching: [["a": 1], ["a": 2, "b": "2"]],
                    other: [["a": 2], ["c": 1]])
                // Names that begin with x- count if asked for.
                try await check(
                    ["x-match": "all", "x-a": 1, "b": 1], matching: [["b": 1], ["b": 1, "x-a": 2]],
                    other: [["x-a": 1]])
                try await check(["x-match": "any", "x-a": 1], matching: [], other: [["x-a": 1]])
                try await check(["x-match": "all-with-x", "x-a": 1], matching: [["x-a": 1]], other: [["x-a": 2]])
                try await check(
                    ["x-match": "any-with-x", "x-a": 1, "b": 1], matching: [["x-a": 1], ["b": 1]],
                    other: [["b": 2]])
                // No value asks only that there is one.
                try await check(["a": .void], matching: [["a": 5], ["a": "x"], ["a": .void]], other: [["b": 5]])
                try await connection.deleteExchange(name)
            }
        }
    }

    @Test("There are four ways to compare headers: others are 406", arguments: TestBroker.modes)
    func badMatches(broker: TestBroker) async throws {
        try await broker.run { url in
            try await withRawConnection(url) { connection in
                let queue = try await connection.declare()
                let wrong: [(value: AMQPFieldValue, fault: String)] = [
                    (
                        "some",
                        "Invalid x-match field value <<\"some\">>; expected all, any, all-with-x, or any-with-x"
                    ),
                    (.int32(1), "Invalid x-match field type signedint (value 1); expected longstr"),
                ]
                for (value, fault) in wrong {
                    let bind = AMQPMethod.queueBind(
                        .init(
                            queue: queue, exchange: "amq.headers", routingKey: "", arguments: ["x-match": value]))
                    #expect(
                        try await connection.refusal(of: bind) == Refusal(406, "PRECONDITION_FAILED - \(fault)"))
                }
            }
        }
    }

    @Test("CC and BCC are further keys; of BCC nobody is told", arguments: TestBroker.modes)
    func copies(broker: TestBroker) async throws {
        try await broker.run { url in
            try await withRawConnection(url) { connection in
                let (cc, bcc) = try await (connection.declare(), connection.declare())
                var properties = AMQPBasicProperties()
                // Named twice, it gets one all the same.
                let copies: AMQPTable = ["CC": [.text(cc), .text(cc), 5], "BCC": [.text(bcc), .text(cc)]]
                properties.headers = copies
                let nowhere = TestBroker.uniqueName()
                try await connection.publish("x", to: nowhere, mandatory: true, properties: properties)
                for queue in [cc, bcc] {
                    let all = try await connection.drain(queue)
                    #expect(all.map(\.ok.routingKey) == [nowhere])
                    let headers = try all.first?.content.header.decodeProperties().headers
                    #expect(headers?["CC"] == copies["CC"] && headers?["BCC"] == nil)
                }
                // By other exchanges too.
                try await connection.bind(cc, to: "amq.direct", cc)
                try await connection.publish("x", to: nowhere, exchange: "amq.direct", properties: properties)
                #expect(try await connection.purge(cc) == 1)
                // Nor is the publisher told, to whom it comes back.
                properties.headers = ["BCC": [.text(nowhere)], "a": 1]
                try await connection.publish("x", to: nowhere, mandatory: true, properties: properties)
                let left: AMQPTable = ["a": 1]
                #expect(try await connection.content().header.decodeProperties().headers == left)
                for name in ["CC", "BCC"] {
                    properties.headers = [name: "no array"]
                    let fault = "{unacceptable_type_in_header,\"\(name)\",longstr}"
                    #expect(
                        try await connection.refusal(ofPublishingTo: cc, properties: properties)
                            == Refusal(406, "PRECONDITION_FAILED - invalid message: \(fault)"))
                }
            }
        }
    }

    // MARK: - Exchanges behind exchanges

    @Test("Bound in circles, exchanges pass a message on once, and each queue gets one", arguments: TestBroker.modes)
    func circles(broker: TestBroker) async throws {
        try await broker.run { url in
            try await withRawConnection(url) { connection in
                let names = [TestBroker.uniqueName("one"), TestBroker.uniqueName("two")]
                let queue = try await connection.declare()
                for name in names {
                    try await connection.declareExchange(name, "fanout")
                    try await connection.bind(queue, to: name)
                }
                for source in names {
                    for destination in names {
                        try await connection.perform(
                            .exchangeBind(.init(destination: destination, source: source, routingKey: "")))
                    }
                }
                try await connection.publish("x", to: "x", exchange: names[0])
                #expect(try await connection.purge(queue) == 1)
                for name in names { try await connection.deleteExchange(name) }
            }
        }
    }

    @Test("Bindings of exchanges need both: 404; what is not bound is unbound", arguments: TestBroker.modes)
    func missingEnds(broker: TestBroker) async throws {
        try await broker.run { url in
            try await withRawConnection(url) { connection in
                let missing = TestBroker.uniqueName()
                let refusal = Refusal(404, "NOT_FOUND - no exchange '\(missing)' in vhost '/'")
                let pairs = [("amq.direct", missing), (missing, "amq.direct")]
                for (destination, source) in pairs {
                    #expect(
                        try await connection.refusal(
                            of: .exchangeBind(.init(destination: destination, source: source, routingKey: "k")))
                            == refusal)
                    try await connection.perform(
                        .exchangeUnbind(.init(destination: destination, source: source, routingKey: "k")))
                }
            }
        }
    }

    @Test("An alternate exchange gets what its exchange has no way for, and so on", arguments: TestBroker.modes)
    func alternates(broker: TestBroker) async throws {
        try await broker.run { url in
            try await withRawConnection(url) { connection in
                let (first, second, third) = (
                    TestBroker.uniqueName("first"), TestBroker.uniqueName("second"), TestBroker.uniqueName("third")
                )
                let (bound, rest) = try await (connection.declare(), connection.declare())
                try await connection.declareExchange(first, "direct", arguments: ["alternate-exchange": .text(second)])
                try await connection.declareExchange(second, "direct", arguments: ["alternate-exchange": .text(third)])
                try await connection.declareExchange(third, "fanout")
                try await connection.bind(bound, to: first, "bound")
                try await connection.bind(rest, to: third)
                func arrivals(_ key: String, _ properties: AMQPBasicProperties = .init()) async throws -> [Int] {
                    // Mandatory: what the alternates take does not come back.
                    try await connection.publish("x", to: key, exchange: first, mandatory: true, properties: properties)
                    return [try await connection.purge(bound), try await connection.purge(rest)]
                }
                #expect(try await arrivals("bound") == [1, 0])
                #expect(try await arrivals("other") == [0, 1])
                // One key with a way is enough.
                var properties = AMQPBasicProperties()
                properties.headers = ["CC": ["other"]]
                #expect(try await arrivals("bound", properties) == [1, 0])
                // The last one is missing, and the message has no way.
                try await connection.deleteExchange(third)
                try await connection.publish("x", to: "other", exchange: first, mandatory: true)
                guard case .basicReturn(let returned) = try await connection.content().method else {
                    throw RawConnection.Unexpected("not returned")
                }
                #expect(returned.replyCode == 312 && returned.exchange == first)
                try await connection.deleteExchange(first)
                try await connection.deleteExchange(second)
            }
        }
    }

    @Test("An exchange that is its own alternate sends nothing round for ever", arguments: TestBroker.modes)
    func alternateOfItself(broker: TestBroker) async throws {
        try await broker.run { url in
            try await withRawConnection(url) { connection in
                let name = TestBroker.uniqueName()
                try await connection.declareExchange(name, "direct", arguments: ["alternate-exchange": .text(name)])
                try await connection.publish("x", to: "x", exchange: name, mandatory: true)
                #expect(try await connection.content().method.id == .basicReturn)
                try await connection.deleteExchange(name)
            }
        }
    }
}
