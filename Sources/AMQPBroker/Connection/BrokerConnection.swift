// SPDX-License-Identifier: Apache-2.0
import AMQPWire
import DequeModule
import Logging
import NIOCore

/// Asks a connection's handler, as a user event, to close with a reason.
struct ForcedClose: Sendable {
    let exception: BrokerException
}

/// Asks it to close a channel with a reason.
struct ForcedChannelClose: Sendable {
    let channel: UInt16
    let exception: BrokerException
}

/// Tells it that memory is short, or no longer.
struct AlarmChanged: Sendable {}

/// Asks it to read and write no more, as if the network between had gone.
struct FallSilent: Sendable {}

/// Drives one connection: bytes in, handshake, commands to the virtual host, and the end. On its event loop only.
final class BrokerConnection: ChannelDuplexHandler {
    typealias InboundIn = ByteBuffer
    typealias OutboundIn = ByteBuffer
    typealias OutboundOut = ByteBuffer

    struct Settings: Sendable {
        var handshake: @Sendable (_ isLocal: Bool) -> Handshake.Parameters
        var handshakeTimeout: TimeAmount
        /// How long a close may take before the socket is closed regardless.
        var closeTimeout: TimeAmount
        var maximumMessageSize: Int
        var frameMax: UInt32
        var virtualHosts: [String: VirtualHost]
        /// While it is over its limit, who publishes is not read any more.
        var memory: MemoryGauge
    }

    private enum Phase {
        /// Bytes of the protocol header so far.
        case header(ByteBuffer)
        case handshake(Handshake)
        case open(CommandRunner)
        /// We sent connection.close, or the last bytes there are; only the answer matters.
        case closing
        case closed
    }

    private let settings: Settings
    private let number: UInt64
    private let logger: Logger
    private let output: ConnectionOutput
    private var phase = Phase.header(ByteBuffer())
    private var frames: AMQPFrameDecoder
    private var session: Handshake.Session?
    private var heartbeat: HeartbeatMonitor?
    private var hasReceived = false
    /// A read that waits until what was written has drained, or memory is not short any more.
    private var hasHeldRead = false
    private var isBlocked = false
    /// A test cut the network: nothing is read or written until somebody gives up.
    private var isSilent = false
    private var deadline: Scheduled<Void>?
    private var heartbeatTask: RepeatedTask?

    /// - Parameter number: unique in the broker.
    init(settings: Settings, number: UInt64, output: ConnectionOutput, logger: Logger) {
        self.settings = settings
        self.number = number
        self.output = output
        self.logger = logger
        self.frames = AMQPFrameDecoder(maximumFrameSize: Self.largestFrame(settings.frameMax))
    }

    /// Many clients take frame-max for the largest payload, so RabbitMQ lets the eight bytes around that pass, and so do we.
    private static func largestFrame(_ frameMax: UInt32) -> UInt32 {
        UInt32(clamping: Int(frameMax) + AMQPFrame.overhead)
    }

    // MARK: - Events of the channel

