// SPDX-License-Identifier: Apache-2.0
import AMQPBroker
import AMQPWire
import NIOCore
import Testing

@Suite("Messages through the broker", .timeLimit(.minutes(1)))
struct MessagingTests {
    @Test("arrive with properties and body byte for byte, whatever their size", arguments: [0, 1, 4095, 4096, 300_000])
    func bytes(size: Int) async throws {
        try await withBroker { broker in
            let client = try await RawClient.open(broker)
            try await client.declare("q")
            try await client.consume("q", noAck: true)
            var properties = ByteBuffer()
            var decoded = AMQPBasicProperties()
            decoded.headers = ["f": .float(1.5), "u": .uint8(3), "x": .byteArray([1, 2]), "twice": 1, "v": .void]
            decoded.headers?.append("twice", 2)
            decoded.timestamp = .max
            try decoded.encode(into: &properties)
            let body = ByteBuffer(bytes: (0..<size).map { UInt8(truncatingIfNeeded: $0) })
            try await client.send {
                try $0.append(
                    .basicPublish(.init(exchange: "", routingKey: "q")), properties: properties, body: body,
                    channel: 1)
            }
            let delivery = try await client.delivery()
            #expect(delivery.content.body == body)
            #expect(delivery.content.header.properties == properties)
            #expect(delivery.deliver == .init(consumerTag: "c", deliveryTag: 1, exchange: "", routingKey: "q"))
        }
    }

    @Test("are handed out by get, with how many are left")
    func get() async throws {
        try await withBroker { broker in
            let client = try await RawClient.open(broker)
            try await client.declare("q")
            #expect(try await client.get("q") == nil)
            for text in ["a", "b"] { try await client.publish(text, to: "q") }
            let a = try #require(try await client.get("q", noAck: false))
            #expect(a.text == "a" && a.ok.messageCount == 1 && a.ok.deliveryTag == 1 && !a.ok.redelivered)
            try await client.send(.basicReject(.init(deliveryTag: 1, requeue: true)))
            let again = try #require(try await client.get("q", noAck: false))
            #expect(again.text == "a" && again.ok.redelivered && again.ok.deliveryTag == 2)
            try await client.send(.basicReject(.init(deliveryTag: 2, requeue: false)))
            #expect(try await client.get("q")?.text == "b")
        }
    }

