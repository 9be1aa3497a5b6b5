// SPDX-License-Identifier: Apache-2.0

/// Why bytes could not be read as AMQP, or a value could not be written as such.
public struct AMQPWireError: Error, Hashable, Sendable, CustomStringConvertible {
    /// What kind of fault it was. More may be added.
    public struct Code: Hashable, Sendable, CustomStringConvertible {
        private enum Name: String {
            case malformedFrame, frameTooLarge, malformedValue, unknownMethod, unexpectedFrame, protocolHeader
            case valueTooLong, valueOutOfRange, tableTooDeep, bodyTooLarge
        }
        private let name: Name
        private init(_ name: Name) { self.name = name }

        /// A frame of unknown type, or one that does not end with the frame-end octet.
        public static let malformedFrame = Code(.malformedFrame)
        /// A frame larger than the negotiated frame-max; in writing, a method or header that would be.
        public static let frameTooLarge = Code(.frameTooLarge)
        /// A method, header or table whose content contradicts its lengths, or of an unknown field type.
        public static let malformedValue = Code(.malformedValue)
        /// A method that AMQP 0-9-1 and RabbitMQ's extensions do not define.
        public static let unknownMethod = Code(.unknownMethod)
        /// A well-formed frame where the protocol does not allow it.
        public static let unexpectedFrame = Code(.unexpectedFrame)
        /// The peer answered with a protocol header: it speaks another version.
        public static let protocolHeader = Code(.protocolHeader)
        /// A string too long for its type: short strings hold at most 255 bytes.
        public static let valueTooLong = Code(.valueTooLong)
        /// A number that AMQP cannot carry, such as a `UInt64` above `Int64.max` in a table.
        public static let valueOutOfRange = Code(.valueOutOfRange)
        /// Tables and arrays nested deeper than ``AMQPTable/maximumDepth``.
        public static let tableTooDeep = Code(.tableTooDeep)
        /// A content body larger than the reader accepts.
        public static let bodyTooLarge = Code(.bodyTooLarge)

        public var description: String { self.name.rawValue }
    }

    /// What kind of fault it was.
    public var code: Code
    /// What was wrong, for people. Never contains bodies or header values.
    public var message: String
    /// The method concerned, if one was read that far.
    public var method: AMQPMethodID?

    /// A fault with its message, and the method it was found in.
    public init(_ code: Code, _ message: String, method: AMQPMethodID? = nil) {
        self.code = code
        self.message = message
        self.method = method
    }

    /// The reply code that `connection.close` carries for this fault (specification 1.2).
    public var replyCode: UInt16 {
        switch self.code {
        case .malformedFrame, .frameTooLarge, .bodyTooLarge: 501
        case .unknownMethod: 503
        case .unexpectedFrame: 505
        default: 502
        }
    }

    public var description: String { "\(self.code): \(self.message)" }
}
