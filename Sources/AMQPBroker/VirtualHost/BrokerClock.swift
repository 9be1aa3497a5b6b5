// SPDX-License-Identifier: Apache-2.0
import NIOCore
import Synchronization

#if canImport(Glibc)
    import Glibc
#elseif canImport(Musl)
    import Musl
#elseif canImport(Darwin)
    import Darwin
#endif

/// The time of a broker: the system's, and what tests added to it.
final class BrokerClock: Sendable {
    private let offset = Atomic<Int64>(0)

    var now: NIODeadline { .now() + self.added }
    /// Seconds since 1970.
    var time: UInt64 { UInt64(clamping: secondsSince1970() + self.added.nanoseconds / 1_000_000_000) }

    /// When a moment of this clock comes on the system's.
    func systemTime(of deadline: NIODeadline) -> NIODeadline { deadline - self.added }

    func advance(by amount: TimeAmount) { self.offset.wrappingAdd(amount.nanoseconds, ordering: .relaxed) }

    private var added: TimeAmount { .nanoseconds(self.offset.load(ordering: .relaxed)) }
}

private func secondsSince1970() -> Int64 { Int64(time(nil)) }
