// SPDX-License-Identifier: Apache-2.0
import NIOCore

/// The pauses between attempts: random between nothing and a bound that doubles ("full jitter"). Knows no clock.
struct Backoff {
    private let minimum: Int64
    private let maximum: Int64
    private let stablePeriod: TimeAmount
    /// Attempts since the last stable period.
    private(set) var attempts = 0
    private var upSince: NIODeadline?

    init(_ recovery: AMQPRecovery) {
        self.minimum = max(TimeAmount(recovery.minimumDelay.inBounds).nanoseconds, 0)
        self.maximum = max(TimeAmount(recovery.maximumDelay.inBounds).nanoseconds, self.minimum)
        self.stablePeriod = TimeAmount(recovery.stablePeriod.inBounds)
    }

    /// The largest pause before the next attempt.
    var bound: Duration {
        // 2⁶² ns would overflow; the maximum is reached long before.
        let (bound, overflows) = self.minimum.multipliedReportingOverflow(by: 1 << Int64(min(self.attempts, 40)))
        return .nanoseconds(overflows ? self.maximum : min(bound, self.maximum))
    }

    /// - Returns: the pause before the next attempt.
    mutating func next(using generator: inout some RandomNumberGenerator) -> Duration {
        let bound = TimeAmount(self.bound).nanoseconds
        self.attempts += 1
        return .nanoseconds(Int64.random(in: 0...bound, using: &generator))
    }

    /// It is up again: from now on it counts as stable after a while.
    mutating func succeeded(now: NIODeadline) { self.upSince = now }

    /// It is down: if it was up for long enough the pauses begin anew.
    mutating func failed(now: NIODeadline) {
        if let upSince, now - upSince >= self.stablePeriod { self.attempts = 0 }
        self.upSince = nil
    }
}
