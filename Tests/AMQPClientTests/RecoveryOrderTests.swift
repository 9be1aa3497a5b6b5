// SPDX-License-Identifier: Apache-2.0
import AMQPWire
import NIOConcurrencyHelpers
import NIOCore
import Testing

@_spi(HareDo) @testable import AMQPClient

/// What a connection that was lost says to the broker when it is there again, and in which order.
@Suite(.timeLimit(.minutes(1))) struct RecoveryOrderTests {
    /// The steps of a recovery, in their order.
    private enum Step: Int, Comparable {
        case channels, exchanges, queues, bindings, consumers

        init?(_ method: AMQPMethod) {
            switch method {
            case .basicQos, .confirmSelect: self = .channels
            case .exchangeDeclare: self = .exchanges
            case .queueDeclare: self = .queues
            case .queueBind, .exchangeBind: self = .bindings
            case .basicConsume: self = .consumers
            // The channel that topology is declared on comes and goes.
            default: return nil
            }
        }

        static func < (left: Step, right: Step) -> Bool { left.rawValue < right.rawValue }
    }

    /// Two channels with all that a channel can have, and a topology.
    ///
    /// - Returns: the consumer of the broker-named queue, and that of the other one.
    private func furnish(_ connection: AMQPConnection) async throws -> (named: AMQPConsumer, other: AMQPConsumer) {
        let first = try await connection.openChannel()
        try await first.confirmSelect()
        try await first.declareExchange("source", type: .topic, durable: true)
        try await first.declareExchange("target", type: .fanout)
        try await first.bindExchange("target", to: "source", routingKey: "a.#", arguments: ["n": 1])
        let named = try await first.declareQueue("", exclusive: true).name
        try await first.declareQueue("orders", durable: true, arguments: ["x-expires": 60_000])
        try await first.bindQueue(named, to: "target")
        try await first.bindQueue("orders", to: "source", routingKey: "b")
        try await first.qos(prefetchCount: 7)
        let second = try await connection.openChannel()
        try await second.qos(prefetchCount: 9, scope: .channel)
        let consumer = try await second.consume(named)
        let other = try await first.consume("orders", consumerTag: "mine", arguments: ["x-priority": 3])
        return (consumer, other)
    }

    @Test func everythingComesBackInOrder() async throws {
        try await withPlayingBroker { broker, connection, session in
            let (named, other) = try await self.furnish(connection)
            let events = EventLog(connection)
            await session.cut()
            let report = try await events.recovered()
            let methods = broker.methods(in: 1)
            let steps = methods.compactMap(Step.init)
            #expect(steps == steps.sorted())
            // Each once, as it was the first time, but for the name that the broker makes.
            let renamed = try #require(report.renamedQueues["amq.gen-1"])
            #expect(renamed == "amq.gen-2")
            let expected: [AMQPMethod] = [
                .exchangeDeclare(.init(exchange: "source", type: "topic", durable: true)),
                .exchangeDeclare(.init(exchange: "target", type: "fanout")),
                .queueDeclare(.init(queue: "", exclusive: true)),
                .queueDeclare(.init(queue: "orders", durable: true, arguments: ["x-expires": 60_000])),
                .exchangeBind(
                    .init(destination: "target", source: "source", routingKey: "a.#", arguments: ["n": 1])),
                .queueBind(.init(queue: renamed, exchange: "target", routingKey: "")),
                .queueBind(.init(queue: "orders", exchange: "source", routingKey: "b")),
            ]
            #expect(methods.filter { expected.contains($0) } == expected)
            #expect(methods.filter { Step($0) == .bindings }.count == 3)
            let consumes = methods.filter { Step($0) == .consumers }
            #expect(
                Set(consumes) == [
                    .basicConsume(.init(queue: renamed, consumerTag: named.consumerTag)),
                    .basicConsume(.init(queue: "orders", consumerTag: other.consumerTag, arguments: ["x-priority": 3])),
                ])
            #expect(methods.contains(.basicQos(.init(prefetchSize: 0, prefetchCount: 7))))
            #expect(methods.contains(.basicQos(.init(prefetchSize: 0, prefetchCount: 9, global: true))))
            #expect(methods.filter { $0 == .confirmSelect(.init()) }.count == 1)
            #expect(
                (report.channels, report.exchanges, report.queues, report.bindings, report.consumers) == (2, 2, 2, 3, 2)
            )
            #expect(report.failures.isEmpty)
            #expect(await connection.isOpen)
        }
    }

    @Test func whatIsNotOursOrIsGoneByRightsIsForgotten() async throws {
        try await withPlayingBroker { broker, connection, session in
            let channel = try await connection.openChannel()
            try await channel.declareQueue("looked at", passive: true)
            try await channel.declareExchange("amq.topic", type: .topic, durable: true)
            try await channel.declareExchange("looked at", type: .direct, passive: true)
            try await channel.declareQueue("deleted", durable: true)
            try await channel.declareExchange("deleted", type: .direct)
            try await channel.bindQueue("deleted", to: "amq.direct", routingKey: "gone")
            try await channel.deleteQueue("deleted")
            try await channel.deleteExchange("deleted")
            try await channel.declareQueue("left", autoDelete: true)
            let consumer = try await channel.consume("left")
            try await consumer.cancel()
            try await channel.declareExchange("unbound", type: .fanout, autoDelete: true)
            try await channel.declareQueue("kept", durable: true)
            try await channel.bindQueue("kept", to: "unbound")
            try await channel.unbindQueue("kept", from: "unbound")
            try await channel.bindQueue("kept", to: "amq.fanout")
            let events = EventLog(connection)
            await session.cut()
            try await events.recovered()
            let topology = broker.methods(in: 1).filter { method in
                switch method {
                case .channelOpen, .channelClose: false
                default: true
                }
            }
            #expect(
                topology == [
                    .queueDeclare(.init(queue: "kept", durable: true)),
                    .queueBind(.init(queue: "kept", exchange: "amq.fanout", routingKey: "")),
                ])
        }
    }

    @Test func aSecondRecoveryFollowsTheNamesOfTheFirst() async throws {
        try await withPlayingBroker { broker, connection, session in
            let channel = try await connection.openChannel()
            let name = try await channel.declareQueue("", exclusive: true).name
            try await channel.bindQueue(name, to: "amq.fanout")
            _ = try await channel.consume(name)
            let events = EventLog(connection)
            await session.cut()
            #expect(try await events.recovered().renamedQueues == ["amq.gen-1": "amq.gen-2"])
            await (try await broker.nextSession()).cut()
            #expect(try await events.recovered().renamedQueues == ["amq.gen-2": "amq.gen-3"])
            let methods = broker.methods(in: 2)
            #expect(methods.contains(.queueBind(.init(queue: "amq.gen-3", exchange: "amq.fanout", routingKey: ""))))
            #expect(
                methods.contains {
                    if case .basicConsume(let consume) = $0 { consume.queue == "amq.gen-3" } else { false }
                })
            // The last queue declared on the channel is the one with the new name.
            _ = try await channel.get("")
            #expect(broker.methods(in: 2).last == .basicGet(.init(queue: "amq.gen-3")))
        }
    }

    @Test func oneEntityThatFailsDoesNotKeepTheOthersAway() async throws {
        try await withPlayingBroker { broker, connection, session in
            _ = try await self.furnish(connection)
            broker.play { heard in
                guard heard.session == 1, case .exchangeDeclare(let declare)? = heard.method,
                    declare.exchange == "target"
                else { return .usual }
                return .answer([
                    .channelClose(
                        .init(
                            replyCode: 406, replyText: "PRECONDITION_FAILED - inequivalent", failingClassID: 40,
                            failingMethodID: 10))
                ])
            }
            let events = EventLog(connection)
            await session.cut()
            let report = try await events.recovered()
            let failure = try #require(report.failures.first)
            #expect(failure.entity.contains("target"))
            #expect(failure.error.reply?.code == 406)
            #expect(report.queues == 2 && report.consumers == 2)
            let methods = broker.methods(in: 1)
            #expect(methods.contains(.queueBind(.init(queue: "orders", exchange: "source", routingKey: "b"))))
            #expect(methods.filter { Step($0) == .consumers }.count == 2)
            #expect(await connection.isOpen)
        }
    }

    @Test func aQueueThatIsStillLockedIsTriedAgain() async throws {
        try await withPlayingBroker { broker, connection, session in
            let channel = try await connection.openChannel()
            try await channel.declareQueue("mine", exclusive: true)
            let consumer = try await channel.consume("mine")
            let refusals = NIOLockedValueBox(0)
            broker.play { heard in
                guard heard.session == 1, case .queueDeclare(let declare)? = heard.method, !declare.passive else {
                    return .usual
                }
                let count = refusals.withLockedValue { count in
                    count += 1
                    return count
                }
                guard count <= 2 else { return .usual }
                return .answer([
                    .channelClose(
                        .init(
                            replyCode: 405, replyText: "RESOURCE_LOCKED - cannot obtain exclusive access",
                            failingClassID: 50, failingMethodID: 10))
                ])
            }
            let events = EventLog(connection)
            await session.cut()
            var report = try await events.recovered()
            while !report.failures.isEmpty { report = try await events.recovered() }
            #expect(refusals.withLockedValue { $0 } == 3)
            // Not consumed from before it was there.
            let methods = broker.methods(in: 1)
            let consumed = try #require(
                methods.lastIndex(of: .basicConsume(.init(queue: "mine", consumerTag: consumer.consumerTag))))
            let declared = try #require(methods.lastIndex(of: .queueDeclare(.init(queue: "mine", exclusive: true))))
            #expect(declared < consumed)
            #expect(await connection.isHealthy)
            // One that was not ours before fails at once.
            broker.play { heard in
                guard case .queueDeclare(let declare)? = heard.method, declare.queue == "theirs" else { return .usual }
                return .answer([
                    .channelClose(
                        .init(replyCode: 405, replyText: "RESOURCE_LOCKED", failingClassID: 50, failingMethodID: 10))
                ])
            }
            #expect(
                await failure { () async throws(AMQPError) in
                    try await channel.declareQueue("theirs", exclusive: true)
                }?.reply?.code == 405)
        }
    }

    /// The socket is lost again at each method that the recovery says, one after the other.
    @Test func aLossInTheMiddleBeginsAnew() async throws {
        let count = try await self.methodCount()
        for place in 0..<count {
            try await withPlayingBroker { broker, connection, session in
                let (named, _) = try await self.furnish(connection)
                let heardInFirst = NIOLockedValueBox(0)
                broker.play { heard in
                    guard heard.session == 1, heard.method != nil else { return .usual }
                    let index = heardInFirst.withLockedValue { count in
                        defer { count += 1 }
                        return count
                    }
                    return index == place ? .hangUp : .usual
                }
                let events = EventLog(connection)
                await session.cut()
                let report = try await events.recovered()
                #expect(report.failures.isEmpty, "cut at method \(place)")
                let last = broker.sessionCount - 1
                #expect(last == 2, "cut at method \(place)")
                let steps = broker.methods(in: last).compactMap(Step.init)
                #expect(steps == steps.sorted(), "cut at method \(place)")
                #expect(
                    (report.channels, report.exchanges, report.queues, report.bindings, report.consumers)
                        == (2, 2, 2, 3, 2), "cut at method \(place)")
                // And it works: what is delivered now arrives.
                let current = try await self.session(last, of: broker)
                let consumer = try #require(current.consumers.first { $0.tag == named.consumerTag })
                try await current.write { try $0.deliver("new", to: consumer.tag, tag: 1, on: consumer.channel) }
                #expect(try await named.deliveries.next()?.body == ByteBuffer(string: "new"))
            }
        }
    }

    private func session(_ index: Int, of broker: PlayingBroker) async throws -> PlayingSession {
        while true {
            let session = try await broker.nextSession()
            if session.index == index { return session }
        }
    }

    /// How many methods a recovery has, its handshake included.
    private func methodCount() async throws -> Int {
        let count = NIOLockedValueBox(0)
        try await withPlayingBroker { broker, connection, session in
            _ = try await self.furnish(connection)
            let events = EventLog(connection)
            await session.cut()
            try await events.recovered()
            let heard = broker.heard(in: 1).filter { $0.method != nil }.count
            count.withLockedValue { $0 = heard }
        }
        let result = count.withLockedValue { $0 }
        try #require(result > 15)
        return result
    }
}
