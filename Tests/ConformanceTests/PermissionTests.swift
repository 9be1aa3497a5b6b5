// SPDX-License-Identifier: Apache-2.0
import AMQPBroker
import AMQPWire
import TestSupport
import Testing

/// What users may do and may not.
@Suite("Permissions of users", .timeLimit(.minutes(2)))
struct PermissionTests {
    /// The names of a test: what begins with `desk` is the user's own.
    private struct Names {
        let desk = TestBroker.uniqueName("desk")
        let shelf = TestBroker.uniqueName("shelf")
    }

    /// A way to be refused, and what the broker says is missing.
    private struct Attempt {
        let method: AMQPMethod
        let operation: String
        let resource: String

        init(_ method: AMQPMethod, _ operation: String, _ resource: String) {
            self.method = method
            self.operation = operation
            self.resource = resource
        }
    }

    private static func refusal(
        _ operation: String, _ resource: String, for user: TestBroker.User, on broker: TestBroker
    ) -> Refusal {
        // RabbitMQ says which of the three since 3.12.
        let missing = broker.isStrict ? "\(operation) access" : "access"
        return Refusal(403, "ACCESS_REFUSED - \(missing) to \(resource) in vhost '/' refused for user '\(user.name)'")
    }

    private static func expect(
        _ attempts: [Attempt], refusedTo user: TestBroker.User, on broker: TestBroker, _ connection: RawConnection
    ) async throws {
        for attempt in attempts {
            let answer = try await connection.refusal(of: attempt.method)
            #expect(
                answer == Self.refusal(attempt.operation, attempt.resource, for: user, on: broker),
                "\(attempt.method)")
        }
    }

    @Test(
        "Declaring and deleting is configuring; publishing and being bound writing; consuming and being bound from reading",
        arguments: TestBroker.modes)
    func kinds(broker: TestBroker) async throws {
        let names = Names()
        let (own, other) = ("\(names.desk).a", names.shelf)
        let user = TestBroker.User(
            .init(configure: "^\(names.desk)\\.", write: "^(\(names.desk)\\.|amq\\.default$)", read: ""))
        let attempts: [Attempt] = [
            .init(.queueDeclare(.init(queue: other, durable: true)), "configure", "queue '\(other)'"),
            .init(.queueDelete(.init(queue: other)), "configure", "queue '\(other)'"),
            .init(.exchangeDeclare(.init(exchange: other, type: "topic")), "configure", "exchange '\(other)'"),
            .init(.exchangeDelete(.init(exchange: other)), "configure", "exchange '\(other)'"),
            .init(.basicConsume(.init(queue: own, consumerTag: "", noAck: true)), "read", "queue '\(own)'"),
            .init(.basicGet(.init(queue: own, noAck: true)), "read", "queue '\(own)'"),
            .init(.queuePurge(.init(queue: own)), "read", "queue '\(own)'"),
            .init(
                .queueBind(.init(queue: other, exchange: "amq.topic", routingKey: "k")), "write", "queue '\(other)'"),
            .init(
                .queueBind(.init(queue: own, exchange: "amq.topic", routingKey: "k")), "read", "exchange 'amq.topic'"
            ),
            .init(
                .queueUnbind(.init(queue: own, exchange: "amq.topic", routingKey: "k")), "read",
                "exchange 'amq.topic'"),
            .init(
                .exchangeBind(.init(destination: "amq.fanout", source: "amq.topic", routingKey: "k")), "write",
                "exchange 'amq.fanout'"),
            .init(
                .exchangeBind(.init(destination: "\(names.desk).x", source: "amq.topic", routingKey: "k")), "read",
                "exchange 'amq.topic'"),
        ]
        try await broker.run(users: [user]) { url in
            try await withRawConnection(user.url(at: url)) { connection in
                try await connection.declare(own)
                try await connection.declareExchange("\(names.desk).x", "fanout", autoDelete: true)
                try await Self.expect(attempts, refusedTo: user, on: broker, connection)
                let named = try await connection.refusal(of: .queueDeclare(.init(queue: "", exclusive: true)))
                #expect(named.code == 403 && named.text.contains("access to queue 'amq.gen-"), "\(named)")
                // Whether there is such an exchange is not for everybody to know.
                for exchange in ["amq.fanout", other] {
                    let answer = try await connection.refusal(ofPublishingTo: "k", exchange: exchange)
                    #expect(
                        answer == Self.refusal("write", "exchange '\(exchange)'", for: user, on: broker))
                }
                // The default exchange is called amq.default.
                try await connection.perform(.confirmSelect(.init()))
                try await connection.put("x", in: own)
                let count = try await connection.perform(.queueDelete(.init(queue: own)))
                #expect(count == .queueDeleteOk(.init(messageCount: 1)))
                try await connection.deleteExchange("\(names.desk).x")
            }
        }
    }

    @Test(
        "A dead-letter or alternate exchange takes reading what it is for, and writing to it",
        arguments: TestBroker.modes)
    func exchangesBehind(broker: TestBroker) async throws {
        let names = Names()
        let (own, other) = ("\(names.desk).a", names.shelf)
        let writer = TestBroker.User(.init(configure: ".*", write: ".*", read: ""))
        let reader = TestBroker.User(.init(configure: ".*", write: "^\(names.desk)\\.", read: ".*"))
        let queue = AMQPMethod.queueDeclare(
            .init(queue: own, exclusive: true, arguments: ["x-dead-letter-exchange": .text(other)]))
        let exchange = AMQPMethod.exchangeDeclare(
            .init(exchange: own, type: "fanout", autoDelete: true, arguments: ["alternate-exchange": .text(other)]))
        try await broker.run(users: [writer, reader]) { url in
            try await withRawConnection(writer.url(at: url)) { connection in
                let attempts: [Attempt] = [
                    .init(queue, "read", "queue '\(own)'"), .init(exchange, "read", "exchange '\(own)'"),
                ]
                try await Self.expect(attempts, refusedTo: writer, on: broker, connection)
            }
            try await withRawConnection(reader.url(at: url)) { connection in
                let attempts: [Attempt] = [
                    .init(queue, "write", "exchange '\(other)'"), .init(exchange, "write", "exchange '\(other)'"),
                ]
                try await Self.expect(attempts, refusedTo: reader, on: broker, connection)
            }
        }
    }

    @Test("To look takes any permission (RabbitMQ 4), or none (3.10)", arguments: TestBroker.modes)
    func looking(broker: TestBroker) async throws {
        let names = Names()
        let user = TestBroker.User(.init(configure: "", write: "", read: "^\(names.desk)"))
        try await broker.run(users: [user]) { url in
            try await withRawConnection(user.url(at: url)) { connection in
                #expect(try await connection.hasQueue(names.desk) == false)
                #expect(try await connection.hasExchange(names.desk) == false)
                let queue = try await connection.refusal(
                    of: .queueDeclare(.init(queue: names.shelf, passive: true)))
                let exchange = try await connection.refusal(
                    of: .exchangeDeclare(.init(exchange: names.shelf, type: "direct", passive: true)))
                if broker.isStrict {
                    #expect(queue == Self.refusal("configure", "queue '\(names.shelf)'", for: user, on: broker))
                    #expect(exchange == Self.refusal("configure", "exchange '\(names.shelf)'", for: user, on: broker))
                } else {
                    #expect(queue == Refusal(404, "NOT_FOUND - no queue '\(names.shelf)' in vhost '/'"))
                    #expect(exchange == Refusal(404, "NOT_FOUND - no exchange '\(names.shelf)' in vhost '/'"))
                }
            }
        }
    }

    @Test("A virtual host in which a user may do nothing is closed to it: 530", arguments: TestBroker.modes)
    func stranger(broker: TestBroker) async throws {
        let user = TestBroker.User(nil)
        try await broker.run(users: [user]) { url in
            try await withRawSocket(user.url(at: url)) { connection in
                try await connection.logIn()
                try await connection.send(
                    .connectionTuneOk(.init(channelMax: 2047, frameMax: 131_072, heartbeat: 0)), on: 0)
                try await connection.send(.connectionOpen(.init(virtualHost: "/")), on: 0)
                #expect(
                    try await connection.end()
                        == Refusal(530, "NOT_ALLOWED - access to vhost '/' refused for user '\(user.name)'"))
            }
        }
    }
}
