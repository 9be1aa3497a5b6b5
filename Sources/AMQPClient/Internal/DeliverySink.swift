// SPDX-License-Identifier: Apache-2.0

/// Where the deliveries of a consumer go. All of it is called on the connection's event loop.
package protocol DeliverySink: AnyObject, Sendable {
    func received(_ delivery: AMQPDelivery)

    /// Everything that was read in one go has been handed over: the time to wake whoever waits.
    ///
    /// - Returns: whether no more should be read for now. The sink then calls what was given to ``whenRoom(_:)``.
    func batchEnded() -> Bool

    /// The action to call, from any thread, when there is room again after ``batchEnded()`` said there is none.
    func whenRoom(_ action: @escaping @Sendable () -> Void)

    /// The channel or connection was lost, and deliveries go on once it is there again.
    ///
    /// - Parameter requeued: what was received and not handed out is with the broker, and will be delivered again. If
    ///   not, because it needed no acknowledgement, it exists nowhere else.
    func interrupted(requeued: Bool)

    /// The subscription was cancelled by us, and no delivery comes any more: what was not handed out goes back.
    /// ``ended(_:)`` follows.
    func cancelled()

    /// No more deliveries. Without an error, because we cancelled.
    func ended(_ error: AMQPError?)
}

extension DeliverySink {
    package func cancelled() {}
}

/// A sink that feeds a `for await`.
final class BufferSink: DeliverySink {
    let buffer: DeliveryBuffer<AMQPDelivery>

    init(_ buffer: DeliveryBuffer<AMQPDelivery>) { self.buffer = buffer }

    func received(_ delivery: AMQPDelivery) { self.buffer.append(delivery) }
    func batchEnded() -> Bool { self.buffer.batchEnded() }
    func whenRoom(_ action: @escaping @Sendable () -> Void) { self.buffer.whenRoom(action) }
    func interrupted(requeued: Bool) {
        if requeued { _ = self.buffer.drain() }
    }
    func cancelled() {
        // Refused when the consumer needs no acknowledgements: then there is nothing to give back.
        for delivery in self.buffer.drain() { try? delivery.nack(requeue: true) }
    }
    func ended(_ error: AMQPError?) { self.buffer.finish(error) }
}
