// SPDX-License-Identifier: Apache-2.0
import NIOConcurrencyHelpers
import NIOCore

/// A virtual host: its state behind one lock, and one timer for everything that happens by itself.
final class VirtualHost: Sendable {
    let name: String
    private let state: NIOLockedValueBox<VirtualHostState>
    private let timer: DeadlineTimer
    private let clock: BrokerClock

    init(
        name: String, settings: VirtualHostState.Settings, eventLoop: any EventLoop, clock: BrokerClock = BrokerClock()
    ) {
        self.name = name
        self.clock = clock
        self.state = NIOLockedValueBox(VirtualHostState(name: name, settings: settings, now: clock.now))
        self.timer = DeadlineTimer(eventLoop: eventLoop)
    }

    /// Runs a batch under the lock; wakes whom it concerns after.
    func perform<Result>(_ body: (inout VirtualHostState) -> Result) -> Result {
        let (now, time) = (self.clock.now, self.clock.time)
        let (result, wakeups, deadline) = self.state.withLockedValue { state in
            state.now = now
            state.time = time
            let result = body(&state)
            state.finishBatch()
            return (result, state.takeWakeups(), state.nextDeadline)
        }
        for output in wakeups { output.wake() }
        if let deadline { self.timer.arm(self.clock.systemTime(of: deadline)) { self.perform { $0.expire() } } }
        return result
    }

    /// The clock was advanced: what fell due happens before this returns.
    func clockAdvanced() {
        self.timer.disarm()
        self.perform { $0.expire() }
    }

    /// The timer holds the virtual host while it runs; this ends it.
    func stop() { self.timer.stop() }
}

/// Calls back at the earliest of the times it was given. There is one per virtual host, however many messages expire.
private final class DeadlineTimer: Sendable {
    private struct State {
        var armed: (time: NIODeadline, task: Scheduled<Void>)?
        var isStopped = false
    }

    private let eventLoop: any EventLoop
    private let state = NIOLockedValueBox(State())

    init(eventLoop: any EventLoop) { self.eventLoop = eventLoop }

    /// Time passes for a message to be expired only after its deadline, and not many times for a burst of them.
    private static let slack = TimeAmount.milliseconds(1)

    func arm(_ time: NIODeadline, _ body: @escaping @Sendable () -> Void) {
        let overtaken = self.state.withLockedValue { state -> Scheduled<Void>? in
            guard !state.isStopped else { return nil }
            if let armed = state.armed, armed.time <= time { return nil }
            let task = self.eventLoop.scheduleTask(deadline: time + Self.slack) {
                self.state.withLockedValue { if $0.armed?.time == time { $0.armed = nil } }
                body()
            }
            defer { state.armed = (time, task) }
            return state.armed?.task
        }
        overtaken?.cancel()
    }

    func stop() {
        self.state.withLockedValue { $0.isStopped = true }
        self.disarm()
    }

    func disarm() {
        let task = self.state.withLockedValue { state in
            defer { state.armed = nil }
            return state.armed?.task
        }
        task?.cancel()
    }
}
