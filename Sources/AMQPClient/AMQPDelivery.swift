// SPDX-License-Identifier: Apache-2.0
public import AMQPWire
public import NIOCore

/// A message as the broker delivered it (`basic.deliver` or `basic.get-ok`).
public struct AMQPDelivery: Sendable {
    /// The consumer it was delivered to; empty for ``AMQPChannel/get(_:acknowledgement:)``.
    public let consumerTag: String
    /// Counts the deliveries of a channel, from 1.
    public let deliveryTag: UInt64
    /// Whether the message was delivered before, to anybody. It says nothing about whether it was handled.
    public let redelivered: Bool
    /// The exchange it was published to; empty for the default exchange.
    public let exchange: String
    /// The routing key it was published with.
    public let routingKey: String
    /// Its properties, headers among them.
    public let properties: AMQPBasicProperties
    /// A slice of what was read from the socket. A small body that is kept for long keeps up to 64 KiB with it: copy it.
    public let body: ByteBuffer
    /// The channel it came on, and which life of that channel: an acknowledgement goes there or nowhere.
    let channel: AMQPChannel
    let epoch: UInt64

    /// Acknowledges this delivery, and with `multiple` all deliveries of the channel before it.
    ///
    /// Sends `basic.ack`. Returns when it is written to the output, which is at once.
    ///
    /// - Throws: ``AMQPError`` with ``AMQPError/Code/alreadySettled`` if there is nothing to acknowledge any more, or why
    ///   its channel or connection ended; then nothing is sent.
    public func ack(multiple: Bool = false) throws(AMQPError) {
        try self.channel.settle(self, multiple: multiple, .ack)
    }

    /// Refuses this delivery, and with `multiple` all before it. Sends `basic.nack`, a RabbitMQ extension.
    ///
    /// - Parameter requeue: back to the queue, or (`false`) to its dead-letter exchange or nowhere.
    /// - Throws: as ``ack(multiple:)``.
    public func nack(requeue: Bool = true, multiple: Bool = false) throws(AMQPError) {
        try self.channel.settle(self, multiple: multiple, .nack(requeue: requeue))
    }

    /// Refuses this delivery. Sends `basic.reject`.
    ///
    /// - Throws: as ``ack(multiple:)``.
    public func reject(requeue: Bool) throws(AMQPError) {
        try self.channel.settle(self, multiple: false, .reject(requeue: requeue))
    }
}

/// A mandatory message that could not be routed (`basic.return`).
public struct AMQPReturnedMessage: Sendable {
    /// Why, usually 312 NO_ROUTE.
    public let reply: AMQPError.Reply
    /// The exchange it was published to; empty for the default exchange.
    public let exchange: String
    /// The routing key it was published with.
    public let routingKey: String
    /// Its properties, headers among them.
    public let properties: AMQPBasicProperties
    /// Its body.
    public let body: ByteBuffer
}
