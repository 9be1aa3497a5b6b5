// SPDX-License-Identifier: Apache-2.0
import NIOConcurrencyHelpers

/// Lets so many pass in a second, and after a pause some more at once.
final class TokenBucket: Sendable {
    struct State: Sendable {
        let perSecond: Double
        let burst: Double
        private var tokens: Double
        private var time: ContinuousClock.Instant?

        init(perSecond: Double, burst: Int) {
            self.perSecond = max(perSecond, .leastNonzeroMagnitude)
            self.burst = Double(max(burst, 1))
            self.tokens = self.burst
        }

        /// - Returns: whether there was one left.
        mutating func take(at now: ContinuousClock.Instant) -> Bool {
            let passed = max((now - (self.time ?? now)) / .seconds(1), 0)
            self.time = now
            self.tokens = min(self.burst, self.tokens + passed * self.perSecond)
            guard self.tokens >= 1 else { return false }
            self.tokens -= 1
            return true
        }
    }
    private let state: NIOLockedValueBox<State>

    init(perSecond: Double, burst: Int) {
        self.state = NIOLockedValueBox(State(perSecond: perSecond, burst: burst))
    }

    func take(at now: ContinuousClock.Instant) -> Bool { self.state.withLockedValue { $0.take(at: now) } }
}
