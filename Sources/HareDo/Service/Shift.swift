// SPDX-License-Identifier: Apache-2.0
import NIOConcurrencyHelpers

/// The work of one task of a ``HandlerLoop``, from its beginning to its end or to the first handler that is cancelled at its
/// deadline: a task that was cancelled stays so, and another one goes on in its place.
///
/// Cancelled is the handler that was meant, and never the one after it.
final class Shift: Sendable {
    private struct State: Sendable {
        var task: Task<Void, Never>?
        /// The handler that runs, counted from 1.
        var turn: UInt64 = 0
        var isRunning = false
        var wasCancelled = false
    }
    private let state = NIOLockedValueBox(State())

    /// Whether a handler was cancelled, so that this was its task's last.
    var wasCancelled: Bool { self.state.withLockedValue { $0.wasCancelled } }

    /// - Parameter task: may have begun to work already.
    func began(_ task: Task<Void, Never>) {
        let isLate = self.state.withLockedValue { state in
            state.task = task
            return state.wasCancelled
        }
        if isLate { task.cancel() }
    }

    /// A handler begins.
    ///
    /// - Returns: its number, for ``cancel(_:)``.
    func turnBegan() -> UInt64 {
        self.state.withLockedValue { state in
            state.turn += 1
            state.isRunning = true
            return state.turn
        }
    }

    /// The handler has ended.
    ///
    /// - Returns: whether it was cancelled before.
    func turnEnded() -> Bool {
        self.state.withLockedValue { state in
            state.isRunning = false
            return state.wasCancelled
        }
    }

    /// Cancels a handler, unless it has ended.
    func cancel(_ turn: UInt64) {
        let task = self.state.withLockedValue { state -> Task<Void, Never>? in
            guard state.isRunning, state.turn == turn else { return nil }
            state.wasCancelled = true
            return state.task
        }
        task?.cancel()
    }
}
