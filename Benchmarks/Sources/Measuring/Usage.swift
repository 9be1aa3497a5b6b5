// SPDX-License-Identifier: Apache-2.0

#if canImport(Glibc)
    import Glibc
#elseif canImport(Musl)
    import Musl
#elseif canImport(Darwin)
    import Darwin
#endif

/// What this process uses.
package enum Usage {
    /// Resident memory that is no file's, in bytes: `RssAnon` of /proc/self/status.
    package static func anonymousMemory() throws -> Double {
        guard let file = fopen("/proc/self/status", "r") else { throw Failure("there is no /proc: this needs Linux") }
        defer { fclose(file) }
        var line = [CChar](repeating: 0, count: 256)
        while fgets(&line, Int32(line.count), file) != nil {
            let words = String(decoding: line.prefix { $0 != 0 }.map { UInt8(bitPattern: $0) }, as: UTF8.self)
                .split { $0 == " " || $0 == "\t" || $0 == "\n" }
            guard words.first == "RssAnon:", let kib = words.dropFirst().first.flatMap({ Double($0) }) else { continue }
            return kib * 1024
        }
        throw Failure("/proc/self/status has no RssAnon")
    }

    /// Seconds of processor time, user's and system's, of all threads.
    package static func processorTime() -> Double {
        var time = timespec()
        clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &time)
        return Double(time.tv_sec) + Double(time.tv_nsec) / 1e9
    }

    package static func readUntilEnd() { while getchar() != EOF {} }

    /// Without what a program does at its end: what was measured is of no use any more.
    package static func exitNow(_ status: Int32 = 0) -> Never {
        fflush(nil)
        _exit(status)
    }
}
