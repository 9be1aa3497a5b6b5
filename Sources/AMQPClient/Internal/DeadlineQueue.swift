// SPDX-License-Identifier: Apache-2.0
import HeapModule
package import NIOCore

/// What is due when, ordered by time. Knows no clock.
///
/// Removing is lazy, so that the cost of a call is the same with one and with 100,000 outstanding; what was removed is
/// swept out once it is the larger part, so that memory follows what is live.
package struct DeadlineQueue<Payload> {
    /// Names one payload, for removing it.
    package struct Token: Hashable, Sendable {
        fileprivate var id: UInt64
        fileprivate var slot: Int
    }
    private struct Entry: Comparable {
        var deadline: NIODeadline
        var token: Token
        static func < (left: Entry, right: Entry) -> Bool {
            (left.deadline, left.token.id) < (right.deadline, right.token.id)
        }
    }
    fileprivate struct Slot {
        /// Whose the payload is; a number that came later than a token's means that the token is out of date.
        var id: UInt64
        var payload: Payload?
    }
    private var heap = Heap<Entry>()
    private var slots: [Slot] = []
    private var freeSlots: [Int] = []
    private var lastID: UInt64 = 0

    package init() {}

    package var count: Int { self.slots.count - self.freeSlots.count }
    /// What takes memory: also what was removed and not yet swept out.
    var storedCount: Int { self.heap.count }

    package mutating func insert(_ payload: Payload, at deadline: NIODeadline) -> Token {
        self.lastID += 1
        let token = Token(id: self.lastID, slot: self.freeSlots.popLast() ?? self.slots.count)
        let slot = Slot(id: token.id, payload: payload)
        if token.slot == self.slots.count { self.slots.append(slot) } else { self.slots[token.slot] = slot }
        self.heap.insert(Entry(deadline: deadline, token: token))
        return token
    }

    @discardableResult
    package mutating func remove(_ token: Token) -> Payload? {
        let payload = self.take(token)
        if self.heap.count > 2 * self.count + 64 {
            self.heap = Heap(self.heap.unordered.filter { self.holds($0.token) })
        }
        return payload
    }

    private func holds(_ token: Token) -> Bool {
        token.slot < self.slots.count && self.slots[token.slot].id == token.id
            && self.slots[token.slot].payload != nil
    }

    private mutating func take(_ token: Token) -> Payload? {
        guard self.holds(token) else { return nil }
        let payload = self.slots[token.slot].payload.take()
        self.freeSlots.append(token.slot)
        // After a rush its memory is given back.
        if self.freeSlots.count == self.slots.count, self.slots.count > 1024 {
            self.slots = []
            self.freeSlots = []
        }
        return payload
    }

    /// Forgets everything. Tokens given out before name nothing any more.
    package mutating func removeAll() {
        self.heap = Heap()
        self.slots = []
        self.freeSlots = []
    }

    /// The earliest deadline of what is still there.
    package mutating func nextDeadline() -> NIODeadline? {
        while let first = self.heap.min {
            guard !self.holds(first.token) else { return first.deadline }
            _ = self.heap.popMin()
        }
        return nil
    }

    /// Removes and returns what is due at `now`, in the order of deadlines.
    package mutating func popExpired(now: NIODeadline) -> [Payload] {
        var expired: [Payload] = []
        while let first = self.heap.min, first.deadline <= now {
            _ = self.heap.popMin()
            if let payload = self.take(first.token) { expired.append(payload) }
        }
        return expired
    }
}

extension DeadlineQueue: Sendable where Payload: Sendable {}
extension DeadlineQueue.Slot: Sendable where Payload: Sendable {}
