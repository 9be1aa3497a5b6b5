// SPDX-License-Identifier: Apache-2.0
import AMQPWire
import NIOCore

/// Direct reply-to (RabbitMQ's extension): replies go straight to a channel, without a queue.
extension VirtualHostState {
    /// Starts the channel's one consumer of `amq.rabbitmq.reply-to`.
    mutating func consumeReplies(
        tag: String, noAck: Bool, on channel: ChannelID
    ) throws(BrokerException) {
        guard noAck else { throw .preconditionFailed("reply consumer cannot acknowledge") }
        // Nobody may guess the address: whoever has it can send to the channel.
        let address = Self.randomName(PropertyScan.directReplyAddress + ".")
        self.channels[channel]?.replyConsumer = .init(tag: tag, address: address)
        self.replyAddresses[address] = channel
    }

    /// - Returns: whether `tag` was the consumer of replies.
    mutating func cancelReplies(tag: String, on channel: ChannelID) -> Bool {
        guard let consumer = self.channels[channel]?.replyConsumer, consumer.tag == tag else { return false }
        self.channels[channel]?.replyConsumer = nil
        self.replyAddresses[consumer.address] = nil
        return true
    }

    /// The properties of a message, `reply-to` replaced by the channel's address if it asks for direct reply-to.
    func addressed(_ publishing: Publishing, on channel: ChannelID) throws(BrokerException) -> ByteBuffer {
        guard publishing.scan.directReplyTo != nil else { return publishing.properties }
        guard let address = self.channels[channel]?.replyConsumer?.address else {
            throw .preconditionFailed("fast reply consumer does not exist")
        }
        return publishing.scan.replacingDirectReplyTo(in: publishing.properties, with: address)
    }

    /// Delivers a reply, at most once: if the requester is gone, or does not read, the reply is dropped.
    mutating func deliverReply(_ message: BrokerMessage, to address: String) {
        guard let id = self.replyAddresses[address], let consumer = self.channels[id]?.replyConsumer,
            let output = self.channels[id]?.output, let number = self.channels[id]?.number,
            let tag = self.channels[id]?.nextDeliveryTag()
        else { return }
        let method = AMQPMethod.basicDeliver(
            .init(
                consumerTag: consumer.tag, deliveryTag: tag, exchange: message.exchange, routingKey: address))
        self.append(to: output) { frames throws(AMQPWireError) in
            guard frames.byteCount < ConnectionOutput.dropMark else { return }
            try frames.append(method, properties: message.properties, body: message.body, channel: number)
        }
    }
}
