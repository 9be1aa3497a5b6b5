// SPDX-License-Identifier: Apache-2.0
import AMQPWire
import DequeModule
import NIOCore

/// What the gate knows of one channel.
///
/// Unchecked, because it is reached through ``GateState`` only, and that only under the gate's lock. A class, because
/// every message and acknowledgement passes here: found once and changed in place it costs no copy.
final class GateChannel: @unchecked Sendable {
    struct Suspended: Sendable {
        var id: UInt64
        var publish: PublishGate.Publish
        var waiter: PublishWaiter
    }
    let id: UInt64
    // The lock excludes others, and nothing is called that could come back: no need to check that at run time for every
    // message.
    /// On the socket there is now.
    @exclusivity(unchecked) var number: UInt16
    /// Which generation its deliveries belong to; 0 while there is none.
    @exclusivity(unchecked) var epoch: UInt64
    @exclusivity(unchecked) var failure: AMQPError?
    /// Not while it is being opened again: publishers wait.
    @exclusivity(unchecked) var isReady = true
    /// The broker asked for a pause with `channel.flow`.
    @exclusivity(unchecked) var isPaused = false
    @exclusivity(unchecked) var confirms: ConfirmTracker<PublishWaiter>?
    @exclusivity(unchecked) var deliveries = DeliveryTracker()
    /// Publishers that wait for room, by ascending id.
    @exclusivity(unchecked) var suspended: Deque<Suspended> = []
    /// Whether it is in ``GateState/line``.
    @exclusivity(unchecked) var isInLine = false

    init(id: UInt64, number: UInt16, epoch: UInt64) {
        self.id = id
        self.number = number
        self.epoch = epoch
    }

    /// This generation is over.
    ///
    /// - Returns: whose messages were not confirmed.
    func interrupt() -> [PublishWaiter] {
        self.epoch = 0
        self.isReady = false
        self.isPaused = false
        self.deliveries.removeAll()
        // It counts from 1 again.
        return self.confirms?.failAll() ?? []
    }

    /// - Returns: those that waited for room.
    func removeSuspended() -> Deque<Suspended> {
        let suspended = self.suspended
        self.suspended.removeAll()
        return suspended
    }

    /// - Returns: the one with this id, if it still waits.
    func removeSuspended(id: UInt64) -> Suspended? {
        var low = 0
        var high = self.suspended.count
        while low < high {
            let middle = (low + high) / 2
            if self.suspended[middle].id < id { low = middle + 1 } else { high = middle }
        }
        guard low < self.suspended.count, self.suspended[low].id == id else { return nil }
        return self.suspended.remove(at: low)
    }
}

/// What the gate guards with its lock.
struct GateState: Sendable {
    struct Outcome {
        var resolved: [(PublishWaiter, Result<Void, AMQPError>)] = []
        var wake = false
    }

    let highWaterMark: Int
    let maximumUnconfirmed: Int
    var output = AMQPOutput()
    var transport: (any Channel)?
    /// Why nothing can be published at all; `nil` while the connection is open or being recovered.
    var failure: AMQPError? = AMQPError(.connectionClosed, "the connection is not open yet")
    /// The connection was lost and is being made again: publishers wait.
    var isRecovering = false
    /// `connection.close` is in the output: nothing may follow it but the answer to the broker's own.
    var isClosing = false
    /// The loop has been told to write.
    var isAwake = false
    /// When anything was last written: what the other side counts our silence from.
    var lastWrite = NIODeadline.now()
    /// Bytes handed to the transport and not yet taken by the system.
    var inFlight = 0
    var blocked: String?
    private(set) var channels: [UInt64: GateChannel] = [:]
    /// Most often it is the channel of the time before.
    private var lastChannel: GateChannel?
    var lastEpoch: UInt64 = 0
    /// Channels on which publishers wait for room, in the order in which they are served; some of them may have given up.
    private var line: Deque<GateChannel> = []
    private(set) var suspendedCount = 0
    var lastSuspended: UInt64 = 0

    init(highWaterMark: Int, maximumUnconfirmed: Int) {
        self.highWaterMark = max(highWaterMark, 1)
        self.maximumUnconfirmed = max(maximumUnconfirmed, 1)
    }

    var waiting: Int { self.output.byteCount + self.inFlight }

    mutating func channel(_ id: UInt64) -> GateChannel? {
        if let lastChannel, lastChannel.id == id { return lastChannel }
        guard let channel = self.channels[id] else { return nil }
        self.lastChannel = channel
        return channel
    }

    mutating func add(_ channel: GateChannel) {
        self.channels[channel.id] = channel
        self.lastChannel = nil
    }