    @Test("keep coming as they are acknowledged, never more at a time than the prefetch")
    func prefetch() async throws {
        try await withBroker { broker in
            let client = try await RawClient.open(broker)
            try await client.declare("q")
            for number in 1...7 { try await client.publish("\(number)", to: "q") }
            try await client.prefetch(3)
            try await client.consume("q")
            for number in 1...3 { #expect(try await client.delivery().text == "\(number)") }
            try await client.expectNothing()
            try await client.ack(2)
            #expect(try await client.delivery().text == "4")
            try await client.ack(4, multiple: true)
            for number in 5...7 { #expect(try await client.delivery().text == "\(number)") }
            try await client.ack(0, multiple: true)
            try await client.ack(0, multiple: true)
            #expect(try await client.count("q").messages == 0)
        }
    }

    @Test("go back to their place by nack and recover, and come again as redelivered")
    func requeue() async throws {
        try await withBroker { broker in
            let client = try await RawClient.open(broker)
            try await client.declare("q")
            for text in ["a", "b", "c"] { try await client.publish(text, to: "q") }
            try await client.prefetch(2)
            try await client.consume("q")
            for _ in 0..<2 { _ = try await client.delivery() }
            try await client.send(.basicNack(.init(deliveryTag: 2, multiple: true, requeue: true)))
            for text in ["a", "b"] {
                let delivery = try await client.delivery()
                #expect(delivery.text == text && delivery.deliver.redelivered)
            }
            try await client.send(.basicRecover(.init(requeue: true)))
            // Answered first, so that what is delivered anew stands behind the answer.
            #expect(try await client.method() == .basicRecoverOk(.init()))
            for text in ["a", "b"] { #expect(try await client.delivery().text == text) }
            try await client.ack(6, multiple: true)
            let last = try await client.delivery()
            #expect(last.text == "c" && !last.deliver.redelivered)
        }
    }

    @Test(
        "end their channel with 406 when acknowledged wrongly",
        arguments: [
            .basicAck(.init(deliveryTag: 2)), .basicAck(.init(deliveryTag: 2, multiple: true)),
            .basicNack(.init(deliveryTag: 9, requeue: true)), .basicReject(.init(deliveryTag: 0)),
        ] as [AMQPMethod])
    func unknownTag(method: AMQPMethod) async throws {
        try await withBroker { broker in
            let client = try await RawClient.open(broker)
            try await client.declare("q")
            for text in ["a", "b"] { try await client.publish(text, to: "q") }
            _ = try await client.get("q", noAck: false)
            _ = try await client.get("q", noAck: true)
            try await client.send(method)
            let close = try await client.channelClose()
            #expect(close.replyCode == 406)
            #expect(close.replyText.hasPrefix("PRECONDITION_FAILED - unknown delivery tag "))
            #expect(close.failingClassID == 60 && close.failingMethodID == method.id.methodID)
            try await client.openChannel(1)
            #expect(try await client.get("q")?.ok.redelivered == true)
        }
    }

    @Test("go round among consumers of several connections, not past an exclusive one")
    func consumers() async throws {
        try await withBroker { broker in
            let one = try await RawClient.open(broker)
            let two = try await RawClient.open(broker)
            try await one.declare("q")
            try await one.consume("q", noAck: true)
            try await two.consume("q", noAck: true)
            for number in 1...4 { try await one.publish("\(number)", to: "q") }
            #expect(try await [one.delivery().text, one.delivery().text] == ["1", "3"])
            #expect(try await [two.delivery().text, two.delivery().text] == ["2", "4"])
            try await two.send(.basicConsume(.init(queue: "q", consumerTag: "x", exclusive: true)))
            let close = try await two.channelClose()
            #expect(close.replyCode == 403)
            #expect(close.replyText == "ACCESS_REFUSED - queue 'q' in vhost '/' in exclusive use")
            #expect(try await one.count("q").consumers == 1)
            #expect(
                try await one.call(.basicCancel(.init(consumerTag: "c"))) == .basicCancelOk(.init(consumerTag: "c")))
            #expect(
                try await one.call(.basicCancel(.init(consumerTag: "?"))) == .basicCancelOk(.init(consumerTag: "?")))
            try await one.consume("q", exclusive: true)
            try await two.openChannel(1)
            try await two.send(.basicConsume(.init(queue: "q", consumerTag: "x")))
            #expect(try await two.channelClose().replyCode == 403)
        }
    }

    @Test("stay with their channel when its consumer is cancelled")
    func cancel() async throws {
        try await withBroker { broker in
            let client = try await RawClient.open(broker)
            try await client.declare("q")
            try await client.publish("a", to: "q")
            try await client.consume("q")
            let delivery = try await client.delivery()
            _ = try await client.call(.basicCancel(.init(consumerTag: "c")))
            #expect(try await client.count("q").messages == 0)
            try await client.ack(delivery.tag)
            let reply = try await client.call(
                .channelClose(.init(replyCode: 200, replyText: "", failingClassID: 0, failingMethodID: 0)))
            #expect(reply == .channelCloseOk(.init()))
            try await client.openChannel(1)
            #expect(try await client.count("q").messages == 0)
        }
    }

    @Test("cannot be consumed twice under one tag: 530 for the connection")
    func reusedTag() async throws {
        try await withBroker { broker in
            let client = try await RawClient.open(broker)
            try await client.declare("q")
            try await client.consume("q")
            try await client.send(.basicConsume(.init(queue: "q", consumerTag: "c")))
            let close = try await client.connectionClose()
            #expect(close.replyCode == 530)
            #expect(close.replyText == "NOT_ALLOWED - attempt to reuse consumer tag 'c'")
        }
    }

    // MARK: - Publishing

    @Test("are confirmed, routed or not, and returned before their confirm if mandatory")
    func confirms() async throws {
        try await withBroker { broker in
            let client = try await RawClient.open(broker)
            try await client.declare("q")
            #expect(try await client.call(.confirmSelect(.init())) == .confirmSelectOk(.init()))
            try await client.publish("a", to: "q", mandatory: true)
            #expect(try await client.method() == .basicAck(.init(deliveryTag: 1)))
            try await client.publish("b", to: "nowhere")
            #expect(try await client.method() == .basicAck(.init(deliveryTag: 2)))
            try await client.publish("c", to: "nowhere", mandatory: true)
            let content = try await client.content()
            #expect(
                content.method
                    == .basicReturn(
                        .init(replyCode: 312, replyText: "NO_ROUTE", exchange: "", routingKey: "nowhere")))
            #expect(String(buffer: content.body) == "c")
            #expect(try await client.method() == .basicAck(.init(deliveryTag: 3)))
            #expect(try await client.call(.confirmSelect(.init())) == .confirmSelectOk(.init()))
            try await client.publish("d", to: "q")
            #expect(try await client.method() == .basicAck(.init(deliveryTag: 4)))
        }
    }

