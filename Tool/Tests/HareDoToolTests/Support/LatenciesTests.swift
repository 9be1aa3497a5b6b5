// SPDX-License-Identifier: Apache-2.0
import Testing

@testable import HareDoTool

@Suite("Latencies")
struct LatenciesTests {
    @Test("Percentiles are in microseconds, within 1 %")
    func percentiles() {
        var latencies = Latencies()
        for microseconds in 1...1000 { latencies.record(nanoseconds: UInt64(microseconds) * 1000) }
        let summary = latencies.summary
        #expect(abs(summary.p50 - 500) <= 5)
        #expect(abs(summary.p90 - 900) <= 9)
        #expect(abs(summary.p99 - 990) <= 10)
        #expect(summary.max == 1000)
    }

    @Test("Of several tasks they add up; nothing is lost at the ends of the range")
    func added() {
        var latencies = Latencies()
        latencies.record(nanoseconds: 0)
        var others = Latencies()
        others.record(nanoseconds: .max)
        latencies.add(others)
        #expect(latencies.count == 2)
        #expect(latencies.summary.p50 == 0.001)
        #expect(latencies.summary.max == 100_000_000)
    }

    @Test("They are counted by powers of two microseconds")
    func powers() {
        var latencies = Latencies()
        for nanoseconds in [500, 1000, 1900, 2000, 3900, 3900] as [UInt64] {
            latencies.record(nanoseconds: nanoseconds)
        }
        #expect(latencies.countsByPower == [0: 1, 1: 2, 2: 3])
    }

    @Test("What passed since a moment is what the system's clock says")
    func moments() async throws {
        let before = SuspendingClock.now
        let moment = Moment.now
        let after = SuspendingClock.now
        // Something to measure.
        try await Task.sleep(for: .milliseconds(20))
        let atLeast = after.duration(to: SuspendingClock.now)
        let (nanoseconds, seconds) = (moment.nanosecondsSince, moment.secondsSince)
        let atMost = before.duration(to: SuspendingClock.now)
        #expect(Duration.nanoseconds(nanoseconds) >= atLeast)
        #expect(Duration.nanoseconds(nanoseconds) <= atMost)
        let rounding = Duration.microseconds(1)
        #expect(Duration.seconds(seconds) >= atLeast - rounding)
        #expect(Duration.seconds(seconds) <= atMost + rounding)
    }

    @Test("Without any there is nothing to say")
    func empty() {
        #expect(Latencies().summary == Latencies.Summary(p50: 0, p90: 0, p99: 0, max: 0))
        #expect(Latencies().countsByPower.isEmpty)
    }
}
