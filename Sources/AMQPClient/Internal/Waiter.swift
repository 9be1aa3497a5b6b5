// SPDX-License-Identifier: Apache-2.0
import NIOConcurrencyHelpers

/// One suspended caller, to be resolved from anywhere, exactly once.
///
/// It may be resolved before anybody waits, so it can be registered, under whatever lock, before its caller suspends:
/// nothing can come between. The first resolution counts; later ones report that they came too late.
package final class Waiter<Value: Sendable, Failure: Error>: Sendable {
    private enum State {
        case fresh
        case waiting(UnsafeContinuation<Void, Never>)
        case resolved(Result<Value, Failure>)
        case done
    }
    private let state = NIOLockedValueBox(State.fresh)
    private let cancelled: Failure

    /// - Parameter cancelled: what ``value()`` throws when the waiting task is cancelled.
    package init(cancelled: Failure) { self.cancelled = cancelled }

    /// - Returns: whether this was the first resolution.
    @discardableResult
    package func resolve(_ result: Result<Value, Failure>) -> Bool {
        let (isFirst, continuation) = self.state.withLockedValue {
            state -> (Bool, UnsafeContinuation<Void, Never>?) in
            switch state {
            case .fresh:
                state = .resolved(result)
                return (true, nil)
            case .waiting(let continuation):
                state = .resolved(result)
                return (true, continuation)
            case .resolved, .done:
                return (false, nil)
            }
        }
        // Unsafe in name only: a continuation leaves `waiting` once, and only to be resumed here or in `wait`.
        continuation?.resume()
        return isFirst
    }

    /// Suspends until resolved, or until the task is cancelled. To be called once.
    package func value() async throws(Failure) -> Value {
        await withTaskCancellationHandler {
            await withUnsafeContinuation { self.wait($0) }
        } onCancel: {
            self.resolve(.failure(self.cancelled))
        }
        return try self.take()
    }

    /// Suspends until resolved, whatever happens to the task: for the end of things, which has its own deadline. To be
    /// called once.
    package func uncancellableValue() async throws(Failure) -> Value {
        await withUnsafeContinuation { self.wait($0) }
        return try self.take()
    }

    /// The result stays in the waiter: passed on through the continuation, it would take its place in the frame of every
    /// function on the way, in the memory of each of maybe 100,000 tasks.
    private func wait(_ continuation: UnsafeContinuation<Void, Never>) {
        let waits = self.state.withLockedValue { state -> Bool in
            switch state {
            case .fresh:
                state = .waiting(continuation)
                return true
            case .resolved: return false
            case .waiting, .done:
                assertionFailure("a waiter has one caller")
                return false
            }
        }
        if !waits { continuation.resume() }
    }

    /// Never inlined: see ``wait(_:)``.
    @inline(never)
    private func take() throws(Failure) -> Value {
        try self.state.withLockedValue { state -> Result<Value, Failure> in
            guard case .resolved(let result) = state else { return .failure(self.cancelled) }
            state = .done
            return result
        }.get()
    }
}
