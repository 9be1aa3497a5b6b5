// SPDX-License-Identifier: Apache-2.0
package import NIOCore

/// When to send a heartbeat, and when to give the other side up (specification 4.2.7): the same for client and broker.
/// Knows no clock and no socket.
package struct HeartbeatMonitor: Sendable {
    package enum Action: Hashable, Sendable {
        case none
        case send
        /// Nothing was received for two intervals.
        case dead
    }

    package let interval: TimeAmount
    private var lastSent: NIODeadline
    private var lastReceived: NIODeadline

    /// - Parameter seconds: the interval agreed on.
    /// - Returns: `nil` for an interval of 0, which means no heartbeats in either direction.
    package init?(seconds: UInt16, now: NIODeadline) {
        guard seconds > 0 else { return nil }
        self.interval = .seconds(Int64(seconds))
        self.lastSent = now
        self.lastReceived = now
    }

    /// How often to call ``tick(now:isReading:)``.
    package var tickInterval: TimeAmount { .nanoseconds(self.interval.nanoseconds / 4) }

    /// Something was written. Any bytes count, not just heartbeats.
    package mutating func sent(at time: NIODeadline) { self.lastSent = max(self.lastSent, time) }

    /// Something was read. Any bytes count.
    package mutating func received(now: NIODeadline) { self.lastReceived = now }

    /// - Parameter isReading: while we do not read, the silence is ours and not the other side's.
    package mutating func tick(now: NIODeadline, isReading: Bool = true) -> Action {
        if !isReading { self.lastReceived = now }
        if now - self.lastReceived > .nanoseconds(2 * self.interval.nanoseconds) { return .dead }
        guard (now - self.lastSent).nanoseconds >= self.interval.nanoseconds / 2 else { return .none }
        self.lastSent = now
        return .send
    }
}
