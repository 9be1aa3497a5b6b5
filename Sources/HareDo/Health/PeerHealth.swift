// SPDX-License-Identifier: Apache-2.0
@_spi(HareDo) import AMQPClient
import NIOConcurrencyHelpers

/// Whether a peer does what it should.
public enum PeerHealth: Sendable, Hashable {
    /// It is not connected, and nobody wants it to be; or it has been disconnected.
    case idle
    /// It is connected, and everything is there that should be: its inbox, its services.
    case healthy
    /// The connection is being made, for the first time or again.
    case connecting
    /// It is connected, but not everything came back, or a service has ended by itself: what is wrong.
    case incomplete([String])
    /// The connection is lost for good: why.
    case lost(String)
}

/// The changes of a peer's health: see ``Peer/healthChanges``. When more than 64 wait, the oldest are dropped.
public struct PeerHealthChanges: AsyncSequence, Sendable {
    public typealias Failure = Never
    let buffer: DeliveryBuffer<PeerHealth>

    /// Serves what is waiting without suspending.
    public struct AsyncIterator: AsyncIteratorProtocol {
        var cursor: DeliveryCursor<PeerHealth>

        public mutating func next(isolation actor: isolated (any Actor)?) async -> PeerHealth? {
            try? await self.cursor.next()
        }

        public mutating func next() async -> PeerHealth? { try? await self.cursor.next() }
    }

    public func makeAsyncIterator() -> AsyncIterator { AsyncIterator(cursor: DeliveryCursor(self.buffer)) }
}

/// A peer's health, and who wants to know of its changes. May be used from any thread.
final class HealthBox: Sendable {
    private struct Subscription: Sendable {
        weak var buffer: DeliveryBuffer<PeerHealth>?
    }
    private struct State: Sendable {
        var health = PeerHealth.idle
        var subscriptions: [Subscription] = []
    }
    private static let limit = 64
    private let state = NIOLockedValueBox(State())

    var health: PeerHealth { self.state.withLockedValue { $0.health } }

    func set(_ health: PeerHealth) {
        self.state.withLockedValue { state in
            guard state.health != health else { return }
            state.health = health
            state.subscriptions.removeAll { $0.buffer == nil }
            for buffer in state.subscriptions.lazy.compactMap(\.buffer) {
                buffer.append(health, keeping: Self.limit)
                buffer.batchEnded()
            }
        }
    }

    /// What it is now comes first.
    func subscribe() -> PeerHealthChanges {
        let buffer = DeliveryBuffer<PeerHealth>(highWaterMark: .max) { _ in 0 }
        self.state.withLockedValue { state in
            buffer.append(state.health)
            state.subscriptions.append(Subscription(buffer: buffer))
        }
        return PeerHealthChanges(buffer: buffer)
    }

    deinit {
        for subscription in self.state.withLockedValue({ $0.subscriptions }) { subscription.buffer?.finish(nil) }
    }
}

extension Peer {
    /// Whether it is connected, and everything is there that should be: after a reconnect, its inbox and its services.
    public nonisolated var health: PeerHealth { self.healthBox.health }

    /// What its ``health`` is now, and each change from now on. Ends when the peer is gone.
    public nonisolated var healthChanges: PeerHealthChanges { self.healthBox.subscribe() }

    /// Whether it is ``PeerHealth/healthy``, looked up anew.
    public var isHealthy: Bool { self.currentHealth == .healthy }

    /// Looks after something happened that may make a difference.
    func healthMayHaveChanged() { self.healthBox.set(self.currentHealth) }

    private var currentHealth: PeerHealth {
        switch self.linkState.state {
        case .idle: return .idle
        case .connecting, .recovering: return .connecting
        case .ended(let error): return error.code == .disconnected ? .idle : .lost(error.message)
        case .connected(let link):
            var problems = self.endedServices.sorted { $0.key < $1.key }
                .map { "the service on '\($0.key)' has ended: \($0.value)" }
            if !link.connections.allSatisfy({ $0.assumeIsolated { $0.isHealthy } }) {
                problems.append("not everything came back with the connection")
            }
            return problems.isEmpty ? .healthy : .incomplete(problems)
        }
    }
}
