// SPDX-License-Identifier: Apache-2.0
import Synchronization

/// How far a benchmark is, for who looks on.
final class BenchProgress: Sendable {
    private let done = Atomic(0)
    private let total: Int
    private let interval: Duration
    private let patience: Duration

    /// - Parameters:
    ///   - interval: how often ``watch(isLive:)`` looks.
    ///   - patience: after how long without progress it gives up.
    init(total: Int, interval: Duration = .seconds(1), patience: Duration = .seconds(30)) {
        self.total = total
        self.interval = interval
        self.patience = patience
    }

    func add(_ count: Int) { self.done.add(count, ordering: .relaxed) }

    /// Looks again and again, until it is cancelled.
    ///
    /// - Parameter isLive: whether to show a line on standard error.
    /// - Throws: ``ToolFailure`` if nothing goes on any more.
    @concurrent
    func watch(isLive: Bool) async throws {
        defer { if isLive { try? StandardStreams.write("\r\u{1B}[K", to: .error) } }
        var before = 0
        var moved = ContinuousClock.now
        while true {
            try await Task.sleep(for: self.interval)
            let done = self.done.load(ordering: .relaxed)
            if isLive { try? StandardStreams.write("\r\(self.line(done, before))\u{1B}[K", to: .error) }
            if done != before {
                before = done
                moved = .now
            } else if moved.duration(to: .now) > self.patience {
                throw ToolFailure(
                    "nothing went on for \(self.patience): \(done) of \(self.total) messages were processed", .timedOut)
            }
        }
    }

    private func line(_ done: Int, _ before: Int) -> String {
        "\(done) of \(self.total) (\(done * 100 / self.total) %), \(done - before)/s"
    }
}
