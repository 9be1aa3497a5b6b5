// SPDX-License-Identifier: Apache-2.0

/// Names one value in a ``SlotMap``. Never names another one, even after its slot was used again.
struct SlotID<Value>: Hashable, Sendable {
    fileprivate let raw: UInt64

    init(index: UInt32, generation: UInt32) {
        self.raw = UInt64(generation) << 32 | UInt64(index)
    }

    fileprivate var index: Int { Int(UInt32(truncatingIfNeeded: self.raw)) }
    fileprivate var generation: UInt32 { UInt32(truncatingIfNeeded: self.raw >> 32) }
}

/// Values that refer to one another by number instead of by reference, so that a whole graph of them is one value.
///
/// Looking up costs one array access; an identifier that outlived its value finds `nil`.
struct SlotMap<Value> {
    fileprivate struct Slot {
        var generation: UInt32
        var value: Value?
    }

    /// The first one is always empty: what an identifier that names nothing finds.
    private var slots: [Slot] = [Slot(generation: 0, value: nil)]
    private var free: [UInt32] = []
    private(set) var count = 0

    var isEmpty: Bool { self.count == 0 }

    mutating func insert(_ value: Value) -> SlotID<Value> {
        self.count += 1
        if let index = self.free.popLast() {
            let generation = self.slots[Int(index)].generation
            self.slots[Int(index)].value = value
            return SlotID(index: index, generation: generation)
        }
        let index = UInt32(truncatingIfNeeded: self.slots.count)
        self.slots.append(Slot(generation: 0, value: value))
        return SlotID(index: index, generation: 0)
    }

    @discardableResult
    mutating func remove(_ id: SlotID<Value>) -> Value? {
        guard self.holds(id), let value = self.slots[id.index].value else { return nil }
        self.slots[id.index].value = nil
        self.slots[id.index].generation &+= 1
        self.free.append(UInt32(truncatingIfNeeded: id.index))
        self.count -= 1
        return value
    }

    /// In-place access. Assigning `nil` is not a way to remove: use ``remove(_:)``.
    subscript(id: SlotID<Value>) -> Value? {
        // Inlined, which needs that there is one `yield`: a coroutine that is called allocates, and copies what it yields,
        // and every publish goes through a dozen of them.
        @inline(__always)
        _read { yield self.slots[self.index(of: id)].value }
        @inline(__always)
        _modify { yield &self.slots[self.index(of: id)].value }
    }

    var ids: [SlotID<Value>] {
        self.slots.indices.compactMap { index in
            guard self.slots[index].value != nil else { return nil }
            return SlotID(index: UInt32(truncatingIfNeeded: index), generation: self.slots[index].generation)
        }
    }

    private func holds(_ id: SlotID<Value>) -> Bool {
        id.index < self.slots.count && self.slots[id.index].generation == id.generation
    }

    @inline(__always)
    private func index(of id: SlotID<Value>) -> Int { self.holds(id) ? id.index : 0 }
}

extension SlotMap: Sendable where Value: Sendable {}
extension SlotMap.Slot: Sendable where Value: Sendable {}
