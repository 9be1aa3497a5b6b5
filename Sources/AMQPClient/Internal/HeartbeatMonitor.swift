// SPDX-License-Identifier: Apache-2.0
import NIOCore

/// When to send a heartbeat, and when to give the other side up. Knows no clock and no socket.
struct HeartbeatMonitor {
    enum Action: Equatable {
        case none
        case send
        /// Nothing was received for two intervals.
        case dead
    }

    let interval: TimeAmount
    private var lastSent: NIODeadline
    private var lastReceived: NIODeadline

    /// - Returns: `nil` for an interval of 0, which means no heartbeats in either direction.
    init?(seconds: UInt16, now: NIODeadline) {
        guard seconds > 0 else { return nil }
        self.interval = .seconds(Int64(seconds))
        self.lastSent = now
        self.lastReceived = now
    }

    /// How often to call ``tick(now:)``.
    var tickInterval: TimeAmount { .nanoseconds(self.interval.nanoseconds / 4) }

    /// Any bytes count, not just heartbeats.
    mutating func sent(at time: NIODeadline) { self.lastSent = max(self.lastSent, time) }
    mutating func received(now: NIODeadline) { self.lastReceived = now }

    mutating func tick(now: NIODeadline) -> Action {
        if now - self.lastReceived > .nanoseconds(2 * self.interval.nanoseconds) { return .dead }
        guard (now - self.lastSent).nanoseconds >= self.interval.nanoseconds / 2 else { return .none }
        self.lastSent = now
        return .send
    }
}
