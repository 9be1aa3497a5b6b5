// SPDX-License-Identifier: Apache-2.0
import AMQPWire
import DequeModule
import NIOConcurrencyHelpers
import NIOCore

typealias PublishWaiter = Waiter<Void, AMQPError>

/// The one truth that publishers on any thread and the connection on its loop share.
///
/// Under one lock lie the output, and per channel whether it is open, its next publish tag and who waits for confirms.
/// So each of these is a single step: appending a publish, taking its tag and registering its waiter; appending
/// `close-ok` and closing the channel to publishers; losing the connection and forgetting what was not sent.
/// A publish appends to the output and wakes the loop only if it is not awake; the loop writes everything once per tick.
final class PublishGate: Sendable {
    /// A message with where it goes.
    struct Publish: Sendable {
        var channel: UInt64
        var method: AMQPMethod.BasicPublish
        var properties: AMQPBasicProperties
        var body: ByteBuffer
        /// Resolved when the broker confirms; without one, nobody is told.
        var confirm: PublishWaiter?
    }
    enum Verdict {
        case accepted
        /// The output is above its high-water mark, or the broker takes nothing: wait.
        case full
        case refused(AMQPError)
    }

    /// What the gate knows of one channel.
    ///
    /// Unchecked, because it is reached through `State` only, and that only under the lock. A class, because every
    /// message and acknowledgement passes here: found once and changed in place it costs no copy.
    private final class ChannelState: @unchecked Sendable {
        let id: UInt64
        let number: UInt16
        /// Tells deliveries of this channel from those of one that had its number before.
        let epoch: UInt64
        // The lock excludes others, and nothing is called that could come back: no need to check that at run time for
        // every message.
        @exclusivity(unchecked) var failure: AMQPError?
        /// The broker asked for a pause with `channel.flow`.
        @exclusivity(unchecked) var isPaused = false
        @exclusivity(unchecked) var confirms: ConfirmTracker<PublishWaiter>?
        @exclusivity(unchecked) var deliveries = DeliveryTracker()

        init(id: UInt64, number: UInt16, epoch: UInt64) {
            self.id = id
            self.number = number
            self.epoch = epoch
        }
    }
    private struct Suspended: Sendable {
        var id: UInt64
        var publish: Publish
        var waiter: PublishWaiter
    }
    private struct State: Sendable {
        var output = AMQPOutput()
        var transport: (any Channel)?
        /// Why nothing can be published at all; `nil` while the connection is open.
        var failure: AMQPError? = AMQPError(.connectionClosed, "the connection is not open yet")
        /// `connection.close` is in the output: nothing may follow it but the answer to the broker's own.
        var isClosing = false
        /// The loop has been told to write.
        var isAwake = false
        /// When anything was last written: what the other side counts our silence from.
        var lastWrite = NIODeadline.now()
        /// Bytes handed to the transport and not yet taken by the system.
        var inFlight = 0
        var blocked: String?
        private(set) var channels: [UInt64: ChannelState] = [:]
        /// Most often it is the channel of the time before.
        private var lastChannel: ChannelState?
        var lastEpoch: UInt64 = 0
        var suspended: Deque<Suspended> = []
        var lastSuspended: UInt64 = 0

        var waiting: Int { self.output.byteCount + self.inFlight }

        mutating func channel(_ id: UInt64) -> ChannelState? {
            if let lastChannel, lastChannel.id == id { return lastChannel }
            guard let channel = self.channels[id] else { return nil }
            self.lastChannel = channel
            return channel
        }

        mutating func add(_ channel: ChannelState) {
            self.channels[channel.id] = channel
            self.lastChannel = nil
        }

        mutating func removeChannel(_ id: UInt64) {
            self.channels[id] = nil
            self.lastChannel = nil
        }
    }

    private let eventLoop: any EventLoop
    private let highWaterMark: Int
    private let state = NIOLockedValueBox(State())

