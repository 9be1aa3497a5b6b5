// SPDX-License-Identifier: Apache-2.0

/// How late things run in this process just now: the measure for whoever promises to be on time on a busy machine.
public final class Canary: Sendable {
    private let task: Task<Duration, Never>

    public init(every interval: Duration = .milliseconds(20)) {
        let made = ContinuousClock.now
        self.task = Task {
            // That it may have had to wait for its first turn counts as well.
            var worst = ContinuousClock.now - made
            while !Task.isCancelled {
                let start = ContinuousClock.now
                try? await Task.sleep(for: interval)
                worst = max(worst, ContinuousClock.now - start - interval)
            }
            return worst
        }
    }

    /// The worst lateness seen since it was made.
    public func lateness() async -> Duration {
        self.task.cancel()
        return await self.task.value
    }

    /// Whether something took as long as promised, or was late by no more than half a second and what this saw allows.
    ///
    /// Prints what it judges. The first judgement ends it; others may follow on what was over by then.
    public func finds(
        _ what: String, took elapsed: Duration, from least: Duration = .zero, to most: Duration
    ) async -> Bool {
        let lateness = await self.lateness()
        print("\(what): \(elapsed) (promised \(least) to \(most), canary late by \(lateness))")
        return elapsed >= least && elapsed <= most + lateness * 4 + .milliseconds(500)
    }
}
