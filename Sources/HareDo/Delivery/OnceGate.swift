// SPDX-License-Identifier: Apache-2.0
@_spi(HareDo) import AMQPClient
import NIOConcurrencyHelpers

/// Lets in one at a time for each id: the others wait until it leaves.
final class OnceGate: Sendable {
    private typealias Waiting = [Waiter<Void, HareDoError>]
    /// By the ids of those who are in.
    private let inside = NIOLockedValueBox<[String: Waiting]>([:])

    /// - Throws: `cancelled`; then it was not entered.
    func enter(_ id: String) async throws(HareDoError) {
        while true {
            let waiter = self.inside.withLockedValue { inside -> Waiter<Void, HareDoError>? in
                guard inside[id] != nil else {
                    inside[id] = []
                    return nil
                }
                let waiter = Waiter<Void, HareDoError>(cancelled: .cancelled)
                inside[id]?.append(waiter)
                return waiter
            }
            guard let waiter else { return }
            // All are told when it is free, and one of them is the first to enter.
            try await waiter.value()
        }
    }

    func leave(_ id: String) {
        let waiters = self.inside.withLockedValue { $0.removeValue(forKey: id) } ?? []
        for waiter in waiters { waiter.resolve(.success(())) }
    }
}
