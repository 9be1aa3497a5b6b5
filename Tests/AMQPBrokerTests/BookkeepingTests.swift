// SPDX-License-Identifier: Apache-2.0
import AMQPWire
import NIOCore
import Testing

@testable import AMQPBroker

@Suite("Unacknowledged deliveries")
struct UnackedDeliveriesTests {
    func filled(_ count: UInt64) -> UnackedDeliveries<UInt64> {
        var deliveries = UnackedDeliveries<UInt64>()
        for tag in 1...count { deliveries.add(tag, tag * 10) }
        return deliveries
    }

    @Test("are settled one by one, in any order, once")
    func single() {
        var deliveries = self.filled(3)
        #expect(deliveries.take(2) == 20)
        #expect(deliveries.take(2) == nil)
        #expect(deliveries.take(1) == 10)
        #expect(deliveries.take(4) == nil)
        #expect(deliveries.take(0) == nil)
        #expect(deliveries.take(3) == 30)
        #expect(deliveries.isEmpty)
    }

    @Test("are settled up to a tag that is outstanding itself")
    func multiple() {
        var deliveries = self.filled(5)
        _ = deliveries.take(2)
        #expect(deliveries.takeAll(through: 2) == nil)
        #expect(deliveries.takeAll(through: 4) == [10, 30, 40])
        #expect(deliveries.count == 1)
        #expect(deliveries.takeAll(through: 4) == nil)
        #expect(deliveries.takeAll(through: 6) == nil)
        #expect(deliveries.takeAll() == [50])
        #expect(deliveries.takeAll() == [])
    }

    @Test("stay findable when the first is never settled and thousands behind it are")
    func stuckHead() {
        var deliveries = self.filled(1)
        for tag: UInt64 in 2...5000 {
            deliveries.add(tag, tag * 10)
            if tag > 10 { #expect(deliveries.take(tag - 5) == (tag - 5) * 10) }
        }
        #expect(deliveries.count == 10)
        #expect(deliveries.take(1) == 10)
        #expect(deliveries.take(5000) == 50_000)
    }
}

@Suite("Publisher confirms")
struct ConfirmTrackerTests {
    @Test("are gathered into one acknowledgement")
    func gathered() {
        var tracker = ConfirmTracker()
        #expect(tracker.takeAcknowledgement() == nil)
        tracker.accepted()
        #expect(tracker.takeAcknowledgement() == .init(deliveryTag: 1, multiple: false))
        for _ in 0..<3 { tracker.accepted() }
        #expect(tracker.takeAcknowledgement() == .init(deliveryTag: 4, multiple: true))
        #expect(tracker.takeAcknowledgement() == nil)
    }
}

@Suite("A slot map")
struct SlotMapTests {
    @Test("never finds a later value under an old identifier")
    func generations() {
        var map = SlotMap<String>()
        let a = map.insert("a")
        map[a]? += "!"
        #expect(map[a] == "a!")
        #expect(map.remove(a) == "a!")
        let b = map.insert("b")
        #expect(map[a] == nil)
        map[a]? += "x"
        #expect(map[b] == "b")
        #expect(map.remove(a) == nil)
        #expect(map.count == 1)
        #expect(map.ids == [b])
    }
}

@Suite("Properties read by the broker")
struct PropertyScanTests {
    func encoded(_ properties: AMQPBasicProperties, offset: Int = 7) throws -> ByteBuffer {
        var buffer = ByteBuffer(repeating: 1, count: offset)
        try properties.encode(into: &buffer)
        buffer.moveReaderIndex(forwardBy: offset)
        return buffer
    }

    @Test("are what the codec wrote")
    func everything() throws {
        var properties = AMQPBasicProperties()
        properties.contentType = "text/plain"
        properties.contentEncoding = "gzip"
        properties.headers = ["a": [1, "x", .void], "CC": ["k"], "t": ["n": true, "d": .decimal(scale: 1, value: 2)]]
        properties.deliveryMode = AMQPBasicProperties.persistent
        properties.priority = 3
        properties.correlationID = "c"
        properties.replyTo = "amq.rabbitmq.reply-to"
        properties.expiration = "60"
        properties.messageID = "m"
        properties.timestamp = 1
        properties.type = "t"
        properties.userID = "guest"
        properties.appID = "app"
        properties.clusterID = "cl"
        let buffer = try self.encoded(properties)
        let scan = try PropertyScan(buffer)
        #expect(scan.expiration == "60")
        #expect(scan.userID == "guest")
        #expect(scan.hasCopies)
        #expect(scan.isPersistent)
        let replaced = scan.replacingDirectReplyTo(in: buffer, with: "amq.rabbitmq.reply-to.abc")
        properties.replyTo = "amq.rabbitmq.reply-to.abc"
        #expect(try AMQPBasicProperties(decoding: replaced) == properties)
    }

    @Test("are empty for an empty list")
    func empty() throws {
        let scan = try PropertyScan(try self.encoded(.init()))
        #expect(scan.directReplyTo == nil && scan.expiration == nil && scan.userID == nil && !scan.hasCopies)
    }

    @Test("are refused when the list is cut anywhere, or longer than it says")
    func truncated() throws {
        var properties = AMQPBasicProperties()
        properties.headers = ["a": [1, "x"], "t": ["n": true]]
        properties.userID = "guest"
        let buffer = try self.encoded(properties)
        for length in 0..<buffer.readableBytes {
            let cut = try #require(buffer.getSlice(at: buffer.readerIndex, length: length))
            #expect(throws: BrokerException.self) { try PropertyScan(cut) }
        }
        var longer = buffer
        longer.writeInteger(UInt8(0))
        #expect(throws: BrokerException.self) { try PropertyScan(longer) }
    }

    @Test("are copied out of the read buffer when small, and stay where they are when large")
    func detaching() throws {
        let read = ByteBuffer(repeating: 7, count: 65_536)
        var properties = try #require(read.getSlice(at: 0, length: 10))
        var small = try #require(read.getSlice(at: 10, length: 20))
        BrokerMessage.detach(properties: &properties, body: &small)
        #expect(small == ByteBuffer(repeating: 7, count: 20) && properties == ByteBuffer(repeating: 7, count: 10))
        #expect(small.storageCapacity < 1024)
        var large = try #require(read.getSlice(at: 10, length: 5000))
        BrokerMessage.detach(properties: &properties, body: &large)
        #expect(large.storageCapacity >= 65_536)
    }
}
