// SPDX-License-Identifier: Apache-2.0
import NIOConcurrencyHelpers
import Synchronization

/// How many bytes the messages of a broker hold, and whether that is too much.
///
/// Every message adds itself when it is made and removes itself when nobody holds it any more, so bodies that several
/// queues share count once. Above the limit an alarm is raised, which ends well below it.
final class MemoryGauge: Sendable {
    private let used = Atomic<Int>(0)
    private let isAboveLimit = Atomic<Bool>(false)
    private let isForced = Atomic<Bool>(false)
    let limit: Int
    private let resumeMark: Int
    private let observer = NIOLockedValueBox<(@Sendable () -> Void)?>(nil)

    /// - Parameter limit: in bytes.
    init(limit: Int) {
        self.limit = limit
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

    /// Says that memory is short although it is not, or no longer so.
    func force(_ isOn: Bool) {
        self.isForced.store(isOn, ordering: .releasing)
        self.changed()
    }

    private func changed() { self.observer.withLockedValue { $0 }?() }
}
