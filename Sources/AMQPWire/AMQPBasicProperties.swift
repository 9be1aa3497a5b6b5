// SPDX-License-Identifier: Apache-2.0
public import NIOCore

/// The fourteen properties of a message (specification 1.8, class basic). `nil` is "not present".
public struct AMQPBasicProperties: Hashable, Sendable {
    private struct Fields: Hashable, Sendable {
        var contentType: String?
        var contentEncoding: String?
        var headers: AMQPTable?
        var deliveryMode: UInt8?
        var priority: UInt8?
        var correlationID: String?
        var replyTo: String?
        var expiration: String?
        var messageID: String?
        var timestamp: UInt64?
        var type: String?
        var userID: String?
        var appID: String?
        var clusterID: String?
    }

    /// Shared by all copies until one of them is changed: a message's properties pass many hands, and most messages have
    /// few of them or none.
    ///
    /// Unchecked, because it is changed only while the one properties value that changes it is the only one to refer to it.
    private final class Box: @unchecked Sendable {
        var fields: Fields
        init(_ fields: Fields) { self.fields = fields }
    }
    /// `nil` if no property is present.
    private var box: Box?

    /// No properties.
    public init() {}

    private mutating func change(_ change: (inout Fields) -> Void) {
        if !isKnownUniquelyReferenced(&self.box) { self.box = Box(self.box?.fields ?? Fields()) }
        if let box { change(&box.fields) }
    }

    public static func == (left: AMQPBasicProperties, right: AMQPBasicProperties) -> Bool {
        left.box === right.box || left.fields == right.fields
    }

    public func hash(into hasher: inout Hasher) { hasher.combine(self.fields) }

    private var fields: Fields { self.box?.fields ?? Fields() }

