// SPDX-License-Identifier: Apache-2.0
import NIOCore

/// Decides when to send a heartbeat, and when the other side is dead (specification 4.2.7). Knows no clock.
struct HeartbeatMonitor {
    enum Action: Hashable {
        case none
        case sendHeartbeat
        /// Nothing came for two intervals.
        case dead
    }

    let interval: TimeAmount
    private var lastReceived: NIODeadline
    private var lastSent: NIODeadline

    /// - Parameter seconds: the negotiated interval, above 0.
    init(seconds: UInt16, now: NIODeadline) {
        self.interval = .seconds(Int64(seconds))
        self.lastReceived = now
        self.lastSent = now
    }

    /// How often to ``tick(now:isReading:)``.
    var tickInterval: TimeAmount { .nanoseconds(self.interval.nanoseconds / 2) }

    mutating func received(now: NIODeadline) { self.lastReceived = now }
    mutating func sent(now: NIODeadline) { self.lastSent = now }

    /// - Parameter isReading: while we do not read, the silence is ours and not the peer's.
    mutating func tick(now: NIODeadline, isReading: Bool) -> Action {
        if !isReading { self.lastReceived = now }
        if now - self.lastReceived > self.interval * 2 { return .dead }
        guard now - self.lastSent >= self.tickInterval else { return .none }
        self.lastSent = now
        return .sendHeartbeat
    }
}
