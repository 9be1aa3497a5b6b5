// SPDX-License-Identifier: Apache-2.0
import AMQPClient
import NIOConcurrencyHelpers

/// Bounds how many handlers run at once. One task takes, any number give back.
final class Permits: Sendable {
    private struct State: Sendable {
        var free: Int
        var waiter: Waiter<Void, HareDoError>?
    }
    private let state: NIOLockedValueBox<State>

    init(_ count: Int) { self.state = NIOLockedValueBox(State(free: count)) }

    /// - Throws: `cancelled` if the task was cancelled before there was one.
    func take() async throws(HareDoError) {
        let waiter = self.state.withLockedValue { state -> Waiter<Void, HareDoError>? in
            guard state.free == 0 else {
                state.free -= 1
                return nil
            }
            let waiter = Waiter<Void, HareDoError>(cancelled: .cancelled)
            state.waiter = waiter
            return waiter
        }
        try await waiter?.value()
    }

    func give() {
        let waiter = self.state.withLockedValue { state -> Waiter<Void, HareDoError>? in
            let waiter = state.waiter
            state.waiter = nil
            if waiter == nil { state.free += 1 }
            return waiter
        }
        // One that was cancelled in this moment leaves the permit to nobody; its service is ending anyway.
        waiter?.resolve(.success(()))
    }
}
