// SPDX-License-Identifier: Apache-2.0
import AMQPWire
import NIOCore
import Testing

@testable import AMQPBroker

@Suite("A queue")
struct QueueTests {
    let start = NIODeadline.uptimeNanoseconds(1_000_000_000)

    func makeQueue(_ arguments: AMQPTable = [:], autoDelete: Bool = false) throws -> BrokerQueue {
        let declare = AMQPMethod.QueueDeclare(queue: "q", durable: true, autoDelete: autoDelete, arguments: arguments)
        return BrokerQueue(
            name: "q", properties: try QueueProperties(declare, resource: "queue 'q'"), owner: nil, now: self.start)
    }

    func message(_ text: String, timeToLive: TimeAmount? = nil) -> BrokerMessage {
        BrokerMessage(
            exchange: "", routingKey: "q", properties: ByteBuffer(), body: ByteBuffer(string: text),
            traits: .init(timeToLive: timeToLive))
    }

    func consumer(_ number: UInt32) -> SlotID<BrokerConsumer> { SlotID(index: number, generation: 0) }

    func add(
        _ number: UInt32, to queue: inout BrokerQueue, prefetch: Int = 0, noAck: Bool = false, priority: Int64 = 0
    ) {
        queue.addConsumer(
            self.consumer(number), prefetch: prefetch, noAck: noAck, exclusive: false, priority: priority)
    }