    /// - Returns: who still waits on it: those without room, and those without a confirm.
    mutating func removeChannel(_ id: UInt64) -> (Deque<GateChannel.Suspended>, [PublishWaiter]) {
        self.lastChannel = nil
        guard let channel = self.channels.removeValue(forKey: id) else { return ([], []) }
        return (self.removeSuspended(channel), channel.interrupt())
    }

    // MARK: - Those who wait for room

    mutating func suspend(_ suspended: GateChannel.Suspended, _ channel: GateChannel) {
        channel.suspended.append(suspended)
        self.suspendedCount += 1
        guard !channel.isInLine else { return }
        channel.isInLine = true
        self.line.append(channel)
    }

    /// - Returns: whether it still waited.
    mutating func abandon(_ id: UInt64, channel: UInt64) -> Bool {
        guard self.channel(channel)?.removeSuspended(id: id) != nil else { return false }
        self.suspendedCount -= 1
        return true
    }

    /// - Returns: those that waited for room on a channel.
    mutating func removeSuspended(_ channel: GateChannel) -> Deque<GateChannel.Suspended> {
        if channel.isInLine {
            channel.isInLine = false
            self.line.removeAll { $0 === channel }
        }
        let suspended = channel.removeSuspended()
        self.suspendedCount -= suspended.count
        return suspended
    }

    /// - Returns: those that waited for room on any channel.
    mutating func removeAllSuspended() -> [GateChannel.Suspended] {
        let line = self.line
        self.line.removeAll()
        self.suspendedCount = 0
        return line.flatMap { channel in
            channel.isInLine = false
            return channel.removeSuspended()
        }
    }

    // MARK: -

    /// - Throws: why nothing can be published on the channel.
    mutating func openChannel(_ id: UInt64) throws(AMQPError) -> GateChannel {
        if let failure { throw failure }
        guard let channel = self.channel(id) else { throw AMQPError(.channelClosed, "the channel is closed") }
        if let failure = channel.failure { throw failure }
        return channel
    }

    /// Whether a message may be appended now, as far as the connection goes.
    var hasRoom: Bool {
        self.blocked == nil && !self.isRecovering && self.waiting < self.highWaterMark
    }

    /// Whether a message may be appended now, as far as the channel goes.
    func hasRoom(_ channel: GateChannel) -> Bool {
        guard channel.isReady, !channel.isPaused else { return false }
        guard let confirms = channel.confirms else { return true }
        return confirms.outstanding < self.maximumUnconfirmed
    }

    mutating func append(_ publish: PublishGate.Publish, _ channel: GateChannel) throws(AMQPError) {
        // Nobody would ever tell it: the channel may have come back without the mode, if that had not been agreed on.
        guard publish.confirm == nil || channel.confirms != nil else { throw Self.notConfirming }
        do {
            try self.output.append(
                publish.method, properties: publish.properties, body: publish.body, channel: channel.number)
        } catch {
            throw AMQPError(encoding: error)
        }
        channel.confirms?.published(publish.confirm, mandatory: Self.mandatory(publish))
    }

    static var notConfirming: AMQPError {
        AMQPError(.invalidArgument, "the channel is not in confirm mode: call confirmSelect() first")
    }

    /// What a return of the message would be recognised by.
    private static func mandatory(_ publish: PublishGate.Publish) -> MandatoryMessage? {
        guard publish.method.mandatory, let id = publish.properties.messageID else { return nil }
        return MandatoryMessage(id: id, exchange: publish.method.exchange, routingKey: publish.method.routingKey)
    }

    mutating func needsWake() -> Bool {
        guard !self.isAwake else { return false }
        self.isAwake = true
        return true
    }

    /// Appends what suspended publishers brought, as far as there is room: in order on each channel, one of each channel
    /// after the other.
    mutating func drain() -> Outcome {
        var outcome = Outcome()
        // How many in a row could not be served: with all of them it is over.
        var passed = 0
        while passed < self.line.count, self.hasRoom, let channel = self.line.popFirst() {
            guard !channel.suspended.isEmpty else {
                channel.isInLine = false
                continue
            }
            guard self.hasRoom(channel), let first = channel.suspended.popFirst() else {
                self.line.append(channel)
                passed += 1
                continue
            }
            self.suspendedCount -= 1
            passed = 0
            // To the end of the line, from where it also leaves when nobody waits on it any more.
            self.line.append(channel)
            do throws(AMQPError) {
                try self.append(first.publish, channel)
                outcome.resolved.append((first.waiter, .success(())))
            } catch {
                outcome.resolved.append((first.waiter, .failure(error)))
            }
        }
        if !self.output.isEmpty { outcome.wake = self.needsWake() }
        return outcome
    }
}
