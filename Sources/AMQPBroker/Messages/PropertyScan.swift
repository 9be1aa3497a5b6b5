// SPDX-License-Identifier: Apache-2.0
import AMQPWire
import NIOCore

/// What a broker must know of a message's properties, read from the raw list without building them.
///
/// The list is passed on as it is, so it is walked to its end: a list that contradicts its own lengths must not reach a
/// consumer.
struct PropertyScan: Hashable {
    /// Milliseconds, as the publisher spelled them.
    var expiration: String?
    var userID: String?
    /// Where the value of `reply-to` stands, if it asks for direct reply-to: its length octet and 21 bytes. Counted
    /// from the beginning of the list, for the list may move to another buffer.
    var directReplyTo: Range<Int>?
    /// Whether the headers hold `CC` or `BCC` (RabbitMQ's sender-selected distribution).
    var hasCopies = false
    var deliveryMode: UInt8?
    /// Whether the message asks to survive a restart.
    var isPersistent: Bool { self.deliveryMode == AMQPBasicProperties.persistent }
    var priority: UInt8 = 0

    /// The name that asks for direct reply-to.
    static let directReplyAddress = "amq.rabbitmq.reply-to"
    private static let directReplyBytes = Array(directReplyAddress.utf8)

    /// - Throws: ``BrokerException`` 502 if the list is malformed.
    init(_ properties: ByteBuffer) throws(BrokerException) {
        guard let flags = properties.getInteger(at: properties.readerIndex, as: UInt16.self) else {
            throw Self.malformed
        }
        // An empty list is the commonest of all.
        if flags == 0, properties.readableBytes == 2 { return }
        // Bit 0 announces a further word of flags, bit 1 is undefined; the basic class needs neither.
        guard flags & 0b11 == 0 else { throw Self.malformed }
        var walk = Walk(properties, from: properties.readerIndex + 2)
        if flags & 1 << 15 != 0 { try walk.skipShortString() }
        if flags & 1 << 14 != 0 { try walk.skipShortString() }
        if flags & 1 << 13 != 0 { self.hasCopies = try walk.skipTable(depth: 0) }
        if flags & 1 << 12 != 0 {
            self.deliveryMode = try walk.readInteger(UInt8.self)
        }
        if flags & 1 << 11 != 0 { self.priority = try walk.readInteger(UInt8.self) }
        if flags & 1 << 10 != 0 { try walk.skipShortString() }
        if flags & 1 << 9 != 0 {
            let start = walk.index
            let bytes = try walk.readShortBytes()
            if bytes.count == Self.directReplyBytes.count, bytes.elementsEqual(Self.directReplyBytes) {
                self.directReplyTo = (start - properties.readerIndex)..<(walk.index - properties.readerIndex)
            }
        }
        if flags & 1 << 8 != 0 { self.expiration = String(decoding: try walk.readShortBytes(), as: UTF8.self) }
        if flags & 1 << 7 != 0 { try walk.skipShortString() }
        if flags & 1 << 6 != 0 { try walk.skip(8) }
        if flags & 1 << 5 != 0 { try walk.skipShortString() }
        if flags & 1 << 4 != 0 { self.userID = String(decoding: try walk.readShortBytes(), as: UTF8.self) }
        if flags & 1 << 3 != 0 { try walk.skipShortString() }
        if flags & 1 << 2 != 0 { try walk.skipShortString() }
        guard walk.index == properties.writerIndex else { throw Self.malformed }
    }

    /// The list with another `reply-to`, everything else byte for byte.
    func replacingDirectReplyTo(in properties: ByteBuffer, with address: String) -> ByteBuffer {
        guard let range = self.directReplyTo, let length = UInt8(exactly: address.utf8.count),
            let head = properties.getSlice(at: properties.readerIndex, length: range.lowerBound),
            let rest = properties.getSlice(
                at: properties.readerIndex + range.upperBound, length: properties.readableBytes - range.upperBound)
        else { return properties }
        var result = ByteBufferAllocator().buffer(capacity: properties.readableBytes + address.utf8.count)
        result.writeImmutableBuffer(head)
        result.writeInteger(length)
        result.writeString(address)
        result.writeImmutableBuffer(rest)
        return result
    }

    fileprivate static let malformed = BrokerException(
        502, "malformed content header", scope: .connection, method: .basicPublish)
}

/// Walks over encoded values without decoding them.
private struct Walk {
    private let buffer: ByteBuffer
    private(set) var index: Int

    init(_ buffer: ByteBuffer, from index: Int) {
        self.buffer = buffer
        self.index = index
    }

    mutating func skip(_ count: Int) throws(BrokerException) {
        guard count >= 0, self.index + count <= self.buffer.writerIndex else { throw PropertyScan.malformed }
        self.index += count
    }

    mutating func readInteger<T: FixedWidthInteger>(_ type: T.Type) throws(BrokerException) -> T {
        guard let value = self.buffer.getInteger(at: self.index, as: type) else { throw PropertyScan.malformed }
        self.index += MemoryLayout<T>.size
        return value
    }

    mutating func skipShortString() throws(BrokerException) {
        try self.skip(Int(try self.readInteger(UInt8.self)))
    }

    mutating func readShortBytes() throws(BrokerException) -> ByteBufferView {
        let length = Int(try self.readInteger(UInt8.self))
        guard let view = self.buffer.viewBytes(at: self.index, length: length) else { throw PropertyScan.malformed }
        self.index += length
        return view
    }

    /// - Returns: whether a key of this table is `CC` or `BCC`.
    mutating func skipTable(depth: Int) throws(BrokerException) -> Bool {
        guard depth < AMQPTable.maximumDepth else { throw PropertyScan.malformed }
        let end = try self.readEnd()
        var hasCopies = false
        while self.index < end {
            let key = try self.readShortBytes()
            if key.elementsEqual("CC".utf8) || key.elementsEqual("BCC".utf8) { hasCopies = true }
            try self.skipValue(depth: depth)
        }
        guard self.index == end else { throw PropertyScan.malformed }
        return hasCopies
    }

    private mutating func readEnd() throws(BrokerException) -> Int {
        let length = Int(try self.readInteger(UInt32.self))
        guard self.index + length <= self.buffer.writerIndex else { throw PropertyScan.malformed }
        return self.index + length
    }

    private mutating func skipValue(depth: Int) throws(BrokerException) {
        switch UnicodeScalar(try self.readInteger(UInt8.self)) {
        case "t", "b", "B": try self.skip(1)
        case "s", "u": try self.skip(2)
        case "I", "i", "f": try self.skip(4)
        case "l", "L", "d", "T": try self.skip(8)
        case "D": try self.skip(5)
        case "V": break
        case "S", "x": try self.skip(Int(try self.readInteger(UInt32.self)))
        case "F": _ = try self.skipTable(depth: depth + 1)
        case "A":
            guard depth + 1 < AMQPTable.maximumDepth else { throw PropertyScan.malformed }
            let end = try self.readEnd()
            while self.index < end { try self.skipValue(depth: depth + 1) }
            guard self.index == end else { throw PropertyScan.malformed }
        default: throw PropertyScan.malformed
        }
    }
}
