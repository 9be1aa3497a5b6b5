// SPDX-License-Identifier: Apache-2.0
import DequeModule

/// The deliveries of one channel that wait for an acknowledgement, by delivery tag.
///
/// Tags are handed out in ascending order and settled in any. What is settled in the middle leaves an empty record, so
/// that settling costs a binary search whatever the order; records are dropped at the front and when half are empty.
struct UnackedDeliveries<Delivery> {
    fileprivate struct Record {
        let tag: UInt64
        var delivery: Delivery?
    }

    private var records: Deque<Record> = []
    private(set) var count = 0

    var isEmpty: Bool { self.count == 0 }

    /// - Parameter tag: above all tags added before.
    mutating func add(_ tag: UInt64, _ delivery: Delivery) {
        self.records.append(Record(tag: tag, delivery: delivery))
        self.count += 1
    }

    /// Takes out one delivery; `nil` if the tag is unknown or settled.
    mutating func take(_ tag: UInt64) -> Delivery? {
        guard let index = self.index(of: tag), let delivery = self.records[index].delivery else { return nil }
        self.records[index].delivery = nil
        self.count -= 1
        self.trim()
        return delivery
    }

    /// Takes out all deliveries up to and including `tag`, oldest first; `nil` if `tag` itself is unknown or settled
    /// (RabbitMQ does not accept a tag in between).
    mutating func takeAll(through tag: UInt64) -> [Delivery]? {
        guard let index = self.index(of: tag), self.records[index].delivery != nil else { return nil }
        var taken: [Delivery] = []
        for record in self.records[...index] {
            if let delivery = record.delivery { taken.append(delivery) }
        }
        self.records.removeFirst(index + 1)
        self.count -= taken.count
        self.trim()
        return taken
    }

    /// Takes out everything, oldest first.
    mutating func takeAll() -> [Delivery] {
        defer {
            self.records.removeAll()
            self.count = 0
        }
        return self.records.compactMap(\.delivery)
    }

    /// Puts back what was taken out.
    mutating func restore(_ returned: [(tag: UInt64, delivery: Delivery)]) {
        guard !returned.isEmpty else { return }
        let records =
            self.records.filter { $0.delivery != nil } + returned.map { Record(tag: $0.tag, delivery: $0.delivery) }
        self.records = Deque(records.sorted { $0.tag < $1.tag })
        self.count += returned.count
    }

    private func index(of tag: UInt64) -> Int? {
        // Acknowledgements in the order of delivery hit the first record.
        if let first = self.records.first, first.tag == tag { return 0 }
        var low = 0
        var high = self.records.count
        while low < high {
            let middle = (low + high) / 2
            if self.records[middle].tag < tag { low = middle + 1 } else { high = middle }
        }
        guard low < self.records.count, self.records[low].tag == tag else { return nil }
        return low
    }

    private mutating func trim() {
        while let first = self.records.first, first.delivery == nil { self.records.removeFirst() }
        if self.records.count > 64, self.records.count > 2 * self.count {
            self.records.removeAll { $0.delivery == nil }
        }
    }
}

extension UnackedDeliveries: Sendable where Delivery: Sendable {}
extension UnackedDeliveries.Record: Sendable where Delivery: Sendable {}
