// SPDX-License-Identifier: Apache-2.0
import Synchronization

/// How far a benchmark is, for who looks on.
final class BenchProgress: Sendable {
    /// Nothing for so long, and it is given up.
    private static let patience = Duration.seconds(30)
    private let done = Atomic(0)
    private let total: Int

    init(total: Int) { self.total = total }

    func add(_ count: Int) { self.done.add(count, ordering: .relaxed) }

    /// Looks once a second, until it is cancelled.
    ///
    /// - Parameter isLive: whether to show a line on standard error.
    /// - Throws: ``ToolFailure`` if nothing goes on any more.
    @concurrent
    func watch(isLive: Bool) async throws {
        defer { if isLive { try? StandardStreams.write("\r\u{1B}[K", to: .error) } }
        var before = 0
        var moved = ContinuousClock.now
        while true {
            try await Task.sleep(for: .seconds(1))
            let done = self.done.load(ordering: .relaxed)
            if isLive { try? StandardStreams.write("\r\(self.line(done, before))\u{1B}[K", to: .error) }
            if done != before {
                before = done
                moved = .now
            } else if moved.duration(to: .now) > Self.patience {
                throw ToolFailure(
                    "nothing went on for \(Self.patience): \(done) of \(self.total) messages were processed", .timedOut)
            }
        }
    }

    private func line(_ done: Int, _ before: Int) -> String {
        "\(done) of \(self.total) (\(done * 100 / self.total) %), \(done - before)/s"
    }
}
