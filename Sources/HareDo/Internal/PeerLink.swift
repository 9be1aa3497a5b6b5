// SPDX-License-Identifier: Apache-2.0
@_spi(HareDo) import AMQPClient
import NIOConcurrencyHelpers
import NIOCore

/// What a connected peer works with: a connection and its channels, and if so configured another one to publish on.
///
/// It stays the same while its connections are lost and come back.
///
/// Sending, calling and receiving have a channel each, so that a refused message of one kind does not end the others.
///
/// A class, because every call looks at it.
final class PeerLink: Sendable {
    let connection: AMQPConnection
    /// Where messages go out: the same, or one of its own.
    let publishing: AMQPConnection
    let inbox: AMQPChannel
    let sending: AMQPChannel
    let calling: AMQPChannel
    /// Where replies to calls go: direct reply-to, or the inbox where a broker lacks it.
    let callReplyTo: String
    /// The verified sender of what goes out.
    let user: String?
    /// Those that need not be declared again.
    let exchanges: DeclaredExchanges

    var isSeparated: Bool { self.publishing !== self.connection }
    var connections: [AMQPConnection] { self.isSeparated ? [self.connection, self.publishing] : [self.connection] }

    init(
        connection: AMQPConnection, publishing: AMQPConnection, inbox: AMQPChannel, sending: AMQPChannel,
        calling: AMQPChannel, callReplyTo: String, user: String?, exchanges: DeclaredExchanges
    ) {
        self.connection = connection
        self.publishing = publishing
        self.inbox = inbox
        self.sending = sending
        self.calling = calling
        self.callReplyTo = callReplyTo
        self.user = user
        self.exchanges = exchanges
    }
}

/// The exchanges that a peer has made sure of.
final class DeclaredExchanges: Sendable {
    private let names = NIOLockedValueBox<Set<String>>([])

    func contains(_ name: String) -> Bool { self.names.withLockedValue { $0.contains(name) } }
    func insert(_ name: String) { self.names.withLockedValue { _ = $0.insert(name) } }
    func removeAll() { self.names.withLockedValue { $0.removeAll() } }
}

/// Where a peer is between connecting and disconnecting. May be read from any thread.
final class LinkState: Sendable {
    enum State: Sendable {
        case idle
        case connecting
        case connected(PeerLink)
        /// The connection was lost, and is being made again.
        case recovering(PeerLink)
        case ended(HareDoError)

        /// There will be a link, or not: wait.
        var isComing: Bool {
            switch self {
            case .connecting, .recovering: true
            case .idle, .connected, .ended: false
            }
        }
        var link: PeerLink? {
            switch self {
            case .connected(let link), .recovering(let link): link
            case .idle, .connecting, .ended: nil
            }
        }
    }
    private struct Guarded: Sendable {
        var state = State.idle
        var waiters: [UInt64: Waiter<PeerLink, HareDoError>] = [:]
        var lastWaiter: UInt64 = 0
    }
    private let guarded = NIOLockedValueBox(Guarded())

    /// How many wait for a connection.
    var waiterCount: Int { self.guarded.withLockedValue { $0.waiters.count } }

    var state: State { self.guarded.withLockedValue { $0.state } }

    /// Changes the state and tells those who wait for a connection.
    func set(_ state: State) {
        let waiters = self.guarded.withLockedValue { guarded -> [Waiter<PeerLink, HareDoError>] in
            guarded.state = state
            if state.isComing { return [] }
            let waiters = Array(guarded.waiters.values)
            guarded.waiters.removeAll()
            return waiters
        }
        for waiter in waiters {
            switch state {
            case .connected(let link): waiter.resolve(.success(link))
            case .ended(let error): waiter.resolve(.failure(error))
            case .idle, .connecting, .recovering: waiter.resolve(.failure(Self.notConnected))
            }
        }
    }

    static let notConnected = HareDoError(.notConnected, "the peer is not connected: call connect() first")

    /// The link there is now, or `nil` while a connection is being made.
    var connected: PeerLink? {
        get throws(HareDoError) {
            switch self.state {
            case .connected(let link): return link
            case .connecting, .recovering: return nil
            case .ended(let error): throw error
            case .idle: throw Self.notConnected
            }
        }
    }

    /// The link, if necessary after waiting for a connection that is being made.
    func link(until deadline: NIODeadline, _ scheduler: DeadlineScheduler) async throws(HareDoError) -> PeerLink {
        if let link = try self.connected { return link }
        return try await self.comingLink(until: deadline, scheduler)
    }

    private func comingLink(
        until deadline: NIODeadline, _ scheduler: DeadlineScheduler
    ) async throws(HareDoError) -> PeerLink {
        let waiter = Waiter<PeerLink, HareDoError>(cancelled: .cancelled)
        let (state, id) = self.guarded.withLockedValue { guarded -> (State, UInt64) in
            if guarded.state.isComing {
                guarded.lastWaiter += 1
                guarded.waiters[guarded.lastWaiter] = waiter
            }
            return (guarded.state, guarded.lastWaiter)
        }
        switch state {
        case .connected(let link): return link
        case .ended(let error): throw error
        case .idle: throw Self.notConnected
        case .connecting, .recovering: break
        }
        let token = scheduler.schedule(at: deadline) {
            waiter.resolve(.failure(HareDoError(.notConnected, "the peer was not connected in time")))
        }
        defer {
            scheduler.cancel(token)
            _ = self.guarded.withLockedValue { $0.waiters.removeValue(forKey: id) }
        }
        return try await waiter.value()
    }
}
