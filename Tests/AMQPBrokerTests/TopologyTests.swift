// SPDX-License-Identifier: Apache-2.0
import AMQPBroker
import AMQPWire
import Testing

@Suite("Exchanges, queues and bindings", .timeLimit(.minutes(1)))
struct TopologyTests {
    /// What the broker closes the channel with.
    func refusal(_ client: RawClient, _ method: AMQPMethod) async throws -> String {
        try await client.send(method)
        let text = try await client.channelClose().replyText
        try await client.openChannel(1)
        return text
    }

    @Test("are there from the beginning: one exchange of each kind, and those reserved")
    func predeclared() async throws {
        try await withBroker { broker in
            let client = try await RawClient.open(broker)
            for (name, type) in [
                ("amq.direct", "direct"), ("amq.fanout", "fanout"), ("amq.topic", "topic"),
                ("amq.headers", "headers"), ("amq.match", "headers"),
            ] {
                let reply = try await client.call(.exchangeDeclare(.init(exchange: name, type: type, durable: true)))
                #expect(reply == .exchangeDeclareOk(.init()))
            }
        }
    }

    @Test("refuse what RabbitMQ refuses of exchanges, in its words")
    func exchangeErrors() async throws {
        try await withBroker { broker in
            let client = try await RawClient.open(broker)
            let declare = AMQPMethod.exchangeDeclare(.init(exchange: "x", type: "direct"))
            _ = try await client.call(declare)
            _ = try await client.call(declare)
            try await client.declare("q")
            _ = try await client.call(.queueBind(.init(queue: "q", exchange: "x", routingKey: "k")))
            for (method, text) in [
                (
                    .exchangeDeclare(.init(exchange: "", type: "direct")),
                    "ACCESS_REFUSED - operation not permitted on the default exchange"
                ),
                (
                    .exchangeDelete(.init(exchange: "")),
                    "ACCESS_REFUSED - operation not permitted on the default exchange"
                ),
                (
                    .queueBind(.init(queue: "q", exchange: "", routingKey: "k")),
                    "ACCESS_REFUSED - operation not permitted on the default exchange"
                ),
                (
                    .exchangeDeclare(.init(exchange: "amq.x", type: "direct")),
                    "ACCESS_REFUSED - exchange name 'amq.x' contains reserved prefix 'amq.*'"
                ),
                (
                    .exchangeDelete(.init(exchange: "amq.topic")),
                    "ACCESS_REFUSED - deletion of system exchange 'amq.topic' in vhost '/' not allowed"
                ),
                (
                    .exchangeDeclare(.init(exchange: "y", type: "x-random")),
                    "PRECONDITION_FAILED - unknown exchange type 'x-random'"
                ),
                (
                    .exchangeDeclare(.init(exchange: "x", type: "fanout")),
                    "PRECONDITION_FAILED - inequivalent arg 'type' for exchange 'x' in vhost '/': received 'fanout' "
                        + "but current is 'direct'"
                ),
                (
                    .exchangeDeclare(.init(exchange: "x", type: "direct", durable: true)),
                    "PRECONDITION_FAILED - inequivalent arg 'durable' for exchange 'x' in vhost '/': received 'true' "
                        + "but current is 'false'"
                ),
                (
                    .exchangeDeclare(.init(exchange: "no", type: "", passive: true)),
                    "NOT_FOUND - no exchange 'no' in vhost '/'"
                ),
                (
                    .exchangeDelete(.init(exchange: "x", ifUnused: true)),
                    "PRECONDITION_FAILED - exchange 'x' in vhost '/' in use"
                ),
                (
                    .exchangeBind(.init(destination: "no", source: "x", routingKey: "")),
                    "NOT_FOUND - no exchange 'no' in vhost '/'"
                ),
                (
                    .queueBind(.init(queue: "no", exchange: "x", routingKey: "")),
                    "NOT_FOUND - no queue 'no' in vhost '/'"
                ),
                (
                    .queueBind(.init(queue: "q", exchange: "no", routingKey: "")),
                    "NOT_FOUND - no exchange 'no' in vhost '/'"
                ),
            ] as [(AMQPMethod, String)] {
                #expect(try await self.refusal(client, method) == text)
            }
            #expect(try await client.call(.exchangeDelete(.init(exchange: "no"))) == .exchangeDeleteOk(.init()))
            let unbind = AMQPMethod.queueUnbind(.init(queue: "no", exchange: "x", routingKey: "k"))
            #expect(try await client.call(unbind) == .queueUnbindOk(.init()))
        }
    }

