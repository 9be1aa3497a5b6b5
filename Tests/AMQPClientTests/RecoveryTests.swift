// SPDX-License-Identifier: Apache-2.0
import AMQPWire
import NIOCore
import Testing

@_spi(HareDo) @testable import AMQPClient

/// A connection that comes back without delay worth speaking of.
func recovering(_ configuration: inout AMQPConfiguration) {
    configuration.recovery = AMQPRecovery()
    configuration.recovery.minimumDelay = .milliseconds(5)
    configuration.recovery.maximumDelay = .milliseconds(50)
}

extension AMQPConnectionEvents.AsyncIterator {
    /// The next event of a kind; those before it are skipped.
    mutating func next<T>(_ pick: (AMQPConnectionEvent) -> T?) async throws -> T {
        while let event = await self.next() {
            if let picked = pick(event) { return picked }
        }
        throw NothingCame()
    }

    mutating func nextRecovered() async throws -> AMQPRecoveryReport {
        try await self.next { if case .recovered(let report) = $0 { report } else { nil } }
    }
}

extension Scripted {
    /// A prefetch count of 7, the exchange `e`, and a queue that the broker names `amq.gen-1`, bound to it with `k`.
    ///
    /// A function of its own also because one with many `async let` takes the compiler many times as long.
    fileprivate func topology(on channel: AMQPChannel) async throws {
        async let limited: Void = channel.qos(prefetchCount: 7)
        try await self.peer.expect(.basicQos)
        try await self.peer.send(.basicQosOk(.init()))
        try await limited
        async let exchange: Void = channel.declareExchange("e", type: .topic)
        try await self.peer.expect(.exchangeDeclare)
        try await self.peer.send(.exchangeDeclareOk(.init()))
        try await exchange
        async let declared = channel.declareQueue("", exclusive: true)
        try await self.peer.expect(.queueDeclare)
        try await self.peer.send(.queueDeclareOk(.init(queue: "amq.gen-1", messageCount: 0, consumerCount: 0)))
        #expect(try await declared.name == "amq.gen-1")
        async let bound: Void = channel.bindQueue("", to: "e", routingKey: "k")
        guard case .queueBind(let bind) = try await self.peer.expect(.queueBind) else { throw NothingCame() }
        #expect(bind.queue == "amq.gen-1")
        try await self.peer.send(.queueBindOk(.init()))
        try await bound
    }
}

@Suite(.timeLimit(.minutes(1))) struct RecoveryTests {
    @Test func everythingComesBackInOrderAndALoopGoesOn() async throws {
        try await withScriptedBroker(recovering) { scripted in
            var events = scripted.connection.events.makeAsyncIterator()
            let channel = try await scripted.confirmingChannel()
            try await scripted.topology(on: channel)
            async let consumed = channel.consume("amq.gen-1")
            guard case .basicConsume(let consume) = try await scripted.peer.expect(.basicConsume) else { return }
            try await scripted.peer.write { output in
                try output.append(.basicConsumeOk(.init(consumerTag: consume.consumerTag)), channel: 1)
                try output.deliver("first", tag: 1)
                try output.deliver("never seen", tag: 2)
            }
            let consumer = try await consumed
            var deliveries = consumer.deliveries.makeAsyncIterator()
            let stale = try #require(try await deliveries.next())
            #expect(String(buffer: stale.body) == "first")

            async let unconfirmed = failure { () async throws(AMQPError) in
                try await channel.publishConfirmed(AMQPMessage("lost"), routingKey: "q")
            }
            try await scripted.peer.expectPublish()
            await scripted.peer.close()
            #expect(await unconfirmed?.code == .outcomeUnknown)
            let peer = try await scripted.broker.accept()
            // Asked for while there is no connection: it waits.
            async let confirmed: Void = channel.publishConfirmed(AMQPMessage("again"), routingKey: "q")
            try await peer.handshake()
            try await peer.openChannel()
            try await peer.expect(.confirmSelect)
            try await peer.send(.confirmSelectOk(.init()))
            guard case .basicQos(let qos) = try await peer.expect(.basicQos) else { return }
            #expect(qos.prefetchCount == 7)
            try await peer.send(.basicQosOk(.init()))
            try await peer.openChannel(2)
            try await peer.expect(.exchangeDeclare, on: 2)
            try await peer.send(.exchangeDeclareOk(.init()), on: 2)
            guard case .queueDeclare(let declare) = try await peer.expect(.queueDeclare, on: 2) else { return }
            #expect(declare.queue.isEmpty && declare.exclusive)
            try await peer.send(
                .queueDeclareOk(.init(queue: "amq.gen-2", messageCount: 0, consumerCount: 0)), on: 2)
            guard case .queueBind(let again) = try await peer.expect(.queueBind, on: 2) else { return }
            #expect(again.queue == "amq.gen-2" && again.exchange == "e" && again.routingKey == "k")
            try await peer.send(.queueBindOk(.init()), on: 2)
            try await peer.expect(.channelClose, on: 2)
            try await peer.send(.channelCloseOk(.init()), on: 2)
            guard case .basicConsume(let subscribe) = try await peer.expect(.basicConsume) else { return }
            #expect(subscribe.queue == "amq.gen-2" && subscribe.consumerTag == consume.consumerTag)
            try await peer.write { output in
                try output.append(.basicConsumeOk(.init(consumerTag: consume.consumerTag)), channel: 1)
                try output.deliver("second", tag: 1)
            }
            #expect(try await peer.expectPublish().text == "again")
            try await peer.send(.basicAck(.init(deliveryTag: 1, multiple: false)))
            try await confirmed
            let report = try await events.nextRecovered()
            #expect(report.channels == 1 && report.exchanges == 1 && report.queues == 1 && report.bindings == 1)
            #expect(report.consumers == 1 && report.expectedConsumers == 1 && report.failures.isEmpty)
            #expect(report.renamedQueues == ["amq.gen-1": "amq.gen-2"])
            // What waited and was not handed out is not handed out twice.
            let fresh = try #require(try await deliveries.next())
            #expect(String(buffer: fresh.body) == "second")
            #expect(await failure { () async throws(AMQPError) in try stale.ack() }?.code == .deliveryExpired)
            try fresh.ack()
            guard case .basicAck(let ack) = try await peer.expect(.basicAck) else { return }
            #expect(ack.deliveryTag == 1)
            try await peer.expectNothingElse()
            #expect(await scripted.connection.isHealthy)
            await peer.close()
        }
    }

    @Test func aLossInTheMomentTheRecoveryIsDoneIsRecoveredFromToo() async throws {
        // Without a channel nothing is asked after the handshake, so nothing fails when the socket ends with it.
        try await withScriptedBroker(recovering) { scripted in
            var events = scripted.connection.events.makeAsyncIterator()
            await scripted.peer.close()
            let second = try await scripted.broker.accept()
            _ = try await second.start()
            _ = try await second.tune()
            let hold = LoopHold()
            try await hold.take(scripted.connection.eventLoop)
            try await second.send(.connectionOpenOk(.init()), on: 0)
            await second.close()
            hold.release()
            let third = try await scripted.broker.accept()
            try await third.handshake()
            _ = try await events.nextRecovered()
            async let opened = scripted.connection.openChannel()
            try await third.openChannel()
            _ = try await opened
            await third.close()
        }
    }
}
