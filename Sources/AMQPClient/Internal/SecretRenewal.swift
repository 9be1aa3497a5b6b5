// SPDX-License-Identifier: Apache-2.0

/// When a provider of credentials is asked again, so that the broker has a new secret before the old one expires.
///
/// Knows no clock, no tasks and no sockets: whoever drives it calls ``due(now:)`` at the time it was told, and tells it
/// what came of what it asked for. One renewal is under way at a time.
struct SecretRenewal {
    enum Action: Equatable {
        /// Nothing to do until something happens.
        case wait
        /// ``due(now:)`` is to be called then. Replaces what was said before.
        case wake(at: ContinuousClock.Instant)
        /// The provider is to be asked; the answer comes with ``provided(_:attempt:now:)`` or ``failed(attempt:now:)``.
        case ask(attempt: UInt64)
        /// `connection.update-secret` is to be sent; its end comes with ``updated(now:)``, ``unanswered(attempt:)`` or, if it
        /// could not be sent, ``failed(attempt:now:)``.
        case update(AMQPCredentials.Secret, attempt: UInt64)
    }
    private enum State {
        case idle
        case scheduled(at: ContinuousClock.Instant)
        case asking
        case updating(AMQPCredentials.Secret)
        /// The broker did not answer in time. Another update goes out when it has: one at a time.
        case unanswered(AMQPCredentials.Secret)
    }

    /// The longest time before the expiry at which a new secret is asked for.
    static let longestMargin = Duration.seconds(60)
    /// How soon it is asked again at the earliest, and after a first failure; further failures double it.
    static let shortestPause = Duration.seconds(1)
    /// How late it is asked again at the latest, after many failures.
    static let longestPause = Duration.seconds(30)

    private var state = State.idle
    /// Answers to an earlier attempt, or of an earlier connection, are not meant any more.
    private var attempt: UInt64 = 0
    private var failures = 0

    /// A connection was opened with `secret`, just got from the provider.
    mutating func connected(with secret: AMQPCredentials.Secret?, now: ContinuousClock.Instant) -> Action {
        self.failures = 0
        return self.schedule(secret, now)
    }

    /// The connection is lost or closed: whatever is under way is not waited for.
    mutating func disconnected() {
        self.attempt += 1
        self.state = .idle
    }

    /// The time has come that was said.
    mutating func due(now: ContinuousClock.Instant) -> Action {
        guard case .scheduled(let at) = self.state else { return .wait }
        guard now >= at else { return .wake(at: at) }
        self.attempt += 1
        self.state = .asking
        return .ask(attempt: self.attempt)
    }

    /// The provider gave a secret.
    mutating func provided(
        _ secret: AMQPCredentials.Secret, attempt: UInt64, now: ContinuousClock.Instant
    ) -> Action {
        guard attempt == self.attempt, case .asking = self.state else { return .wait }
        self.state = .updating(secret)
        return .update(secret, attempt: attempt)
    }

    /// The broker took the secret.
    ///
    /// - Returns: `nil` if nobody gave it one: it broke the protocol.
    mutating func updated(now: ContinuousClock.Instant) -> Action? {
        switch self.state {
        case .updating(let secret), .unanswered(let secret):
            self.failures = 0
            return self.schedule(secret, now)
        case .idle, .scheduled, .asking: return nil
        }
    }

    /// The broker did not answer in time. It may not be reading at all just now; nothing more is sent until it answers.
    mutating func unanswered(attempt: UInt64) {
        guard attempt == self.attempt, case .updating(let secret) = self.state else { return }
        self.state = .unanswered(secret)
    }

    /// The provider failed, or what it gave could not be sent. It is tried again, beyond the expiry as well: what the
    /// broker does then is its own affair.
    mutating func failed(attempt: UInt64, now: ContinuousClock.Instant) -> Action {
        guard attempt == self.attempt else { return .wait }
        switch self.state {
        case .asking, .updating: break
        case .idle, .scheduled, .unanswered: return .wait
        }
        let pause = min(Self.shortestPause * (1 << min(self.failures, 10)), Self.longestPause)
        self.failures += 1
        return self.wake(at: now + pause)
    }

    private mutating func schedule(_ secret: AMQPCredentials.Secret?, _ now: ContinuousClock.Instant) -> Action {
        guard let expiry = secret?.expiresAt else {
            self.state = .idle
            return .wait
        }
        let margin = min((expiry - now) / 5, Self.longestMargin)
        // What expires at once, or has expired, is asked for anew, but not in a loop.
        return self.wake(at: max(expiry - margin, now + Self.shortestPause))
    }

    private mutating func wake(at time: ContinuousClock.Instant) -> Action {
        self.state = .scheduled(at: time)
        return .wake(at: time)
    }
}
