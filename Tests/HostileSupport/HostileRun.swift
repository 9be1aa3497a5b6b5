// SPDX-License-Identifier: Apache-2.0
import NIOConcurrencyHelpers
import NIOCore
import NIOPosix

#if canImport(Glibc)
    import Glibc
#elseif canImport(Musl)
    import Musl
#elseif canImport(Darwin)
    import Darwin
#endif

/// Runs many seeded cases, each with a deadline, and watches memory.
///
/// Variables: `HAREDO_HOSTILE_CASES` is how many (10000), `HAREDO_HOSTILE_SEED` what they are made from (1), and
/// `HAREDO_HOSTILE_CASE` the number of the only one to run, which repeats it alone.
package struct HostileRun: Sendable {
    /// A frame or a chunking is what is counted; a case may hold several.
    package var count = 10_000
    package var seed: UInt64 = 1
    package var only: UInt64?
    /// Threads that share the cases.
    package var workers = System.coreCount

    /// How long one case may take: thousands of times what it does take.
    private static let deadline = TimeAmount.seconds(30)
    /// The same by the clock, in a process that has only what others leave of the processors.
    private static let patience = TimeAmount.minutes(5)
    /// Bytes by which memory may grow after a tenth of the cases.
    private static let memoryLimit = 32 << 20

    package struct Report: Sendable {
        package var cases: UInt64 = 0
        package var counted = 0
        package var problems: [String] = []
        /// Resident bytes after a tenth of the cases, and at the end; `nil` where they cannot be read.
        package var residentBefore: Int?
        package var residentAfter: Int?
    }

    package init() throws {
        if let count = try Self.variable("HAREDO_HOSTILE_CASES") { self.count = Int(clamping: count) }
        if let seed = try Self.variable("HAREDO_HOSTILE_SEED") { self.seed = seed }
        self.only = try Self.variable("HAREDO_HOSTILE_CASE")
    }

    private static func variable(_ name: String) throws -> UInt64? {
        guard let text = getenv(name).map({ String(cString: $0) }) else { return nil }
        guard let number = UInt64(text) else { throw Finding("\(name) is not a number: \(text)") }
        return number
    }

    package func run(_ attack: Attack) async throws -> Report {
        let name = attack.rawValue
        let workers = self.only == nil ? self.workers : 1
        let state = NIOLockedValueBox(State())
        BlackBox.begin(name, seed: self.seed, workers: workers)
        let watch = MultiThreadedEventLoopGroup.singleton.next()
            .scheduleRepeatedTask(initialDelay: .seconds(1), delay: .seconds(1)) { _ in
                BlackBox.abort(ifRunningFor: Self.deadline, orWaitingFor: Self.patience)
            }
        defer {
            watch.cancel()
            BlackBox.end()
        }
        let pool = NIOThreadPool(numberOfThreads: workers)
        pool.start()
        await withTaskGroup(of: Void.self) { group in
            for worker in 0..<workers {
                group.addTask { try? await pool.runIfActive { self.work(worker, state, attack) } }
            }
        }
        try await pool.shutdownGracefully()
        var report = state.withLockedValue { $0.report }
        report.residentAfter = ResidentMemory.bytes
        if self.only == nil, report.problems.isEmpty { self.judge(&report) }
        report.problems = report.problems.map { "\(name): \($0)" }
        let pages = "\(report.residentBefore ?? 0) -> \(report.residentAfter ?? 0)"
        print("\(name): \(report.counted) in \(report.cases) cases, seed \(self.seed), resident bytes \(pages)")
        return report
    }

    private func judge(_ report: inout Report) {
        if report.counted < self.count { report.problems.append("only \(report.counted) of \(self.count)") }
        guard let before = report.residentBefore, let after = report.residentAfter else { return }
        if after - before > Self.memoryLimit { report.problems.append("\(before) resident bytes became \(after)") }
    }

    private struct State {
        var next: UInt64 = 0
        var report = Report()
    }

    private func work(
        _ worker: Int, _ state: NIOLockedValueBox<State>, _ attack: Attack
    ) {
        while true {
            let number = state.withLockedValue { state -> UInt64? in
                guard state.report.counted < self.count, state.report.problems.count < 10 else { return nil }
                defer { state.next += 1 }
                if let only { return state.next == 0 ? only : nil }
                return state.next
            }
            guard let number else { return }
            BlackBox.working(on: number, worker: worker)
            // Two numbers, mixed: each case has a stream of its own that depends on no other case.
            var mixer = SplitMix64(seed: self.seed)
            var random = SplitMix64(seed: mixer.next() ^ number &* 0x9E37_79B9_7F4A_7C15)
            var counted = 0
            var problem: String?
            do {
                counted = try attack.run(using: &random)
            } catch {
                problem = "\(error). Repeat: HAREDO_HOSTILE_SEED=\(self.seed) HAREDO_HOSTILE_CASE=\(number)"
            }
            let needsMeasure = state.withLockedValue { state in
                state.report.cases += 1
                state.report.counted += counted
                if let problem { state.report.problems.append(problem) }
                return state.report.residentBefore == nil && state.report.counted >= self.count / 10
            }
            if needsMeasure {
                let bytes = ResidentMemory.bytes
                state.withLockedValue { if $0.report.residentBefore == nil { $0.report.residentBefore = bytes } }
            }
        }
    }
}
