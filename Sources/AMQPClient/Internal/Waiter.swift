// SPDX-License-Identifier: Apache-2.0
public import Synchronization

/// One suspended caller, to be resolved from anywhere, exactly once.
///
/// It may be resolved before anybody waits, so it can be registered, under whatever lock, before its caller suspends:
/// nothing can come between. The first resolution counts; later ones report that they came too late.
///
/// One allocation and no lock, because every call and every wait for a delivery has one. Inlinable, because the module
/// above has result types of its own, and code that is not specialised for them looks its types up at every step; and
/// therefore formally public (what belongs to the package is not specialised in other modules).
///
/// Unchecked, because two variables are guarded by the order of events. `result` is written by the one who set
/// `isClaimed`, before `phase` says `resolved`; it is read only by who saw `resolved`. `continuation` is written by the
/// one who waits, before `phase` says `waiting`; it is read only by who saw `waiting`, which is the same who claimed.
@_spi(HareDo) public final class Waiter<Value: Sendable, Failure: Error>: @unchecked Sendable {
    @usableFromInline enum Phase {
        @usableFromInline static var fresh: UInt8 { 0 }
        @usableFromInline static var waiting: UInt8 { 1 }
        @usableFromInline static var resolved: UInt8 { 2 }
    }
    @usableFromInline let isClaimed = Atomic(false)
    @usableFromInline let phase = Atomic(UInt8(0))
    @exclusivity(unchecked) @usableFromInline nonisolated(unsafe) var result: Result<Value, Failure>?
    @exclusivity(unchecked) @usableFromInline nonisolated(unsafe) var continuation: UnsafeContinuation<Void, Never>?
    @usableFromInline let cancelled: Failure

    /// - Parameter cancelled: what ``value()`` throws when the waiting task is cancelled.
    @inlinable public init(cancelled: Failure) { self.cancelled = cancelled }

    /// Whether somebody has resolved it.
    @inlinable public var isResolved: Bool { self.isClaimed.load(ordering: .acquiring) }

    /// - Returns: whether this was the first resolution.
    @inlinable
    @discardableResult
    public func resolve(_ result: Result<Value, Failure>) -> Bool {
        guard !self.isClaimed.exchange(true, ordering: .acquiringAndReleasing) else { return false }
        self.result = result
        guard self.phase.exchange(Phase.resolved, ordering: .acquiringAndReleasing) == Phase.waiting else {
            return true
        }
        // Unsafe in name only: only who claimed comes here, and only if somebody waits.
        self.continuation?.resume()
        return true
    }

    /// Suspends until resolved, or until the task is cancelled. To be called once.
    @inlinable
    public func value() async throws(Failure) -> Value {
        await withTaskCancellationHandler {
            await self.wait()
        } onCancel: {
            self.resolve(.failure(self.cancelled))
        }
        return try self.take()
    }

    /// Suspends until resolved, whatever happens to the task: for the end of things, which has its own deadline. To be
    /// called once.
    @inlinable
    public func uncancellableValue() async throws(Failure) -> Value {
        await self.wait()
        return try self.take()
    }

    /// Never inlined: in the frame of an async function the result would have its place in the memory of each of maybe
    /// 100,000 tasks that wait.
    @inlinable
    @inline(never)
    func take() throws(Failure) -> Value {
        guard let result = self.result else { throw self.cancelled }
        return try result.get()
    }

    @inlinable
    func wait() async {
        guard self.phase.load(ordering: .acquiring) != Phase.resolved else { return }
        await withUnsafeContinuation { continuation in
            guard self.phase.load(ordering: .acquiring) == Phase.fresh else {
                continuation.resume()
                return
            }
            self.continuation = continuation
            let (hasBegun, phase) = self.phase.compareExchange(
                expected: Phase.fresh, desired: Phase.waiting, ordering: .acquiringAndReleasing)
            guard !hasBegun else { return }
            assert(phase == Phase.resolved, "a waiter has one caller")
            continuation.resume()
        }
    }
}
