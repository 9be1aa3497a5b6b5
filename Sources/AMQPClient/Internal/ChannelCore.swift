// SPDX-License-Identifier: Apache-2.0
import AMQPWire
import NIOCore

/// What the answer to a synchronous method brought.
enum ChannelReply: Sendable {
    case method(AMQPMethod)
    /// A message, and which generation of the channel it came in.
    case content(AMQPContentAssembler.Content, epoch: UInt64)
}

typealias ReplyWaiter = Waiter<ChannelReply, AMQPError>

/// One generation of a channel, as the broker knows it: a number on one socket. What outlives it is in ``record``.
///
/// Lives and is used on the connection's event loop only, as do the classes below.
final class ChannelCore {
    let number: UInt16
    let epoch: UInt64
    let record: ChannelRecord
    // The record's, at hand for every delivery.
    let id: UInt64
    let channel: AMQPChannel
    var machine = ChannelMachine<ReplyWaiter>()
    /// Unchecked as the connection's decoder is.
    @exclusivity(unchecked) var assembler: AMQPContentAssembler
    /// Those that the broker delivers to.
    var consumers: [String: ChannelConsumer] = [:]
    /// Until when the broker may take to answer `channel.close`.
    var closeDeadline: DeadlineScheduler.Token?

    init(_ record: ChannelRecord, number: UInt16, epoch: UInt64, maximumBodySize: Int) {
        self.record = record
        self.id = record.id
        self.channel = record.channel
        self.number = number
        self.epoch = epoch
        self.assembler = AMQPContentAssembler(maximumBodySize: UInt64(max(maximumBodySize, 0)))
    }
}

/// A subscription, over all generations of its channel.
final class ChannelConsumer {
    /// As it was asked for; the queue's name changes with a queue that the broker names.
    var method: AMQPMethod.BasicConsume
    let sink: any DeliverySink
    /// The limit for each consumer that was in force when it was started.
    let prefetchCount: UInt16?
    /// It was taken out of its channel: nobody will say any more that it has room.
    var isRemoved = false
    /// Whether it got something in the batch that is being read.
    var isTouched = false
    /// Whether its sink is full, so that the socket is not read unless it is leaving.
    var isFull = false
    /// We asked the broker to end it, or are closing the connection.
    var isLeaving = false
    /// Why the broker would not start it again, which closed its channel: not to be tried with the others.
    var refusal: AMQPError?

    let tag: String
    let needsAcknowledgement: Bool

    init(_ method: AMQPMethod.BasicConsume, sink: any DeliverySink, prefetchCount: UInt16?) {
        self.tag = method.consumerTag
        self.needsAcknowledgement = !method.noAck
        self.method = method
        self.sink = sink
        self.prefetchCount = prefetchCount
    }
}

/// A channel over all its generations: what has to be done to have another one.
final class ChannelRecord {
    enum Mode {
        case plain
        case confirming
        case transactional
    }
    let id: UInt64
    let channel: AMQPChannel
    /// For topology: it is used once and not recovered.
    let isScratch: Bool
    /// Its generation now; `nil` while there is none.
    var core: ChannelCore?
    /// Whether it is as its user left it. Not while it is being opened again, when only the recovery may use its core.
    var isReady = false
    /// Who waits until it is ready or has ended.
    var readyWaiters: [UInt64: PublishWaiter] = [:]
    /// The recovery of this channel alone.
    var recovery: Task<Void, Never>?
    var backoff: Backoff

    var mode = Mode.plain
    /// The transaction that was open when the channel was lost is gone, and its user does not know yet.
    var hasLostTransaction = false
    /// The user learned of a loss before the channel was there again.
    var isTransactionLossTold = false
    /// For each consumer that is started from now on.
    var consumerPrefetchCount: UInt16?
    /// For all consumers together.
    var channelPrefetchCount: UInt16?
    /// Those that should be there, in the order in which they were started.
    private(set) var consumers: [ChannelConsumer] = []
    /// The queue that was declared last: what an empty name means.
    var lastQueue: String?

    var returns: (@Sendable (AMQPReturnedMessage) -> Void)?
    var onEnd: [@Sendable (AMQPError) -> Void] = []
    var onInterruption: [@Sendable (AMQPError) -> Void] = []

    init(id: UInt64, channel: AMQPChannel, isScratch: Bool, backoff: Backoff) {
        self.id = id
        self.channel = channel
        self.isScratch = isScratch
        self.backoff = backoff
    }

    func consumer(_ tag: String) -> ChannelConsumer? { self.consumers.first { $0.tag == tag } }

    func add(_ consumer: ChannelConsumer) { self.consumers.append(consumer) }

    /// - Returns: whether it was there.
    @discardableResult
    func remove(_ consumer: ChannelConsumer) -> Bool {
        guard let index = self.consumers.firstIndex(where: { $0 === consumer }) else { return false }
        self.consumers.remove(at: index)
        return true
    }

    /// Consumers that should be there and are not.
    var missingConsumers: [ChannelConsumer] {
        self.consumers.filter { self.core?.consumers[$0.tag] !== $0 }
    }

    /// Whoever waited for it goes on: it is ready, or will never be.
    func resolveWaiters(_ error: AMQPError?) {
        let waiters = self.readyWaiters.values
        self.readyWaiters.removeAll()
        for waiter in waiters { waiter.resolve(error.map { .failure($0) } ?? .success(())) }
    }

    /// Tells everybody who wants to know of the channel's end, once.
    func ended(_ error: AMQPError) {
        self.returns = nil
        self.onInterruption.removeAll()
        self.recovery?.cancel()
        self.recovery = nil
        self.channel.ended(error)
        self.resolveWaiters(error)
        let actions = self.onEnd
        self.onEnd.removeAll()
        for action in actions { action(error) }
    }
}
