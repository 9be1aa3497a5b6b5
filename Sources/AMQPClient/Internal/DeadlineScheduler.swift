// SPDX-License-Identifier: Apache-2.0
import NIOConcurrencyHelpers
package import NIOCore

extension NIODeadline {
    /// So long from now; at once for a delay below zero.
    package static func after(_ delay: Duration) -> NIODeadline { .now() + TimeAmount(delay.inBounds) }
}

extension Duration {
    /// Between nothing and 272 years: `TimeAmount` would take one below -292 years for endless, and asking a duration
    /// for its seconds traps beyond 2⁶³.
    var inBounds: Duration { min(max(self, .zero), .seconds(Int64(1) << 33)) }
}

/// All deadlines of a connection behind one scheduled tick of its event loop.
///
/// SwiftNIO's cancellation of a scheduled task is linear in the number scheduled; here there is at most one.
package final class DeadlineScheduler: Sendable {
    package typealias Token = DeadlineQueue<@Sendable () -> Void>.Token

    private struct State {
        var queue = DeadlineQueue<@Sendable () -> Void>()
        var tick: (number: UInt64, deadline: NIODeadline, scheduled: Scheduled<Void>)?
        var ticksArmed: UInt64 = 0
    }
    private let eventLoop: any EventLoop
    private let state = NIOLockedValueBox(State())

    package init(eventLoop: any EventLoop) { self.eventLoop = eventLoop }

    /// Runs `action` on the event loop when `deadline` has passed, unless the token is cancelled before.
    package func schedule(at deadline: NIODeadline, _ action: @escaping @Sendable () -> Void) -> Token {
        self.state.withLockedValue { state in
            let token = state.queue.insert(action, at: deadline)
            if let tick = state.tick {
                if deadline < tick.deadline {
                    tick.scheduled.cancel()
                    self.arm(&state, at: deadline)
                }
            } else {
                self.arm(&state, at: deadline)
            }
            return token
        }
    }

    package func schedule(after delay: Duration, _ action: @escaping @Sendable () -> Void) -> Token {
        self.schedule(at: .after(delay), action)
    }

    package func cancel(_ token: Token) {
        // The closure goes out of scope outside the lock: it may hold the last reference to something that schedules.
        let action = self.state.withLockedValue { $0.queue.remove(token) }
        _ = action
    }

    /// Drops everything that is scheduled, without running it.
    package func cancelAll() {
        let old = self.state.withLockedValue { state in
            let old = state
            state.tick?.scheduled.cancel()
            state.tick = nil
            state.queue.removeAll()
            return old
        }
        _ = old
    }

    /// Deadlines that are still to come.
    var count: Int { self.state.withLockedValue { $0.queue.count } }
    var isTicking: Bool { self.state.withLockedValue { $0.tick != nil } }
    var ticksArmed: UInt64 { self.state.withLockedValue { $0.ticksArmed } }

    private func arm(_ state: inout State, at deadline: NIODeadline) {
        state.ticksArmed += 1
        let number = state.ticksArmed
        let scheduled = self.eventLoop.scheduleTask(deadline: deadline) { [weak self] () -> Void in
            self?.fire(tick: number)
        }
        state.tick = (number, deadline, scheduled)
    }

    func fire(tick number: UInt64) {
        let expired = self.state.withLockedValue { state -> [@Sendable () -> Void] in
            // The loop may have begun with a tick when it was cancelled: another one has taken its place, and arming a
            // further one would leave two for ever.
            guard state.tick?.number == number else { return [] }
            let expired = state.queue.popExpired(now: .now())
            state.tick = nil
            if let next = state.queue.nextDeadline() { self.arm(&state, at: next) }
            return expired
        }
        for action in expired { action() }
    }
}
