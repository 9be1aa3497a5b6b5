// SPDX-License-Identifier: Apache-2.0
import NIOConcurrencyHelpers
import NIOCore

#if canImport(Glibc)
    import Glibc
#elseif canImport(Musl)
    import Musl
#elseif canImport(Darwin)
    import Darwin
#endif

/// Knows which cases are running, and says so when the process traps or a case hangs: then nobody else can.
enum BlackBox {
    private struct Running {
        var name = ""
        var seed: UInt64 = 0
        /// Number of the case and when it began, by worker.
        var cases: [(number: UInt64, since: Moment)?] = []
    }
    /// By the processor, which a loop without an end uses up, and by the clock, for a wait without one.
    private struct Moment {
        /// What all threads of the process had of it.
        let processor = Moment.processorTime()
        let clock = NIODeadline.now()

        private static func processorTime() -> TimeAmount {
            var time = timespec()
            guard clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &time) == 0 else { return .zero }
            return .seconds(Int64(time.tv_sec)) + .nanoseconds(Int64(time.tv_nsec))
        }
    }
    private static let running = NIOLockedValueBox(Running())
    /// The same for a signal handler, which may neither lock nor allocate: a line that is ready to be written, with
    /// room for the digits of a number for each worker.
    nonisolated(unsafe) private static let line = UnsafeMutableBufferPointer<UInt8>.allocate(capacity: 4096)
    nonisolated(unsafe) private static var length = 0
    private static let digits = 20

    static func begin(_ name: String, seed: UInt64, workers: Int) {
        self.running.withLockedValue {
            $0 = Running(name: name, seed: seed, cases: Array(repeating: nil, count: workers))
        }
        let text = "\nended in \(name.prefix(100)), HAREDO_HOSTILE_SEED=\(seed), HAREDO_HOSTILE_CASE is one of:"
        let blank = String(repeating: " ", count: 1 + self.digits)
        let bytes = Array((text + String(repeating: blank, count: min(workers, 100)) + "\n").utf8)
        for (index, byte) in bytes.enumerated() where index < self.line.count { self.line[index] = byte }
        self.length = min(bytes.count, self.line.count)
        for number in [SIGILL, SIGTRAP, SIGSEGV, SIGBUS, SIGABRT] {
            signal(number) { number in
                _ = write(2, BlackBox.line.baseAddress, BlackBox.length)
                signal(number, SIG_DFL)
                raise(number)
            }
        }
    }

    static func end() {
        for number in [SIGILL, SIGTRAP, SIGSEGV, SIGBUS, SIGABRT] { signal(number, SIG_DFL) }
        self.running.withLockedValue { $0.cases = [] }
    }

    static func working(on number: UInt64, worker: Int) {
        self.running.withLockedValue { running in
            if running.cases.indices.contains(worker) { running.cases[worker] = (number, Moment()) }
            // Each worker has its own digits, right-aligned, counted from the end of the line.
            let workers = min(running.cases.count, 100)
            guard worker < workers else { return }
            var rest = number
            var index = self.length - 2 - (workers - 1 - worker) * (1 + self.digits)
            for place in 0..<self.digits where index >= 0 {
                self.line[index] = rest == 0 && place > 0 ? 0x20 : UInt8(0x30 + rest % 10)
                rest /= 10
                index -= 1
            }
        }
    }

    /// A case that does not end cannot be stopped, only the process can.
    ///
    /// - Parameters:
    ///   - limit: of processor time for each worker.
    ///   - patience: of the clock, which also runs while other processes have the processor.
    static func abort(ifRunningFor limit: TimeAmount, orWaitingFor patience: TimeAmount) {
        let now = Moment()
        let late = self.running.withLockedValue { running in
            let limit = Int64(running.cases.count) * limit
            return running.cases.contains { current in
                guard let since = current?.since else { return false }
                return now.processor - since.processor > limit || now.clock - since.clock > patience
            }
        }
        guard late else { return }
        let text: StaticString = "\na case does not end\n"
        _ = write(2, text.utf8Start, text.utf8CodeUnitCount)
        _ = write(2, Self.line.baseAddress, Self.length)
        // Not `raise`: threads of event loops block signals, and this runs on one.
        _exit(1)
    }
}
