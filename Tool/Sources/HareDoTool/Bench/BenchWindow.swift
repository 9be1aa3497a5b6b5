// SPDX-License-Identifier: Apache-2.0
import Synchronization

/// How far senders may be ahead of the service they send to, so that what waits at the broker is bounded.
final class BenchWindow: Sendable {
    private struct State {
        var ahead = 0
        var waiting: [AsyncStream<Void>.Continuation] = []
    }
    private let state = Mutex(State())
    private let limit: Int

    init(size: Int) {
        // 64 MiB, or as many messages as take that with what the broker needs for each.
        self.limit = max((64 << 20) / (size + 1024), 64)
    }

    /// Senders that wait for room.
    var waitingCount: Int { self.state.withLock { $0.waiting.count } }

    /// Returns when there is room again.
    func sent(_ count: Int) async {
        let stream = self.state.withLock { state -> AsyncStream<Void>? in
            state.ahead += count
            guard state.ahead > self.limit else { return nil }
            let (stream, continuation) = AsyncStream<Void>.makeStream()
            state.waiting.append(continuation)
            return stream
        }
        guard let stream else { return }
        // Ends as well when the task is cancelled.
        for await _ in stream {}
    }

    func received(_ count: Int) {
        let waiting = self.state.withLock { state -> [AsyncStream<Void>.Continuation] in
            state.ahead -= count
            guard state.ahead <= self.limit / 2 else { return [] }
            let waiting = state.waiting
            state.waiting.removeAll()
            return waiting
        }
        for continuation in waiting { continuation.finish() }
    }
}