    func handlerAdded(context: ChannelHandlerContext) {
        self.setDeadline(self.settings.handshakeTimeout, context, "A connection was not opened in time")
    }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        guard !self.isSilent else { return }
        self.hasReceived = true
        self.output.hold()
        self.received(self.unwrapInboundIn(data), context)
    }

    func channelReadComplete(context: ChannelHandlerContext) {
        self.output.flush()
        context.fireChannelReadComplete()
    }

    /// A client that does not read what it asked for is not listened to until it does.
    func read(context: ChannelHandlerContext) {
        guard !self.isSilent else { return }
        switch self.phase {
        case .open where self.isBlocked || self.output.isThrottled: self.hasHeldRead = true
        default: context.read()
        }
    }

    func userInboundEventTriggered(context: ChannelHandlerContext, event: Any) {
        switch event {
        case is OutputDrained: self.drained(context)
        case let event as OutputFailed: self.fail(event.exception, context)
        case let event as ForcedClose: self.fail(event.exception, context)
        case let event as ForcedChannelClose: self.closeChannel(event)
        case is AlarmChanged: self.alarmChanged(context)
        case is FallSilent: self.fallSilent()
        default: context.fireUserInboundEventTriggered(event)
        }
    }

    func errorCaught(context: ChannelHandlerContext, error: any Error) {
        self.logger.debug("A connection failed", metadata: [LogKey.error: "\(error)"])
        context.close(promise: nil)
    }

    func channelInactive(context: ChannelHandlerContext) {
        self.leaveVirtualHost()
        self.phase = .closed
        self.output.close()
        self.deadline?.cancel()
        self.heartbeatTask?.cancel()
        self.logger.debug("A connection is closed")
        context.fireChannelInactive()
    }

    // MARK: - Input

    private func received(_ bytes: ByteBuffer, _ context: ChannelHandlerContext) {
        switch self.phase {
        case .header(var header):
            header.writeImmutableBuffer(bytes)
            self.receivedHeader(header, context)
        case .handshake, .open:
            self.frames.append(bytes)
            self.process(context)
        case .closing:
            self.frames.append(bytes)
            self.processClosing(context)
        case .closed: break
        }
    }

    private func receivedHeader(_ bytes: ByteBuffer, _ context: ChannelHandlerContext) {
        var bytes = bytes
        let expected = AMQPProtocolHeader.bytes
        // Another protocol is told at once, even if it sends fewer bytes than the eight there should be.
        let beginsRight = bytes.readableBytesView.starts(with: expected.prefix(bytes.readableBytes))
        guard beginsRight else {
            self.logger.debug("A client speaks another protocol")
            _ = self.output.append { frames throws(AMQPWireError) in frames.appendProtocolHeader() }
            self.finish(context, lingering: true)
            return
        }
        guard bytes.readableBytes >= expected.count else {
            self.phase = .header(bytes)
            return
        }
        bytes.moveReaderIndex(forwardBy: expected.count)
        let isLocal = context.remoteAddress?.isLoopback ?? true
        self.phase = .handshake(Handshake(self.settings.handshake(isLocal)))
        self.send(Handshake.start)
        if bytes.readableBytes > 0 {
            self.frames.append(bytes)
            self.process(context)
        }
    }

    private func process(_ context: ChannelHandlerContext) {
        while true {
            switch self.phase {
            case .handshake: guard self.processHandshake(context) else { return }
            case .open(let runner):
                let verdict = runner.process(&self.frames)
                if runner.hasPublished { self.blockIfNeeded(runner) }
                switch verdict {
                case .waiting: return
                case .failed(let exception): return self.fail(exception, context)
                case .closed:
                    // Requeued and deleted before close-ok: who opens the next connection finds it done.
                    self.leaveVirtualHost()
                    self.send(.connectionCloseOk(.init()))
                    return self.finish(context, lingering: false)
                }
            case .header, .closing, .closed: return
            }
        }
    }

    /// - Returns: whether to go on with what is there.
    private func processHandshake(_ context: ChannelHandlerContext) -> Bool {
        guard case .handshake(var handshake) = self.phase else { return true }
        let frame: AMQPFrame?
        do {
            frame = try self.frames.nextFrame()
        } catch {
            self.fail(BrokerException(error), context)
            return false
        }
        switch frame {
        case nil: return false
        case .heartbeat: return true
        case .method(channel: 0, .connectionClose):
            self.send(.connectionCloseOk(.init()))
            self.finish(context, lingering: false)
            return false
        case .method(channel: 0, let method):
            let action = handshake.received(method)
            self.phase = .handshake(handshake)
            return self.perform(action, context)
        default:
            self.fail(.unexpectedFrame("expected a method on channel 0"), context)
            return false
        }
    }

    private func perform(_ action: Handshake.Action, _ context: ChannelHandlerContext) -> Bool {
        switch action {
        case .send(let method):
            self.send(method)
            return true
        case .tuned(let session):
            self.frames.maximumFrameSize = Self.largestFrame(session.frameMax)
            self.output.setFrameMax(session.frameMax)
            self.startHeartbeats(session.heartbeat, context)
            return true
        case .opened(let session):
            guard let virtualHost = self.settings.virtualHosts[session.virtualHost] else { return false }
            self.deadline?.cancel()
            self.deadline = nil
            self.session = session
            self.send(.connectionOpenOk(.init()))
            self.phase = .open(
                CommandRunner(
                    virtualHost: virtualHost, session: session,
                    identity: .init(
                        number: self.number, name: session.connectionName,
                        address: context.remoteAddress?.description ?? ""),
                    output: self.output, maximumMessageSize: self.settings.maximumMessageSize,
                    memory: self.settings.memory, logger: self.logger))
            self.logger.debug(
                "A connection is open",
                metadata: [
                    LogKey.user: "\(session.user)", LogKey.virtualHost: "\(session.virtualHost)",
                    LogKey.connectionName: "\(session.connectionName ?? "")",
                ])
            return true
        case .refuse(let exception):
            self.fail(exception, context)
            return false
        case .hangUp:
            self.logger.debug("A login was refused")
            self.finish(context, lingering: true)
            return false
        }
    }

    // MARK: - Back-pressure

    private func drained(_ context: ChannelHandlerContext) {
        self.output.hold()
        if case .open(let runner) = self.phase { runner.resume() }
        self.process(context)
        self.output.flush()
        guard !self.isBlocked, !self.output.isThrottled else { return }
        self.releaseRead(context)
    }

    /// Who publishes while memory is short is told, if it wants to be, and not read any more (RabbitMQ's extension).
    private func blockIfNeeded(_ runner: CommandRunner) {
        guard !self.isBlocked, self.settings.memory.isOver else { return }
        self.isBlocked = true
        runner.setBlocked(true)
        guard self.session?.notifiesBlocked == true else { return }
        self.send(.connectionBlocked(.init(reason: "low on memory")))
    }

    private func alarmChanged(_ context: ChannelHandlerContext) {
        guard case .open(let runner) = self.phase, self.isBlocked, !self.settings.memory.isOver else { return }
        self.isBlocked = false
        runner.setBlocked(false)
        if self.session?.notifiesBlocked == true { self.send(.connectionUnblocked(.init())) }
        guard !self.output.isThrottled else { return }
        self.releaseRead(context)
    }

    // MARK: - What tests ask for

    private func closeChannel(_ event: ForcedChannelClose) {
        guard case .open(let runner) = self.phase else { return }
        runner.closeChannel(event.channel, with: event.exception)
    }

    /// What belongs to the connection stays until its heartbeats are missed or the client hangs up, as when a network fails.
    private func fallSilent() {
        self.isSilent = true
        self.output.close()
    }

    // MARK: - Heartbeats

    private func startHeartbeats(_ seconds: UInt16, _ context: ChannelHandlerContext) {
        guard let heartbeat = HeartbeatMonitor(seconds: seconds, now: .now()) else { return }
        self.heartbeat = heartbeat
        let interval = heartbeat.tickInterval
        let bound = NIOLoopBound((self, context), eventLoop: context.eventLoop)
        self.heartbeatTask = context.eventLoop.scheduleRepeatedTask(initialDelay: interval, delay: interval) { _ in
            let (connection, context) = bound.value
            connection.tick(context)
        }
    }

    private func tick(_ context: ChannelHandlerContext) {
        let now = NIODeadline.now()
        if self.hasReceived { self.heartbeat?.received(now: now) }
        self.hasReceived = false
        if self.output.takeActivity() { self.heartbeat?.sent(at: now) }
        switch self.heartbeat?.tick(now: now, isReading: !self.hasHeldRead) {
        case .dead:
            self.logger.debug("A connection missed its heartbeats")
            context.close(promise: nil)
        case .send:
            _ = self.output.append { frames throws(AMQPWireError) in frames.appendHeartbeat() }
            self.output.flush()
        case .some(.none), nil: break
        }
    }

    // MARK: - The end

    private func send(_ method: AMQPMethod) {
        let outcome = self.output.append { frames throws(AMQPWireError) in try frames.append(method, channel: 0) }
        if outcome.needsWake { self.output.wake() }
    }

    /// Closes with a reason, and waits for close-ok.
    private func fail(_ exception: BrokerException, _ context: ChannelHandlerContext) {
        switch self.phase {
        case .closing, .closed: return
        case .handshake where !self.isSilent, .open where !self.isSilent: break
        case .header, .handshake, .open:
            context.close(promise: nil)
            return
        }
        self.leaveVirtualHost()
        self.phase = .closing
        self.logger.debug(
            "A connection is closed with an error",
            metadata: [
                LogKey.replyCode: "\(exception.code)", LogKey.replyText: "\(exception.text)",
                LogKey.method: "\(exception.method?.description ?? "")",
            ])
        self.send(
            .connectionClose(
                .init(
                    replyCode: exception.code, replyText: exception.text,
                    failingClassID: exception.method?.classID ?? 0, failingMethodID: exception.method?.methodID ?? 0)))
        self.output.flush()
        self.setDeadline(self.settings.closeTimeout, context, "A client did not answer connection.close")
        self.releaseRead(context)
        self.processClosing(context)
    }

    private func processClosing(_ context: ChannelHandlerContext) {
        // After a frame error the stream cannot be followed: what comes is dropped until the client closes.
        while let frame = try? self.frames.nextFrame() {
            switch frame {
            case .method(channel: 0, .connectionCloseOk):
                context.close(promise: nil)
                return
            case .method(channel: 0, .connectionClose):
                self.send(.connectionCloseOk(.init()))
                self.finish(context, lingering: false)
                return
            default: continue
            }
        }
    }

    /// Writes what is left and closes.
    ///
    /// - Parameter lingering: wait for the client to close first. Closing a socket with unread input resets it, and the
    ///   client would lose what was written last.
    private func finish(_ context: ChannelHandlerContext, lingering: Bool) {
        self.phase = .closing
        self.output.flush()
        self.setDeadline(self.settings.closeTimeout, context, "A client did not read the end of its connection")
        let bound = NIOLoopBound(context, eventLoop: context.eventLoop)
        context.writeAndFlush(self.wrapOutboundOut(ByteBuffer())).whenComplete { _ in
            bound.value.close(mode: lingering ? .output : .all, promise: nil)
        }
        self.releaseRead(context)
    }

    private func releaseRead(_ context: ChannelHandlerContext) {
        guard self.hasHeldRead else { return }
        self.hasHeldRead = false
        context.read()
    }

    private func leaveVirtualHost() {
        guard case .open(let runner) = self.phase else { return }
        runner.leave()
    }

    private func setDeadline(_ timeout: TimeAmount, _ context: ChannelHandlerContext, _ message: Logger.Message) {
        self.deadline?.cancel()
        let bound = NIOLoopBound((self, context), eventLoop: context.eventLoop)
        self.deadline = context.eventLoop.scheduleTask(in: timeout) {
            let (connection, context) = bound.value
            connection.logger.debug(message)
            context.close(promise: nil)
        }
    }
}

extension SocketAddress {
    /// Whether the other end is on this machine.
    var isLoopback: Bool {
        switch self {
        case .unixDomainSocket: true
        case .v4, .v6:
            self.ipAddress.map {
                $0.hasPrefix("127.") || $0 == "::1" || $0.hasPrefix("::ffff:127.")
            } ?? false
        }
    }
}
