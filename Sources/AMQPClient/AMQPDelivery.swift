// SPDX-License-Identifier: Apache-2.0
public import AMQPWire
public import NIOCore

/// A message as the broker delivered it (`basic.deliver` or `basic.get-ok`).
public struct AMQPDelivery: Sendable {
    /// Shared by all copies: on its way to the reader a delivery passes several hands.
    private final class Content: Sendable {
        let deliver: AMQPMethod.BasicDeliver
        let properties: AMQPBasicProperties
        let body: ByteBuffer
        let channel: AMQPChannel
        let epoch: UInt64

        init(
            _ deliver: AMQPMethod.BasicDeliver, _ properties: AMQPBasicProperties, _ body: ByteBuffer,
            _ channel: AMQPChannel, _ epoch: UInt64
        ) {
            self.deliver = deliver
            self.properties = properties
            self.body = body
            self.channel = channel
            self.epoch = epoch
        }
    }
    private let content: Content

    /// - Parameters:
    ///   - channel: the channel it came on.
    ///   - epoch: which life of that channel: an acknowledgement goes there or nowhere.
    init(
        _ deliver: AMQPMethod.BasicDeliver, properties: AMQPBasicProperties, body: ByteBuffer, channel: AMQPChannel,
        epoch: UInt64
    ) {
        self.content = Content(deliver, properties, body, channel, epoch)
    }

    /// The consumer it was delivered to; empty for ``AMQPChannel/get(_:acknowledgement:)``.
    public var consumerTag: String { self.content.deliver.consumerTag }
    /// Counts the deliveries of a channel, from 1.
    public var deliveryTag: UInt64 { self.content.deliver.deliveryTag }
    /// Whether the message was delivered before, to anybody. It says nothing about whether it was handled.
    public var redelivered: Bool { self.content.deliver.redelivered }
    /// The exchange it was published to; empty for the default exchange.
    public var exchange: String { self.content.deliver.exchange }
    /// The routing key it was published with.
    public var routingKey: String { self.content.deliver.routingKey }
    /// Its properties, headers among them.
    public var properties: AMQPBasicProperties { self.content.properties }
    /// A slice of what was read from the socket. A small body that is kept for long keeps up to 64 KiB with it: copy it.
    public var body: ByteBuffer { self.content.body }
    var epoch: UInt64 { self.content.epoch }

    /// Acknowledges this delivery, and with `multiple` all deliveries of the channel before it.
    ///
    /// Sends `basic.ack`. Returns when it is written to the output, which is at once.
    ///
    /// - Throws: ``AMQPError`` with ``AMQPError/Code/alreadySettled`` if there is nothing to acknowledge any more, or why
    ///   its channel or connection ended; then nothing is sent.
    public func ack(multiple: Bool = false) throws(AMQPError) {
        try self.content.channel.settle(self, multiple: multiple, .ack)
    }

    /// Refuses this delivery, and with `multiple` all before it. Sends `basic.nack`, a RabbitMQ extension.
    ///
    /// - Parameter requeue: back to the queue, or (`false`) to its dead-letter exchange or nowhere.
    /// - Throws: as ``ack(multiple:)``.
    public func nack(requeue: Bool = true, multiple: Bool = false) throws(AMQPError) {
        try self.content.channel.settle(self, multiple: multiple, .nack(requeue: requeue))
    }

    /// Refuses this delivery. Sends `basic.reject`.
    ///
    /// - Throws: as ``ack(multiple:)``.
    public func reject(requeue: Bool) throws(AMQPError) {
        try self.content.channel.settle(self, multiple: false, .reject(requeue: requeue))
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
