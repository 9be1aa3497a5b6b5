// SPDX-License-Identifier: Apache-2.0
public import NIOCore

/// The fourteen properties of a message (specification 1.8, class basic). `nil` is "not present".
public struct AMQPBasicProperties: Hashable, Sendable {
    /// MIME type of the body.
    public var contentType: String?
    /// MIME content encoding of the body.
    public var contentEncoding: String?
    /// Headers of the application's own, and those that brokers know, such as `CC`.
    public var headers: AMQPTable?
    /// 1 transient, 2 persistent. Other values are carried as they are.
    public var deliveryMode: UInt8?
    /// 0 to 9 by the specification; RabbitMQ's priority queues allow up to 255.
    public var priority: UInt8?
    /// Of which message this is the answer.
    public var correlationID: String?
    /// The queue to reply to.
    public var replyTo: String?
    /// Milliseconds until the message expires in a queue, as a decimal string.
    public var expiration: String?
    /// The application's name for the message.
    public var messageID: String?
    /// Seconds since 1970 UTC.
    public var timestamp: UInt64?
    /// The application's name for the kind of message.
    public var type: String?
    /// The login name of the publisher, which RabbitMQ verifies.
    public var userID: String?
    /// The application that published it.
    public var appID: String?
    /// Deprecated by the specification; read and written, but of no meaning.
    public var clusterID: String?

    /// No properties.
    public init() {}

    /// A ``deliveryMode`` that does not survive a restart of the broker.
    public static let transient: UInt8 = 1
    /// A ``deliveryMode`` that survives a restart of the broker in a durable queue.
    public static let persistent: UInt8 = 2

    /// Flags as they stand in the first word of the property list, in wire order.
    private enum Flag {
        static let contentType: UInt16 = 1 << 15
        static let contentEncoding: UInt16 = 1 << 14
        static let headers: UInt16 = 1 << 13
        static let deliveryMode: UInt16 = 1 << 12
        static let priority: UInt16 = 1 << 11
        static let correlationID: UInt16 = 1 << 10
        static let replyTo: UInt16 = 1 << 9
        static let expiration: UInt16 = 1 << 8
        static let messageID: UInt16 = 1 << 7
        static let timestamp: UInt16 = 1 << 6
        static let type: UInt16 = 1 << 5
        static let userID: UInt16 = 1 << 4
        static let appID: UInt16 = 1 << 3
        static let clusterID: UInt16 = 1 << 2
        static let undefined: UInt16 = 1 << 1
        /// A further word of flags follows (specification 4.2.6.1).
        static let continuation: UInt16 = 1
    }

    /// Reads a property list: flags and the values they announce, all of `buffer`.
    ///
    /// - Throws: ``AMQPWireError`` if the list is cut short, has bytes left over, or announces unknown properties.
    public init(decoding buffer: ByteBuffer) throws(AMQPWireError) {
        self = try buffer.read { reader throws(AMQPWireError) in try AMQPBasicProperties(from: &reader) }
    }

    private init(from reader: inout AMQPReader) throws(AMQPWireError) {
        let flags: UInt16 = try reader.readInteger()
        var more = flags & Flag.continuation != 0
        var unknown = flags & Flag.undefined != 0
        while more {
            let word: UInt16 = try reader.readInteger()
            unknown = unknown || word & ~Flag.continuation != 0
            more = word & Flag.continuation != 0
        }
        // Values follow without lengths, so past an unknown property nothing can be read.
        guard !unknown else { throw AMQPWireError(.malformedValue, "a content header announces an unknown property") }
        if flags & Flag.contentType != 0 { self.contentType = try reader.readShortString() }
        if flags & Flag.contentEncoding != 0 { self.contentEncoding = try reader.readShortString() }
        if flags & Flag.headers != 0 { self.headers = try reader.readTable() }
        if flags & Flag.deliveryMode != 0 { self.deliveryMode = try reader.readInteger() }
        if flags & Flag.priority != 0 { self.priority = try reader.readInteger() }
        if flags & Flag.correlationID != 0 { self.correlationID = try reader.readShortString() }
        if flags & Flag.replyTo != 0 { self.replyTo = try reader.readShortString() }
        if flags & Flag.expiration != 0 { self.expiration = try reader.readShortString() }
        if flags & Flag.messageID != 0 { self.messageID = try reader.readShortString() }
        if flags & Flag.timestamp != 0 { self.timestamp = try reader.readInteger() }
        if flags & Flag.type != 0 { self.type = try reader.readShortString() }
        if flags & Flag.userID != 0 { self.userID = try reader.readShortString() }
        if flags & Flag.appID != 0 { self.appID = try reader.readShortString() }
        if flags & Flag.clusterID != 0 { self.clusterID = try reader.readShortString() }
        try reader.finish("a content header")
    }

    /// Appends the property list: flags and values.
    ///
    /// - Throws: ``AMQPWireError`` if a value does not fit its type. What was appended by then is taken back.
    public func encode(into buffer: inout ByteBuffer) throws(AMQPWireError) {
        _ = try buffer.append { writer throws(AMQPWireError) in try self.encodeValues(into: &writer) }
    }

    func encodeValues(into buffer: inout AMQPWriter) throws(AMQPWireError) {
        let start = buffer.count
        var flags: UInt16 = 0
        buffer.writeInteger(flags)
        if let contentType {
            flags |= Flag.contentType
            try buffer.write(shortString: contentType, "content type")
        }
        if let contentEncoding {
            flags |= Flag.contentEncoding
            try buffer.write(shortString: contentEncoding, "content encoding")
        }
        if let headers {
            flags |= Flag.headers
            try buffer.write(table: headers)
        }
        if let deliveryMode {
            flags |= Flag.deliveryMode
            buffer.writeInteger(deliveryMode)
        }
        if let priority {
            flags |= Flag.priority
            buffer.writeInteger(priority)
        }
        if let correlationID {
            flags |= Flag.correlationID
            try buffer.write(shortString: correlationID, "correlation id")
        }
        if let replyTo {
            flags |= Flag.replyTo
            try buffer.write(shortString: replyTo, "reply-to address")
        }
        if let expiration {
            flags |= Flag.expiration
            try buffer.write(shortString: expiration, "expiration")
        }
        if let messageID {
            flags |= Flag.messageID
            try buffer.write(shortString: messageID, "message id")
        }
        if let timestamp {
            flags |= Flag.timestamp
            buffer.writeInteger(timestamp)
        }
        if let type {
            flags |= Flag.type
            try buffer.write(shortString: type, "message type")
        }
        if let userID {
            flags |= Flag.userID
            try buffer.write(shortString: userID, "user id")
        }
        if let appID {
            flags |= Flag.appID
            try buffer.write(shortString: appID, "application id")
        }
        if let clusterID {
            flags |= Flag.clusterID
            try buffer.write(shortString: clusterID, "cluster id")
        }
        buffer.set(flags, at: start)
    }
}