    init(eventLoop: any EventLoop, highWaterMark: Int) {
        self.eventLoop = eventLoop
        self.highWaterMark = max(highWaterMark, 1)
    }

    // MARK: - Publishing

    /// Appends the message if there is room and nobody waits before it.
    func publish(_ publish: Publish) -> Verdict {
        let (verdict, wake) = self.state.withLockedValue { state -> (Verdict, Bool) in
            do throws(AMQPError) {
                let channel = try Self.openChannel(publish.channel, &state)
                guard state.suspended.isEmpty, state.blocked == nil, state.waiting < self.highWaterMark,
                    !channel.isPaused
                else { return (.full, false) }
                try Self.append(publish, channel, &state)
                return (.accepted, Self.needsWake(&state))
            } catch {
                return (.refused(error), false)
            }
        }
        if wake { self.wake() }
        return verdict
    }

    /// Queues the message until there is room; it is then appended on its publisher's behalf, in the order of arrival.
    ///
    /// - Parameter waiter: resolved when the message was appended, or cannot be any more.
    /// - Returns: a handle for ``abandon(_:)``.
    func publishWhenThereIsRoom(_ publish: Publish, waiter: PublishWaiter) -> UInt64 {
        let (id, outcome) = self.state.withLockedValue { state -> (UInt64, Outcome) in
            state.lastSuspended += 1
            // So may the end of the channel, and nobody would come to tell this one.
            do throws(AMQPError) {
                _ = try Self.openChannel(publish.channel, &state)
            } catch {
                return (state.lastSuspended, Outcome(resolved: [(waiter, .failure(error))]))
            }
            state.suspended.append(Suspended(id: state.lastSuspended, publish: publish, waiter: waiter))
            // Room may have come since the publisher was told there is none.
            return (state.lastSuspended, self.drain(&state))
        }
        self.finish(outcome)
        return id
    }

    /// The publisher gave up: its message, if it still waits, is not sent.
    ///
    /// - Returns: whether it still waited.
    @discardableResult
    func abandon(_ id: UInt64) -> Bool {
        self.state.withLockedValue { state in
            guard let index = state.suspended.firstIndex(where: { $0.id == id }) else { return false }
            state.suspended.remove(at: index)
            return true
        }
    }

    /// - Throws: why nothing can be published on the channel.
    private static func openChannel(_ id: UInt64, _ state: inout State) throws(AMQPError) -> ChannelState {
        if let failure = state.failure { throw failure }
        guard let channel = state.channel(id) else { throw AMQPError(.channelClosed, "the channel is closed") }
        if let failure = channel.failure { throw failure }
        return channel
    }

    private static func append(
        _ publish: Publish, _ channel: ChannelState, _ state: inout State
    ) throws(AMQPError) {
        do {
            try state.output.append(
                publish.method, properties: publish.properties, body: publish.body, channel: channel.number)
        } catch {
            throw AMQPError(encoding: error)
        }
        channel.confirms?.published(
            publish.confirm, messageID: publish.method.mandatory ? publish.properties.messageID : nil)
    }

    // MARK: - Methods and acknowledgements: these bypass the high-water mark

    /// Appends a method. Does nothing when there is no connection to write to.
    ///
    /// - Throws: if an argument does not fit its type; nothing was written then.
    func write(_ method: AMQPMethod, channel number: UInt16) throws(AMQPError) {
        let result = self.state.withLockedValue { state -> Result<Bool, AMQPWireError> in
            guard state.transport != nil, Self.mayBeWritten(method, state) else { return .success(false) }
            return Result { () throws(AMQPWireError) in
                try state.output.append(method, channel: number)
                return Self.needsWake(&state)
            }
        }
        switch result {
        case .success(let wake): if wake { self.wake() }
        case .failure(let error): throw AMQPError(encoding: error)
        }
    }

    private static func mayBeWritten(_ method: AMQPMethod, _ state: State) -> Bool {
        if case .connectionCloseOk = method { true } else { !state.isClosing }
    }

