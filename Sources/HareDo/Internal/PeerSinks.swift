// SPDX-License-Identifier: Apache-2.0
import AMQPClient
import NIOConcurrencyHelpers

/// Hands deliveries to a closure, on the connection's loop. Never asks to pause: what it feeds has a bound of its own.
final class ClosureSink: DeliverySink {
    private let onDelivery: @Sendable (AMQPDelivery) -> Void
    private let onEnd: @Sendable (AMQPError?) -> Void

    init(
        onDelivery: @escaping @Sendable (AMQPDelivery) -> Void,
        onEnd: @escaping @Sendable (AMQPError?) -> Void = { _ in }
    ) {
        self.onDelivery = onDelivery
        self.onEnd = onEnd
    }

    func received(_ delivery: AMQPDelivery) { self.onDelivery(delivery) }
    func batchEnded() -> Bool { false }
    func whenRoom(_ action: @escaping @Sendable () -> Void) {}
    func interrupted(requeued: Bool) {}
    func ended(_ error: AMQPError?) { self.onEnd(error) }
}
