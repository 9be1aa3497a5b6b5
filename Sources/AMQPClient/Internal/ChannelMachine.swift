// SPDX-License-Identifier: Apache-2.0
import AMQPWire
import DequeModule

/// Synchronous methods of one channel, one in flight at a time, and the channel's opening and closing.
///
/// Knows no sockets, tasks or clocks. Every waiter that is accepted leaves it exactly once.
struct ChannelMachine<Waiter> {
    struct Request {
        var id: UInt64
        var method: AMQPMethod
        /// `nil` once its caller gave up: the reply still has to come, and is not for the next one.
        var waiter: Waiter?
    }
    private enum State {
        case open
        /// We sent `channel.close`.
        case closing(Waiter?)
        case closed(AMQPError)
    }
    enum OnRequest {
        case send(AMQPMethod)
        case queued
        case refuse(AMQPError)
    }
    enum OnReply {
        /// To the caller, or to nobody; then the next method may go out.
        case matched(Request, next: AMQPMethod?)
        case ignore
        case violation(AMQPError)
    }
    enum OnClose {
        /// `channel.close` goes out; the waiters fail.
        case send(failing: [Waiter])
        /// There is nothing to close.
        case done
    }

    private var state = State.open
    private var inFlight: Request?
    private var queued: Deque<Request> = []

    /// The error that ended the channel, if it ended.
    var failure: AMQPError? {
        switch self.state {
        case .open: nil
        case .closing: Self.closedByUs
        case .closed(let error): error
        }
    }

    /// We sent `channel.close`: whatever comes now is discarded but the answer, and a close of theirs.
    var isClosing: Bool {
        if case .closing = self.state { true } else { false }
    }

    static var closedByUs: AMQPError { AMQPError(.channelClosed, "the channel was closed") }

    mutating func request(id: UInt64, _ method: AMQPMethod, waiter: Waiter) -> OnRequest {
        if let failure { return .refuse(failure) }
        let request = Request(id: id, method: method, waiter: waiter)
        guard self.inFlight == nil else {
            self.queued.append(request)
            return .queued
        }
        self.inFlight = request
        return .send(method)
    }

    mutating func replied(_ reply: AMQPMethodID) -> OnReply {
        guard case .open = self.state else { return .ignore }
        guard let request = self.inFlight else {
            return .violation(Self.violation("\(reply) without a request", reply))
        }
        guard request.method.replies.contains(reply) else {
            return .violation(Self.violation("\(reply) in answer to \(request.method.id)", reply))
        }
        self.inFlight = self.queued.popFirst()
        return .matched(request, next: self.inFlight?.method)
    }

    /// `command-invalid`: a method out of place.
    static func violation(_ text: String, _ method: AMQPMethodID) -> AMQPError {
        AMQPError(.protocolViolation, text, reply: .init(code: 503, text: text, method: method), origin: .peer)
    }

    /// A method could not be written after all: as if it had never been asked for.
    mutating func withdraw(id: UInt64) -> (waiter: Waiter?, next: AMQPMethod?) {
        if self.inFlight?.id == id {
            let waiter = self.inFlight?.waiter
            self.inFlight = self.queued.popFirst()
            return (waiter, self.inFlight?.method)
        }
        guard let index = self.queued.firstIndex(where: { $0.id == id }) else { return (nil, nil) }
        return (self.queued.remove(at: index).waiter, nil)
    }

    /// The method in flight could not be written after all.
    mutating func withdrawInFlight() -> (waiter: Waiter?, next: AMQPMethod?) {
        guard let id = self.inFlight?.id else { return (nil, nil) }
        return self.withdraw(id: id)
    }

    /// The caller of a method gave up: what is queued is dropped, what is in flight becomes a tombstone.
    mutating func abandon(id: UInt64) -> Waiter? {
        guard self.inFlight?.id == id else { return self.withdraw(id: id).waiter }
        let waiter = self.inFlight?.waiter
        self.inFlight?.waiter = nil
        return waiter
    }

    /// Whether the method still waits for its turn or its reply.
    func isPending(id: UInt64) -> Bool {
        self.inFlight?.id == id || self.queued.contains { $0.id == id }
    }

    /// Whether this queue is being deleted from here.
    func isDeleting(queue: String) -> Bool {
        guard case .queueDelete(let delete)? = self.inFlight?.method else { return false }
        return delete.queue == queue
    }

    /// We close the channel.
    mutating func close(waiter: Waiter?) -> OnClose {
        guard case .open = self.state else { return .done }
        self.state = .closing(waiter)
        return .send(failing: self.removeRequests())
    }

    /// `channel.close-ok` arrived.
    ///
    /// - Returns: who waited for the close.
    mutating func closedOk() -> Waiter? {
        guard case .closing(let waiter) = self.state else { return nil }
        self.state = .closed(Self.closedByUs)
        return waiter
    }

    /// `channel.close` arrived. It has to be answered in any state.
    ///
    /// - Returns: whether the channel ends by it (if ours crossed it, `close-ok` is still to come), and who fails.
    mutating func peerClosed(_ error: AMQPError) -> (ends: Bool, failing: [Waiter]) {
        guard case .open = self.state else { return (false, []) }
        self.state = .closed(error)
        return (true, self.removeRequests())
    }

    /// The connection ended.
    mutating func connectionEnded(_ error: AMQPError) -> [Waiter] {
        var failing = self.removeRequests()
        if case .closing(let waiter?) = self.state { failing.append(waiter) }
        if case .closed = self.state { return failing }
        self.state = .closed(error)
        return failing
    }

    private mutating func removeRequests() -> [Waiter] {
        var waiters: [Waiter] = []
        if let waiter = self.inFlight?.waiter { waiters.append(waiter) }
        waiters += self.queued.compactMap(\.waiter)
        self.inFlight = nil
        self.queued.removeAll()
        return waiters
    }
}

extension AMQPMethod {
    /// What a synchronous method of the client is answered with.
    var replies: [AMQPMethodID] {
        switch self {
        case .channelOpen: [.channelOpenOk]
        case .exchangeDeclare: [.exchangeDeclareOk]
        case .exchangeDelete: [.exchangeDeleteOk]
        case .exchangeBind: [.exchangeBindOk]
        case .exchangeUnbind: [.exchangeUnbindOk]
        case .queueDeclare: [.queueDeclareOk]
        case .queueBind: [.queueBindOk]
        case .queueUnbind: [.queueUnbindOk]
        case .queuePurge: [.queuePurgeOk]
        case .queueDelete: [.queueDeleteOk]
        case .basicQos: [.basicQosOk]
        case .basicConsume: [.basicConsumeOk]
        case .basicCancel: [.basicCancelOk]
        case .basicGet: [.basicGetOk, .basicGetEmpty]
        case .basicRecover: [.basicRecoverOk]
        case .confirmSelect: [.confirmSelectOk]
        case .txSelect: [.txSelectOk]
        case .txCommit: [.txCommitOk]
        case .txRollback: [.txRollbackOk]
        default: []
        }
    }
}
