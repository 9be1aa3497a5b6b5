// SPDX-License-Identifier: Apache-2.0
import DequeModule

/// The consumers of one queue, and whose turn it is.
///
/// Deliveries go round among the consumers that can take one; higher priorities first (RabbitMQ's `x-priority`).
struct ConsumerRing: Sendable {
    typealias ID = SlotID<BrokerConsumer>

    /// Why a consumer gets nothing although its prefetch limit would let it.
    struct Holds: OptionSet, Sendable {
        let rawValue: UInt8
        /// Its connection has more to write than it should.
        static let connection = Holds(rawValue: 1)
        /// Its channel has as many deliveries as it may have in all.
        static let channel = Holds(rawValue: 2)
        /// Another one is the single active consumer.
        static let standby = Holds(rawValue: 4)
    }

    private struct Entry {
        let priority: Int64
        /// Most deliveries that may be unacknowledged; 0 is no limit.
        let prefetch: Int
        /// Whether deliveries count against the limit.
        let isCounted: Bool
        var outstanding = 0
        var holds: Holds
        /// Grows with every consumer of the queue.
        let order: UInt64
        /// Whether it stands in the line of its level.
        var isWaiting = false

        var isReady: Bool {
            self.holds.isEmpty && (!self.isCounted || self.prefetch == 0 || self.outstanding < self.prefetch)
        }
    }

    /// The consumers of one priority that can take a delivery, next one first.
    private struct Level {
        let priority: Int64
        var waiting: Deque<ID> = []
    }

    private var entries: [ID: Entry] = [:]
    private var lastOrder: UInt64 = 0
    /// Highest priority first.
    private var levels: [Level] = []

    var count: Int { self.entries.count }
    var isEmpty: Bool { self.entries.isEmpty }
    var ids: [ID] { Array(self.entries.keys) }

    /// Whether a consumer could take a delivery now.
    var hasReady: Bool { self.levels.contains { !$0.waiting.isEmpty } }

    mutating func add(_ id: ID, prefetch: Int, isCounted: Bool, priority: Int64 = 0, holds: Holds = []) {
        self.lastOrder += 1
        self.entries[id] = Entry(
            priority: priority, prefetch: prefetch, isCounted: isCounted, holds: holds, order: self.lastOrder)
        if !self.levels.contains(where: { $0.priority == priority }) {
            let index = self.levels.firstIndex { $0.priority < priority } ?? self.levels.endIndex
            self.levels.insert(Level(priority: priority), at: index)
        }
        self.lineUp(id)
    }

    mutating func remove(_ id: ID) {
        guard let entry = self.entries.removeValue(forKey: id),
            let level = self.levels.firstIndex(where: { $0.priority == entry.priority })
        else { return }
        if entry.isWaiting { self.levels[level].waiting.removeAll { $0 == id } }
        if !self.entries.values.contains(where: { $0.priority == entry.priority }) { self.levels.remove(at: level) }
    }

    /// Whose turn it is. The delivery counts against that consumer's limit from here on.
    mutating func take() -> ID? {
        for level in self.levels.indices {
            while let id = self.levels[level].waiting.popFirst() {
                guard var entry = self.entries[id] else { continue }
                entry.isWaiting = false
                guard entry.isReady else {
                    self.entries[id] = entry
                    continue
                }
                if entry.isCounted { entry.outstanding += 1 }
                if entry.isReady {
                    entry.isWaiting = true
                    self.levels[level].waiting.append(id)
                }
                self.entries[id] = entry
                return id
            }
        }
        return nil
    }

    /// A delivery of this consumer was settled.
    mutating func release(_ id: ID) {
        guard let outstanding = self.entries[id]?.outstanding, outstanding > 0 else { return }
        self.entries[id]?.outstanding = outstanding - 1
        self.lineUp(id)
    }

    mutating func hold(_ id: ID, _ hold: Holds) { self.entries[id]?.holds.insert(hold) }

    mutating func free(_ id: ID, _ hold: Holds) {
        self.entries[id]?.holds.remove(hold)
        self.lineUp(id)
    }

    /// Who came first, of those with the highest priority.
    var senior: ID? {
        self.entries.max { one, other in
            (one.value.priority, other.value.order) < (other.value.priority, one.value.order)
        }?.key
    }

    /// What a consumer holds and may hold, for those who look inside.
    func standing(of id: ID) -> (prefetch: Int, outstanding: Int, priority: Int64, isStandby: Bool)? {
        self.entries[id].map { ($0.prefetch, $0.outstanding, $0.priority, $0.holds.contains(.standby)) }
    }

    private mutating func lineUp(_ id: ID) {
        guard let entry = self.entries[id], entry.isReady, !entry.isWaiting,
            let level = self.levels.firstIndex(where: { $0.priority == entry.priority })
        else { return }
        self.entries[id]?.isWaiting = true
        self.levels[level].waiting.append(id)
    }
}
