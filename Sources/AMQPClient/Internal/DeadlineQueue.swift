// SPDX-License-Identifier: Apache-2.0
import HeapModule
package import NIOCore

/// What is due when, ordered by time. Knows no clock.
///
/// Removing is lazy, so that the cost of a call is the same with one and with 100,000 outstanding; what was removed is
/// swept out once it is the larger part, so that memory follows what is live.
package struct DeadlineQueue<Payload> {
    private struct Entry: Comparable {
        var deadline: NIODeadline
        var id: UInt64
        static func < (left: Entry, right: Entry) -> Bool {
            (left.deadline, left.id) < (right.deadline, right.id)
        }
    }
    private var heap = Heap<Entry>()
    private var payloads: [UInt64: Payload] = [:]
    private var lastID: UInt64 = 0

    package init() {}

    package var count: Int { self.payloads.count }
    /// What takes memory: also what was removed and not yet swept out.
    var storedCount: Int { self.heap.count }

    package mutating func insert(_ payload: Payload, at deadline: NIODeadline) -> UInt64 {
        self.lastID += 1
        self.payloads[self.lastID] = payload
        self.heap.insert(Entry(deadline: deadline, id: self.lastID))
        return self.lastID
    }

    @discardableResult
    package mutating func remove(_ id: UInt64) -> Payload? {
        let payload = self.payloads.removeValue(forKey: id)
        if self.heap.count > 2 * self.payloads.count + 64 {
            self.heap = Heap(self.heap.unordered.filter { self.payloads[$0.id] != nil })
        }
        return payload
    }

    /// The earliest deadline of what is still there.
    package mutating func nextDeadline() -> NIODeadline? {
        while let first = self.heap.min {
            guard self.payloads[first.id] == nil else { return first.deadline }
            _ = self.heap.popMin()
        }
        return nil
    }

    /// Removes and returns what is due at `now`, in the order of deadlines.
    package mutating func popExpired(now: NIODeadline) -> [Payload] {
        var expired: [Payload] = []
        while let first = self.heap.min, first.deadline <= now {
            _ = self.heap.popMin()
            if let payload = self.payloads.removeValue(forKey: first.id) { expired.append(payload) }
        }
        return expired
    }
}

extension DeadlineQueue: Sendable where Payload: Sendable {}