    /// `#require` cannot call what is mutating.
    func require<T>(_ value: T?) throws -> T { try #require(value) }

    func text(_ message: QueuedMessage?) -> String? { message.map { String(buffer: $0.message.body) } }

    /// Everything the queue hands out now, as "message>consumer".
    func deliveries(_ queue: inout BrokerQueue, now: NIODeadline? = nil) -> [String] {
        var result: [String] = []
        let names = (0..<9).map { (self.consumer($0), $0) }
        while let (message, consumer) = queue.nextDelivery(now: now ?? self.start) {
            let name = names.first { $0.0 == consumer }.map { "\($0.1)" } ?? "?"
            result.append("\(self.text(message) ?? "")>\(name)")
        }
        return result
    }

    @Test("hands out in the order of arrival, once")
    func firstInFirstOut() throws {
        var queue = try self.makeQueue()
        for text in ["a", "b", "c"] { queue.enqueue(self.message(text), now: self.start) }
        #expect(queue.ready.count == 3)
        #expect(self.text(queue.get(now: self.start)) == "a")
        #expect(self.text(queue.get(now: self.start)) == "b")
        #expect(queue.unackedCount == 2)
        queue.settle(consumer: nil)
        #expect(queue.unackedCount == 1)
        #expect(self.text(queue.get(now: self.start)) == "c")
        #expect(queue.get(now: self.start) == nil)
    }

    @Test("goes round among its consumers")
    func roundRobin() throws {
        var queue = try self.makeQueue()
        for number: UInt32 in 1...3 { self.add(number, to: &queue) }
        for text in ["a", "b", "c", "d"] { queue.enqueue(self.message(text), now: self.start) }
        #expect(self.deliveries(&queue) == ["a>1", "b>2", "c>3", "d>1"])
    }

    @Test("skips a consumer that has as many as its prefetch allows, until it settles one")
    func prefetch() throws {
        var queue = try self.makeQueue()
        self.add(1, to: &queue, prefetch: 1)
        self.add(2, to: &queue, prefetch: 2)
        for text in ["a", "b", "c", "d", "e"] { queue.enqueue(self.message(text), now: self.start) }
        #expect(self.deliveries(&queue) == ["a>1", "b>2", "c>2"])
        #expect(queue.ready.count == 2)
        queue.settle(consumer: self.consumer(1))
        #expect(self.deliveries(&queue) == ["d>1"])
        queue.settle(consumer: self.consumer(2))
        #expect(self.deliveries(&queue) == ["e>2"])
        #expect(queue.unackedCount == 3)
    }

    @Test("does not count what needs no acknowledgement against a prefetch")
    func noAckIgnoresPrefetch() throws {
        var queue = try self.makeQueue()
        self.add(1, to: &queue, prefetch: 1, noAck: true)
        for text in ["a", "b"] { queue.enqueue(self.message(text), now: self.start) }
        #expect(self.deliveries(&queue) == ["a>1", "b>1"])
    }

    @Test("prefers consumers of higher priority while they can take more")
    func priority() throws {
        var queue = try self.makeQueue()
        self.add(1, to: &queue, priority: -1)
        self.add(2, to: &queue, prefetch: 1, priority: 5)
        self.add(3, to: &queue, prefetch: 1, priority: 5)
        for text in ["a", "b", "c"] { queue.enqueue(self.message(text), now: self.start) }
        #expect(self.deliveries(&queue) == ["a>2", "b>3", "c>1"])
    }

    @Test("gives a paused consumer nothing until it goes on")
    func pausing() throws {
        var queue = try self.makeQueue()
        self.add(1, to: &queue)
        queue.hold(self.consumer(1), .connection)
        queue.enqueue(self.message("a"), now: self.start)
        #expect(self.deliveries(&queue).isEmpty)
        queue.free(self.consumer(1), .connection)
        #expect(self.deliveries(&queue) == ["a>1"])
    }

    @Test("forgets a consumer that left, and its turn")
    func removedConsumer() throws {
        var queue = try self.makeQueue()
        for number: UInt32 in 1...2 { self.add(number, to: &queue) }
        #expect(queue.removeConsumer(self.consumer(1), now: self.start) == false)
        for text in ["a", "b"] { queue.enqueue(self.message(text), now: self.start) }
        #expect(self.deliveries(&queue) == ["a>2", "b>2"])
    }

    @Test("deletes itself after its last consumer only if declared so")
    func autoDelete() throws {
        var queue = try self.makeQueue(autoDelete: true)
        for number: UInt32 in 1...2 { self.add(number, to: &queue) }
        #expect(queue.removeConsumer(self.consumer(1), now: self.start) == false)
        #expect(queue.removeConsumer(self.consumer(2), now: self.start) == true)
        var plain = try self.makeQueue()
        self.add(1, to: &plain)
        #expect(plain.removeConsumer(self.consumer(1), now: self.start) == false)
    }

    @Test("takes messages back to where they came from, marked as redelivered")
    func requeue() throws {
        var queue = try self.makeQueue()
        for text in ["a", "b", "c", "d", "e"] { queue.enqueue(self.message(text), now: self.start) }
        let taken = (0..<4).compactMap { _ in queue.get(now: self.start) }
        // "b" first, alone; then the others in any order.
        queue.requeue([taken[1]], isCounted: false)
        queue.requeue([taken[3], taken[0], taken[2]], isCounted: false)
        #expect(queue.unackedCount == 0)
        var texts: [String] = []
        var redelivered: [Bool] = []
        while let message = queue.get(now: self.start) {
            texts.append(self.text(message) ?? "")
            redelivered.append(message.isRedelivered)
        }
        #expect(texts == ["a", "b", "c", "d", "e"])
        #expect(redelivered == [true, true, true, true, false])
    }

    @Test("takes a message back between two that are ready")
    func requeueInTheMiddle() throws {
        var queue = try self.makeQueue()
        for text in ["a", "b", "c"] { queue.enqueue(self.message(text), now: self.start) }
        let a = try self.require(queue.get(now: self.start))
        let b = try self.require(queue.get(now: self.start))
        queue.requeue([a], isCounted: false)
        queue.requeue([b], isCounted: false)
        #expect((0..<3).map { _ in self.text(queue.get(now: self.start)) } == ["a", "b", "c"])
    }

    @Test("purges what is ready and leaves what was handed out")
    func purge() throws {
        var queue = try self.makeQueue()
        for text in ["a", "b", "c"] { queue.enqueue(self.message(text), now: self.start) }
        let a = try self.require(queue.get(now: self.start))
        #expect(queue.purge() == 2)
        #expect(queue.unackedCount == 1)
        queue.requeue([a], isCounted: false)
        #expect(queue.ready.count == 1)
    }

    @Test("drops a message when the shorter of both times to live has passed", arguments: [(50, 100), (100, 50)])
    func timeToLive(ofQueue: Int64, ofMessage: Int64) throws {
        var queue = try self.makeQueue(["x-message-ttl": .int64(ofQueue)])
        queue.enqueue(self.message("a", timeToLive: .milliseconds(ofMessage)), now: self.start)
        #expect(queue.nextDeadline == self.start + .milliseconds(50))
        queue.dropExpired(now: self.start + .milliseconds(49))
        #expect(queue.ready.count == 1)
        queue.dropExpired(now: self.start + .milliseconds(50))
        #expect(queue.ready.isEmpty)
        #expect(queue.nextDeadline == nil)
    }

    @Test("never delivers what has expired, even before anybody dropped it")
    func expiredIsNotDelivered() throws {
        var queue = try self.makeQueue()
        queue.enqueue(self.message("a", timeToLive: .milliseconds(10)), now: self.start)
        queue.enqueue(self.message("b"), now: self.start)
        let later = self.start + .milliseconds(11)
        self.add(1, to: &queue)
        #expect(self.deliveries(&queue, now: later) == ["b>1"])
        queue.enqueue(self.message("c", timeToLive: .milliseconds(10)), now: self.start)
        #expect(queue.get(now: later) == nil)
    }

    @Test("looks for expired messages at its head only, as a classic queue does")
    func expiredBehindTheHead() throws {
        var queue = try self.makeQueue()
        queue.enqueue(self.message("a"), now: self.start)
        queue.enqueue(self.message("b", timeToLive: .milliseconds(1)), now: self.start)
        queue.dropExpired(now: self.start + .seconds(1))
        #expect(queue.ready.count == 2)
        #expect(queue.nextDeadline == nil)
    }

    @Test("delivers a message with time-to-live 0 to a consumer that waits, or not at all")
    func timeToLiveZero() throws {
        var queue = try self.makeQueue()
        self.add(1, to: &queue, prefetch: 1)
        queue.enqueue(self.message("a", timeToLive: .zero), now: self.start)
        #expect(self.deliveries(&queue) == ["a>1"])
        queue.enqueue(self.message("b", timeToLive: .zero), now: self.start)
        #expect(self.deliveries(&queue).isEmpty)
        queue.dropExpired(now: self.start)
        #expect(queue.ready.isEmpty)
    }

    @Test("keeps the old expiry of a message that is requeued")
    func requeueKeepsExpiry() throws {
        var queue = try self.makeQueue(["x-message-ttl": 100])
        queue.enqueue(self.message("a"), now: self.start)
        let taken = try self.require(queue.get(now: self.start + .milliseconds(90)))
        queue.requeue([taken], isCounted: false)
        #expect(queue.nextDeadline == self.start + .milliseconds(100))
    }

    @Test("is unused when nobody consumed, declared or got for as long as x-expires says")
    func expires() throws {
        var queue = try self.makeQueue(["x-expires": 100])
        #expect(queue.nextDeadline == self.start + .milliseconds(100))
        _ = queue.get(now: self.start + .milliseconds(50))
        #expect(!queue.isUnused(now: self.start + .milliseconds(149)))
        #expect(queue.isUnused(now: self.start + .milliseconds(150)))
        self.add(1, to: &queue)
        #expect(!queue.isUnused(now: self.start + .seconds(10)))
        #expect(queue.nextDeadline == nil)
        _ = queue.removeConsumer(self.consumer(1), now: self.start + .seconds(10))
        #expect(queue.nextDeadline == self.start + .milliseconds(10_100))
    }

    @Test(
        "refuses arguments that make no sense",
        arguments: [
            ("x-expires", AMQPFieldValue.int32(0)), ("x-message-ttl", .int32(-1)),
            ("x-message-ttl", .int64(315_360_000_001)), ("x-expires", .longString("1")),
            ("x-queue-type", .longString("heap")), ("x-queue-type", .int32(1)),
        ])
    func invalidArguments(key: String, value: AMQPFieldValue) {
        #expect(throws: BrokerException.self) { try self.makeQueue(AMQPTable([(key, value)])) }
    }

    @Test("is declared again with the same numbers in other widths, and with an explicit classic type")
    func equivalence() throws {
        let queue = try self.makeQueue(["x-message-ttl": .int32(5), "x-custom": 1])
        func check(_ arguments: AMQPTable) throws(BrokerException) {
            try queue.properties.check(
                equivalent: .init(queue: "q", durable: true, arguments: arguments), resource: "queue 'q' in vhost '/'")
        }
        #expect(throws: Never.self) { try check(["x-message-ttl": .int64(5), "x-queue-type": "classic"]) }
        for (arguments, difference) in [
            (["x-message-ttl": .int64(6)], "received '6' but current is '5'"),
            ([:], "received none but current is the value '5' of type 'signedint'"),
        ] as [(AMQPTable, String)] {
            let error = #expect(throws: BrokerException.self) { try check(arguments) }
            #expect(
                error?.text == "PRECONDITION_FAILED - inequivalent arg 'x-message-ttl' for queue 'q' in vhost '/': "
                    + difference)
        }
    }
}
