// SPDX-License-Identifier: Apache-2.0
import NIOCore
import Testing

@testable import AMQPWire

@Suite struct HeartbeatMonitorTests {
    private static let start = NIODeadline.uptimeNanoseconds(1_000_000_000_000)

    /// Ticks as often as it asks to, for as long as given, and tells when it did something.
    private func run(
        _ monitor: inout HeartbeatMonitor, for seconds: Int64, hearing: Bool
    ) -> [(at: Double, action: HeartbeatMonitor.Action)] {
        var actions: [(Double, HeartbeatMonitor.Action)] = []
        var now = Self.start
        while now - Self.start < .seconds(seconds) {
            now = now + monitor.tickInterval
            if hearing { monitor.received(now: now) }
            let action = monitor.tick(now: now)
            if action != .none { actions.append((Double((now - Self.start).nanoseconds) / 1e9, action)) }
            if action == .dead { break }
        }
        return actions
    }

    @Test func anIntervalOfZeroMeansNone() {
        #expect(HeartbeatMonitor(seconds: 0, now: Self.start) == nil)
    }

    @Test(arguments: [1, 10, 60, .max] as [UInt16])
    func aHeartbeatIsSentTwiceAnInterval(seconds: UInt16) throws {
        var monitor = try #require(HeartbeatMonitor(seconds: seconds, now: Self.start))
        let actions = self.run(&monitor, for: Int64(seconds) * 4, hearing: true)
        #expect(actions.map(\.action) == Array(repeating: .send, count: 8))
        #expect(actions.first?.at == Double(seconds) / 2)
    }

    @Test(arguments: [1, 10, 60, .max] as [UInt16])
    func silenceIsNoticedAfterTwoIntervalsAndNotBefore(seconds: UInt16) throws {
        var monitor = try #require(HeartbeatMonitor(seconds: seconds, now: Self.start))
        let last = try #require(self.run(&monitor, for: Int64(seconds) * 4, hearing: false).last)
        #expect(last.action == .dead)
        #expect(last.at > 2 * Double(seconds))
        #expect(last.at <= 2.25 * Double(seconds))
    }

    @Test func whoWritesAnywayNeedsNoHeartbeats() throws {
        var monitor = try #require(HeartbeatMonitor(seconds: 10, now: Self.start))
        for second in 1...20 as ClosedRange<Int64> {
            let now = Self.start + .seconds(second)
            monitor.sent(at: now)
            monitor.received(now: now)
            #expect(monitor.tick(now: now) == .none)
        }
    }

    @Test("are sent after half an interval of silence, and a peer is dead after two intervals of its own")
    func monitor() throws {
        var monitor = try #require(HeartbeatMonitor(seconds: 10, now: Self.start))
        #expect(monitor.tickInterval == .milliseconds(2500))
        #expect(monitor.tick(now: Self.start + .seconds(4), isReading: true) == .none)
        #expect(monitor.tick(now: Self.start + .seconds(5), isReading: true) == .send)
        monitor.sent(at: Self.start + .seconds(9))
        #expect(monitor.tick(now: Self.start + .seconds(10), isReading: true) == .none)
        #expect(monitor.tick(now: Self.start + .seconds(20), isReading: true) == .send)
        #expect(monitor.tick(now: Self.start + .seconds(21), isReading: true) == .dead)
    }

    @Test("do not declare a peer dead that is not read")
    func notReading() throws {
        var monitor = try #require(HeartbeatMonitor(seconds: 10, now: Self.start))
        #expect(monitor.tick(now: Self.start + .seconds(50), isReading: false) == .send)
        #expect(monitor.tick(now: Self.start + .seconds(60), isReading: true) == .send)
        monitor.received(now: Self.start + .seconds(61))
        #expect(monitor.tick(now: Self.start + .seconds(82), isReading: true) == .dead)
    }
}
