// SPDX-License-Identifier: Apache-2.0
import NIOConcurrencyHelpers

/// One suspended caller, to be resolved from anywhere, exactly once.
///
/// It may be resolved before anybody waits, so it can be registered, under whatever lock, before its caller suspends:
/// nothing can come between. The first resolution counts; later ones report that they came too late.
package final class Waiter<Value: Sendable, Failure: Error>: Sendable {
    private enum State {
        case fresh
        case waiting(UnsafeContinuation<Result<Value, Failure>, Never>)
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
            state -> (Bool, UnsafeContinuation<Result<Value, Failure>, Never>?) in
            switch state {
            case .fresh:
                state = .resolved(result)
                return (true, nil)
            case .waiting(let continuation):
                state = .done
                return (true, continuation)
            case .resolved, .done:
                return (false, nil)
            }
        }
        // Unsafe in name only: a continuation leaves `waiting` once, and only to be resumed here or in `value`.
        continuation?.resume(returning: result)
        return isFirst
    }

    /// Suspends until resolved, or until the task is cancelled. To be called once.
    package func value() async throws(Failure) -> Value {
        let result = await withTaskCancellationHandler {
            await self.result()
        } onCancel: {
            self.resolve(.failure(self.cancelled))
        }
        return try result.get()
    }

    /// Suspends until resolved, whatever happens to the task: for the end of things, which has its own deadline. To be
    /// called once.
    package func uncancellableValue() async throws(Failure) -> Value {
        try await self.result().get()
    }

    private func result() async -> Result<Value, Failure> {
        await withUnsafeContinuation { continuation in
            let early = self.state.withLockedValue { state -> Result<Value, Failure>? in
                switch state {
                case .fresh:
                    state = .waiting(continuation)
                    return nil
                case .resolved(let result):
                    state = .done
                    return result
                case .waiting, .done:
                    assertionFailure("a waiter has one caller")
                    return .failure(self.cancelled)
                }
            }
            if let early { continuation.resume(returning: early) }
        }
    }
}
