// SPDX-License-Identifier: Apache-2.0

#if canImport(Glibc)
    import Glibc
#elseif canImport(Musl)
    import Musl
#elseif canImport(Darwin)
    import Darwin
#endif

/// A point in time, for what is measured: without the arithmetic of `Duration`, which is wider than a register.
struct Moment: Sendable {
    private let nanoseconds: UInt64

    static var now: Moment {
        var time = timespec()
        clock_gettime(CLOCK_MONOTONIC, &time)
        return Moment(nanoseconds: UInt64(time.tv_sec) * 1_000_000_000 + UInt64(time.tv_nsec))
    }

    var nanosecondsSince: UInt64 { Moment.now.nanoseconds - self.nanoseconds }
    var secondsSince: Double { Double(self.nanosecondsSince) / 1e9 }
}

/// What the process has used of the processor.
enum ProcessorTime {
    /// User and system time of all threads so far, in microseconds.
    static var microseconds: Double {
        var usage = rusage()
        #if canImport(Glibc)
            // Glibc declares the constant as one type and the parameter as another.
            getrusage(Int32(RUSAGE_SELF.rawValue), &usage)
        #else
            getrusage(RUSAGE_SELF, &usage)
        #endif
        func microseconds(_ time: timeval) -> Double { Double(time.tv_sec) * 1e6 + Double(time.tv_usec) }
        return microseconds(usage.ru_utime) + microseconds(usage.ru_stime)
    }
}
