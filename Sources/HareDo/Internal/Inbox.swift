// SPDX-License-Identifier: Apache-2.0
import DequeModule

/// Messages that arrived for a peer and were not received yet, and who waits for which.
///
/// Knows no tasks or clocks; generic over messages and waiters. Bounded in number and bytes: when full, the oldest
/// message is dropped.
struct Inbox<Item, Waiter> {
    private struct Entry {
        var item: Item
        var id: String?
        var bytes: Int
    }
    enum OnArrival {
        case deliver(Waiter, Item)
        /// Kept, and so many old ones dropped for it.
        case kept(dropped: Int)
    }

    let maximumCount: Int
    let maximumBytes: Int
    /// By order of arrival; `nil` where one was taken by its id.
    private var entries: Deque<Entry?> = []
    /// The number of the first entry, counted from the beginning of time.
    private var firstNumber = 0
    /// Numbers of the entries with an id, oldest first.
    private var numbersByID: [String: Deque<Int>] = [:]
    private(set) var count = 0
    private(set) var bytes = 0
    private var anyWaiters: Deque<(token: UInt64, waiter: Waiter)> = []
    private var idWaiters: [String: Deque<(token: UInt64, waiter: Waiter)>] = [:]

    init(maximumCount: Int, maximumBytes: Int) {
        self.maximumCount = max(maximumCount, 1)
        self.maximumBytes = max(maximumBytes, 1)
    }

    /// - Parameter id: of which message it is the reply, if it is one.
    mutating func arrived(_ item: Item, id: String?, bytes: Int) -> OnArrival {
        // Whoever waits for this very reply comes before whoever takes anything.
        if let id, let waiter = self.idWaiters[id]?.popFirst()?.waiter {
            if self.idWaiters[id]?.isEmpty == true { self.idWaiters[id] = nil }
            return .deliver(waiter, item)
        }
        if let waiter = self.anyWaiters.popFirst()?.waiter { return .deliver(waiter, item) }
        if let id { self.numbersByID[id, default: []].append(self.firstNumber + self.entries.count) }
        self.entries.append(Entry(item: item, id: id, bytes: bytes))
        self.count += 1
        self.bytes += bytes
        var dropped = 0
        while self.count > self.maximumCount || (self.bytes > self.maximumBytes && self.count > 1) {
            guard self.takeOldest() != nil else { break }
            dropped += 1
        }
        return .kept(dropped: dropped)
    }

    mutating func takeOldest() -> Item? {
        while let first = self.entries.popFirst() {
            self.firstNumber += 1
            guard let entry = first else { continue }
            if let id = entry.id {
                self.numbersByID[id]?.removeFirst()
                if self.numbersByID[id]?.isEmpty == true { self.numbersByID[id] = nil }
            }
            self.count -= 1
            self.bytes -= entry.bytes
            return entry.item
        }
        return nil
    }

    mutating func take(id: String) -> Item? {
        guard let number = self.numbersByID[id]?.popFirst() else { return nil }
        if self.numbersByID[id]?.isEmpty == true { self.numbersByID[id] = nil }
        let index = number - self.firstNumber
        guard self.entries.indices.contains(index), let entry = self.entries[index] else { return nil }
        self.entries[index] = nil
        self.count -= 1
        self.bytes -= entry.bytes
        self.sweep()
        return entry.item
    }

    /// - Parameter id: `nil` for whatever comes.
    mutating func wait(_ waiter: Waiter, token: UInt64, id: String?) {
        if let id {
            self.idWaiters[id, default: []].append((token, waiter))
        } else {
            self.anyWaiters.append((token, waiter))
        }
    }

    /// The waiter gave up, or was served.
    mutating func abandon(token: UInt64, id: String?) {
        if let id {
            self.idWaiters[id]?.removeAll { $0.token == token }
            if self.idWaiters[id]?.isEmpty == true { self.idWaiters[id] = nil }
        } else {
            self.anyWaiters.removeAll { $0.token == token }
        }
    }

    /// Takes out everybody who waits.
    mutating func removeWaiters() -> [Waiter] {
        let waiters = self.anyWaiters.map(\.waiter) + self.idWaiters.values.flatMap { $0.map(\.waiter) }
        self.anyWaiters.removeAll()
        self.idWaiters.removeAll()
        return waiters
    }

    /// Gaps behind a message that nobody takes would pile up.
    private mutating func sweep() {
        while let first = self.entries.first, case nil = first {
            self.entries.removeFirst()
            self.firstNumber += 1
        }
        guard self.entries.count > 2 * self.count + 64 else { return }
        let kept = self.entries.compactMap { $0 }
        self.entries = Deque(kept)
        self.numbersByID.removeAll()
        for (offset, entry) in kept.enumerated() {
            if let id = entry.id { self.numbersByID[id, default: []].append(self.firstNumber + offset) }
        }
    }
}
