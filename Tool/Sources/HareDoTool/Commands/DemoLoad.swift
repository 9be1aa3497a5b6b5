// SPDX-License-Identifier: Apache-2.0
import HareDo

/// One second of calls, and what came of it.
struct DemoLoad: Sendable {
    static let inFlight = 64
    private static let length = Duration.seconds(1)

    var elapsed: Duration = .zero
    /// Of the calls that were answered rightly.
    var latencies = Latencies()
    var failures = 0

    /// Calls a service that adds one to the header `i`. `@concurrent`, and so are its child tasks: callers on the main
    /// actor would be measured with its queue.
    @concurrent
    static func run(_ client: Peer, _ queue: String) async throws -> DemoLoad {
        let clock = ContinuousClock()
        let start = clock.now
        var total = try await withThrowingTaskGroup(of: DemoLoad.self) { group in
            for first in 0..<Self.inFlight {
                group.addTask {
                    try await Self.callOneAfterAnother(client, queue, first: first, until: start + Self.length)
                }
            }
            return try await group.reduce(into: DemoLoad()) { $0.add($1) }
        }
        total.elapsed = clock.now - start
        return total
    }

    private static func callOneAfterAnother(
        _ client: Peer, _ queue: String, first: Int, until end: ContinuousClock.Instant
    ) async throws -> DemoLoad {
        var load = DemoLoad()
        var number = first
        var now = ContinuousClock.now
        while now < end {
            let reply = try await client.call(queue, headers: ["i": .integer(Int64(number))])
            let after = ContinuousClock.now
            if reply?.text == "\(number + 1)" {
                load.latencies.record(nanoseconds: UInt64(max((after - now) / .nanoseconds(1), 0)))
            } else {
                load.failures += 1
            }
            now = after
            number += Self.inFlight
        }
        return load
    }

    private mutating func add(_ other: DemoLoad) {
        self.latencies.add(other.latencies)
        self.failures += other.failures
    }

    // MARK: - Report

    func report(broker: String) -> String {
        let count = self.latencies.count
        let seconds = self.elapsed / .seconds(1)
        let rate = seconds > 0 ? Int((Double(count) / seconds).rounded()) : 0
        var lines = [
            "\(rate) calls/s over \(seconds.rounded(to: 100)) s, \(Self.inFlight) in flight, on the \(broker)"
                + ToolBuild.note,
            "callers and handlers ran on Swift's global concurrent executor, the connections on their event loops",
        ]
        guard count > 0 else { return lines.joined(separator: "\n") }
        let latency = self.latencies.summary
        func text(_ microseconds: Double) -> String { "\(Int(microseconds.rounded())) µs" }
        lines.append(
            "latency: p50 \(text(latency.p50)), p90 \(text(latency.p90)), p99 \(text(latency.p99)), "
                + "max \(text(latency.max))")
        return (lines + self.bars()).joined(separator: "\n")
    }

    /// One line for each power of two between the fastest and the slowest call.
    private func bars() -> [String] {
        let counts = self.latencies.countsByPower
        guard let first = counts.keys.min(), let last = counts.keys.max(), let most = counts.values.max() else {
            return []
        }
        let width = "\(UInt64(1) << UInt64(last))".count
        return (first...last).map { power in
            let count = counts[power] ?? 0
            let bound = "\(UInt64(1) << UInt64(power))"
            let bar = String(repeating: "#", count: Int((Double(count) / Double(most) * 40).rounded(.up)))
            let share = (Double(count) / Double(self.latencies.count) * 100).rounded(to: 100)
            return "  < \(String(repeating: " ", count: width - bound.count))\(bound) µs  "
                + bar.padded(to: 40) + "  \(share) %"
        }
    }
}

extension String {
    fileprivate func padded(to width: Int) -> String {
        self + String(repeating: " ", count: Swift.max(width - self.count, 0))
    }
}
