// SPDX-License-Identifier: Apache-2.0
public import AMQPWire

/// Everything that AMQPClient throws.
public struct AMQPError: Error, Sendable, CustomStringConvertible {
    /// What kind of failure it was. More may be added.
    public struct Code: Hashable, Sendable, CustomStringConvertible {
        private enum Name: String {
            case connectFailed, connectTimedOut, authenticationFailed, virtualHostRefused, connectionClosed
            case channelClosed, consumerCancelled, timedOut, cancelled, invalidArgument, protocolViolation
            case returned, nacked, outcomeUnknown, alreadySettled, alreadyIterated, connectionLost, deliveryExpired
            case tlsFailed
        }
        private let name: Name
        private init(_ name: Name) { self.name = name }

        /// Nobody accepted the TCP connection.
        public static let connectFailed = Code(.connectFailed)
        /// The connection, or the handshake on it, took longer than ``AMQPConfiguration/connectTimeout``.
        public static let connectTimedOut = Code(.connectTimedOut)
        /// There is a TCP connection but no TLS: one side does not speak it, or does not believe the other's certificate.
        public static let tlsFailed = Code(.tlsFailed)
        /// The broker refused user or password (403).
        public static let authenticationFailed = Code(.authenticationFailed)
        /// The virtual host does not exist, or the user may not use it (530).
        public static let virtualHostRefused = Code(.virtualHostRefused)
        /// The connection is closed, or was lost and is not made again.
        public static let connectionClosed = Code(.connectionClosed)
        /// The connection was lost while something waited for an answer, and is being made again. What was asked for may
        /// have been done or not.
        public static let connectionLost = Code(.connectionLost)
        /// The channel is closed, by us or by the broker because of an error (see ``AMQPError/reply``).
        public static let channelClosed = Code(.channelClosed)
        /// The broker cancelled the consumer, for instance because its queue was deleted.
        public static let consumerCancelled = Code(.consumerCancelled)
        /// The broker did not answer in time, or a publish could not be written in time.
        public static let timedOut = Code(.timedOut)
        /// The calling task was cancelled.
        public static let cancelled = Code(.cancelled)
        /// An argument cannot be sent: too long, too large, not encodable. Nothing was written.
        public static let invalidArgument = Code(.invalidArgument)
        /// The other side broke the protocol. The connection is closed.
        public static let protocolViolation = Code(.protocolViolation)
        /// A mandatory message could not be routed to any queue.
        public static let returned = Code(.returned)
        /// The broker refused responsibility for a published message.
        public static let nacked = Code(.nacked)
        /// The connection or channel ended before the broker confirmed: the message may or may not have arrived.
        public static let outcomeUnknown = Code(.outcomeUnknown)
        /// A delivery that was acknowledged or rejected before, or needs no acknowledgement.
        public static let alreadySettled = Code(.alreadySettled)
        /// A delivery that came before its channel or connection was lost: the broker delivers the message again.
        public static let deliveryExpired = Code(.deliveryExpired)
        /// A second iteration of a sequence while the first goes on.
        public static let alreadyIterated = Code(.alreadyIterated)

        public var description: String { self.name.rawValue }
    }

    /// Why the other side closed a connection or channel, or returned a message.
    public struct Reply: Hashable, Sendable {
        /// Reply code (specification 1.2), such as 404.
        public var code: UInt16
        /// Reply text, such as `NOT_FOUND - no queue 'q' in vhost '/'`.
        public var text: String
        /// The method that caused it, if the peer named one.
        public var method: AMQPMethodID?

        /// - Parameter method: the method that caused it, if it is known.
        public init(code: UInt16, text: String, method: AMQPMethodID? = nil) {
            self.code = code
            self.text = text
            self.method = method
        }
    }

    /// Which side found or caused the failure.
    public enum Origin: Sendable {
        case local
        case peer
    }

    /// What kind of failure it was.
    public var code: Code
    /// What went wrong and what to do, for people. Never contains bodies, passwords or header values.
    public var message: String
    /// What the broker said, if it was the broker.
    public var reply: Reply?
    /// Whether this side or the broker ended what it ended.
    public var origin: Origin
    /// The error underneath, such as one of the operating system's.
    public var cause: (any Error)?

    /// An error with its message, and what is behind it.
    public init(
        _ code: Code, _ message: String, reply: Reply? = nil, origin: Origin = .local, cause: (any Error)? = nil
    ) {
        self.code = code
        self.message = message
        self.reply = reply
        self.origin = origin
        self.cause = cause
    }

    public var description: String { "\(self.code): \(self.message)" }
}

extension AMQPError {
    @usableFromInline package static let cancelled = AMQPError(.cancelled, "the task was cancelled")

    /// A value that could not be encoded: the caller's mistake.
    init(encoding error: AMQPWireError) {
        self.init(.invalidArgument, error.message, cause: error)
    }

    /// Bytes that could not be decoded: the peer's fault.
    init(decoding error: AMQPWireError) {
        self.init(
            .protocolViolation, "the broker sent what is not AMQP 0-9-1: \(error.message)",
            reply: Reply(code: error.replyCode, text: error.message, method: error.method), cause: error)
    }

    init(_ close: AMQPMethod.ConnectionClose) {
        let reply = Reply(
            code: close.replyCode, text: close.replyText, classID: close.failingClassID,
            methodID: close.failingMethodID)
        self.init(.connectionClosed, "the broker closed the connection: \(reply)", reply: reply, origin: .peer)
    }

    init(_ close: AMQPMethod.ChannelClose) {
        let reply = Reply(
            code: close.replyCode, text: close.replyText, classID: close.failingClassID,
            methodID: close.failingMethodID)
        self.init(.channelClosed, "the broker closed the channel: \(reply)", reply: reply, origin: .peer)
    }
}

extension AMQPError.Reply: CustomStringConvertible {
    init(code: UInt16, text: String, classID: UInt16, methodID: UInt16) {
        let method = AMQPMethodID(classID: classID, methodID: methodID)
        self.init(code: code, text: text, method: classID == 0 ? nil : method)
    }

    public var description: String {
        "\(self.code) \(self.text.printable())" + (self.method.map { " (\($0))" } ?? "")
    }
}