    @Test("refuse what RabbitMQ refuses of queues, in its words")
    func queueErrors() async throws {
        try await withBroker { broker in
            let client = try await RawClient.open(broker)
            try await client.declare("q")
            try await client.publish("x", to: "q")
            try await client.openChannel(2)
            try await client.consume("q", channel: 2)
            _ = try await client.delivery()
            try await client.publish("y", to: "q")
            _ = try await client.delivery()
            try await client.declare("full")
            try await client.publish("x", to: "full")
            for (method, text) in [
                (
                    .queueDeclare(.init(queue: "amq.q", durable: true)),
                    "ACCESS_REFUSED - queue name 'amq.q' contains reserved prefix 'amq.*'"
                ),
                (
                    .queueDeclare(.init(queue: "no", passive: true, noWait: true)),
                    "NOT_FOUND - no queue 'no' in vhost '/'"
                ),
                (
                    .queueDeclare(.init(queue: "q", durable: true, autoDelete: true)),
                    "PRECONDITION_FAILED - inequivalent arg 'auto_delete' for queue 'q' in vhost '/': received 'true' "
                        + "but current is 'false'"
                ),
                (
                    .queueDeclare(.init(queue: "x", durable: true, arguments: ["x-expires": 0])),
                    "PRECONDITION_FAILED - invalid arg 'x-expires' for queue 'x' in vhost '/': {value_zero,0}"
                ),
                (
                    .queueDeclare(.init(queue: "x", exclusive: true, arguments: ["x-queue-type": "quorum"])),
                    "PRECONDITION_FAILED - invalid property 'exclusive-owner' for queue 'x' in vhost '/'"
                ),
                (
                    .queueDelete(.init(queue: "q", ifUnused: true)),
                    "PRECONDITION_FAILED - queue 'q' in vhost '/' in use"
                ),
                (
                    .queueDelete(.init(queue: "full", ifEmpty: true)),
                    "PRECONDITION_FAILED - queue 'full' in vhost '/' not empty"
                ),
                (.queuePurge(.init(queue: "no")), "NOT_FOUND - no queue 'no' in vhost '/'"),
                (.queuePurge(.init(queue: "")), "NOT_FOUND - no previously declared queue"),
                (.basicGet(.init(queue: "no")), "NOT_FOUND - no queue 'no' in vhost '/'"),
                (.basicConsume(.init(queue: "no", consumerTag: "")), "NOT_FOUND - no queue 'no' in vhost '/'"),
            ] as [(AMQPMethod, String)] {
                #expect(try await self.refusal(client, method) == text)
            }
            #expect(
                try await client.call(.queueDelete(.init(queue: "no"))) == .queueDeleteOk(.init(messageCount: 0)))
            #expect(
                try await client.call(.queuePurge(.init(queue: "full"))) == .queuePurgeOk(.init(messageCount: 1)))
        }
    }

    @Test("have names made by the server, and an empty name means the last one")
    func serverNamed() async throws {
        try await withBroker { broker in
            let client = try await RawClient.open(broker)
            let ok = try await client.declare("", durable: false, exclusive: true)
            #expect(ok.queue.hasPrefix("amq.gen-"))
            _ = try await client.call(.queueBind(.init(queue: "", exchange: "amq.direct", routingKey: "")))
            try await client.publish("x", to: ok.queue, exchange: "amq.direct")
            #expect(try await client.get("")?.text == "x")
            #expect(try await client.count(ok.queue) == (0, 0))
        }
    }

    @Test("of one connection alone are locked for others, and gone before its close is answered")
    func exclusive() async throws {
        try await withBroker { broker in
            let one = try await RawClient.open(broker)
            let two = try await RawClient.open(broker)
            try await one.declare("mine", exclusive: true)
            let locked =
                "RESOURCE_LOCKED - cannot obtain exclusive access to locked queue 'mine' in vhost '/'. It could be "
                + "originally declared on another connection or the exclusive property value does not match that of "
                + "the original declaration."
            for method in [
                .queueDeclare(.init(queue: "mine", passive: true)),
                .queueDeclare(.init(queue: "mine", exclusive: true)),
                .queueDeclare(.init(queue: "mine", durable: true)),
                .queueBind(.init(queue: "mine", exchange: "amq.direct", routingKey: "")),
                .queuePurge(.init(queue: "mine")), .queueDelete(.init(queue: "mine")),
                .basicGet(.init(queue: "mine")), .basicConsume(.init(queue: "mine", consumerTag: "")),
            ] as [AMQPMethod] {
                #expect(try await self.refusal(two, method) == locked)
            }
            // Publishing to it is allowed.
            try await two.publish("hello", to: "mine", mandatory: true)
            try await two.expectNothing()
            #expect(try await one.get("mine")?.text == "hello")
            try await one.close()
            #expect(
                try await self.refusal(two, .queueDeclare(.init(queue: "mine", passive: true)))
                    == "NOT_FOUND - no queue 'mine' in vhost '/'")
        }
    }

    @Test(
        "that delete themselves go with their last consumer, however it leaves",
        arguments: ["cancel", "close", "drop"])
    func autoDelete(how: String) async throws {
        try await withBroker { broker in
            let one = try await RawClient.open(broker)
            let two = try await RawClient.open(broker)
            try await one.declare("q", autoDelete: true)
            #expect(try await two.count("q") == (0, 0))
            try await one.consume("q")
            switch how {
            case "cancel": _ = try await one.call(.basicCancel(.init(consumerTag: "c")))
            case "close": try await one.close()
            default: await one.drop()
            }
            while true {
                let reply = try await two.call(.queueDeclare(.init(queue: "q", passive: true)))
                // Only a dropped socket may be noticed late.
                if how == "drop", case .queueDeclareOk = reply { continue }
                guard case .channelClose(let close) = reply else { return #expect(Bool(false), "\(reply)") }
                #expect(close.replyCode == 404)
                break
            }
        }
    }

    @Test("tell their consumers when they are deleted, and take their bindings along")
    func deletedQueue() async throws {
        try await withBroker { broker in
            let one = try await RawClient.open(broker)
            let two = try await RawClient.open(broker)
            try await one.declare("q")
            _ = try await one.call(.queueBind(.init(queue: "q", exchange: "amq.fanout", routingKey: "")))
            try await one.consume("q")
            try await two.publish("x", to: "q")
            let delivery = try await one.delivery()
            #expect(
                try await two.call(.queueDelete(.init(queue: "q"))) == .queueDeleteOk(.init(messageCount: 0)))
            #expect(try await one.method() == .basicCancel(.init(consumerTag: "c", noWait: true)))
            // Still outstanding on the channel, although its queue is gone.
            try await one.ack(delivery.tag)
            try await two.publish("x", to: "", exchange: "amq.fanout", mandatory: true)
            #expect(try await two.content().method.id == .basicReturn)
            try await one.expectNothing()
        }
    }

    @Test("without durable or exclusive are refused as by RabbitMQ 4.3, or accepted as before")
    func transient() async throws {
        try await withBroker { broker in
            let client = try await RawClient.open(broker)
            try await client.send(.queueDeclare(.init(queue: "q")))
            #expect(try await client.connectionClose().replyCode == 541)
        }
        try await withBroker {
            $0.compatibility = .lenient
        } _: { broker in
            let client = try await RawClient.open(broker)
            #expect(try await client.declare("q", durable: false).queue == "q")
        }
    }

    @Test("bind exchanges to exchanges, and delete those that delete themselves")
    func exchangeBindings() async throws {
        try await withBroker { broker in
            let client = try await RawClient.open(broker)
            try await client.declare("q")
            _ = try await client.call(.exchangeDeclare(.init(exchange: "a", type: "topic", autoDelete: true)))
            _ = try await client.call(.exchangeDeclare(.init(exchange: "b", type: "fanout", internal: true)))
            _ = try await client.call(.exchangeBind(.init(destination: "b", source: "a", routingKey: "x.#")))
            _ = try await client.call(.queueBind(.init(queue: "q", exchange: "b", routingKey: "")))
            try await client.publish("1", to: "x.y", exchange: "a")
            try await client.publish("2", to: "y", exchange: "a")
            #expect(try await client.get("q")?.text == "1")
            #expect(try await client.get("q") == nil)
            let unbind = AMQPMethod.exchangeUnbind(.init(destination: "b", source: "a", routingKey: "x.#"))
            #expect(try await client.call(unbind) == .exchangeUnbindOk(.init()))
            #expect(
                try await self.refusal(client, .exchangeDeclare(.init(exchange: "a", type: "", passive: true)))
                    == "NOT_FOUND - no exchange 'a' in vhost '/'")
        }
    }

    @Test("of one virtual host are not seen in another")
    func virtualHosts() async throws {
        try await withBroker {
            $0.virtualHosts = ["/", "other"]
        } _: { broker in
            let one = try await RawClient.open(broker)
            try await one.declare("q")
            let two = try await RawClient.connect(broker)
            try await two.handshake(virtualHost: "other")
            try await two.openChannel(1)
            #expect(
                try await self.refusal(two, .queueDeclare(.init(queue: "q", passive: true)))
                    == "NOT_FOUND - no queue 'q' in vhost 'other'")
        }
    }

    @Test("are declared without an answer when none is wanted")
    func noWait() async throws {
        try await withBroker { broker in
            let client = try await RawClient.open(broker)
            try await client.send(.exchangeDeclare(.init(exchange: "x", type: "fanout", noWait: true)))
            try await client.send(.queueDeclare(.init(queue: "q\r\n", durable: true, noWait: true)))
            try await client.send(.queueBind(.init(queue: "q", exchange: "x", routingKey: "", noWait: true)))
            try await client.send(.confirmSelect(.init(noWait: true)))
            try await client.send(.basicConsume(.init(queue: "q", consumerTag: "c", noAck: true, noWait: true)))
            try await client.publish("1", to: "", exchange: "x")
            #expect(try await client.delivery().text == "1")
            #expect(try await client.method() == .basicAck(.init(deliveryTag: 1)))
            try await client.send(.basicCancel(.init(consumerTag: "c", noWait: true)))
            try await client.send(.queuePurge(.init(queue: "q", noWait: true)))
            try await client.send(.queueDelete(.init(queue: "q", noWait: true)))
            try await client.send(.exchangeDelete(.init(exchange: "x", noWait: true)))
            try await client.expectNothing()
        }
    }
}
