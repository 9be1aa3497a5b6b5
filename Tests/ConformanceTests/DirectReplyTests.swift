// SPDX-License-Identifier: Apache-2.0
import AMQPWire
import NIOCore
import TestSupport
import Testing

/// Replies that go straight to the channel that asked, without a queue: RabbitMQ's direct reply-to.
@Suite("Rules of direct replies", .timeLimit(.minutes(2)))
struct DirectReplyTests {
    private static let name = "amq.rabbitmq.reply-to"

    private static func consume(_ tag: String, noAck: Bool = true) -> AMQPMethod {
        .basicConsume(.init(queue: Self.name, consumerTag: tag, noAck: noAck))
    }

    /// Publishes a request on a channel that consumes replies, and returns where its reply goes to.
    private static func ask(_ connection: RawConnection, on channel: UInt16 = 1) async throws -> String {
        let queue = try await connection.declare(on: channel)
        var properties = AMQPBasicProperties()
        properties.replyTo = Self.name
        try await connection.publish("request", to: queue, properties: properties, on: channel)
        let request = try #require(try await connection.get(queue, on: channel))
        return try #require(try request.content.header.decodeProperties().replyTo)
    }

    @Test("A channel has one consumer of replies, which cannot acknowledge: 406", arguments: TestBroker.modes)
    func consuming(broker: TestBroker) async throws {
        try await broker.run { url in
            try await withRawConnection(url) { connection in
                #expect(
                    try await connection.refusal(of: Self.consume("c", noAck: false))
                        == Refusal(406, "PRECONDITION_FAILED - reply consumer cannot acknowledge"))
                for tag in ["another", "first"] {
                    let channel = try await connection.openChannel()
                    try await connection.perform(Self.consume("first"), on: channel)
                    try await connection.send(Self.consume(tag), on: channel)
                    #expect(
                        try await connection.refusal(blaming: .basicConsume, on: channel)
                            == Refusal(406, "PRECONDITION_FAILED - reply consumer already set"))
                }
                // Once it is cancelled there may be another one; one without a name is given one.
                try await connection.perform(Self.consume("first"))
                try await connection.cancel("first")
                guard case .basicConsumeOk(let ok) = try await connection.call(Self.consume("")) else {
                    throw RawConnection.Unexpected("no answer to basic.consume")
                }
                #expect(ok.consumerTag.hasPrefix("amq.ctag-"))
            }
        }
    }

    @Test("A request has to be asked where its reply is awaited: 406", arguments: TestBroker.modes)
    func asking(broker: TestBroker) async throws {
        try await broker.run { url in
            try await withRawConnection(url) { connection in
                try await connection.perform(Self.consume("c"))
                var properties = AMQPBasicProperties()
                properties.replyTo = Self.name
                // On another channel.
                #expect(
                    try await connection.refusal(ofPublishingTo: "x", properties: properties)
                        == Refusal(406, "PRECONDITION_FAILED - fast reply consumer does not exist"))
                // Other addresses are the publisher's business, however alike.
                properties.replyTo = "\(Self.name).x"
                let queue = try await connection.declare()
                try await connection.publish("x", to: queue, properties: properties)
                let fetched = try #require(try await connection.get(queue))
                #expect(try fetched.content.header.decodeProperties().replyTo == "\(Self.name).x")
            }
        }
    }

    @Test("A reply comes from any connection, with the address as its key", arguments: TestBroker.modes)
    func replying(broker: TestBroker) async throws {
        try await broker.run { url in
            try await withRawConnection(url) { connection in
                try await connection.perform(Self.consume("replies"))
                let address = try await Self.ask(connection)
                #expect(address.hasPrefix("\(Self.name).") && address.utf8.count <= 255)
                var properties = AMQPBasicProperties()
                properties.correlationID = "7"
                try await connection.publish("near", to: address, properties: properties)
                let near = try await connection.delivery()
                #expect(near.text == "near" && near.deliver.consumerTag == "replies" && !near.redelivered)
                #expect(near.deliver.exchange == "" && near.deliver.routingKey == address)
                #expect(try near.content.header.decodeProperties() == properties)
                try await withRawConnection(url) { other in
                    try await other.perform(.confirmSelect(.init()))
                    try await other.publish("far", to: address)
                    #expect(try await other.method() == .basicAck(.init(deliveryTag: 1)))
                }
                #expect(try await connection.delivery().text == "far")
            }
        }
    }

    @Test("Returned requests, and replies that ask in turn, have the address too", arguments: TestBroker.modes)
    func rewriting(broker: TestBroker) async throws {
        try await broker.run { url in
            try await withRawConnection(url) { connection in
                try await connection.perform(Self.consume("c"))
                let address = try await Self.ask(connection)
                var properties = AMQPBasicProperties()
                properties.replyTo = Self.name
                try await connection.publish(
                    "x", to: TestBroker.uniqueName(), mandatory: true, properties: properties)
                #expect(try await connection.content().header.decodeProperties().replyTo == address)
                try await connection.publish("x", to: address, properties: properties)
                #expect(try await connection.delivery().content.header.decodeProperties().replyTo == address)
            }
        }
    }

    @Test("An address ends with its consumer, and the next one has another", arguments: TestBroker.modes)
    func lifetime(broker: TestBroker) async throws {
        try await broker.run { url in
            try await withRawConnection(url) { connection in
                try await connection.perform(Self.consume("c"))
                let first = try await Self.ask(connection)
                try await connection.cancel()
                #expect(try await !connection.hasQueue(first))
                try await connection.perform(Self.consume("c"))
                let second = try await Self.ask(connection)
                #expect(first != second)
                // What is sent to the first one is dropped.
                try await connection.publish("late", to: first)
                try await connection.publish("in time", to: second)
                #expect(try await connection.delivery().text == "in time")
                let channel = try await connection.openChannel()
                try await connection.perform(Self.consume("c"), on: channel)
                let third = try await Self.ask(connection, on: channel)
                #expect(try await connection.hasQueue(third))
                try await connection.closeChannel(channel)
                #expect(try await !connection.hasQueue(third))
            }
        }
    }

    @Test("A mandatory reply is returned, and since RabbitMQ 4.2 never", arguments: TestBroker.modes)
    func mandatory(broker: TestBroker) async throws {
        try await broker.run { url in
            try await withRawConnection(url) { connection in
                try await connection.perform(Self.consume("c"))
                let address = try await Self.ask(connection)
                try await connection.cancel()
                try await withRawConnection(url) { other in
                    // Nobody awaits it.
                    try await other.publish("late", to: address, mandatory: true)
                    if broker == .rabbitMQ { #expect(try await other.content().method.id == .basicReturn) }
                    try await other.sync()
                }
                try await connection.perform(Self.consume("c"))
                let next = try await Self.ask(connection)
                try await withRawConnection(url) { other in
                    try await other.publish("in time", to: next, mandatory: true)
                    // Although it arrives: there is no queue.
                    if broker == .rabbitMQ { #expect(try await other.content().method.id == .basicReturn) }
                    try await other.sync()
                }
                #expect(try await connection.delivery().text == "in time")
            }
        }
    }

    @Test("An address may be looked for, and declared, as if it were a queue", arguments: TestBroker.modes)
    func declaring(broker: TestBroker) async throws {
        try await broker.run { url in
            try await withRawConnection(url) { connection in
                try await connection.perform(Self.consume("c"))
                let address = try await Self.ask(connection)
                // RabbitMQ 3.10 has an internal error where the address holds what is not for names of processes.
                for name in broker == .rabbitMQ ? [Self.name] : [Self.name, address] {
                    for passive in [true, false] {
                        let answer = try await connection.call(.queueDeclare(.init(queue: name, passive: passive)))
                        #expect(
                            answer == .queueDeclareOk(.init(queue: name, messageCount: 0, consumerCount: 1)),
                            "\(name), passive: \(passive)")
                    }
                }
                for passive in [true, false] {
                    let missing = "\(Self.name).missing"
                    #expect(
                        try await connection.refusal(of: .queueDeclare(.init(queue: missing, passive: passive)))
                            == Refusal(404, "NOT_FOUND - no queue '\(missing)' in vhost '/'"))
                }
            }
        }
    }

    @Test("An address is no queue for anything else", arguments: TestBroker.modes)
    func noQueue(broker: TestBroker) async throws {
        try await broker.run { url in
            try await withRawConnection(url) { connection in
                try await connection.perform(Self.consume("c"))
                let address = try await Self.ask(connection)
                let methods: [AMQPMethod] = [
                    .basicGet(.init(queue: address)), .queuePurge(.init(queue: address)),
                    .basicConsume(.init(queue: address, consumerTag: "", noAck: true)),
                ]
                for method in methods {
                    #expect(
                        try await connection.refusal(of: method)
                            == Refusal(404, "NOT_FOUND - no queue '\(address)' in vhost '/'"), "\(method)")
                }
                // RabbitMQ 4.2 knows what it is, and forbids it; before there is none.
                let bind = AMQPMethod.queueBind(.init(queue: address, exchange: "amq.direct", routingKey: "k"))
                #expect(try await connection.refusal(of: bind).code == (broker == .rabbitMQ ? 404 : 403))
                #expect(
                    try await connection.call(.queueDelete(.init(queue: address)))
                        == .queueDeleteOk(.init(messageCount: 0)))
                #expect(try await connection.hasQueue(address))
                // By another exchange than the default one there is no way to it.
                try await connection.publish("x", to: address, exchange: "amq.direct", mandatory: true)
                #expect(try await connection.content().method.id == .basicReturn)
            }
        }
    }
}
