// SPDX-License-Identifier: Apache-2.0
import NIOConcurrencyHelpers
import Synchronization

/// How many bytes the messages of a broker hold, and whether that is too much.
///
/// Every message adds itself when it is made and removes itself when nobody holds it any more, so bodies that several
/// queues share count once. Above the limit an alarm is raised, which ends well below it.
final class MemoryGauge: Sendable {
    private let used = Atomic<Int>(0)
    private let unfinished = Atomic<Int>(0)
    private let isAboveLimit = Atomic<Bool>(false)
    private let isForced = Atomic<Bool>(false)
    let limit: Int
    private let resumeMark: Int
    /// Bytes that messages may hold of which not everything has come. No more than half of ``limit``, or those who send them
    /// could be kept from going on for ever by one another.
    private let unfinishedLimit: Int
    private let observer = NIOLockedValueBox<(@Sendable () -> Void)?>(nil)

    /// - Parameters:
    ///   - limit: in bytes.
    ///   - largestMessage: in bytes, at most half of that.
    init(limit: Int, largestMessage: Int = 0) {
        self.limit = limit
        self.unfinishedLimit = max(limit / 4, min(largestMessage, limit / 2))
        self.resumeMark = limit - limit / 8
    }

    /// In bytes.
    var usedBytes: Int { self.used.load(ordering: .relaxed) }
    /// Whether that is too much, or a test says so.
    var isOver: Bool { self.isAboveLimit.load(ordering: .acquiring) || self.isForced.load(ordering: .acquiring) }

    /// Called on any thread, possibly under a virtual host's lock, whenever ``isOver`` may have changed.
    func observe(_ observer: @escaping @Sendable () -> Void) { self.observer.withLockedValue { $0 = observer } }

    func add(_ bytes: Int) {
        let now = self.used.wrappingAdd(bytes, ordering: .relaxed).newValue
        guard now > self.limit, !self.isAboveLimit.exchange(true, ordering: .acquiringAndReleasing) else { return }
        self.changed()
    }

    func remove(_ bytes: Int) {
        let now = self.used.wrappingSubtract(bytes, ordering: .relaxed).newValue
        guard now <= self.resumeMark, self.isAboveLimit.load(ordering: .acquiring),
            self.isAboveLimit.exchange(false, ordering: .acquiringAndReleasing)
        else { return }
        self.changed()
    }

    /// Counts a part of a message that is not complete.
    ///
    /// - Returns: whether there was room for it.
    func hold(_ bytes: Int) -> Bool {
        let all = self.unfinished.wrappingAdd(bytes, ordering: .relaxed).newValue
        self.add(bytes)
        return all <= self.unfinishedLimit
    }

    func release(_ bytes: Int) {
        self.unfinished.wrappingSubtract(bytes, ordering: .relaxed)
        self.remove(bytes)
    }

    /// Says that memory is short although it is not, or no longer so.
    func force(_ isOn: Bool) {
        self.isForced.store(isOn, ordering: .releasing)
        self.changed()
    }

    private func changed() { self.observer.withLockedValue { $0 }?() }
}
