// SPDX-License-Identifier: Apache-2.0
import AMQPWire
import NIOCore
import TestSupport
import Testing

/// What holds for methods of every class: names, and answers that nobody wants.
@Suite("Rules of names and answers", .timeLimit(.minutes(1)))
struct MiscRuleTests {
    // MARK: - No-wait

    @Test("A method that wants no answer gets none, and is run", arguments: TestBroker.modes)
    func noWait(broker: TestBroker) async throws {
        try await broker.run { url in
            try await withRawConnection(url) { connection in
                let (queue, name) = (TestBroker.uniqueName("queue"), TestBroker.uniqueName("exchange"))
                let declarations: [AMQPMethod] = [
                    .queueDeclare(.init(queue: queue, exclusive: true, noWait: true)),
                    .exchangeDeclare(.init(exchange: name, type: "direct", noWait: true)),
                    .queueBind(.init(queue: queue, exchange: name, routingKey: "k", noWait: true)),
                    .exchangeBind(.init(destination: name, source: "amq.direct", routingKey: name, noWait: true)),
                ]
                for method in declarations {
                    try await connection.send(method)
                    try await connection.sync()
                }
                try await connection.publish("x", to: "k", exchange: name)
                #expect(try await connection.get(queue)?.text == "x")
                try await connection.publish("x", to: "k", exchange: name)
                try await connection.send(.queuePurge(.init(queue: queue, noWait: true)))
                try await connection.sync()
                #expect(try await connection.get(queue) == nil)
                try await connection.send(.basicConsume(.init(queue: queue, consumerTag: "c", noWait: true)))
                try await connection.publish("y", to: "k", exchange: name)
                #expect(try await connection.delivery().deliver.consumerTag == "c")
                try await connection.send(.basicCancel(.init(consumerTag: "c", noWait: true)))
                try await connection.sync()
                #expect(try await connection.counts(queue).consumerCount == 0)
                try await connection.send(.confirmSelect(.init(noWait: true)))
                try await connection.put("z", in: queue)
                let deletions: [AMQPMethod] = [
                    .exchangeUnbind(.init(destination: name, source: "amq.direct", routingKey: name, noWait: true)),
                    .queueDelete(.init(queue: queue, noWait: true)), .queueDelete(.init(queue: queue, noWait: true)),
                    .exchangeDelete(.init(exchange: name, noWait: true)),
                ]
                for method in deletions {
                    try await connection.send(method)
                    try await connection.sync()
                }
                #expect(try await !connection.hasQueue(queue))
                #expect(try await !connection.hasExchange(name))
            }
        }
    }

