// SPDX-License-Identifier: Apache-2.0
import Foundation
import Testing

@testable import HareDoTool

@Suite("Reports of benchmarks")
struct BenchReportTests {
    private struct Figures: Decodable {
        var seconds, rate, cpu_us_per_message: Double
        var latency_us: [String: Double]
    }

    @Test("Times are in seconds and microseconds, in JSON and for people")
    func units() throws {
        var latencies = Latencies()
        for _ in 0..<200 { latencies.record(nanoseconds: 2_500_000) }
        let plan = try BenchPlan(.rpc, count: 200)
        let report = BenchReport(plan, seconds: 0.5, processorTime: 3000, latencies)
        let figures = try JSONDecoder().decode(Figures.self, from: Data(report.json().utf8))
        #expect(figures.seconds == 0.5)
        #expect(figures.rate == 400)
        #expect(figures.cpu_us_per_message == 15)
        #expect(Set(figures.latency_us.keys) == ["p50", "p90", "p99", "max"])
        for (_, latency) in figures.latency_us { #expect(abs(latency - 2500) <= 25) }
        #expect(
            report.table().contains(
                "\ntime         0.5 s\nrate         400 calls/s\nprocessor    15.0 µs per call, of this process\n"))
    }
}
