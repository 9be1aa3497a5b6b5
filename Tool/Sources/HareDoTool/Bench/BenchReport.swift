// SPDX-License-Identifier: Apache-2.0

#if canImport(FoundationEssentials)
    import FoundationEssentials
#else
    import Foundation
#endif

/// What a benchmark measured.
struct BenchReport: Encodable, Sendable {
    let plan: BenchPlan
    let seconds: Double
    /// User and system time of this process, in microseconds per message or call.
    let processorTime: Double
    let latency: Latencies.Summary

    /// - Parameter processorTime: of the whole measurement, in microseconds.
    init(_ plan: BenchPlan, seconds: Double, processorTime: Double, _ latencies: Latencies) {
        self.plan = plan
        self.seconds = seconds
        self.processorTime = (processorTime / Double(plan.count)).rounded(to: 1000)
        self.latency = latencies.summary
    }

    /// Messages, or calls, per second.
    var rate: Double { self.seconds > 0 ? (Double(self.plan.count) / self.seconds).rounded(to: 10) : 0 }

    private enum CodingKeys: String, CodingKey {
        case operation, count, size, concurrency, connections, executor, seconds, rate
        case processorTime = "cpu_us_per_message"
        case latency = "latency_us"
    }

    func encode(to encoder: any Encoder) throws {
        var container = encoder.container(keyedBy: CodingKeys.self)
        try container.encode(self.plan.operation.rawValue, forKey: .operation)
        try container.encode(self.plan.count, forKey: .count)
        try container.encode(self.plan.size, forKey: .size)
        try container.encode(self.plan.concurrency, forKey: .concurrency)
        try container.encode(self.plan.connections, forKey: .connections)
        try container.encode(self.plan.executor.rawValue, forKey: .executor)
        try container.encode(self.seconds, forKey: .seconds)
        try container.encode(self.rate, forKey: .rate)
        try container.encode(self.processorTime, forKey: .processorTime)
        try container.encode(self.latency, forKey: .latency)
    }

    func json() throws -> String {
        let encoder = JSONEncoder()
        encoder.outputFormatting = [.sortedKeys]
        return String(decoding: try encoder.encode(self), as: UTF8.self)
    }

    func table() -> String {
        let (thing, things) = self.plan.operation == .rpc ? ("call", "calls") : ("message", "messages")
        func text(_ number: Double) -> String { "\(number.rounded(to: 100))" }
        let place =
            switch self.plan.executor {
            case .main: "the main actor"
            case .loop: "the connection's event loop"
            case .pool: "the global concurrent executor"
            }
        return """
            \(self.plan.operation): \(self.plan.count) \(things) of \(self.plan.size) bytes\(ToolBuild.note)
            tasks        \(self.plan.concurrency) on \(place)
            connections  \(self.plan.connections)
            time         \(text(self.seconds)) s
            rate         \(Int(self.rate.rounded())) \(things)/s
            processor    \(text(self.processorTime)) µs per \(thing), of this process
            latency      p50 \(text(self.latency.p50)) µs, p90 \(text(self.latency.p90)) µs, \
            p99 \(text(self.latency.p99)) µs, max \(text(self.latency.max)) µs
            """
    }
}

extension Double {
    /// Rounded to a multiple of one `parts`-th.
    func rounded(to parts: Double) -> Double { (self * parts).rounded() / parts }
}

/// How the tool was built.
enum ToolBuild {
    /// To go behind a figure: without the optimiser it says little.
    static var note: String {
        #if DEBUG
            " (debug build)"
        #else
            ""
        #endif
    }
}
