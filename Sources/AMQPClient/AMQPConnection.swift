// SPDX-License-Identifier: Apache-2.0
public import AMQPWire
public import Logging
import NIOConcurrencyHelpers
public import NIOCore
import NIOPosix

/// A connection to an AMQP 0-9-1 broker.
///
/// It is an actor on its event loop: from bytes that arrive to a caller that continues is one step. It has to be closed
/// with ``close(within:)``; until then it stays open, even if nobody refers to it.
///
/// A connection that is lost is made again, with its channels, topology and consumers, unless
/// ``AMQPConfiguration/recovery`` is disabled: it stays the same object, as do its channels, and a `for await` over
/// deliveries goes on. What waited for an answer when it was lost ends with `connectionLost`, and a message whose confirm had not
/// arrived with `outcomeUnknown`; what is asked for meanwhile waits for the connection, within its deadline. ``events``
/// tells about it.
public actor AMQPConnection {
    /// What it was made with.
    public nonisolated let configuration: AMQPConfiguration
    /// The loop it lives on, chosen once.
    public nonisolated let eventLoop: any EventLoop
    private nonisolated let executor: any SerialExecutor
    /// The connection's event loop.
    public nonisolated var unownedExecutor: UnownedSerialExecutor { self.executor.asUnownedSerialExecutor() }

    /// Runs tasks on the connection's event loop, which spares them two changes of thread per delivery or reply:
    /// `Task(executorPreference: connection.taskExecutor) { … }`, `withTaskExecutorPreference`.
    ///
    /// For work that is short and never blocks: while it runs, nothing is read or written, heartbeats included.
    public nonisolated let taskExecutor: any TaskExecutor

    nonisolated let gate: PublishGate
    package nonisolated let scheduler: DeadlineScheduler
    nonisolated let logger: Logger

    /// The life of the connection, over all its sockets.
    var machine = ConnectionMachine<PublishWaiter>()
    nonisolated let subscriptions = EventSubscriptions()
    var observers: [@Sendable (AMQPConnectionEvent) -> Void] = []
    private var onEnd: [@Sendable (AMQPError) -> Void] = []

    // What outlives a socket.
    /// Channels that have not ended, by their ids.
    var records: [UInt64: ChannelRecord] = [:]
    var topology = Topology()
    var lastChannelID: UInt64 = 0
    var lastRequestID: UInt64 = 0
    var lastWaiterID: UInt64 = 0
    var backoff: Backoff
    /// Connects again and restores.
    var recovery: Task<Void, Never>?
    /// Restores what is missing although the connection is there.
    var repair: Task<Void, Never>?
    /// What is added to two heartbeats, in which the broker notices the end of a connection, before a queue that is still
    /// locked counts as missing.
    private(set) var lockMargin = Duration.seconds(5)
    func setLockMargin(_ margin: Duration) { self.lockMargin = margin }
    /// What does not come back, while the connection is open.
    var unhealthiness: AMQPRecoveryReport?

    // One socket's.
    var transport: (any Channel)?
    var handler: ConnectionHandler?
    /// Sockets on the way to being connected. A host may have several addresses, and one of them wins.
    var candidates: [(channel: any Channel, handler: ConnectionHandler)] = []
    var handshake: HandshakeMachine
    // Unchecked here and where every frame passes: parsing calls nothing that could come back to what it changes, and the
    // check at run time would be made for every frame.
    @exclusivity(unchecked) var decoder: AMQPFrameDecoder
    /// Whether what arrives still counts: the socket may have been given up in the middle of a read.
    @exclusivity(unchecked) var isReading = false
    /// Whether ``handshake`` is done, at hand for every frame.
    @exclusivity(unchecked) var isHandshakeDone = false
    var heartbeat: HeartbeatMonitor?
    var heartbeatTimer: DeadlineScheduler.Token?
    var negotiated: HandshakeMachine.Negotiated?
    var renewal = Renewal()
    var numbers = ChannelNumbers(maximum: 0)
    var channels: [UInt16: ChannelCore] = [:]
    @exclusivity(unchecked) var lastChannel: ChannelCore?
    var highestNumber: UInt16 = 0
    private var touched: [ChannelConsumer] = []
    private var fullConsumers = 0

    private init(_ configuration: AMQPConfiguration, eventLoop: any EventLoop, logger: Logger) {
        self.configuration = configuration
        self.eventLoop = eventLoop
        self.executor = eventLoop.executor
        self.taskExecutor = EventLoopTaskExecutor(eventLoop)
        self.gate = PublishGate(
            eventLoop: eventLoop, highWaterMark: configuration.outputHighWaterMark,
            maximumUnconfirmed: configuration.maximumUnconfirmed)
        self.scheduler = DeadlineScheduler(eventLoop: eventLoop)
        self.logger = logger
        self.backoff = Backoff(configuration.recovery)
        self.handshake = HandshakeMachine(configuration)
        self.decoder = AMQPFrameDecoder(maximumFrameSize: max(configuration.frameMax, AMQPFrame.minimumFrameMax))
    }

    /// Connects and completes the handshake.
    ///
    /// - Parameters:
    ///   - eventLoop: where the connection lives; by default one of the process's shared loops.
    /// - Throws: ``AMQPError``, within ``AMQPConfiguration/connectTimeout``: `connectFailed`, `connectTimedOut`, `tlsFailed`,
    ///   `connectionClosed` (the broker closed it before it was open), `authenticationFailed`, `virtualHostRefused`,
    ///   `invalidArgument`, `protocolViolation` or `cancelled`.
    public static func connect(
        _ configuration: AMQPConfiguration = .init(), on eventLoop: (any EventLoop)? = nil, logger: Logger? = nil
    ) async throws(AMQPError) -> AMQPConnection {
        let connection = Self.unconnected(configuration, on: eventLoop, logger: logger)
        try await connection.open()
        return connection
    }

    /// The same over a transport that is connected already and runs on `eventLoop`: for tests that do without sockets.
    /// There is no other one, so nothing is recovered.
    package static func connect(
        _ configuration: AMQPConfiguration, on eventLoop: any EventLoop, over transport: any Channel
    ) async throws(AMQPError) -> AMQPConnection {
        var configuration = configuration
        configuration.recovery = .disabled
        let connection = Self.unconnected(configuration, on: eventLoop)
        try await connection.open(over: transport)
        return connection
    }

    static func unconnected(
        _ configuration: AMQPConfiguration, on eventLoop: (any EventLoop)? = nil, logger: Logger? = nil
    ) -> AMQPConnection {
        AMQPConnection(
            configuration, eventLoop: eventLoop ?? SharedEventLoops.next(),
            logger: logger ?? Logger(label: "amqp.client", factory: { _ in SwiftLogNoOpLogHandler() }))
    }

    /// What the broker said of itself: product, version, capabilities.
    public var serverProperties: AMQPTable { self.negotiated?.serverProperties ?? [:] }
    /// Largest frame agreed on, in bytes.
    public var frameMax: UInt32 { self.negotiated?.frameMax ?? 0 }
    /// Heartbeat interval agreed on; zero means none.
    public var heartbeatInterval: Duration { .seconds(Int64(self.negotiated?.heartbeat ?? 0)) }

    /// Whether it is connected, and neither being closed nor recovered.
    public var isOpen: Bool { self.machine.isOpen }

    /// Whether it is open and everything is there that should be: after a recovery, as many consumers as before.
    public var isHealthy: Bool { self.machine.isOpen && self.unhealthiness == nil }

    /// What becomes of the connection, from now on; it begins with how it is now. Any number may look.
    public nonisolated var events: AMQPConnectionEvents { self.subscriptions.subscribe() }

    func emit(_ event: AMQPConnectionEvent) {
        self.subscriptions.send(event)
        for observer in self.observers { observer(event) }
    }

    /// Calls `action` on the connection's event loop with every event from now on, before anything else happens.
    package func observe(_ action: @escaping @Sendable (AMQPConnectionEvent) -> Void) { self.observers.append(action) }

    // MARK: - Reading

    func received(_ bytes: ByteBuffer) {
        self.heartbeat?.received(now: .now())
        if !self.isHandshakeDone { self.handshake.received(bytes: bytes) }
        self.decoder.append(bytes)
        do throws(AMQPWireError) {
            while let frame = try self.decoder.nextFrame() {
                guard self.isReading else { return }
                try self.received(frame)
            }
        } catch {
            self.protocolFailed(self.handshake.isDone ? AMQPError(decoding: error) : self.handshake.undecodable(error))
        }
    }

    func readCompleted() {
        let touched = self.touched
        self.touched.removeAll(keepingCapacity: true)
        for consumer in touched {
            consumer.isTouched = false
            guard consumer.sink.batchEnded(), !consumer.isFull, !consumer.isRemoved else { continue }
            consumer.isFull = true
            guard !consumer.isLeaving else { continue }
            self.fullConsumers += 1
            self.handler?.setPaused(true)
        }
    }

    /// A consumer's buffer has room again.
    func hasRoom(_ consumer: ChannelConsumer) {
        guard consumer.isFull else { return }
        consumer.isFull = false
        guard !consumer.isLeaving else { return }
        self.fullConsumers -= 1
        guard self.fullConsumers == 0 else { return }
        // While nothing was read, nothing could be heard either.
        self.heartbeat?.received(now: .now())
        self.handler?.setPaused(false)
    }

    /// The consumer is about to end: that nobody makes room in its buffer must not keep the broker's answer from being
    /// read. What it has no room for goes back.
    func leave(_ consumer: ChannelConsumer) {
        guard !consumer.isLeaving else { return }
        let wasFull = consumer.isFull
        self.hasRoom(consumer)
        consumer.isLeaving = true
        consumer.isFull = wasFull
    }

    private func received(_ frame: consuming AMQPFrame) throws(AMQPWireError) {
        if case .heartbeat = frame { return }
        guard frame.channel != 0 else {
            guard case .method(_, let method) = frame else {
                throw AMQPWireError(.unexpectedFrame, "content on channel 0")
            }
            self.receivedOnConnection(method)
            return
        }
        guard self.isHandshakeDone else {
            throw AMQPWireError(.unexpectedFrame, "a frame on channel \(frame.channel) during the handshake")
        }
        guard let core = self.core(frame.channel) else {
            // Stragglers of a channel that was closed are legal; a number never used is not.
            guard frame.channel <= self.highestNumber else {
                let text = "a frame on channel \(frame.channel), which was never opened"
                self.violated(
                    AMQPError(.protocolViolation, text, reply: .init(code: 504, text: text), origin: .peer))
                return
            }
            return
        }
        let outcome =
            switch frame {
            case .method(_, let method): try core.assembler.received(method)
            case .header(_, let header): try core.assembler.received(header)
            case .body(_, let fragment): try core.assembler.received(body: fragment)
            case .heartbeat: AMQPContentAssembler.Outcome.incomplete
            }
        switch outcome {
        case .incomplete: break
        case .method(let method): self.received(method, on: core)
        case .content(let content): try self.received(content, on: core)
        }
    }

    /// The channel of a frame: most often the one of the frame before.
    private func core(_ number: UInt16) -> ChannelCore? {
        if let lastChannel, lastChannel.number == number { return lastChannel }
        let core = self.channels[number]
        self.lastChannel = core
        return core
    }

    /// Nothing that was read waits for anybody any more.
    func forgetReading() {
        for consumer in self.touched { consumer.isTouched = false }
        self.touched.removeAll()
        for core in self.channels.values { for consumer in core.consumers.values { consumer.isFull = false } }
        self.fullConsumers = 0
    }

    private func receivedOnConnection(_ method: AMQPMethod) {
        guard self.handshake.isDone else {
            self.perform(self.handshake.received(method))
            return
        }
        switch method {
        case .connectionClose(let close):
            self.writeQuietly(.connectionCloseOk(.init()), channel: 0)
            self.lost(AMQPError(close))
        case .connectionCloseOk:
            if self.machine.isClosing { self.end(Self.closedByUs) } else { self.misplaced(method) }
        case .connectionBlocked(let blocked):
            self.logger.info("blocked by the broker", metadata: ["amqp.reply.text": "\(blocked.reason.printable())"])
            self.gate.setBlocked(blocked.reason)
            self.emit(.blocked(reason: blocked.reason.printable()))
        case .connectionUnblocked:
            self.logger.info("unblocked by the broker")
            self.gate.setBlocked(nil)
            self.emit(.unblocked)
        case .connectionUpdateSecretOk:
            if !self.secretUpdated() { self.misplaced(method) }
        default: self.misplaced(method)
        }
    }

    private func misplaced(_ method: AMQPMethod) {
        self.protocolFailed(ChannelMachine<ReplyWaiter>.violation("\(method.id) on channel 0", method.id))
    }

    private func received(_ content: AMQPContentAssembler.Content, on core: ChannelCore) throws(AMQPWireError) {
        guard !core.machine.isClosing else { return }
        switch content.method {
        case .basicDeliver(let deliver):
            guard let consumer = core.consumers[deliver.consumerTag] else {
                // Without its consumer it is not known whether it may be refused; it goes back when the channel ends.
                self.logger.debug(
                    "delivery for an unknown consumer", metadata: ["amqp.consumer_tag": "\(deliver.consumerTag)"])
                return
            }
            let delivery = AMQPDelivery(
                deliver, properties: try content.header.decodeProperties(), body: content.body,
                channel: core.channel,
                epoch: core.epoch)
            if consumer.needsAcknowledgement { self.gate.delivered(deliver.deliveryTag, channel: core.id) }
            if consumer.isLeaving, consumer.isFull {
                // Refused where it needs no acknowledgement, or behind `connection.close`: there is nothing to give back.
                try? delivery.nack(requeue: true)
                return
            }
            consumer.sink.received(delivery)
            if !consumer.isTouched {
                consumer.isTouched = true
                self.touched.append(consumer)
            }
        case .basicReturn(let returned):
            let properties = try content.header.decodeProperties()
            let reply = AMQPError.Reply(code: returned.replyCode, text: returned.replyText)
            if let id = properties.messageID {
                let message = MandatoryMessage(
                    id: id, exchange: returned.exchange, routingKey: returned.routingKey)
                self.gate.returned(channel: core.id, message, reply: reply)
            }
            core.record.returns?(
                AMQPReturnedMessage(
                    reply: reply, exchange: returned.exchange, routingKey: returned.routingKey, properties: properties,
                    body: content.body))
        default:
            self.replied(content.method.id, .content(content, epoch: core.epoch), on: core)
        }
    }

    /// Whether the socket is not read, because a consumer is full.
    var isReadingPaused: Bool { self.fullConsumers > 0 }
    var channelCount: Int { self.channels.count }
    /// Consumers on all channels.
    var consumerCount: Int { self.channels.values.reduce(0) { $0 + $1.consumers.count } }

    // MARK: - Heartbeats

    func scheduleHeartbeat() {
        if let heartbeatTimer { self.scheduler.cancel(heartbeatTimer) }
        guard let interval = self.heartbeat?.tickInterval else { return }
        self.heartbeatTimer = self.scheduler.schedule(at: .now() + interval) {
            self.assumeIsolated { $0.heartbeatTick() }
        }
    }

    private func heartbeatTick() {
        guard self.isReading else { return }
        self.heartbeat?.sent(at: self.gate.lastWrite)
        switch self.heartbeat?.tick(now: .now(), isReading: self.fullConsumers == 0 && self.handshake.isDone) {
        case .send: self.gate.writeHeartbeat()
        case .dead:
            // No farewell: whoever does not speak does not listen.
            let interval = self.heartbeatInterval
            self.lost(
                AMQPError(
                    .connectionClosed, "nothing was heard from the broker for two intervals of \(interval)",
                    origin: .peer))
            return
        case .some(.none), nil: break
        }
        self.scheduleHeartbeat()
    }

    // MARK: - Ending

    static var closedByUs: AMQPError { ConnectionMachine<PublishWaiter>.closedByUs }

    /// Closes the connection: what was published before is written first. This wins over a recovery.
    ///
    /// Sends `connection.close` and waits for the answer. A broker that does not answer in time is hung up on. Closing
    /// again, or closing what was lost, does nothing. It goes on to the end even if the calling task is cancelled.
    public func close(within timeout: Duration = .seconds(5)) async {
        switch self.machine.close() {
        case .wait: break
        case .ended(let resolutions): self.finish(Self.closedByUs, resolutions)
        case .send(let resolutions):
            self.stopRecovering()
            for core in self.channels.values { for consumer in core.consumers.values { self.leave(consumer) } }
            self.gate.close(
                Self.closedByUs,
                farewell: .connectionClose(
                    .init(replyCode: 200, replyText: "goodbye", failingClassID: 0, failingMethodID: 0)))
            for (waiter, error) in resolutions { waiter.resolve(error.map { .failure($0) } ?? .success(())) }
        }
        let waiter = PublishWaiter(cancelled: .cancelled)
        let deadline = self.scheduler.schedule(after: timeout) {
            self.assumeIsolated { $0.end(Self.closedByUs) }
        }
        if !self.machine.waitForEnd(waiter) { waiter.resolve(.success(())) }
        try? await waiter.uncancellableValue()
        self.scheduler.cancel(deadline)
        if let transport { try? await transport.closeFuture.get() }
    }

    /// The socket closed, or failed.
    func transportEnded(_ cause: (any Error)?) {
        guard self.isReading else { return }
        guard self.handshake.isDone else {
            self.lost(self.handshake.connectionEnded(cause))
            return
        }
        let why = cause.map { " (\(ConnectFailure.describe($0)))" } ?? ""
        self.lost(
            AMQPError(.connectionClosed, "the connection to the broker was lost\(why)", origin: .peer, cause: cause))
    }

    private func protocolFailed(_ error: AMQPError) {
        guard self.isReading else { return }
        self.logger.info("protocol error", metadata: ["error": "\(error.message)"])
        let reply = error.reply
        self.writeQuietly(
            .connectionClose(
                .init(
                    replyCode: reply?.code ?? 501, replyText: String((reply?.text ?? "").prefix(60)),
                    failingClassID: reply?.method?.classID ?? 0, failingMethodID: reply?.method?.methodID ?? 0)),
            channel: 0)
        self.lost(error)
    }

    /// Ends the connection at once: what it was for cannot go on.
    package func abandon(_ error: AMQPError) { self.end(error) }

    func violated(_ error: AMQPError) { self.protocolFailed(error) }

    /// Writes what cannot fail to encode.
    func writeQuietly(_ method: AMQPMethod, channel: UInt16) {
        do {
            try self.gate.write(method, channel: channel)
        } catch {
            self.logger.debug("not written", metadata: ["amqp.method": "\(method.id)", "error": "\(error.message)"])
        }
    }

    func writeQuietly(_ method: AMQPMethod, on core: ChannelCore) { self.writeQuietly(method, channel: core.number) }

    /// Socket, handshake or session ended: the attempt failed, or the connection is made again, or it is over.
    func lost(_ error: AMQPError) {
        switch self.machine.lost(error, recovers: self.configuration.recovery.isEnabled) {
        case .ignore: break
        case .attemptFailed(let waiter):
            self.dropSocket()
            self.gate.disconnected()
            waiter.resolve(.failure(error))
        case .recover:
            self.interrupt(error)
            self.startRecovering(error)
        case .interrupted: self.interrupt(error)
        case .ended(let resolutions): self.finish(error, resolutions)
        }
    }

    /// The one end of a connection, however it comes about. Everybody who waits is told.
    func end(_ error: AMQPError) {
        guard let resolutions = self.machine.ended(error) else { return }
        self.finish(error, resolutions)
    }

    private func finish(_ error: AMQPError, _ resolutions: [ConnectionMachine<PublishWaiter>.Resolution]) {
        self.stopRecovering()
        self.dropSocket()
        self.gate.lost(error)
        self.logger.debug("connection ended", metadata: ["error": "\(error.message)"])
        for record in self.records.values { self.end(record, error) }
        for core in self.channels.values { self.forget(core, error) }
        self.channels.removeAll()
        self.lastChannel = nil
        self.forgetReading()
        for (waiter, error) in resolutions { waiter.resolve(error.map { .failure($0) } ?? .success(())) }
        for action in self.onEnd { action(error) }
        self.onEnd.removeAll()
        self.emit(.closed(error))
        self.observers.removeAll()
        self.scheduler.cancelAll()
    }

    /// Nothing that comes from the socket counts any more; what was written before, such as a farewell, goes out.
    func dropSocket() {
        self.isReading = false
        self.gate.flushBeforeEnd()
        self.handler?.isChosen = false
        self.handler = nil
        self.stopRenewal()
        if let heartbeatTimer { self.scheduler.cancel(heartbeatTimer) }
        self.heartbeatTimer = nil
        self.heartbeat = nil
        self.transport?.close(promise: nil)
        for candidate in self.candidates { candidate.channel.close(promise: nil) }
        self.candidates.removeAll()
    }

    /// Runs `action` on the loop when the connection has ended; at once if it has.
    package func whenEnded(_ action: @escaping @Sendable (AMQPError) -> Void) {
        if let error = self.machine.end { action(error) } else { self.onEnd.append(action) }
    }
}
