// SPDX-License-Identifier: Apache-2.0
import NIOCore

/// How many messages went through a queue.
struct QueueCounters: Sendable {
    var published = RateMeter()
    var delivered = RateMeter()
}

/// Counts events, and how many there were in the last second that is over.
struct RateMeter: Sendable {
    private(set) var total: UInt64 = 0
    /// Whole seconds of the clock; `current` counts the events of this one, `previous` those of the one before.
    private var second: UInt64 = 0
    private var current: UInt64 = 0
    private var previous: UInt64 = 0

    private static func second(of now: NIODeadline) -> UInt64 { now.uptimeNanoseconds / 1_000_000_000 }

    mutating func count(_ now: NIODeadline) {
        let second = Self.second(of: now)
        if second != self.second {
            self.previous = second == self.second + 1 ? self.current : 0
            self.current = 0
            self.second = second
        }
        self.current += 1
        self.total += 1
    }

    /// Events per second.
    func rate(at now: NIODeadline) -> UInt64 {
        switch Self.second(of: now) {
        case self.second: self.previous
        case self.second + 1: self.current
        default: 0
        }
    }
}
