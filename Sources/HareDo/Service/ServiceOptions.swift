// SPDX-License-Identifier: Apache-2.0

/// Where handlers run.
public enum HandlerExecution: Sendable {
    /// On Swift's global executor: a handler may compute, and even block, without holding up the connection.
    case concurrent
    /// On the connection's event loop, as are the tasks a handler starts: two thread hops less per message. Only for
    /// handlers that are short and never block: while one runs, everything on the connection waits, and a handler that
    /// blocks for longer than the heartbeat allows loses the connection.
    case onConnectionLoop
}

/// When a message is acknowledged, and so gone from its queue.
public enum Acknowledgement: Sendable, Hashable {
    /// When its handler has returned: at least once. If the process dies before, another instance gets the message.
    case afterHandler
    /// Before its handler is called: at most once. If the process dies, the message is gone.
    case beforeHandler
    /// When the handler, or whoever it gave the message to, says so: ``Message/ack()`` or ``Message/reject(requeue:)``.
    /// What nobody settles stays out of the queue until the service ends, and counts against its prefetch.
    case manual
}

/// How a service treats its messages. All have defaults that suit most services.
public struct ServiceOptions: Sendable {
    /// How many messages are handled at once. Default 16, at least 1.
    public var concurrency: Int
    /// How many messages may be delivered and not acknowledged. Default: as many as are handled at once.
    public var prefetch: Int?
    /// Where handlers run.
    public var execution: HandlerExecution
    /// Whether a handler's task is cancelled when its caller gives up. What the handler returns or throws then is of no
    /// interest, and its message is acknowledged. Default: yes.
    public var cancelsAtDeadline: Bool
    /// When messages are acknowledged.
    public var acknowledgement: Acknowledgement
    /// What becomes of a message whose handler throws.
    public var onFailure: FailurePolicy
    /// How often a message is handed to a handler at most, crashes of the process and lost connections included; after
    /// that ``onFailure`` applies as to a last attempt. It keeps a message that kills its process from doing so for ever.
    /// Default 20, at least 1. On a ``QueueShape/exclusive`` queue, which nobody else gets messages from, it does not
    /// count.
    public var maximumDeliveries: Int
    /// Around the handler, in this order: the first one sees a message first, and its reply last.
    public var interceptors: [HandlerInterceptor]
    /// Remembers what was handled, so that a message that comes again is not handled again. Default: nothing is.
    public var handledMessages: (any HandledMessages)?
    /// What the service tells those who look for services.
    public var information: ServiceInformation

    /// Options, each with its default.
    public init(
        concurrency: Int = 16, prefetch: Int? = nil, execution: HandlerExecution = .concurrent,
        cancelsAtDeadline: Bool = true, acknowledgement: Acknowledgement = .afterHandler,
        onFailure: FailurePolicy = .drop, maximumDeliveries: Int = 20, interceptors: [HandlerInterceptor] = [],
        handledMessages: (any HandledMessages)? = nil, information: ServiceInformation = ServiceInformation()
    ) {
        self.concurrency = concurrency
        self.prefetch = prefetch
        self.execution = execution
        self.cancelsAtDeadline = cancelsAtDeadline
        self.acknowledgement = acknowledgement
        self.onFailure = onFailure
        self.maximumDeliveries = maximumDeliveries
        self.interceptors = interceptors
        self.handledMessages = handledMessages
        self.information = information
    }

    /// Refuses what cannot be meant.
    func check(for queue: String, _ shape: QueueShape) throws(HareDoError) {
        try Self.require(
            self.concurrency >= 1,
            "the concurrency is \(self.concurrency): at least 1 message has to be handled at once")
        if let prefetch {
            try Self.require(1...65535 ~= prefetch, "the prefetch is \(prefetch): it has to be 1 to 65535")
        }
        try Self.require(self.maximumDeliveries >= 1, "maximumDeliveries is \(self.maximumDeliveries): at least 1")
        try self.onFailure.check(for: queue, shape)
    }

    static func require(_ condition: Bool, _ message: @autoclosure () -> String) throws(HareDoError) {
        guard condition else { throw HareDoError(.invalidArgument, message()) }
    }
}
