// SPDX-License-Identifier: Apache-2.0
import DequeModule

/// The deliveries of one channel that still have to be acknowledged, so that no acknowledgement is sent twice: the
/// broker would answer it with 406 and close the channel. Knows no I/O.
struct DeliveryTracker {
    /// Ascending.
    private var tags: Deque<UInt64> = []

    var count: Int { self.tags.count }

    /// A delivery arrived that has to be acknowledged.
    mutating func delivered(_ tag: UInt64) {
        // The broker counts upwards. One that does not is not believed: its delivery cannot be acknowledged.
        if let last = self.tags.last, last >= tag { return }
        self.tags.append(tag)
    }

    /// Settles a delivery, and with `multiple` all before it.
    ///
    /// - Returns: whether the acknowledgement may be sent.
    mutating func settle(_ tag: UInt64, multiple: Bool) -> Bool {
        guard let index = self.index(of: tag) else { return false }
        if multiple {
            self.tags.removeFirst(index + 1)
        } else {
            self.tags.remove(at: index)
        }
        return true
    }

    mutating func removeAll() { self.tags.removeAll() }

    private func index(of tag: UInt64) -> Int? {
        if self.tags.first == tag { return 0 }
        var low = 0
        var high = self.tags.count
        while low < high {
            let middle = (low + high) / 2
            if self.tags[middle] < tag { low = middle + 1 } else { high = middle }
        }
        return low < self.tags.count && self.tags[low] == tag ? low : nil
    }
}
