// SPDX-License-Identifier: Apache-2.0

/// The life of a connection, over all the sockets it may have.
///
/// Knows no sockets, tasks or clocks; generic over who waits. Every waiter that is accepted leaves it exactly once:
/// whoever connects, whoever waits for the recovery to be over, and whoever waits for the end.
struct ConnectionMachine<Waiter> {
    private enum State {
        /// Not connected, and not being connected.
        case idle
        case connecting(Waiter)
        case open
        /// The connection was lost, and is to be made again.
        case lost
        case reconnecting(Waiter)
        /// Connected again; channels and topology are on their way.
        case restoring
        /// We sent `connection.close`.
        case closing
        case closed(AMQPError)
    }
    typealias Resolution = (waiter: Waiter, error: AMQPError?)

    enum OnConnect {
        case start
        case refuse(AMQPError)
    }
    enum OnEstablished {
        case opened(Waiter)
        case restore(Waiter)
        case ignore
    }
    enum OnLost {
        case ignore
        /// The attempt failed; whoever made it is told.
        case attemptFailed(Waiter)
        /// Forget the session, and begin to recover.
        case recover
        /// Forget the session; the recovery that is underway goes on with the next attempt.
        case interrupted
        /// It is over.
        case ended([Resolution])
    }
    enum OnClose {
        /// `connection.close` goes out.
        case send([Resolution])
        /// It went out before.
        case wait
        /// There is nobody to tell: it is over.
        case ended([Resolution])
    }
    enum OnWait {
        case ready
        case waiting
        case refuse(AMQPError)
    }

    private var state = State.idle
    private var readyWaiters: [UInt64: Waiter] = [:]
    private var endWaiters: [Waiter] = []

    // MARK: - Where it is

    var isOpen: Bool {
        if case .open = self.state { true } else { false }
    }
    /// There is a session, at least in the making, in which what the broker says on channels counts.
    var isUp: Bool {
        switch self.state {
        case .open, .restoring, .closing: true
        default: false
        }
    }
    var isRestoring: Bool {
        if case .restoring = self.state { true } else { false }
    }
    /// The next attempt may begin.
    var isLost: Bool {
        if case .lost = self.state { true } else { false }
    }
    var isRecovering: Bool {
        switch self.state {
        case .lost, .reconnecting, .restoring: true
        default: false
        }
    }
    var isClosing: Bool {
        if case .closing = self.state { true } else { false }
    }
    /// Why it is over, if it is.
    var end: AMQPError? {
        if case .closed(let error) = self.state { error } else { nil }
    }
    static var closedByUs: AMQPError { AMQPError(.connectionClosed, "the connection was closed") }

    // MARK: - Connecting

    /// An attempt to connect begins. Only one can be underway.
    mutating func connect(_ waiter: Waiter) -> OnConnect {
        switch self.state {
        case .idle: self.state = .connecting(waiter)
        case .lost: self.state = .reconnecting(waiter)
        case .closed(let error): return .refuse(error)
        case .closing: return .refuse(Self.closedByUs)
        case .connecting, .open, .reconnecting, .restoring:
            return .refuse(AMQPError(.invalidArgument, "the connection is connected, or being connected"))
        }
        return .start
    }

    /// The handshake is complete.
    mutating func established() -> OnEstablished {
        switch self.state {
        case .connecting(let waiter):
            self.state = .open
            return .opened(waiter)
        case .reconnecting(let waiter):
            self.state = .restoring
            return .restore(waiter)
        case .idle, .open, .lost, .restoring, .closing, .closed: return .ignore
        }
    }

    /// Everything that could be restored is.
    ///
    /// - Returns: who waited for that; `nil` if nothing was being restored.
    mutating func restored() -> [Waiter]? {
        guard case .restoring = self.state else { return nil }
        self.state = .open
        let waiters = Array(self.readyWaiters.values)
        self.readyWaiters.removeAll()
        return waiters
    }

    /// Socket, handshake or session ended.
    ///
    /// - Parameter recovers: whether a connection that was open is to be made again.
    mutating func lost(_ error: AMQPError, recovers: Bool) -> OnLost {
        switch self.state {
        case .idle, .lost, .closed: return .ignore
        case .connecting(let waiter):
            self.state = .idle
            return .attemptFailed(waiter)
        case .reconnecting(let waiter):
            self.state = .lost
            return .attemptFailed(waiter)
        case .open where recovers:
            self.state = .lost
            return .recover
        case .restoring where recovers:
            self.state = .lost
            return .interrupted
        case .open, .restoring: return .ended(self.finish(error))
        case .closing: return .ended(self.finish(Self.closedByUs))
        }
    }

    // MARK: - Waiting for it to be open

    /// - Parameter id: to ``abandon(id:)`` it with.
    mutating func waitUntilOpen(_ waiter: Waiter, id: UInt64) -> OnWait {
        switch self.state {
        case .open: return .ready
        case .lost, .reconnecting, .restoring:
            self.readyWaiters[id] = waiter
            return .waiting
        case .closed(let error): return .refuse(error)
        case .closing: return .refuse(Self.closedByUs)
        case .idle, .connecting: return .refuse(AMQPError(.connectionClosed, "the connection is not open yet"))
        }
    }

    /// The one who waited gave up.
    mutating func abandon(id: UInt64) -> Waiter? { self.readyWaiters.removeValue(forKey: id) }

    // MARK: - The end

    /// We close it. This wins over a recovery.
    mutating func close() -> OnClose {
        switch self.state {
        case .open, .restoring:
            self.state = .closing
            let waiters = self.readyWaiters.values.map { ($0, Self.closedByUs as AMQPError?) }
            self.readyWaiters.removeAll()
            return .send(waiters)
        case .closing: return .wait
        case .idle, .connecting, .lost, .reconnecting: return .ended(self.finish(Self.closedByUs))
        case .closed: return .ended([])
        }
    }

    /// - Returns: whether it is still to end.
    mutating func waitForEnd(_ waiter: Waiter) -> Bool {
        if case .closed = self.state { return false }
        self.endWaiters.append(waiter)
        return true
    }

    /// It is over, whatever was going on.
    mutating func ended(_ error: AMQPError) -> [Resolution]? {
        if case .closed = self.state { return nil }
        return self.finish(error)
    }

    private mutating func finish(_ error: AMQPError) -> [Resolution] {
        var resolutions: [Resolution] = self.readyWaiters.values.map { ($0, error) }
        switch self.state {
        case .connecting(let waiter), .reconnecting(let waiter): resolutions.append((waiter, error))
        default: break
        }
        resolutions += self.endWaiters.map { ($0, nil) }
        self.readyWaiters.removeAll()
        self.endWaiters.removeAll()
        self.state = .closed(error)
        return resolutions
    }
}

extension ConnectionMachine where Waiter: AnyObject {
    /// Whether the attempt that is underway is this one's.
    func isAttempt(of waiter: Waiter) -> Bool {
        switch self.state {
        case .connecting(let other), .reconnecting(let other): other === waiter
        default: false
        }
    }
}
