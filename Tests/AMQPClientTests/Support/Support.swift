// SPDX-License-Identifier: Apache-2.0
import AMQPWire
import NIOConcurrencyHelpers
import NIOCore
import TestSupport
import Testing

@_spi(HareDo) @testable import AMQPClient

/// The error that `body` throws; recorded as an issue if it throws none.
func failure<R>(
    sourceLocation: SourceLocation = #_sourceLocation, _ body: () async throws(AMQPError) -> R
) async -> AMQPError? {
    do {
        _ = try await body()
        Issue.record("expected an error", sourceLocation: sourceLocation)
        return nil
    } catch {
        return error
    }
}

/// Checks that something took as long as promised, and forgives as much lateness as the canary saw.
func expectTime(
    _ what: String, _ elapsed: Duration, from least: Duration, to most: Duration, _ canary: Canary,
    sourceLocation: SourceLocation = #_sourceLocation
) async {
    let isInTime = await canary.finds(what, took: elapsed, from: least, to: most)
    #expect(isInTime, "\(what): \(elapsed)", sourceLocation: sourceLocation)
}

extension AMQPDeliveries {
    /// The next delivery, in a loop of its own.
    func next() async throws(AMQPError) -> AMQPDelivery? {
        var iterator = self.makeAsyncIterator()
        return try await iterator.next()
    }
}

/// Keeps an event loop from running, so that what happens meanwhile happens to it all at once.
final class LoopHold: Sendable {
    private let lock = ConditionLock(value: 0)

    /// Returns when the loop stands still.
    func take(_ loop: any EventLoop) async throws {
        let held = Mailbox<Void>()
        loop.execute {
            held.put(())
            self.lock.lock(whenValue: 1)
            self.lock.unlock()
        }
        try await held.next()
    }

    func release() {
        self.lock.lock()
        self.lock.unlock(withValue: 1)
    }
}
