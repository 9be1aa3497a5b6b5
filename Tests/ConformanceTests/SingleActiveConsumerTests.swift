// SPDX-License-Identifier: Apache-2.0
import AMQPClient
import AMQPWire
import NIOCore
import TestSupport
import Testing

@Suite("Queues with a single active consumer", .timeLimit(.minutes(2)))
struct SingleActiveConsumerTests {
    private static let single: AMQPTable = ["x-single-active-consumer": true]

    @Test("Of several consumers only the first is delivered to", arguments: TestBroker.modes)
    func onlyOne(broker: TestBroker) async throws {
        try await broker.run { url in
            try await withConfirmingChannel(url) { channel in
                let queue = try await channel.declareQueue("", exclusive: true, arguments: Self.single).name
                let active = try await channel.consume(queue, acknowledgement: .automatic)
                for _ in 0..<2 { _ = try await channel.consume(queue, acknowledgement: .automatic) }
                #expect(try await channel.declareQueue(queue, passive: true).consumerCount == 3)
                // All of them, so none is left for the others.
                for number in 0..<6 { try await channel.put("\(number)", in: queue) }
                for number in 0..<6 { #expect(try await active.next().text == "\(number)") }
            }
        }
    }

    @Test("When the active one is cancelled the one that came next takes over", arguments: TestBroker.modes)
    func cancelling(broker: TestBroker) async throws {
        try await broker.run { url in
            try await withConfirmingChannel(url) { channel in
                let queue = try await channel.declareQueue("", exclusive: true, arguments: Self.single).name
                var consumers: [AMQPConsumer] = []
                for _ in 0..<3 { consumers.append(try await channel.consume(queue, acknowledgement: .automatic)) }
                for (number, consumer) in consumers.enumerated() {
                    try await channel.put("\(number)", in: queue)
                    #expect(try await consumer.next().text == "\(number)")
                    try await consumer.cancel()
                }
                try await channel.put("3", in: queue)
                try await channel.expectReady(1, in: queue)
            }
        }
    }

    @Test("What a cancelled one has not acknowledged is still its own", arguments: TestBroker.modes)
    func unacknowledged(broker: TestBroker) async throws {
        try await broker.run { url in
            try await withConfirmingChannel(url) { channel in
                let queue = try await channel.declareQueue("", exclusive: true, arguments: Self.single).name
                let active = try await channel.consume(queue)
                let waiting = try await channel.consume(queue)
                for text in ["0", "1"] { try await channel.put(text, in: queue) }
                let acknowledged = try await active.next()
                let requeued = try await active.next()
                try await active.cancel()
                // The other one takes over at once, and does not wait for these two.
                try await channel.put("2", in: queue)
                #expect(try await waiting.next().text == "2")
                try acknowledged.ack()
                try requeued.reject(requeue: true)
                let again = try await waiting.next()
                #expect(again.text == "1" && again.redelivered)
            }
        }
    }

    @Test("When the active one's channel is closed the next one gets what it had", arguments: TestBroker.modes)
    func closingTheChannel(broker: TestBroker) async throws {
        try await broker.run { url in
            try await withConnection(url) { connection in
                let channel = try await connection.openChannel()
                try await channel.confirmSelect()
                let queue = try await channel.declareQueue("", exclusive: true, arguments: Self.single).name
                let closing = try await connection.openChannel()
                let active = try await closing.consume(queue)
                let waiting = try await channel.consume(queue)
                for text in ["0", "1"] { try await channel.put(text, in: queue) }
                for text in ["0", "1"] { #expect(try await active.next().text == text) }
                await closing.close()
                for text in ["0", "1"] {
                    let again = try await waiting.next()
                    #expect(again.text == text && again.redelivered)
                }
            }
        }
    }

    @Test("When the active one's connection is lost the next one gets what it had", arguments: TestBroker.modes)
    func losingTheConnection(broker: TestBroker) async throws {
        try await broker.run { url in
            try await withConnection(url) { connection in
                let channel = try await connection.openChannel()
                try await channel.confirmSelect()
                let queue = TestBroker.uniqueName()
                try await channel.declareQueue(queue, durable: true, arguments: Self.single)
                try await FaultProxy.with(to: url, plan: { _ in .none }) { proxy, proxied in
                    var configuration = try AMQPConfiguration(uri: proxied)
                    configuration.recovery = .disabled
                    try await withConnection(configuration) { lost in
                        let active = try await lost.openChannel().consume(queue)
                        let waiting = try await channel.consume(queue)
                        try await channel.put("x", in: queue)
                        #expect(try await active.next().text == "x")
                        await proxy.apply(.reset)
                        let again = try await waiting.next()
                        #expect(again.text == "x" && again.redelivered)
                        try again.ack()
                    }
                }
                try await channel.deleteQueue(queue)
            }
        }
    }

    @Test("When a waiting one leaves, nothing changes for the active one", arguments: TestBroker.modes)
    func waitingOneLeaves(broker: TestBroker) async throws {
        try await broker.run { url in
            try await withConfirmingChannel(url) { channel in
                let queue = try await channel.declareQueue("", exclusive: true, arguments: Self.single).name
                let active = try await channel.consume(queue, acknowledgement: .automatic)
                let waiting = try await channel.consume(queue, acknowledgement: .automatic)
                let next = try await channel.consume(queue, acknowledgement: .automatic)
                try await waiting.cancel()
                try await channel.put("0", in: queue)
                #expect(try await active.next().text == "0")
                // Nor does it come back when it would be its turn.
                try await active.cancel()
                try await channel.put("1", in: queue)
                #expect(try await next.next().text == "1")
            }
        }
    }

    @Test("While the active one is at its prefetch the others get nothing", arguments: TestBroker.modes)
    func prefetch(broker: TestBroker) async throws {
        try await broker.run { url in
            try await withConnection(url) { connection in
                let channel = try await connection.openChannel()
                try await channel.confirmSelect()
                let queue = try await channel.declareQueue("", exclusive: true, arguments: Self.single).name
                let limited = try await connection.openChannel()
                try await limited.qos(prefetchCount: 1)
                let active = try await limited.consume(queue)
                let waiting = try await channel.consume(queue)
                for number in 0..<3 { try await channel.put("\(number)", in: queue) }
                let first = try await active.next()
                #expect(first.text == "0")
                try await channel.expectReady(2, in: queue)
                try first.ack()
                #expect(try await active.next().text == "1")
                try await channel.expectReady(1, in: queue)
                // Who takes over has a prefetch of its own, which is none.
                await limited.close()
                for text in ["1", "2"] { #expect(try await waiting.next().text == text) }
            }
        }
    }

    @Test(
        "An exclusive consumer is refused with 403, also when it would be the only one",
        arguments: TestBroker.modes)
    func exclusive(broker: TestBroker) async throws {
        try await broker.run { url in
            try await withConnection(url) { connection in
                let channel = try await connection.openChannel()
                let queue = try await channel.declareQueue("", exclusive: true, arguments: Self.single).name
                let text = "ACCESS_REFUSED - queue '\(queue)' in vhost '/' in exclusive use"
                await expectRefusal(403, text) {
                    _ = try await connection.openChannel().consume(queue, exclusive: true)
                }
                _ = try await channel.consume(queue)
                await expectRefusal(403, text) {
                    _ = try await connection.openChannel().consume(queue, exclusive: true)
                }
                #expect(try await channel.declareQueue(queue, passive: true).consumerCount == 1)
            }
        }
    }

    @Test("Fetching from a classic queue is served all the same", arguments: TestBroker.modes)
    func fetching(broker: TestBroker) async throws {
        // A quorum queue refuses it: see `QuorumTypeTests`.
        try await broker.run { url in
            try await withConfirmingChannel(url) { channel in
                let queue = try await channel.declareQueue("", exclusive: true, arguments: Self.single).name
                try await channel.put("fetched", in: queue)
                #expect(try await channel.get(queue, acknowledgement: .automatic)?.text == "fetched")
                try await channel.qos(prefetchCount: 1)
                let active = try await channel.consume(queue)
                for text in ["delivered", "fetched too"] { try await channel.put(text, in: queue) }
                #expect(try await active.next().text == "delivered")
                #expect(try await channel.get(queue)?.text == "fetched too")
                #expect(try await channel.get(queue) == nil)
            }
        }
    }

    @Test("What is neither true nor false is refused, and so is another value later", arguments: TestBroker.modes)
    func arguments(broker: TestBroker) async throws {
        try await broker.run { url in
            try await withConnection(url) { connection in
                let queue = TestBroker.uniqueName()
                let place = "arg 'x-single-active-consumer' for queue '\(queue)' in vhost '/': "
                await expectRefusal(406, "invalid \(place){unacceptable_type,longstr}") {
                    try await connection.openChannel().declareQueue(
                        queue, exclusive: true, arguments: ["x-single-active-consumer": "true"])
                }
                let channel = try await connection.openChannel()
                try await channel.declareQueue(queue, exclusive: true, arguments: Self.single)
                await expectRefusal(406, "inequivalent \(place)received 'false' but current is 'true'") {
                    try await connection.openChannel().declareQueue(
                        queue, exclusive: true, arguments: ["x-single-active-consumer": false])
                }
                await expectRefusal(
                    406, "inequivalent \(place)received none but current is the value 'true' of type 'bool'"
                ) {
                    try await connection.openChannel().declareQueue(queue, exclusive: true)
                }
            }
        }
    }
}
