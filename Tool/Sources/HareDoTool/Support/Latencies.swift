// SPDX-License-Identifier: Apache-2.0
import Histogram

/// How long something took, again and again: a histogram of fixed size, so that recording never allocates.
struct Latencies: Sendable {
    /// 100 s, in nanoseconds; what takes longer counts as this.
    private static let maximum: UInt64 = 100_000_000_000

    /// To about 1 %, which 16 KiB suffice for: every task has its own.
    private var histogram = Histogram<UInt32>(
        highestTrackableValue: Self.maximum, numberOfSignificantValueDigits: .two)

    var count: UInt64 { self.histogram.totalCount }

    mutating func record(since start: Moment) { self.record(nanoseconds: start.nanosecondsSince) }

    mutating func record(nanoseconds: UInt64) { self.histogram.record(min(max(nanoseconds, 1), Self.maximum)) }

    mutating func add(_ other: Latencies) { self.histogram.add(other.histogram) }

    /// In microseconds, to the nanosecond.
    struct Summary: Encodable, Hashable, Sendable {
        var p50: Double
        var p90: Double
        var p99: Double
        var max: Double
    }

    var summary: Summary {
        func microseconds(_ percent: Double) -> Double { Double(self.histogram.valueAtPercentile(percent)) / 1000 }
        return Summary(p50: microseconds(50), p90: microseconds(90), p99: microseconds(99), max: microseconds(100))
    }

    /// How many there are below each power of two microseconds, and not below the one before.
    var countsByPower: [Int: UInt64] {
        self.histogram.recordedValues().reduce(into: [:]) { counts, value in
            let microseconds = value.value / 1000
            counts[UInt64.bitWidth - microseconds.leadingZeroBitCount, default: 0] += UInt64(value.count)
        }
    }
}
