// SPDX-License-Identifier: Apache-2.0
import AMQPWire

extension Duration {
    /// Rounded towards zero, and no larger than what can be counted: how long a caller waits comes from outside.
    var wholeMilliseconds: Int64 {
        let (seconds, attoseconds) = self.components
        let (milliseconds, overflow) = seconds.multipliedReportingOverflow(by: 1000)
        guard !overflow else { return seconds < 0 ? .min : .max }
        let (sum, sumOverflow) = milliseconds.addingReportingOverflow(attoseconds / 1_000_000_000_000_000)
        return sumOverflow ? (seconds < 0 ? .min : .max) : sum
    }
}

/// How long the caller of a request still waits.
///
/// What travels is the remaining time and the absolute deadline. Clocks differ between machines, so the remaining time,
/// counted from arrival, decides; the absolute deadline only ever shortens it, and only where that leaves anything.
enum TimeLeft {
    /// How far apart clocks may be, in milliseconds.
    static let tolerance: Int64 = 500

    /// Milliseconds left at arrival, or `nil` if nobody waits for a reply in time.
    static func onArrival(_ headers: AMQPTable?, now: Int64) -> Int64? {
        guard let remaining = headers?[WireHeaders.remaining]?.integer else { return nil }
        guard let deadline = headers?[WireHeaders.deadline]?.integer else { return max(remaining, 0) }
        let (byClock, overflow) = deadline.subtractingReportingOverflow(now - self.tolerance)
        guard !overflow, byClock > 0 else { return max(remaining, 0) }
        return max(min(remaining, byClock), 0)
    }
}