    /// Appends `confirm.select` and begins to count: the broker counts every message behind it, also those that are
    /// published before its answer is here.
    func selectConfirms(channel id: UInt64) {
        let wake = self.state.withLockedValue { state in
            guard state.transport != nil, !state.isClosing, let channel = state.channel(id),
                (try? state.output.append(.confirmSelect(.init()), channel: channel.number)) != nil
            else { return false }
            // Doing it again does not make the broker count from 1 again.
            if channel.confirms == nil { channel.confirms = ConfirmTracker() }
            return Self.needsWake(&state)
        }
        if wake { self.wake() }
    }

    func writeProtocolHeader() {
        let wake = self.state.withLockedValue { state in
            state.output.appendProtocolHeader()
            return Self.needsWake(&state)
        }
        if wake { self.wake() }
    }

    /// - Returns: whether it was needed: nothing else waits to be written.
    @discardableResult
    func writeHeartbeat() -> Bool {
        let wake = self.state.withLockedValue { state in
            // Bytes that wait are as good a sign of life, and a stalled socket is not helped by more of them.
            guard state.transport != nil, state.waiting == 0, !state.isClosing else { return false }
            state.output.appendHeartbeat()
            return Self.needsWake(&state)
        }
        if wake { self.wake() }
        return wake
    }

    /// When anything was last written.
    var lastWrite: NIODeadline { self.state.withLockedValue { $0.lastWrite } }

    enum Settlement {
        case ack
        case nack(requeue: Bool)
        case reject(requeue: Bool)
    }

    /// Acknowledges or refuses a delivery.
    ///
    /// - Throws: ``AMQPError/Code/alreadySettled`` if it was settled before or came in an earlier life of its channel,
    ///   and otherwise why the channel or connection ended: the acknowledgement never reaches the wire.
    func settle(
        channel id: UInt64, epoch: UInt64, tag: UInt64, multiple: Bool = false, _ settlement: Settlement
    ) throws(AMQPError) {
        let result = self.state.withLockedValue { state -> Result<Bool, AMQPError> in
            let channel: ChannelState
            do throws(AMQPError) {
                channel = try Self.openChannel(id, &state)
            } catch {
                return .failure(error)
            }
            guard channel.epoch == epoch, channel.deliveries.settle(tag, multiple: multiple) else {
                return .failure(
                    AMQPError(
                        .alreadySettled,
                        "delivery \(tag) was settled before, needs no acknowledgement, or came before a reconnect"))
            }
            switch settlement {
            case .ack: state.output.appendAck(channel: channel.number, deliveryTag: tag, multiple: multiple)
            case .nack(let requeue):
                try? state.output.append(
                    .basicNack(.init(deliveryTag: tag, multiple: multiple, requeue: requeue)), channel: channel.number)
            case .reject(let requeue):
                try? state.output.append(
                    .basicReject(.init(deliveryTag: tag, requeue: requeue)), channel: channel.number)
            }
            return .success(Self.needsWake(&state))
        }
        if try result.get() { self.wake() }
    }

    /// A delivery arrived that has to be acknowledged.
    func delivered(_ tag: UInt64, channel id: UInt64) {
        self.state.withLockedValue { $0.channel(id)?.deliveries.delivered(tag) }
    }

    /// Which life of the channel a delivery of now belongs to.
    func epoch(channel id: UInt64) -> UInt64 {
        self.state.withLockedValue { $0.channel(id)?.epoch ?? 0 }
    }

    /// How many deliveries of a channel wait for their acknowledgement.
    func unsettled(channel id: UInt64) -> Int {
        self.state.withLockedValue { $0.channel(id)?.deliveries.count ?? 0 }
    }

    /// How many publishers wait for room.
    var suspendedCount: Int { self.state.withLockedValue { $0.suspended.count } }
    /// Bytes that wait to be written, or for the system to take them.
    var waitingBytes: Int { self.state.withLockedValue { $0.waiting } }

    // MARK: - The life of the connection

