// SPDX-License-Identifier: Apache-2.0
import AMQPWire
import NIOCore

/// What the answer to a synchronous method brought.
enum ChannelReply: Sendable {
    case method(AMQPMethod)
    case content(AMQPContentAssembler.Content)
}

typealias ReplyWaiter = Waiter<ChannelReply, AMQPError>

/// The connection's side of one channel. Lives and is used on the connection's event loop only.
final class ChannelCore {
    final class Consumer {
        let tag: String
        let needsAcknowledgement: Bool
        let sink: any DeliverySink
        /// It was taken out of its channel: nobody will say any more that it has room.
        var isRemoved = false
        /// Whether it got something in the batch that is being read.
        var isTouched = false
        /// Whether its sink is full, so that the socket is not read.
        var isFull = false

        init(tag: String, needsAcknowledgement: Bool, sink: any DeliverySink) {
            self.tag = tag
            self.needsAcknowledgement = needsAcknowledgement
            self.sink = sink
        }
    }

    let id: UInt64
    let number: UInt16
    let epoch: UInt64
    let channel: AMQPChannel
    var machine = ChannelMachine<ReplyWaiter>()
    /// Unchecked as the connection's decoder is.
    @exclusivity(unchecked) var assembler: AMQPContentAssembler
    var consumers: [String: Consumer] = [:]
    var returns: (@Sendable (AMQPReturnedMessage) -> Void)?
    var onEnd: [@Sendable (AMQPError) -> Void] = []

    init(id: UInt64, number: UInt16, epoch: UInt64, channel: AMQPChannel, maximumBodySize: Int) {
        self.id = id
        self.number = number
        self.epoch = epoch
        self.channel = channel
        self.assembler = AMQPContentAssembler(maximumBodySize: UInt64(max(maximumBodySize, 0)))
    }

    /// Tells everybody who wants to know of the channel's end, once.
    func ended(_ error: AMQPError) {
        self.returns = nil
        self.channel.ended(error)
        let actions = self.onEnd
        self.onEnd.removeAll()
        for action in actions { action(error) }
    }
}
