// SPDX-License-Identifier: Apache-2.0
import AMQPClient

/// Everything that HareDo throws.
public struct HareDoError: Error, Sendable, CustomStringConvertible {
    /// What kind of failure it was. More may be added.
    public struct Code: Hashable, Sendable, CustomStringConvertible {
        private enum Name: String {
            case noBroker, authenticationFailed, virtualHostRefused, notConnected, connectionLost, disconnected
            case timedOut, cancelled, invalidArgument, noSuchService, remoteFailed, noReplyAddress, alreadyReplied
            case alreadySettled, nameTaken, brokerRefused, nacked, outcomeUnknown, decodingFailed, serviceEnded
            case deliveryExpired, noSuchMethod, noSuchPlugin, intercepted
            case pluginRefused, pluginFailed, invalidConfiguration, noSuchResource
        }
        private let name: Name
        private init(_ name: Name) { self.name = name }

        /// Nobody answers where the broker should be.
        public static let noBroker = Code(.noBroker)
        /// The broker refused user or password.
        public static let authenticationFailed = Code(.authenticationFailed)
        /// The virtual host does not exist or may not be used.
        public static let virtualHostRefused = Code(.virtualHostRefused)
        /// The peer has not been connected, or not in time.
        public static let notConnected = Code(.notConnected)
        /// The connection to the broker was lost while something waited for it.
        public static let connectionLost = Code(.connectionLost)
        /// The peer was disconnected on purpose while something waited.
        public static let disconnected = Code(.disconnected)
        /// Something else than a call took longer than allowed. (A call that times out returns `nil`.)
        public static let timedOut = Code(.timedOut)
        /// The calling task was cancelled.
        public static let cancelled = Code(.cancelled)
        /// What was asked for cannot be sent. Nothing was.
        public static let invalidArgument = Code(.invalidArgument)
        /// Nobody listens on the address: there is no such queue.
        public static let noSuchService = Code(.noSuchService)
        /// The other side's handler failed: see ``HareDoError/remote``.
        public static let remoteFailed = Code(.remoteFailed)
        /// The service has no method of the name that was called: see ``HareDoError/remote``.
        public static let noSuchMethod = Code(.noSuchMethod)
        /// The service has no plugin that the message is meant for: see ``HareDoError/remote``.
        public static let noSuchPlugin = Code(.noSuchPlugin)
        /// An interceptor of the caller's own threw: see ``HareDoError/cause``.
        public static let intercepted = Code(.intercepted)
        /// A plugin's library was not found, or is not fit to be loaded: see ``HareDoError/refusal``.
        public static let pluginRefused = Code(.pluginRefused)
        /// A plugin could not be made: see ``HareDoError/cause``.
        public static let pluginFailed = Code(.pluginFailed)
        /// A configuration lacks a key, has one that is unknown, or one of another type.
        public static let invalidConfiguration = Code(.invalidConfiguration)
        /// A plugin needs what the program does not have: see ``Resources``.
        public static let noSuchResource = Code(.noSuchResource)
        /// The message does not say where to reply to.
        public static let noReplyAddress = Code(.noReplyAddress)
        /// The message was replied to before.
        public static let alreadyReplied = Code(.alreadyReplied)
        /// The message was acknowledged or rejected before, or has nothing to acknowledge any more.
        public static let alreadySettled = Code(.alreadySettled)
        /// The message came before the connection was lost: the broker delivers it again, to this or another instance.
        public static let deliveryExpired = Code(.deliveryExpired)
        /// The name to listen on is taken.
        public static let nameTaken = Code(.nameTaken)
        /// The broker refused, for another reason that the message tells.
        public static let brokerRefused = Code(.brokerRefused)
        /// The broker took the message and then gave it up.
        public static let nacked = Code(.nacked)
        /// The connection ended before the broker confirmed: the message may or may not have arrived.
        public static let outcomeUnknown = Code(.outcomeUnknown)
        /// A body is not what was expected.
        public static let decodingFailed = Code(.decodingFailed)
        /// A service has ended: its queue is gone, it was iterated twice at once, or it was drained before one of its
        /// messages was replied to.
        public static let serviceEnded = Code(.serviceEnded)

        public var description: String { self.name.rawValue }
    }

    /// How a handler in another peer failed.
    public struct RemoteFailure: Hashable, Sendable {
        /// For programs, such as `handler-failed` or what the service chose.
        public var code: String
        /// For people.
        public var text: String

        /// A failure by its code and text.
        public init(code: String, text: String) {
            self.code = code
            self.text = text
        }

        static let badRequest = "bad-request"
        static let handlerFailed = "handler-failed"
        static let noSuchMethod = "no-such-method"
        static let noSuchPlugin = "no-such-plugin"
        static let tooManyDeliveries = "too-many-deliveries"
    }

