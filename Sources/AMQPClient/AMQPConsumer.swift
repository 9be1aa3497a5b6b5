// SPDX-License-Identifier: Apache-2.0
import NIOCore

/// A subscription to a queue.
public struct AMQPConsumer: Sendable {
    /// Its name on the channel.
    public let consumerTag: String
    /// What the broker delivers, for one `for try await` at a time.
    public let deliveries: AMQPDeliveries
    let channel: AMQPChannel

    /// Ends the subscription. What was delivered and not handed out yet goes back to the queue.
    ///
    /// Sends `basic.cancel`. Deliveries that were handed out can still be acknowledged. If the calling task is cancelled the
    /// subscription ends all the same; if the connection is lost meanwhile it is not started again.
    ///
    /// - Throws: ``AMQPError``: `cancelled`, or why the channel or connection ended first.
    public func cancel() async throws(AMQPError) { try await self.channel.cancel(self.consumerTag) }
}

/// The deliveries of a consumer, in order.
///
/// Leaving the loop loses nothing: what was not handed out waits for the next loop, or goes back to the queue with
/// ``AMQPConsumer/cancel()``. While one loop runs a second one ends at once.
public struct AMQPDeliveries: AsyncSequence, Sendable {
    let buffer: DeliveryBuffer<AMQPDelivery>

    /// Serves what is waiting without suspending.
    public struct AsyncIterator: AsyncIteratorProtocol {
        var cursor: DeliveryCursor<AMQPDelivery>

        /// - Throws: ``AMQPError``: why the deliveries ended. They end without an error after ``AMQPConsumer/cancel()``
        ///   and when the task is cancelled.
        public mutating func next(isolation actor: isolated (any Actor)?) async throws(AMQPError) -> AMQPDelivery? {
            try await self.cursor.next()
        }

        /// - Throws: as ``next(isolation:)``.
        public mutating func next() async throws(AMQPError) -> AMQPDelivery? {
            try await self.cursor.next()
        }
    }

    public func makeAsyncIterator() -> AsyncIterator { AsyncIterator(cursor: DeliveryCursor(self.buffer)) }

    /// A sequence, and what feeds it.
    package static func make(highWaterMark: Int) -> (deliveries: AMQPDeliveries, sink: any DeliverySink) {
        let buffer = DeliveryBuffer<AMQPDelivery>(highWaterMark: highWaterMark) {
            // What a delivery takes beside its body.
            $0.body.readableBytes + 512
        }
        return (AMQPDeliveries(buffer: buffer), BufferSink(buffer))
    }
}

/// Mandatory messages that came back, in order. The oldest are dropped when nobody takes them.
public struct AMQPReturnedMessages: AsyncSequence, Sendable {
    let buffer: DeliveryBuffer<AMQPReturnedMessage>

    /// Serves what is waiting without suspending.
    public struct AsyncIterator: AsyncIteratorProtocol {
        var cursor: DeliveryCursor<AMQPReturnedMessage>

        /// - Throws: ``AMQPError``: why the channel ended.
        public mutating func next(
            isolation actor: isolated (any Actor)?
        ) async throws(AMQPError) -> AMQPReturnedMessage? {
            try await self.cursor.next()
        }

        /// - Throws: ``AMQPError``: why the channel ended.
        public mutating func next() async throws(AMQPError) -> AMQPReturnedMessage? {
            try await self.cursor.next()
        }
    }

    public func makeAsyncIterator() -> AsyncIterator { AsyncIterator(cursor: DeliveryCursor(self.buffer)) }
}
