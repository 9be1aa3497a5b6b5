// SPDX-License-Identifier: Apache-2.0
@_spi(HareDo) package import AMQPClient
import NIOConcurrencyHelpers

package typealias CallWaiter = Waiter<Message?, HareDoError>

/// The calls of a peer that wait for their replies, and the ids of its messages. May be used from any thread.
package final class CallTable: Sendable {
    private struct State: Sendable {
        var ids: MessageIDs
        /// By the numbers of their ids.
        var pending: [UInt64: CallWaiter] = [:]
        /// The same for calls of many.
        var gatherings: [UInt64: Gathering] = [:]
        /// Why there can be no calls any more.
        var failure: HareDoError?
    }
    private let state: NIOLockedValueBox<State>

    package init() { self.state = NIOLockedValueBox(State(ids: MessageIDs())) }

    /// - Parameter key: of the ids, so that a measurement sees the same ones every time.
    package init(key: (UInt64, UInt64)) { self.state = NIOLockedValueBox(State(ids: MessageIDs(key: key))) }

    func nextID(_ kind: MessageIDs.Kind) -> MessageID {
        self.state.withLockedValue { $0.ids.next(kind).id }
    }

    /// What made an id, or `nil` if it was not this peer.
    func kind(of id: String) -> MessageIDs.Kind? {
        self.state.withLockedValue { $0.ids }.origin(of: id)?.kind
    }

    /// Makes an id for a call, and registers who waits for it.
    ///
    /// - Returns: the id, and the number to ``end(_:)`` the call with.
    package func begin(_ waiter: CallWaiter) throws(HareDoError) -> (id: MessageID, number: UInt64) {
        let result = self.state.withLockedValue { state -> Result<(id: MessageID, number: UInt64), HareDoError> in
            if let failure = state.failure { return .failure(failure) }
            let next = state.ids.next(.call)
            state.pending[next.number] = waiter
            return .success(next)
        }
        return try result.get()
    }

    /// The call is over: its id is given up.
    package func end(_ number: UInt64) {
        _ = self.state.withLockedValue { $0.pending.removeValue(forKey: number) }
    }

    /// Makes an id for a call of many, and registers who gathers their replies.
    ///
    /// - Returns: the id, and the number to ``endGathering(_:)`` the call with.
    func begin(_ gathering: Gathering) throws(HareDoError) -> (id: MessageID, number: UInt64) {
        let result = self.state.withLockedValue { state -> Result<(id: MessageID, number: UInt64), HareDoError> in
            if let failure = state.failure { return .failure(failure) }
            let next = state.ids.next(.call)
            state.gatherings[next.number] = gathering
            return .success(next)
        }
        return try result.get()
    }

    func endGathering(_ number: UInt64) {
        _ = self.state.withLockedValue { $0.gatherings.removeValue(forKey: number) }
    }

    /// - Returns: whether replies of many are gathered for this id.
    func gather(_ id: String, _ message: Message) -> Bool { self.gathering(of: id)?.add(message) ?? false }

    /// Calls of many that gather their replies.
    var gatheringCount: Int { self.state.withLockedValue { $0.gatherings.count } }

    /// Nobody got the call of many.
    func nobodyGot(_ id: String) { self.gathering(of: id)?.end() }

    private func gathering(of id: String) -> Gathering? {
        self.state.withLockedValue { state in
            guard !state.gatherings.isEmpty, let origin = state.ids.origin(of: id), origin.kind == .call else {
                return nil
            }
            return state.gatherings[origin.number]
        }
    }

    /// Calls that wait for their replies.
    var pendingCount: Int { self.state.withLockedValue { $0.pending.count } }

    /// - Returns: whether a call waited for it.
    package func resolve(_ id: String, _ result: Result<Message?, HareDoError>) -> Bool {
        let waiter = self.state.withLockedValue { state -> CallWaiter? in
            guard let origin = state.ids.origin(of: id), origin.kind == .call else { return nil }
            return state.pending.removeValue(forKey: origin.number)
        }
        return waiter?.resolve(result) ?? false
    }

    /// What was sent will not be answered any more; calls go on being made.
    ///
    /// - Parameters:
    ///   - unsent: ids of messages that wait for room: nothing of theirs can have been lost.
    ///   - error: what to tell the others, given how many they are.
    func failSent(except unsent: [String], _ error: (_ count: Int) -> HareDoError) {
        let (waiters, gatherings) = self.state.withLockedValue { state in
            let ids = state.ids
            let unsent = Set(unsent.compactMap { ids.origin(of: $0)?.number })
            let sent = state.pending.filter { !unsent.contains($0.key) }
            for number in sent.keys { state.pending[number] = nil }
            return (Array(sent.values), Array(state.gatherings.values))
        }
        guard !waiters.isEmpty || !gatherings.isEmpty else { return }
        let error = error(waiters.count + gatherings.count)
        for waiter in waiters { waiter.resolve(.failure(error)) }
        for gathering in gatherings { gathering.fail(error) }
    }

    func failAll(_ error: HareDoError) {
        let (waiters, gatherings) = self.state.withLockedValue { state in
            let pending = (Array(state.pending.values), Array(state.gatherings.values))
            state.pending.removeAll()
            state.gatherings.removeAll()
            state.failure = error
            return pending
        }
        for waiter in waiters { waiter.resolve(.failure(error)) }
        for gathering in gatherings { gathering.fail(error) }
    }

    func reopen() { self.state.withLockedValue { $0.failure = nil } }
}