    /// An error is one word wide: it has a place in every waiter, and in the frame of every async function on the way to
    /// whoever catches it, however many tasks wait.
    private final class Storage: Sendable {
        let code: Code
        let message: String
        let remote: RemoteFailure?
        let cause: (any Error)?

        init(_ code: Code, _ message: String, _ remote: RemoteFailure?, _ cause: (any Error)?) {
            self.code = code
            self.message = message
            self.remote = remote
            self.cause = cause
        }
    }
    private var storage: Storage

    /// What kind of failure it was.
    public var code: Code {
        get { self.storage.code }
        set { self.storage = Storage(newValue, self.message, self.remote, self.cause) }
    }
    /// What went wrong, where, and what to do. Never contains bodies, passwords or header values.
    public var message: String {
        get { self.storage.message }
        set { self.storage = Storage(self.code, newValue, self.remote, self.cause) }
    }
    /// Set for ``Code/remoteFailed``.
    public var remote: RemoteFailure? {
        get { self.storage.remote }
        set { self.storage = Storage(self.code, self.message, newValue, self.cause) }
    }
    /// The error underneath, if there is one.
    public var cause: (any Error)? {
        get { self.storage.cause }
        set { self.storage = Storage(self.code, self.message, self.remote, newValue) }
    }

    /// An error with its message, and what is behind it.
    public init(_ code: Code, _ message: String, remote: RemoteFailure? = nil, cause: (any Error)? = nil) {
        self.storage = Storage(code, message, remote, cause)
    }

    public var description: String { "\(self.code): \(self.message)" }
}

/// What a handler throws to tell the caller more than that it failed.
///
/// Any other error reaches the caller as `handler-failed` without its text: internals stay where they are.
public struct ServiceError: Error, Hashable, Sendable {
    /// For programs: the caller finds it in ``HareDoError/RemoteFailure/code``.
    public var code: String
    /// For people.
    public var text: String
    /// Whether it is the service's answer to the message, with which it is done: no other attempt is made, and the
    /// message is not parked, whatever the service's ``FailurePolicy``.
    public var isFinal: Bool

    /// An error for the caller.
    public init(_ code: String, _ text: String, isFinal: Bool = false) {
        self.code = code
        self.text = text
        self.isFinal = isFinal
    }
}

extension HareDoError {
    static let cancelled = HareDoError(.cancelled, "the task was cancelled")
    static let disconnected = HareDoError(.disconnected, "the peer was disconnected")

    static func remote(_ failure: RemoteFailure) -> HareDoError {
        let code: Code =
            switch failure.code {
            case RemoteFailure.noSuchMethod: .noSuchMethod
            case RemoteFailure.noSuchPlugin: .noSuchPlugin
            default: .remoteFailed
            }
        return HareDoError(code, "the service failed with \(failure.code): \(failure.text)", remote: failure)
    }

    static func noSuchService(_ address: String) -> HareDoError {
        HareDoError(.noSuchService, "nobody listens on '\(address)': there is no such queue")
    }

    /// What an error of the client means to somebody who does not know AMQP.
    init(_ error: AMQPError) {
        switch error.code {
        case .connectFailed:
            self.init(
                .noBroker,
                "\(error.message). Is RabbitMQ running there? Without one, try the embedded broker: "
                    + "`haredo broker`, or Peer.Configuration.embedded", cause: error)
        case .connectTimedOut: self.init(.noBroker, error.message, cause: error)
        case .authenticationFailed: self.init(.authenticationFailed, error.message, cause: error)
        case .virtualHostRefused: self.init(.virtualHostRefused, error.message, cause: error)
        case .connectionClosed where error.origin == .local: self.init(.disconnected, error.message, cause: error)
        case .connectionClosed, .connectionLost: self.init(.connectionLost, error.message, cause: error)
        case .protocolViolation: self.init(.connectionLost, error.message, cause: error)
        case .channelClosed where error.origin == .local:
            // Nobody else's channel is closed before its connection.
            self.init(
                .serviceEnded, "the service has ended: what was not acknowledged is in its queue again", cause: error)
        case .channelClosed, .returned: self.init(.brokerRefused, error.message, cause: error)
        case .consumerCancelled: self.init(.serviceEnded, error.message, cause: error)
        case .timedOut: self.init(.timedOut, error.message, cause: error)
        case .cancelled: self = .cancelled
        case .nacked: self.init(.nacked, error.message, cause: error)
        case .outcomeUnknown: self.init(.outcomeUnknown, error.message, cause: error)
        case .alreadySettled: self.init(.alreadySettled, error.message, cause: error)
        case .deliveryExpired: self.init(.deliveryExpired, error.message, cause: error)
        case .tlsFailed: self.init(.noBroker, error.message, cause: error)
        default: self.init(.invalidArgument, error.message, cause: error)
        }
    }
}