    /// MIME type of the body.
    public var contentType: String? {
        get { self.box?.fields.contentType }
        set { self.change { $0.contentType = newValue } }
    }
    /// MIME content encoding of the body.
    public var contentEncoding: String? {
        get { self.box?.fields.contentEncoding }
        set { self.change { $0.contentEncoding = newValue } }
    }
    /// Headers of the application's own, and those that brokers know, such as `CC`.
    public var headers: AMQPTable? {
        get { self.box?.fields.headers }
        set { self.change { $0.headers = newValue } }
    }
    /// 1 transient, 2 persistent. Other values are carried as they are.
    public var deliveryMode: UInt8? {
        get { self.box?.fields.deliveryMode }
        set { self.change { $0.deliveryMode = newValue } }
    }
    /// 0 to 9 by the specification; RabbitMQ's priority queues allow up to 255.
    public var priority: UInt8? {
        get { self.box?.fields.priority }
        set { self.change { $0.priority = newValue } }
    }
    /// Of which message this is the answer.
    public var correlationID: String? {
        get { self.box?.fields.correlationID }
        set { self.change { $0.correlationID = newValue } }
    }
    /// The queue to reply to.
    public var replyTo: String? {
        get { self.box?.fields.replyTo }
        set { self.change { $0.replyTo = newValue } }
    }
    /// Milliseconds until the message expires in a queue, as a decimal string.
    public var expiration: String? {
        get { self.box?.fields.expiration }
        set { self.change { $0.expiration = newValue } }
    }
    /// The application's name for the message.
    public var messageID: String? {
        get { self.box?.fields.messageID }
        set { self.change { $0.messageID = newValue } }
    }
    /// Seconds since 1970 UTC.
    public var timestamp: UInt64? {
        get { self.box?.fields.timestamp }
        set { self.change { $0.timestamp = newValue } }
    }
    /// The application's name for the kind of message.
    public var type: String? {
        get { self.box?.fields.type }
        set { self.change { $0.type = newValue } }
    }
    /// The login name of the publisher, which RabbitMQ verifies.
    public var userID: String? {
        get { self.box?.fields.userID }
        set { self.change { $0.userID = newValue } }
    }
    /// The application that published it.
    public var appID: String? {
        get { self.box?.fields.appID }
        set { self.change { $0.appID = newValue } }
    }
    /// Deprecated by the specification; read and written, but of no meaning.
    public var clusterID: String? {
        get { self.box?.fields.clusterID }
        set { self.change { $0.clusterID = newValue } }
    }

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
        var fields = Fields()
        if flags & Flag.contentType != 0 { fields.contentType = try reader.readShortString() }
        if flags & Flag.contentEncoding != 0 { fields.contentEncoding = try reader.readShortString() }
        if flags & Flag.headers != 0 { fields.headers = try reader.readTable() }
        if flags & Flag.deliveryMode != 0 { fields.deliveryMode = try reader.readInteger() }
        if flags & Flag.priority != 0 { fields.priority = try reader.readInteger() }
        if flags & Flag.correlationID != 0 { fields.correlationID = try reader.readShortString() }
        if flags & Flag.replyTo != 0 { fields.replyTo = try reader.readShortString() }
        if flags & Flag.expiration != 0 { fields.expiration = try reader.readShortString() }
        if flags & Flag.messageID != 0 { fields.messageID = try reader.readShortString() }
        if flags & Flag.timestamp != 0 { fields.timestamp = try reader.readInteger() }
        if flags & Flag.type != 0 { fields.type = try reader.readShortString() }
        if flags & Flag.userID != 0 { fields.userID = try reader.readShortString() }
        if flags & Flag.appID != 0 { fields.appID = try reader.readShortString() }
        if flags & Flag.clusterID != 0 { fields.clusterID = try reader.readShortString() }
        try reader.finish("a content header")
        self.box = flags == 0 ? nil : Box(fields)
    }

    /// Appends the property list: flags and values.
    ///
    /// - Throws: ``AMQPWireError`` if a value does not fit its type. What was appended by then is taken back.
    public func encode(into buffer: inout ByteBuffer) throws(AMQPWireError) {
        _ = try buffer.append { writer throws(AMQPWireError) in try self.encodeValues(into: &writer) }
    }

    func encodeValues(into buffer: inout AMQPWriter) throws(AMQPWireError) {
        if let box { try Self.encode(box.fields, into: &buffer) } else { buffer.writeInteger(UInt16(0)) }
    }

    private static func encode(_ fields: Fields, into buffer: inout AMQPWriter) throws(AMQPWireError) {
        let start = buffer.count
        var flags: UInt16 = 0
        buffer.writeInteger(flags)
        if let contentType = fields.contentType {
            flags |= Flag.contentType
            try buffer.write(shortString: contentType, "content type")
        }
        if let contentEncoding = fields.contentEncoding {
            flags |= Flag.contentEncoding
            try buffer.write(shortString: contentEncoding, "content encoding")
        }
        if let headers = fields.headers {
            flags |= Flag.headers
            try buffer.write(table: headers)
        }
        if let deliveryMode = fields.deliveryMode {
            flags |= Flag.deliveryMode
            buffer.writeInteger(deliveryMode)
        }
        if let priority = fields.priority {
            flags |= Flag.priority
            buffer.writeInteger(priority)
        }
        if let correlationID = fields.correlationID {
            flags |= Flag.correlationID
            try buffer.write(shortString: correlationID, "correlation id")
        }
        if let replyTo = fields.replyTo {
            flags |= Flag.replyTo
            try buffer.write(shortString: replyTo, "reply-to address")
        }
        if let expiration = fields.expiration {
            flags |= Flag.expiration
            try buffer.write(shortString: expiration, "expiration")
        }
        if let messageID = fields.messageID {
            flags |= Flag.messageID
            try buffer.write(shortString: messageID, "message id")
        }
        if let timestamp = fields.timestamp {
            flags |= Flag.timestamp
            buffer.writeInteger(timestamp)
        }
        if let type = fields.type {
            flags |= Flag.type
            try buffer.write(shortString: type, "message type")
        }
        if let userID = fields.userID {
            flags |= Flag.userID
            try buffer.write(shortString: userID, "user id")
        }
        if let appID = fields.appID {
            flags |= Flag.appID
            try buffer.write(shortString: appID, "application id")
        }
        if let clusterID = fields.clusterID {
            flags |= Flag.clusterID
            try buffer.write(shortString: clusterID, "cluster id")
        }
        buffer.set(flags, at: start)
    }
}

extension AMQPBasicProperties: CustomReflectable {
    /// The properties, rather than where they are kept.
    public var customMirror: Mirror { Mirror(reflecting: self.fields) }
}