    @Test("What is wrong with such a method is told all the same", arguments: TestBroker.modes)
    func noWaitErrors(broker: TestBroker) async throws {
        try await broker.run { url in
            try await withRawConnection(url) { connection in
                let missing = TestBroker.uniqueName()
                let noQueue = Refusal(404, "NOT_FOUND - no queue '\(missing)' in vhost '/'")
                let noExchange = Refusal(404, "NOT_FOUND - no exchange '\(missing)' in vhost '/'")
                let wrong: [(method: AMQPMethod, refusal: Refusal)] = [
                    (
                        .queueDeclare(.init(queue: "amq.mine", exclusive: true, noWait: true)),
                        Refusal(403, "ACCESS_REFUSED - queue name 'amq.mine' contains reserved prefix 'amq.*'")
                    ),
                    (
                        .exchangeDeclare(.init(exchange: "", type: "direct", noWait: true)),
                        Refusal(403, "ACCESS_REFUSED - operation not permitted on the default exchange")
                    ),
                    (
                        .exchangeDeclare(.init(exchange: missing, type: "direct", passive: true, noWait: true)),
                        noExchange
                    ),
                    (
                        .queueBind(.init(queue: missing, exchange: "amq.direct", routingKey: "k", noWait: true)),
                        noQueue
                    ),
                    (
                        .exchangeBind(
                            .init(destination: missing, source: "amq.direct", routingKey: "k", noWait: true)),
                        noExchange
                    ),
                    (.queuePurge(.init(queue: missing, noWait: true)), noQueue),
                    (.basicConsume(.init(queue: missing, consumerTag: "c", noWait: true)), noQueue),
                    (
                        .queueDelete(.init(queue: "", noWait: true)),
                        Refusal(404, "NOT_FOUND - no previously declared queue")
                    ),
                    (
                        .exchangeDelete(.init(exchange: "amq.direct", noWait: true)),
                        Refusal(
                            403, "ACCESS_REFUSED - deletion of system exchange 'amq.direct' in vhost '/' not allowed")
                    ),
                ]
                for (method, refusal) in wrong {
                    #expect(try await connection.refusal(of: method) == refusal, "\(method)")
                }
                try await connection.perform(.txSelect(.init()))
                try await connection.send(.confirmSelect(.init(noWait: true)))
                #expect(
                    try await connection.refusal(blaming: .confirmSelect)
                        == Refusal(406, "PRECONDITION_FAILED - cannot switch from tx to confirm mode"))
            }
        }
    }

    // MARK: - Names

    @Test("Line ends are left out of names that are declared, bound and deleted", arguments: TestBroker.modes)
    func lineEnds(broker: TestBroker) async throws {
        try await broker.run { url in
            try await withRawConnection(url) { connection in
                let queue = TestBroker.uniqueName("queue")
                let spelled = "\r\(queue)\n"
                #expect(try await connection.declare(spelled) == queue)
                #expect(try await connection.counts(spelled).queue == queue)
                try await connection.bind(spelled, to: "amq.\ndirect", queue)
                try await connection.publish("x", to: queue, exchange: "amq.direct")
                #expect(try await connection.purge(queue) == 1)
                try await connection.unbind(spelled, from: "amq.\ndirect", queue)
                try await connection.publish("x", to: queue, exchange: "amq.direct")
                #expect(try await connection.purge(queue) == 0)
                try await connection.perform(.queueDelete(.init(queue: spelled)))
                #expect(try await !connection.hasQueue(queue))
                // First the line ends go, then the rest is looked at.
                #expect(
                    try await connection.refusal(of: .queueDeclare(.init(queue: "am\rq.mine", exclusive: true)))
                        == Refusal(403, "ACCESS_REFUSED - queue name 'amq.mine' contains reserved prefix 'amq.*'"))

                let name = TestBroker.uniqueName("exchange")
                try await connection.declareExchange("\(name)\r\n", "direct")
                #expect(try await connection.hasExchange(name))
                let (destination, source) = ("\n\(name)", "amq.\rdirect")
                try await connection.perform(
                    .exchangeBind(.init(destination: destination, source: source, routingKey: name)))
                try await connection.perform(
                    .exchangeUnbind(.init(destination: destination, source: source, routingKey: name)))
                try await connection.deleteExchange("\(name)\n")
                #expect(try await !connection.hasExchange(name))
            }
        }
    }

    @Test("Elsewhere line ends count, in names and in keys", arguments: TestBroker.modes)
    func lineEndsThatCount(broker: TestBroker) async throws {
        try await broker.run { url in
            try await withRawConnection(url) { connection in
                let queue = try await connection.declare()
                let spelled = "\(queue)\n"
                let methods: [AMQPMethod] = [
                    .queuePurge(.init(queue: spelled)), .basicGet(.init(queue: spelled)),
                    .basicConsume(.init(queue: spelled, consumerTag: "c")),
                ]
                for method in methods {
                    #expect(
                        try await connection.refusal(of: method)
                            == Refusal(404, "NOT_FOUND - no queue '\(spelled)' in vhost '/'"), "\(method.id)")
                }
                #expect(
                    try await connection.refusal(ofPublishingTo: queue, exchange: "amq.\ndirect")
                        == Refusal(404, "NOT_FOUND - no exchange 'amq.\ndirect' in vhost '/'"))
                try await connection.publish("x", to: spelled, mandatory: true)
                #expect(try await connection.content().method.id == .basicReturn)
                // A key and a tag are passed on as they are.
                try await connection.bind(queue, to: "amq.direct", spelled)
                try await connection.publish("x", to: spelled, exchange: "amq.direct")
                try await connection.consume(queue, tag: "c\r\n")
                #expect(try await connection.delivery().deliver.routingKey == spelled)
            }
        }
    }

    @Test("Names, keys and tags have up to 255 bytes of UTF-8", arguments: TestBroker.modes)
    func longNames(broker: TestBroker) async throws {
        try await broker.run { url in
            try await withRawConnection(url) { connection in
                func long(_ prefix: String) -> String {
                    let name = TestBroker.uniqueName(prefix)
                    let count = 255 - name.utf8.count
                    return name + String(repeating: "é", count: count / 2) + String(repeating: "x", count: count % 2)
                }
                let (queue, name, key, tag) = (long("queue"), long("exchange"), long("key"), long("tag"))
                #expect([queue, name, key, tag].allSatisfy { $0.utf8.count == 255 })
                #expect(try await connection.declare(queue) == queue)
                try await connection.declareExchange(name, "direct")
                try await connection.bind(queue, to: name, key)
                try await connection.consume(queue, tag: tag)
                try await connection.publish("x", to: key, exchange: name)
                #expect(
                    try await connection.delivery().deliver
                        == AMQPMethod.BasicDeliver(consumerTag: tag, deliveryTag: 1, exchange: name, routingKey: key))
                try await connection.deleteExchange(name)
            }
        }
    }

    @Test("A text that does not fit its 255 bytes is cut, and ends with three dots", arguments: TestBroker.modes)
    func longTexts(broker: TestBroker) async throws {
        try await broker.run { url in
            try await withRawConnection(url) { connection in
                let missing = TestBroker.uniqueName() + String(repeating: "x", count: 220)
                let whole = "NOT_FOUND - no queue '\(missing)' in vhost '/'"
                let answer = try await connection.refusal(of: .queueDeclare(.init(queue: missing, passive: true)))
                #expect(answer == Refusal(404, String(whole.prefix(252)) + "..."))
            }
        }
    }

    @Test("Names that differ in case are different names", arguments: TestBroker.modes)
    func caseSensitivity(broker: TestBroker) async throws {
        try await broker.run { url in
            try await withRawConnection(url) { connection in
                let (queue, name) = (TestBroker.uniqueName("Queue"), TestBroker.uniqueName("Exchange"))
                try await connection.declare(queue)
                #expect(try await !connection.hasQueue(queue.lowercased()))
                try await connection.declareExchange(name, "direct")
                #expect(try await !connection.hasExchange(name.lowercased()))
                try await connection.consume(queue, tag: "tag")
                try await connection.consume(queue, tag: "Tag")
                #expect(try await connection.counts(queue).consumerCount == 2)
                try await connection.deleteExchange(name)
            }
        }
    }
}