    /// There is a transport: the handshake may be written, publishes still may not.
    func connected(_ transport: any Channel) {
        self.state.withLockedValue { $0.transport = transport }
    }

    func tuned(frameMax: UInt32) {
        self.state.withLockedValue { $0.output.frameMax = frameMax }
    }

    func opened() {
        self.state.withLockedValue { $0.failure = nil }
    }

    /// Refuses publishes from now on, behind those accepted so far appends `farewell`.
    func close(_ error: AMQPError, farewell: AMQPMethod) {
        let (failing, wake) = self.state.withLockedValue { state -> (Deque<Suspended>, Bool) in
            if state.failure == nil { state.failure = error }
            let failing = state.suspended
            state.suspended.removeAll()
            guard state.transport != nil, !state.isClosing,
                (try? state.output.append(farewell, channel: 0)) != nil
            else { return (failing, false) }
            state.isClosing = true
            return (failing, Self.needsWake(&state))
        }
        for suspended in failing { suspended.waiter.resolve(.failure(error)) }
        if wake { self.wake() }
    }

    /// The connection ended: what was not sent is forgotten, whoever waits is told.
    func lost(_ error: AMQPError) {
        let (suspended, unconfirmed) = self.state.withLockedValue { state -> (Deque<Suspended>, [PublishWaiter]) in
            state.failure = error
            state.transport = nil
            state.output.clear()
            state.inFlight = 0
            state.isClosing = false
            state.blocked = nil
            var unconfirmed: [PublishWaiter] = []
            for channel in state.channels.values {
                unconfirmed += channel.confirms?.failAll() ?? []
                channel.failure = error
                channel.deliveries.removeAll()
            }
            let suspended = state.suspended
            state.suspended.removeAll()
            return (suspended, unconfirmed)
        }
        for entry in suspended { entry.waiter.resolve(.failure(error)) }
        Self.fail(unconfirmed, because: error)
    }

    /// `connection.blocked` and `connection.unblocked`.
    func setBlocked(_ reason: String?) {
        self.finish(
            self.state.withLockedValue { state in
                state.blocked = reason
                return self.drain(&state)
            })
    }

    // MARK: - The life of a channel

    /// - Returns: the epoch of its deliveries.
    func openChannel(_ id: UInt64, number: UInt16) -> UInt64 {
        self.state.withLockedValue { state in
            state.lastEpoch += 1
            state.add(ChannelState(id: id, number: number, epoch: state.lastEpoch))
            return state.lastEpoch
        }
    }

    /// Closes a channel to publishers, and behind what was accepted so far appends `farewell`: after that frame, a
    /// publish would end the whole connection with 504.
    func closeChannel(_ id: UInt64, _ error: AMQPError, farewell: AMQPMethod?) {
        let (suspended, unconfirmed, wake) = self.state.withLockedValue {
            state -> (Deque<Suspended>, [PublishWaiter], Bool) in
            guard let channel = state.channel(id), channel.failure == nil else { return ([], [], false) }
            channel.failure = error
            channel.deliveries.removeAll()
            let unconfirmed = channel.confirms?.failAll() ?? []
            let suspended = state.suspended.filter { $0.publish.channel == id }
            state.suspended.removeAll { $0.publish.channel == id }
            guard let farewell, state.transport != nil, !state.isClosing,
                (try? state.output.append(farewell, channel: channel.number)) != nil
            else { return (suspended, unconfirmed, false) }
            return (suspended, unconfirmed, Self.needsWake(&state))
        }
        for entry in suspended { entry.waiter.resolve(.failure(error)) }
        Self.fail(unconfirmed, because: error)
        if wake { self.wake() }
    }

    func forgetChannel(_ id: UInt64) {
        self.state.withLockedValue { $0.removeChannel(id) }
    }

    func pauseChannel(_ id: UInt64, _ isPaused: Bool) {
        self.finish(
            self.state.withLockedValue { state in
                state.channel(id)?.isPaused = isPaused
                return self.drain(&state)
            })
    }

    // MARK: - Confirms

