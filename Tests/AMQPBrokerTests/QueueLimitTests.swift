// SPDX-License-Identifier: Apache-2.0
import AMQPWire
import NIOCore
import Testing

@testable import AMQPBroker

@Suite("A queue with limits")
struct QueueLimitTests {
    let start = NIODeadline.uptimeNanoseconds(1_000_000_000)

    func makeQueue(
        _ arguments: AMQPTable, compatibility: AMQPEmbeddedBroker.Compatibility = .strict
    ) throws -> BrokerQueue {
        let declare = AMQPMethod.QueueDeclare(queue: "q", durable: true, arguments: arguments)
        return BrokerQueue(
            name: "q", properties: try QueueProperties(declare, resource: "queue 'q'", compatibility: compatibility),
            owner: nil, now: self.start)
    }

    func message(_ text: String, priority: UInt8 = 0) -> BrokerMessage {
        BrokerMessage(
            exchange: "", routingKey: "q", properties: ByteBuffer(), body: ByteBuffer(string: text),
            traits: .init(priority: priority))
    }

    func consumer(_ number: UInt32) -> SlotID<BrokerConsumer> { SlotID(index: number, generation: 0) }

    /// `#require` cannot call what is mutating.
    func require<T>(_ value: T?) throws -> T { try #require(value) }

    /// What is left, taken out.
    func texts(_ queue: inout BrokerQueue) -> [String] {
        var texts: [String] = []
        while let message = queue.get(now: self.start) { texts.append(String(buffer: message.message.body)) }
        return texts
    }

    func deaths(_ queue: inout BrokerQueue) -> [String] {
        queue.takeDead().map { "\(String(buffer: $0.message.body)) \($0.reason.rawValue)" }
    }

    @Test(
        "drops its oldest messages",
        arguments: [["x-max-length": 2], ["x-max-length-bytes": 4]] as [AMQPTable])
    func dropHead(limit: AMQPTable) throws {
        var arguments = limit
        arguments["x-dead-letter-exchange"] = "dead"
        var queue = try self.makeQueue(arguments)
        for text in ["aa", "bb", "cc"] { queue.enqueue(self.message(text), now: self.start) }
        queue.dropOverflow()
        #expect(self.deaths(&queue) == ["aa maxlen"])
        #expect(self.texts(&queue) == ["bb", "cc"])
    }

    @Test("holds nothing when it may hold nothing, and keeps no dead without an exchange for them")
    func lengthZero() throws {
        var queue = try self.makeQueue(["x-max-length": 0])
        queue.enqueue(self.message("a"), now: self.start)
        queue.dropOverflow()
        #expect(queue.ready.isEmpty && queue.ready.byteCount == 0)
        #expect(queue.takeDead().isEmpty)
    }

    @Test("counts what is ready only, also when something comes back")
    func requeued() throws {
        var queue = try self.makeQueue(["x-max-length": 1, "x-dead-letter-exchange": "dead"])
        queue.enqueue(self.message("a"), now: self.start)
        let taken = try self.require(queue.get(now: self.start))
        queue.enqueue(self.message("b"), now: self.start)
        queue.dropOverflow()
        #expect(queue.takeDead().isEmpty)
        queue.requeue([taken], isCounted: false)
        queue.dropOverflow()
        #expect(self.deaths(&queue) == ["a maxlen"])
    }

    @Test("refuses what it has no room for", arguments: ["reject-publish", "reject-publish-dlx"])
    func refuses(overflow: String) throws {
        var queue = try self.makeQueue([
            "x-max-length": 1, "x-overflow": .longString(AMQPLongString(overflow)), "x-dead-letter-exchange": "dead",
        ])
        let isTaken = ["a", "b"].map { queue.offer(self.message($0), now: self.start) }
        #expect(isTaken == [true, false])
        queue.dropOverflow()
        #expect(self.deaths(&queue) == (overflow == "reject-publish" ? [] : ["b maxlen"]))
        #expect(self.texts(&queue) == ["a"])
    }

    @Test("hands out by priority, and in one priority in the order of arrival")
    func priorities() throws {
        var queue = try self.makeQueue(["x-max-priority": 5])
        for (text, priority) in [("a", 0), ("b", 5), ("c", 9), ("d", 1), ("e", 0)] as [(String, UInt8)] {
            queue.enqueue(self.message(text, priority: priority), now: self.start)
        }
        #expect(queue.ready.count == 5)
        let first = try self.require(queue.get(now: self.start))
        let second = try self.require(queue.get(now: self.start))
        #expect(String(buffer: first.message.body) == "b" && String(buffer: second.message.body) == "c")
        queue.requeue([second, first], isCounted: false)
        #expect(self.texts(&queue) == ["b", "c", "d", "a", "e"])
    }

    @Test("has one active consumer, the next of them when it leaves")
    func singleActive() throws {
        var queue = try self.makeQueue(["x-single-active-consumer": true])
        for (number, priority) in [(1, 0), (2, 0), (3, 5)] as [(UInt32, Int64)] {
            queue.addConsumer(self.consumer(number), prefetch: 0, noAck: true, exclusive: false, priority: priority)
        }
        func receiver() -> SlotID<BrokerConsumer>? {
            queue.enqueue(self.message("x"), now: self.start)
            return queue.nextDelivery(now: self.start)?.1
        }
        #expect(receiver() == self.consumer(1) && receiver() == self.consumer(1))
        _ = queue.removeConsumer(self.consumer(1), now: self.start)
        #expect(receiver() == self.consumer(3))
        _ = queue.removeConsumer(self.consumer(2), now: self.start)
        #expect(receiver() == self.consumer(3))
        _ = queue.removeConsumer(self.consumer(3), now: self.start)
        #expect(receiver() == nil)
    }

    @Test("gives a message up when it came back too often", arguments: [2, nil] as [Int32?])
    func deliveryLimit(limit: Int32?) throws {
        var arguments: AMQPTable = ["x-queue-type": "quorum", "x-dead-letter-exchange": "dead"]
        arguments["x-delivery-limit"] = limit.map { .int32($0) }
        var queue = try self.makeQueue(arguments)
        queue.enqueue(self.message("a"), now: self.start)
        for round in 1...Int(limit ?? 20) {
            let message = try self.require(queue.get(now: self.start))
            queue.requeue([message], isCounted: true)
            #expect(queue.ready.first?.deliveryCount == UInt32(round))
        }
        let message = try self.require(queue.get(now: self.start))
        queue.requeue([message], isCounted: false)
        #expect(queue.takeDead().isEmpty)
        queue.requeue([try self.require(queue.get(now: self.start))], isCounted: true)
        #expect(self.deaths(&queue) == ["a delivery_limit"])
        #expect(queue.ready.isEmpty && queue.unackedCount == 0)
    }

    @Test("of the classic kind, or of RabbitMQ before 4.0, takes everything back")
    func noDeliveryLimit() throws {
        let quorum: AMQPTable = ["x-queue-type": "quorum"]
        for var queue in [try self.makeQueue([:]), try self.makeQueue(quorum, compatibility: .lenient)] {
            queue.enqueue(self.message("a"), now: self.start)
            for _ in 0..<50 { queue.requeue([try self.require(queue.get(now: self.start))], isCounted: true) }
            #expect(queue.ready.count == 1)
        }
    }

    @Test(
        "refuses arguments of the wrong type, value or kind",
        arguments: [
            ("x-max-length", -1, "{value_negative,-1}"), ("x-max-length", "many", "\"expected integer, got longstr\""),
            ("x-overflow", "spill", "invalid_overflow"), ("x-max-priority", 256, "{max_value_exceeded,256}"),
            ("x-single-active-consumer", 1, "{unacceptable_type,long}"),
            ("x-dead-letter-routing-key", "k", "routing_key_but_no_dlx_defined"),
            ("x-delivery-limit", 3, "of queue type rabbit_classic_queue"),
            ("x-queue-type", "list", "\"unsupported queue type 'list'\""),
        ] as [(String, AMQPFieldValue, String)])
    func refused(key: String, value: AMQPFieldValue, reason: String) throws {
        let error = #expect(throws: BrokerException.self) { try self.makeQueue([key: value]) }
        #expect(error?.code == 406)
        #expect(error?.text.contains("invalid arg '\(key)' for queue 'q'") == true, "\(error?.text ?? "")")
        #expect(error?.text.contains(reason) == true, "\(error?.text ?? "")")
    }

    @Test("says how many messages went through in the last second that is over")
    func rates() {
        var meter = RateMeter()
        let second = TimeAmount.seconds(1)
        #expect(meter.rate(at: self.start) == 0)
        for _ in 0..<3 { meter.count(self.start) }
        #expect(meter.rate(at: self.start) == 0)
        #expect(meter.rate(at: self.start + second) == 3)
        meter.count(self.start + second)
        #expect(meter.rate(at: self.start + second) == 3)
        #expect(meter.rate(at: self.start + second + second) == 1)
        #expect(meter.rate(at: self.start + .seconds(5)) == 0)
        #expect(meter.total == 4)
    }
}
