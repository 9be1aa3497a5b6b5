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

    private let eventLoop: any EventLoop
    private let state: NIOLockedValueBox<GateState>

    /// - Parameters:
    ///   - highWaterMark: bytes that may wait to be written before publishers wait.
    ///   - maximumUnconfirmed: messages of a channel that may wait for their confirms before publishers wait.
    init(eventLoop: any EventLoop, highWaterMark: Int, maximumUnconfirmed: Int = .max) {
        self.eventLoop = eventLoop
        self.state = NIOLockedValueBox(
            GateState(highWaterMark: highWaterMark, maximumUnconfirmed: maximumUnconfirmed))
    }

    // MARK: - Publishing

    /// Appends the message if there is room and nobody waits before it.
    func publish(_ publish: Publish) -> Verdict {
        let (verdict, wake) = self.state.withLockedValue { state -> (Verdict, Bool) in
            do throws(AMQPError) {
                let channel = try state.openChannel(publish.channel)
                guard channel.suspended.isEmpty, state.hasRoom, state.hasRoom(channel) else { return (.full, false) }
                try state.append(publish, channel)
                return (.accepted, state.needsWake())
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
        let (id, outcome) = self.state.withLockedValue { state -> (UInt64, GateState.Outcome) in
            state.lastSuspended += 1
            // The end of the channel may have come since, and nobody would come to tell this one.
            do throws(AMQPError) {
                let channel = try state.openChannel(publish.channel)
                state.suspend(.init(id: state.lastSuspended, publish: publish, waiter: waiter), channel)
            } catch {
                return (state.lastSuspended, GateState.Outcome(resolved: [(waiter, .failure(error))]))
            }
            // Room may have come as well.
            return (state.lastSuspended, state.drain())
        }
        self.finish(outcome)
        return id
    }

    /// The publisher gave up: its message, if it still waits, is not sent.
    ///
    /// - Returns: whether it still waited.
    @discardableResult
    func abandon(_ id: UInt64, channel: UInt64) -> Bool {
        self.state.withLockedValue { $0.abandon(id, channel: channel) }
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
                return state.needsWake()
            }
        }
        switch result {
        case .success(let wake): if wake { self.wake() }
        case .failure(let error): throw AMQPError(encoding: error)
        }
    }

    private static func mayBeWritten(_ method: AMQPMethod, _ state: GateState) -> Bool {
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
            return state.needsWake()
        }
        if wake { self.wake() }
    }

    func writeProtocolHeader() {
        let wake = self.state.withLockedValue { state in
            state.output.appendProtocolHeader()
            return state.needsWake()
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
            return state.needsWake()
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
    /// - Throws: ``AMQPError/Code/alreadySettled`` if it was settled before, ``AMQPError/Code/deliveryExpired`` if it came
    ///   in an earlier generation of its channel, and otherwise why the channel or connection ended: the acknowledgement
    ///   never reaches the wire.
    func settle(
        channel id: UInt64, epoch: UInt64, tag: UInt64, multiple: Bool = false, _ settlement: Settlement
    ) throws(AMQPError) {
        let result = self.state.withLockedValue { state -> Result<Bool, AMQPError> in
            let channel: GateChannel
            do throws(AMQPError) {
                channel = try state.openChannel(id)
            } catch {
                return .failure(error)
            }
            guard channel.epoch == epoch else {
                return .failure(
                    AMQPError(
                        .deliveryExpired,
                        "delivery \(tag) came before its channel was lost: the broker has the message again"))
            }
            guard channel.deliveries.settle(tag, multiple: multiple) else {
                return .failure(
                    AMQPError(.alreadySettled, "delivery \(tag) was settled before, or needs no acknowledgement"))
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
            return .success(state.needsWake())
        }
        if try result.get() { self.wake() }
    }

    /// A delivery arrived that has to be acknowledged.
    func delivered(_ tag: UInt64, channel id: UInt64) {
        self.state.withLockedValue { $0.channel(id)?.deliveries.delivered(tag) }
    }

    /// The broker took back every delivery of the channel that was not acknowledged.
    func recovered(channel id: UInt64) {
        self.state.withLockedValue { $0.channel(id)?.deliveries.removeAll() }
    }

    /// Which life of the channel a delivery of now belongs to.
    func epoch(channel id: UInt64) -> UInt64 {
        self.state.withLockedValue { $0.channel(id)?.epoch ?? 0 }
    }

    /// How many deliveries of a channel wait for their acknowledgement.
    func unsettled(channel id: UInt64) -> Int {
        self.state.withLockedValue { $0.channel(id)?.deliveries.count ?? 0 }
    }

    func suspendedMessageIDs(channel id: UInt64) -> [String] {
        self.state.withLockedValue { $0.channel(id)?.suspended.compactMap(\.publish.properties.messageID) ?? [] }
    }

    /// How many publishers wait for room.
    var suspendedCount: Int { self.state.withLockedValue { $0.suspendedCount } }
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

    /// The connection is open, for the first time or again: whoever waited for that may publish.
    func opened() {
        self.finish(
            self.state.withLockedValue { state in
                state.failure = nil
                state.isRecovering = false
                return state.drain()
            })
    }

    /// Refuses publishes from now on, behind those accepted so far appends `farewell`.
    func close(_ error: AMQPError, farewell: AMQPMethod) {
        let (failing, wake) = self.state.withLockedValue { state -> ([GateChannel.Suspended], Bool) in
            if state.failure == nil { state.failure = error }
            let failing = state.removeAllSuspended()
            guard state.transport != nil, !state.isClosing,
                (try? state.output.append(farewell, channel: 0)) != nil
            else { return (failing, false) }
            state.isClosing = true
            return (failing, state.needsWake())
        }
        for suspended in failing { suspended.waiter.resolve(.failure(error)) }
        if wake { self.wake() }
    }

    /// There is no transport any more, and what was not sent is forgotten: old bytes must not enter the handshake of the
    /// next one.
    private static func disconnect(_ state: inout GateState) {
        state.transport = nil
        state.output = AMQPOutput()
        state.inFlight = 0
        state.isClosing = false
        state.blocked = nil
    }

    /// An attempt to connect failed.
    func disconnected() { self.state.withLockedValue { Self.disconnect(&$0) } }

    /// The connection was lost, and is to be made again: publishers that wait for room go on waiting, and whoever waits
    /// for a confirm is told that the outcome is unknown.
    func interrupted(_ error: AMQPError) {
        let unconfirmed = self.state.withLockedValue { state -> [PublishWaiter] in
            Self.disconnect(&state)
            state.isRecovering = true
            return state.channels.values.flatMap { $0.interrupt() }
        }
        Self.fail(unconfirmed, because: error)
    }

    /// The connection ended: what was not sent is forgotten, whoever waits is told.
    func lost(_ error: AMQPError) {
        let (suspended, unconfirmed) = self.state.withLockedValue {
            state -> ([GateChannel.Suspended], [PublishWaiter]) in
            state.failure = error
            state.isRecovering = false
            Self.disconnect(&state)
            var unconfirmed: [PublishWaiter] = []
            for channel in state.channels.values {
                unconfirmed += channel.interrupt()
                channel.failure = error
            }
            return (state.removeAllSuspended(), unconfirmed)
        }
        Self.fail(suspended, unconfirmed, because: error)
    }

    /// `connection.blocked` and `connection.unblocked`.
    func setBlocked(_ reason: String?) {
        self.finish(
            self.state.withLockedValue { state in
                state.blocked = reason
                return state.drain()
            })
    }

    /// Why the broker takes nothing from this connection, while that is so.
    var blockedReason: String? { self.state.withLockedValue { $0.blocked } }

    // MARK: - The life of a channel

    /// - Returns: the epoch of its deliveries.
    func openChannel(_ id: UInt64, number: UInt16) -> UInt64 {
        self.state.withLockedValue { state in
            state.lastEpoch += 1
            state.add(GateChannel(id: id, number: number, epoch: state.lastEpoch))
            return state.lastEpoch
        }
    }

    func knowsChannel(_ id: UInt64) -> Bool { self.state.withLockedValue { $0.channel(id) != nil } }

    /// Whether messages may be published on the channel, now or after its recovery.
    func isOpen(channel id: UInt64) -> Bool {
        self.state.withLockedValue { $0.channel(id).map { $0.failure == nil } ?? false }
    }

    /// A new generation of a channel, which is closed to publishers until ``resumeChannel(_:)``.
    ///
    /// - Parameter isConfirming: whether it will be in confirm mode. One that was only asked to be is not.
    /// - Returns: the epoch of its deliveries.
    func reopenChannel(_ id: UInt64, number: UInt16, isConfirming: Bool) -> UInt64 {
        let (epoch, unconfirmed) = self.state.withLockedValue { state -> (UInt64, [PublishWaiter]) in
            state.lastEpoch += 1
            guard let channel = state.channel(id) else { return (state.lastEpoch, []) }
            channel.number = number
            channel.epoch = state.lastEpoch
            guard !isConfirming else { return (state.lastEpoch, []) }
            // Nobody, if the generation before was ended.
            defer { channel.confirms = nil }
            return (state.lastEpoch, channel.confirms?.failAll() ?? [])
        }
        Self.fail(unconfirmed, because: AMQPError(.connectionLost, "the channel is not in confirm mode any more"))
        return epoch
    }

    /// The channel is as it was: publishers may go on.
    func resumeChannel(_ id: UInt64) {
        self.finish(
            self.state.withLockedValue { state in
                state.channel(id)?.isReady = true
                return state.drain()
            })
    }

    /// This generation of a channel is over, and another one comes: publishers wait, and behind what was accepted so far
    /// goes `farewell`.
    func interruptChannel(_ id: UInt64, _ error: AMQPError, farewell: AMQPMethod?) {
        let (unconfirmed, wake) = self.state.withLockedValue { state -> ([PublishWaiter], Bool) in
            guard let channel = state.channel(id), channel.failure == nil else { return ([], false) }
            let unconfirmed = channel.interrupt()
            return (unconfirmed, Self.append(farewell, channel, &state))
        }
        Self.fail(unconfirmed, because: error)
        if wake { self.wake() }
    }

    /// - Returns: whether the loop has to be told.
    private static func append(_ farewell: AMQPMethod?, _ channel: GateChannel, _ state: inout GateState) -> Bool {
        guard let farewell, state.transport != nil, !state.isClosing,
            (try? state.output.append(farewell, channel: channel.number)) != nil
        else { return false }
        return state.needsWake()
    }

    /// Closes a channel to publishers, and behind what was accepted so far appends `farewell`: after that frame, a
    /// publish would end the whole connection with 504.
    func closeChannel(_ id: UInt64, _ error: AMQPError, farewell: AMQPMethod?) {
        let (suspended, unconfirmed, wake) = self.state.withLockedValue {
            state -> (Deque<GateChannel.Suspended>, [PublishWaiter], Bool) in
            guard let channel = state.channel(id), channel.failure == nil else { return ([], [], false) }
            channel.failure = error
            let unconfirmed = channel.interrupt()
            let suspended = state.removeSuspended(channel)
            return (suspended, unconfirmed, Self.append(farewell, channel, &state))
        }
        Self.fail(suspended, unconfirmed, because: error)
        if wake { self.wake() }
    }

    func forgetChannel(_ id: UInt64) {
        // Nobody, if it was closed before.
        let (suspended, unconfirmed) = self.state.withLockedValue { $0.removeChannel(id) }
        let error = AMQPError(.channelClosed, "the channel is closed")
        Self.fail(suspended, unconfirmed, because: error)
    }

    func pauseChannel(_ id: UInt64, _ isPaused: Bool) {
        self.finish(
            self.state.withLockedValue { state in
                state.channel(id)?.isPaused = isPaused
                return state.drain()
            })
    }

    // MARK: - Confirms

    func isConfirming(channel id: UInt64) -> Bool {
        self.state.withLockedValue { $0.channel(id)?.confirms != nil }
    }

    func confirmed(channel id: UInt64, tag: UInt64, multiple: Bool, acked: Bool) {
        let (resolved, outcome) = self.state.withLockedValue { state in
            let resolved = state.channel(id)?.confirms?.confirmed(tag: tag, multiple: multiple, acked: acked) ?? []
            // Somebody may have waited for the window of unconfirmed messages to open.
            return (resolved, state.suspendedCount > 0 ? state.drain() : GateState.Outcome())
        }
        self.finish(outcome)
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

    func returned(channel id: UInt64, _ message: MandatoryMessage, reply: AMQPError.Reply) {
        self.state.withLockedValue { $0.channel(id)?.confirms?.returned(message, reply: reply) }
    }

    /// Nothing more is published: neither those that wait for room, nor those that wait for a confirm, wait on.
    private static func fail(
        _ suspended: some Sequence<GateChannel.Suspended>, _ unconfirmed: [PublishWaiter], because error: AMQPError
    ) {
        for entry in suspended { entry.waiter.resolve(.failure(error)) }
        self.fail(unconfirmed, because: error)
    }

    private static func fail(_ unconfirmed: [PublishWaiter], because error: AMQPError) {
        guard !unconfirmed.isEmpty else { return }
        let unknown = AMQPError(
            .outcomeUnknown, "the message may or may not have arrived: \(error.message)", reply: error.reply,
            origin: error.origin, cause: error)
        for waiter in unconfirmed { waiter.resolve(.failure(unknown)) }
    }

    // MARK: - Writing, on the event loop

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
                guard let current = state.transport, current === transport else { return GateState.Outcome() }
                state.inFlight -= size
                return state.drain()
            })
    }

    private func finish(_ outcome: GateState.Outcome) {
        for (waiter, result) in outcome.resolved { waiter.resolve(result) }
        if outcome.wake { self.wake() }
    }
}
