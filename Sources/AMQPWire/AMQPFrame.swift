// SPDX-License-Identifier: Apache-2.0
public import NIOCore

/// One frame (specification 4.2.3), its payload decoded as far as its type says.
public enum AMQPFrame: Hashable, Sendable {
    case method(channel: UInt16, AMQPMethod)
    case header(channel: UInt16, AMQPContentHeader)
    /// A fragment of a body, as a slice of the bytes that were read.
    case body(channel: UInt16, ByteBuffer)
    /// Only ever on channel 0.
    case heartbeat

    /// The channel's number; 0 for the connection itself.
    public var channel: UInt16 {
        switch self {
        case .method(let channel, _), .header(let channel, _), .body(let channel, _): channel
        case .heartbeat: 0
        }
    }

    /// The type octets.
    enum Kind {
        static let method: UInt8 = 1
        static let header: UInt8 = 2
        static let body: UInt8 = 3
        /// 8 in practice, although one edition of the specification prints 4 (RabbitMQ errata 12).
        static let heartbeat: UInt8 = 8
    }

    /// The octet that ends every frame.
    static let end: UInt8 = 0xCE
    /// Bytes of a frame that are not payload: type, channel, size and frame-end.
    public static let overhead = 8
    /// The smallest frame-max that RabbitMQ accepts since 4.1.
    public static let minimumFrameMax: UInt32 = 8192
}

/// A content header (specification 4.2.6.1): how large the body is, and the properties of the message.
public struct AMQPContentHeader: Hashable, Sendable {
    /// The class of the method that announced the content.
    public var classID: UInt16
    /// Size of the whole body in bytes, over all its frames.
    public var bodySize: UInt64
    /// The property list as it stood on the wire, so that a broker can pass it on unchanged.
    public var properties: ByteBuffer

    /// The class id of `basic`, the only class with content.
    public static let basicClassID: UInt16 = 60

    /// A header for a property list that is encoded already.
    public init(classID: UInt16 = AMQPContentHeader.basicClassID, bodySize: UInt64, properties: ByteBuffer) {
        self.classID = classID
        self.bodySize = bodySize
        self.properties = properties
    }

    /// - Throws: ``AMQPWireError`` if the property list is malformed.
    public func decodeProperties() throws(AMQPWireError) -> AMQPBasicProperties {
        try AMQPBasicProperties(decoding: self.properties)
    }

    init(decoding payload: ByteBuffer) throws(AMQPWireError) {
        var payload = payload
        guard let (classID, weight, bodySize) = payload.readMultipleIntegers(as: (UInt16, UInt16, UInt64).self),
            payload.readableBytes >= 2
        else { throw AMQPWireError(.malformedValue, "a content header is cut short") }
        guard weight == 0 else {
            throw AMQPWireError(.malformedValue, "the weight of a content header must be 0, not \(weight)")
        }
        self.init(classID: classID, bodySize: bodySize, properties: payload)
    }
}

/// The eight bytes a client begins with (specification 4.2.2).
public enum AMQPProtocolHeader {
    /// `AMQP`, 0, 0, 9, 1.
    public static let bytes: [UInt8] = Array("AMQP".utf8) + [0, 0, 9, 1]
}