    func isConfirming(channel id: UInt64) -> Bool {
        self.state.withLockedValue { $0.channel(id)?.confirms != nil }
    }

    func confirmed(channel id: UInt64, tag: UInt64, multiple: Bool, acked: Bool) {
        let resolved = self.state.withLockedValue {
            $0.channel(id)?.confirms?.confirmed(tag: tag, multiple: multiple, acked: acked) ?? []
        }
        for (waiter, outcome) in resolved {
            switch outcome {
            case .acked: waiter.resolve(.success(()))
            case .nacked:
                waiter.resolve(
                    .failure(AMQPError(.nacked, "the broker refused the message (basic.nack)", origin: .peer)))
            case .returned(let reply):
                waiter.resolve(
                    .failure(AMQPError(.returned, "the message was returned: \(reply)", reply: reply, origin: .peer)))
            }
        }
    }

    func returned(channel id: UInt64, messageID: String?, reply: AMQPError.Reply) {
        self.state.withLockedValue { $0.channel(id)?.confirms?.returned(messageID: messageID, reply: reply) }
    }

    private static func fail(_ unconfirmed: [PublishWaiter], because error: AMQPError) {
        guard !unconfirmed.isEmpty else { return }
        let unknown = AMQPError(
            .outcomeUnknown, "the message may or may not have arrived: \(error.message)", reply: error.reply,
            origin: error.origin, cause: error)
        for waiter in unconfirmed { waiter.resolve(.failure(unknown)) }
    }

    // MARK: - Writing, on the event loop

    private static func needsWake(_ state: inout State) -> Bool {
        guard !state.isAwake else { return false }
        state.isAwake = true
        return true
    }

    private func wake() {
        self.eventLoop.execute { self.flush() }
    }

    /// Writes everything that waits with one system call, if the system takes it.
    private func flush() {
        let (pieces, size, transport) = self.state.withLockedValue { state -> ([ByteBuffer], Int, (any Channel)?) in
            state.isAwake = false
            let size = state.output.byteCount
            guard let transport = state.transport, size > 0 else { return ([], 0, nil) }
            state.inFlight += size
            state.lastWrite = .now()
            return (state.output.take(), size, transport)
        }
        guard let transport, let last = pieces.last else { return }
        for piece in pieces.dropLast() { transport.write(piece, promise: nil) }
        // On failure the connection ends, and `lost` clears the account.
        transport.writeAndFlush(last).whenSuccess { self.wrote(size, to: transport) }
    }

    /// The connection is about to end: the farewell goes out now or never.
    func flushBeforeEnd() { self.flush() }

    private func wrote(_ size: Int, to transport: any Channel) {
        self.finish(
            self.state.withLockedValue { state in
                guard let current = state.transport, current === transport else { return Outcome() }
                state.inFlight -= size
                return self.drain(&state)
            })
    }

    private struct Outcome {
        var resolved: [(PublishWaiter, Result<Void, AMQPError>)] = []
        var wake = false
    }

    /// Appends what suspended publishers brought, as far as there is room.
    private func drain(_ state: inout State) -> Outcome {
        var outcome = Outcome()
        var index = 0
        while index < state.suspended.count, state.blocked == nil, state.waiting < self.highWaterMark {
            let suspended = state.suspended[index]
            let result: Result<Void, AMQPError>
            do throws(AMQPError) {
                let channel = try Self.openChannel(suspended.publish.channel, &state)
                guard !channel.isPaused else {
                    index += 1
                    continue
                }
                result = .success(try Self.append(suspended.publish, channel, &state))
            } catch {
                result = .failure(error)
            }
            state.suspended.remove(at: index)
            outcome.resolved.append((suspended.waiter, result))
        }
        if !state.output.isEmpty { outcome.wake = Self.needsWake(&state) }
        return outcome
    }

    private func finish(_ outcome: Outcome) {
        for (waiter, result) in outcome.resolved { waiter.resolve(result) }
        if outcome.wake { self.wake() }
    }
}
