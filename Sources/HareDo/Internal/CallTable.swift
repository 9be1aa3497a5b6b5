// SPDX-License-Identifier: Apache-2.0
package import AMQPClient
import NIOConcurrencyHelpers

package typealias CallWaiter = Waiter<Message?, HareDoError>

/// The calls of a peer that wait for their replies, and the ids of its messages. May be used from any thread.
package final class CallTable: Sendable {
    private struct State: Sendable {
        var ids: MessageIDs
        var pending: [String: CallWaiter] = [:]
        /// Why there can be no calls any more.
        var failure: HareDoError?
    }
    private let state: NIOLockedValueBox<State>

    package init() { self.state = NIOLockedValueBox(State(ids: MessageIDs())) }

    /// - Parameter key: of the ids, so that a measurement sees the same ones every time.
    package init(key: (UInt64, UInt64)) { self.state = NIOLockedValueBox(State(ids: MessageIDs(key: key))) }

    func nextID(_ kind: MessageIDs.Kind) -> MessageID {
        self.state.withLockedValue { $0.ids.next(kind) }
    }

    /// What made an id, or `nil` if it was not this peer.
    func kind(of id: String) -> MessageIDs.Kind? {
        self.state.withLockedValue { $0.ids }.kind(of: id)
    }

    /// Makes an id for a call, and registers who waits for it.
    package func begin(_ waiter: CallWaiter) throws(HareDoError) -> MessageID {
        let result = self.state.withLockedValue { state -> Result<MessageID, HareDoError> in
            if let failure = state.failure { return .failure(failure) }
            let id = state.ids.next(.call)
            state.pending[id.rawValue] = waiter
            return .success(id)
        }
        return try result.get()
    }

    /// The call is over: its id is given up.
    package func end(_ id: MessageID) {
        _ = self.state.withLockedValue { $0.pending.removeValue(forKey: id.rawValue) }
    }

    /// - Returns: whether a call waited for it.
    package func resolve(_ id: String, _ result: Result<Message?, HareDoError>) -> Bool {
        guard let waiter = self.state.withLockedValue({ $0.pending.removeValue(forKey: id) }) else { return false }
        return waiter.resolve(result)
    }

    func failAll(_ error: HareDoError) {
        let waiters = self.state.withLockedValue { state in
            let waiters = Array(state.pending.values)
            state.pending.removeAll()
            state.failure = error
            return waiters
        }
        for waiter in waiters { waiter.resolve(.failure(error)) }
    }

    func reopen() { self.state.withLockedValue { $0.failure = nil } }
}