    @Test("are all confirmed when they come in one piece, whatever the number of acknowledgements")
    func confirmBatch() async throws {
        try await withBroker { broker in
            let client = try await RawClient.open(broker)
            try await client.declare("q")
            _ = try await client.call(.confirmSelect(.init()))
            try await client.send {
                for _ in 0..<1000 {
                    try $0.append(
                        .basicPublish(.init(exchange: "", routingKey: "q")), properties: AMQPBasicProperties(),
                        body: ByteBuffer(string: "x"), channel: 1)
                }
            }
            var confirmed: UInt64 = 0
            while confirmed < 1000 {
                guard case .basicAck(let ack) = try await client.method() else {
                    return #expect(Bool(false), "no ack")
                }
                #expect(ack.deliveryTag > confirmed && (ack.multiple || ack.deliveryTag == confirmed + 1))
                confirmed = ack.deliveryTag
            }
            #expect(confirmed == 1000)
            #expect(try await client.count("q").messages == 1000)
        }
    }

    @Test("published to what is not there, or not allowed, close the channel")
    func publishErrors() async throws {
        try await withBroker { broker in
            let client = try await RawClient.open(broker)
            var expired = AMQPBasicProperties()
            expired.expiration = "abc"
            var foreign = AMQPBasicProperties()
            foreign.userID = "somebody"
            var reply = AMQPBasicProperties()
            reply.replyTo = "amq.rabbitmq.reply-to"
            for (exchange, properties, code, text) in [
                ("missing", AMQPBasicProperties(), 404, "NOT_FOUND - no exchange 'missing' in vhost '/'"),
                (
                    "amq.rabbitmq.trace", AMQPBasicProperties(), 403,
                    "ACCESS_REFUSED - cannot publish to internal exchange 'amq.rabbitmq.trace' in vhost '/'"
                ),
                ("", reply, 406, "PRECONDITION_FAILED - fast reply consumer does not exist"),
                ("", expired, 406, "PRECONDITION_FAILED - invalid expiration 'abc': no_integer"),
                (
                    "", foreign, 406,
                    "PRECONDITION_FAILED - user_id property set to 'somebody' but authenticated user was 'guest'"
                ),
            ] as [(String, AMQPBasicProperties, UInt16, String)] {
                try await client.publish("x", to: "q", exchange: exchange, properties: properties)
                let close = try await client.channelClose()
                #expect(close.replyCode == code && close.replyText == text)
                #expect(close.failingClassID == 60 && close.failingMethodID == 40)
                try await client.openChannel(1)
            }
            try await client.send {
                try $0.append(
                    .basicPublish(.init(exchange: "", routingKey: "q", immediate: true)),
                    properties: AMQPBasicProperties(), body: ByteBuffer(), channel: 1)
            }
            #expect(try await client.connectionClose().replyCode == 540)
        }
    }

