// SPDX-License-Identifier: Apache-2.0
import AMQPBroker
import AMQPWire
import Testing

@Suite("A user", .timeLimit(.minutes(1)))
struct AccessTests {
    static let users: [String: AMQPEmbeddedBroker.User] = [
        "guest": "guest",
        "clerk": .init(
            password: "pen",
            permissions: ["/": .init(configure: "^desk\\.", write: "^(desk\\.|amq\\.default$)", read: "")]),
        "stranger": .init(password: "hat", permissions: [:]),
    ]

    func withClient(
        _ compatibility: AMQPEmbeddedBroker.Compatibility = .strict, _ body: (RawClient) async throws -> Void
    ) async throws {
        try await withBroker {
            $0.users = Self.users
            $0.compatibility = compatibility
        } _: { broker in
            let client = try await RawClient.connect(broker)
            try await client.handshake(user: "clerk", password: "pen")
            try await client.openChannel(1)
            try await body(client)
        }
    }

    @Test(
        "is kept from what its permissions do not name",
        arguments: [
            (.queueDeclare(.init(queue: "shelf", durable: true)), "configure access to queue 'shelf'"),
            (
                .exchangeDeclare(.init(exchange: "shelf", type: "topic")), "configure access to exchange 'shelf'"
            ),
            (.basicConsume(.init(queue: "desk.a", consumerTag: "", noAck: true)), "read access to queue 'desk.a'"),
            (.basicGet(.init(queue: "desk.a", noAck: true)), "read access to queue 'desk.a'"),
            (.queuePurge(.init(queue: "desk.a")), "read access to queue 'desk.a'"),
            (.queueDelete(.init(queue: "shelf")), "configure access to queue 'shelf'"),
            (
                .queueBind(.init(queue: "desk.a", exchange: "amq.topic", routingKey: "k")),
                "read access to exchange 'amq.topic'"
            ),
            (
                .queueDeclare(
                    .init(queue: "desk.b", durable: true, arguments: ["x-dead-letter-exchange": "dead"])),
                "read access to queue 'desk.b'"
            ),
            (.queueDeclare(.init(queue: "shelf", passive: true)), "configure access to queue 'shelf'"),
        ] as [(AMQPMethod, String)])
    func refused(method: AMQPMethod, text: String) async throws {
        try await self.withClient { client in
            _ = try await client.call(.queueDeclare(.init(queue: "desk.a", durable: true)))
            try await client.send(method)
            let close = try await client.channelClose()
            #expect(close.replyCode == 403)
            #expect(close.replyText == "ACCESS_REFUSED - \(text) in vhost '/' refused for user 'clerk'")
        }
    }

    @Test("may do what they name: declare, publish to the default exchange, delete")
    func allowed() async throws {
        try await self.withClient { client in
            try await client.declare("desk.a")
            try await client.publish("x", to: "desk.a")
            let reply = try await client.call(.queueDelete(.init(queue: "desk.a")))
            #expect(reply == .queueDeleteOk(.init(messageCount: 1)))
            try await client.publish("x", to: "k", exchange: "amq.fanout")
            let close = try await client.channelClose()
            #expect(close.replyText.contains("write access to exchange 'amq.fanout'"))
        }
    }

    @Test("needs no permission to look in the days of RabbitMQ 3")
    func looking() async throws {
        try await self.withClient(.lenient) { client in
            try await client.send(.queueDeclare(.init(queue: "shelf", passive: true)))
            #expect(try await client.channelClose().replyCode == 404)
        }
    }

    @Test("without any permission in a virtual host is refused there")
    func stranger() async throws {
        try await withBroker {
            $0.users = Self.users
        } _: { broker in
            let client = try await RawClient.connect(broker)
            try await client.beginHandshake(user: "stranger", password: "hat")
            guard case .connectionTune = try await client.method() else { throw RawClient.Unexpected("no tune") }
            try await client.send(
                .connectionTuneOk(.init(channelMax: 2047, frameMax: 131_072, heartbeat: 0)), channel: 0)
            try await client.send(.connectionOpen(.init(virtualHost: "/")), channel: 0)
            let close = try await client.connectionClose()
            #expect(close.replyCode == 530)
            #expect(close.replyText == "NOT_ALLOWED - access to vhost '/' refused for user 'stranger'")
        }
    }

    @Test("cannot have a permission that is no regular expression")
    func invalid() async throws {
        var configuration = AMQPEmbeddedBroker.Configuration()
        configuration.users = [
            "clerk": .init(password: "pen", permissions: ["/": .init(configure: "(", write: "", read: "")])
        ]
        let error = await #expect(throws: AMQPBrokerError.self) { try await AMQPEmbeddedBroker.start(configuration) }
        #expect(error?.code == .invalidConfiguration && error?.message.contains("'clerk'") == true)
    }
}