    @Test("are copied to CC and BCC, of which only CC can be seen")
    func copies() async throws {
        try await withBroker { broker in
            let client = try await RawClient.open(broker)
            for name in ["a", "b", "c"] { try await client.declare(name) }
            var properties = AMQPBasicProperties()
            properties.headers = ["CC": ["b", "b"], "BCC": ["c"]]
            try await client.publish("x", to: "a", properties: properties)
            for name in ["a", "b", "c"] {
                let got = try #require(try await client.get(name))
                #expect(got.ok.routingKey == "a")
                #expect(try got.header.decodeProperties().headers == ["CC": ["b", "b"]])
                #expect(try await client.get(name) == nil)
            }
            properties.headers = ["CC": "b"]
            try await client.publish("x", to: "a", properties: properties)
            #expect(try await client.channelClose().replyCode == 406)
        }
    }

    // MARK: - Time

    @Test("expire by themselves, and expired queues go, without anybody asking")
    func expiry() async throws {
        try await withBroker { broker in
            let client = try await RawClient.open(broker)
            try await client.declare("q", arguments: ["x-message-ttl": 40])
            // In one piece: the queue must not be gone before it is bound.
            try await client.send {
                try $0.append(
                    .exchangeDeclare(.init(exchange: "x", type: "fanout", autoDelete: true, noWait: true)), channel: 1)
                try $0.append(
                    .queueDeclare(
                        .init(queue: "gone", durable: true, noWait: true, arguments: ["x-expires": 40])), channel: 1)
                try $0.append(
                    .queueBind(.init(queue: "gone", exchange: "x", routingKey: "", noWait: true)), channel: 1)
            }
            try await client.publish("a", to: "q")
            while try await client.count("q").messages > 0 {}
            // The exchange deletes itself with its last binding, so with the queue.
            while true {
                try await client.send(.exchangeDeclare(.init(exchange: "x", type: "", passive: true)))
                let reply = try await client.method()
                if reply == .exchangeDeclareOk(.init()) { continue }
                guard case .channelClose(let close) = reply else { return #expect(Bool(false), "\(reply)") }
                #expect(close.replyCode == 404)
                break
            }
        }
    }

    // MARK: - Direct reply-to

    @Test("are replied to without a queue, from any connection, until the requester has gone")
    func directReply() async throws {
        try await withBroker { broker in
            let requester = try await RawClient.open(broker)
            let service = try await RawClient.open(broker)
            try await service.declare("rpc")
            try await service.consume("rpc", noAck: true)
            try await requester.consume("amq.rabbitmq.reply-to", noAck: true)
            var properties = AMQPBasicProperties()
            properties.replyTo = "amq.rabbitmq.reply-to"
            properties.correlationID = "1"
            try await requester.publish("ping", to: "rpc", properties: properties)
            let request = try await service.delivery().content
            let address = try #require(try request.header.decodeProperties().replyTo)
            #expect(address.hasPrefix("amq.rabbitmq.reply-to."))
            #expect(try request.header.decodeProperties().correlationID == "1")
            try await service.publish("pong", to: address, mandatory: true)
            let reply = try await requester.delivery()
            #expect(reply.text == "pong" && reply.deliver.routingKey == address && reply.deliver.consumerTag == "c")
            #expect(try await service.count(address) == (0, 1))
            try await requester.close()
            // Not returned, although nobody is there.
            try await service.publish("late", to: address, mandatory: true)
            try await service.expectNothing()
            try await service.send(.queueDeclare(.init(queue: address, passive: true)))
            #expect(try await service.channelClose().replyCode == 404)
        }
    }

    @Test("have one consumer of replies per channel, which cannot acknowledge")
    func replyConsumer() async throws {
        try await withBroker { broker in
            let client = try await RawClient.open(broker)
            let name = "amq.rabbitmq.reply-to"
            try await client.send(.basicConsume(.init(queue: name, consumerTag: "c")))
            #expect(
                try await client.channelClose().replyText
                    == "PRECONDITION_FAILED - reply consumer cannot acknowledge")
            try await client.openChannel(1)
            try await client.consume(name, noAck: true)
            _ = try await client.call(.basicCancel(.init(consumerTag: "c")))
            try await client.consume(name, noAck: true)
            try await client.send(.basicConsume(.init(queue: name, consumerTag: "d", noAck: true)))
            #expect(try await client.channelClose().replyText == "PRECONDITION_FAILED - reply consumer already set")
        }
    }
}
