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
public actor AMQPConnection {
    enum Phase {
        case connecting(Waiter<Void, AMQPError>)
        case open
        case closing
        case closed(AMQPError)
    }

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

    var phase: Phase
    var transport: (any Channel)?
    private var handler: ConnectionHandler?
    /// Sockets on the way to being connected. A host may have several addresses, and one of them wins.
    private var candidates: [(channel: any Channel, handler: ConnectionHandler)] = []
    private var handshake: HandshakeMachine
    // Unchecked here and where every frame passes: parsing calls nothing that could come back to what it changes, and the
    // check at run time would be made for every frame.
    @exclusivity(unchecked) private var decoder: AMQPFrameDecoder
    private var heartbeat: HeartbeatMonitor?
    private var negotiated: HandshakeMachine.Negotiated?
    private var numbers = ChannelNumbers(maximum: 0)
    var channels: [UInt16: ChannelCore] = [:]
    @exclusivity(unchecked) private var lastChannel: ChannelCore?
    private var highestNumber: UInt16 = 0
    private var lastChannelID: UInt64 = 0
    var lastRequestID: UInt64 = 0
    private var touched: [ChannelCore.Consumer] = []
    private var fullConsumers = 0
    private var endWaiters: [PublishWaiter] = []
    private var onEnd: [@Sendable (AMQPError) -> Void] = []

    private init(_ configuration: AMQPConfiguration, eventLoop: any EventLoop, logger: Logger) {
        self.configuration = configuration
        self.eventLoop = eventLoop
        self.executor = eventLoop.executor
        self.taskExecutor = EventLoopTaskExecutor(eventLoop)
        self.gate = PublishGate(eventLoop: eventLoop, highWaterMark: configuration.outputHighWaterMark)
        self.scheduler = DeadlineScheduler(eventLoop: eventLoop)
        self.logger = logger
        self.phase = .connecting(Waiter(cancelled: .cancelled))
        self.handshake = HandshakeMachine(configuration)
        self.decoder = AMQPFrameDecoder(maximumFrameSize: max(configuration.frameMax, AMQPFrame.minimumFrameMax))
    }

    /// Connects and completes the handshake.
    ///
    /// - Parameters:
    ///   - eventLoop: where the connection lives; by default one of the process's shared loops.
    /// - Throws: ``AMQPError``, within ``AMQPConfiguration/connectTimeout``: `connectFailed`, `connectTimedOut`,
    ///   `authenticationFailed`, `virtualHostRefused`, `invalidArgument`, `protocolViolation` or `cancelled`.
    public static func connect(
        _ configuration: AMQPConfiguration = .init(), on eventLoop: (any EventLoop)? = nil, logger: Logger? = nil
    ) async throws(AMQPError) -> AMQPConnection {
        let connection = Self.unconnected(configuration, on: eventLoop, logger: logger)
        try await connection.open()
        return connection
    }

    /// The same over a transport that is connected already and runs on `eventLoop`: for tests that do without sockets.
    package static func connect(
        _ configuration: AMQPConfiguration, on eventLoop: any EventLoop, over transport: any Channel
    ) async throws(AMQPError) -> AMQPConnection {
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

    /// Whether it is connected, and not being closed.
    public var isOpen: Bool {
        if case .open = self.phase { true } else { false }
    }

    // MARK: - Opening

    func open(over transport: (any Channel)? = nil) async throws(AMQPError) {
        guard case .connecting(let waiter) = self.phase else { return }
        let timeout = self.configuration.connectTimeout
        let address = self.configuration.address
        let deadline = self.scheduler.schedule(after: timeout) {
            waiter.resolve(
                .failure(AMQPError(.connectTimedOut, "no answer from the broker at \(address) within \(timeout)")))
        }
        do {
            if let transport {
                self.connected(Result { try self.prepare(transport) }.map { transport })
            } else {
                let address = self.configuration.addresses.randomElement() ?? self.configuration.address
                var tls: TLSContext?
                if let settings = self.configuration.tls { tls = try await TLSContext.make(settings) }
                self.handshake = HandshakeMachine(
                    self.configuration, address: address, secret: try await self.configuration.credentials.secret())
                self.startConnecting(to: address, tls)
            }
            try await waiter.value()
            self.scheduler.cancel(deadline)
        } catch {
            // Timed out, cancelled, or refused: nothing may stay behind.
            self.end(error)
            throw error
        }
    }

    private func startConnecting(to address: AMQPConfiguration.Address, _ tls: TLSContext?) {
        Connector.connect(
            to: address, tls: tls, on: self.eventLoop, timeout: TimeAmount(self.configuration.connectTimeout.inBounds)
        ) { channel in
            channel.eventLoop.makeCompletedFuture { try self.assumeIsolated { try $0.prepare(channel) } }
        }.whenComplete { result in self.assumeIsolated { $0.connected(result) } }
    }

    private func prepare(_ channel: any Channel) throws {
        // A look-up or a further address that comes after we gave up goes no further.
        if case .closed(let error) = self.phase { throw error }
        let handler = ConnectionHandler(self)
        try channel.pipeline.syncOperations.addHandler(handler)
        self.candidates.append((channel, handler))
    }

    private func connected(_ result: Result<any Channel, any Error>) {
        let candidates = self.candidates
        self.candidates.removeAll()
        switch result {
        case .success(let channel):
            guard case .connecting = self.phase, let winner = candidates.first(where: { $0.channel === channel }) else {
                channel.close(promise: nil)
                return
            }
            self.transport = channel
            self.handler = winner.handler
            winner.handler.isChosen = true
            guard channel.isActive else {
                self.end(self.handshake.connectionEnded())
                return
            }
            self.gate.connected(channel)
            self.gate.writeProtocolHeader()
        case .failure(let error):
            self.end(ConnectFailure.error(error, address: self.configuration.address))
        }
    }

    private func perform(_ action: HandshakeMachine.Action) {
        do throws(AMQPError) {
            switch action {
            case .send(let methods):
                for method in methods { try self.gate.write(method, channel: 0) }
            case .tuned(let negotiated, let methods):
                self.decoder.maximumFrameSize = negotiated.frameMax == 0 ? .max : negotiated.frameMax
                self.gate.tuned(frameMax: negotiated.frameMax == 0 ? 131_072 : negotiated.frameMax)
                for method in methods { try self.gate.write(method, channel: 0) }
            case .complete(let negotiated):
                self.opened(negotiated)
            case .fail(let error, let farewell):
                if let farewell { try self.gate.write(farewell, channel: 0) }
                self.end(error)
            }
        } catch {
            self.end(error)
        }
    }

    private func opened(_ negotiated: HandshakeMachine.Negotiated) {
        guard case .connecting(let waiter) = self.phase else { return }
        self.phase = .open
        self.negotiated = negotiated
        self.numbers = ChannelNumbers(maximum: negotiated.channelMax)
        self.gate.opened()
        self.heartbeat = HeartbeatMonitor(seconds: negotiated.heartbeat, now: .now())
        self.scheduleHeartbeat()
        self.logger.debug("connected", metadata: ["amqp.vhost": "\(self.configuration.virtualHost)"])
        // If the caller gave up in this very moment, `open` ends what was just opened.
        waiter.resolve(.success(()))
    }

    // MARK: - Reading

    func received(_ bytes: ByteBuffer) {
        self.heartbeat?.received(now: .now())
        if !self.handshake.isDone { self.handshake.received(bytes: bytes) }
        self.decoder.append(bytes)
        do throws(AMQPWireError) {
            while let frame = try self.decoder.nextFrame() {
                if case .closed = self.phase { return }
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
            self.fullConsumers += 1
            self.handler?.setPaused(true)
        }
    }

    /// A consumer's buffer has room again.
    private func hasRoom(_ consumer: ChannelCore.Consumer) {
        guard consumer.isFull else { return }
        consumer.isFull = false
        self.fullConsumers -= 1
        guard self.fullConsumers == 0 else { return }
        // While nothing was read, nothing could be heard either.
        self.heartbeat?.received(now: .now())
        self.handler?.setPaused(false)
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
        guard self.handshake.isDone else {
            throw AMQPWireError(.unexpectedFrame, "a frame on channel \(frame.channel) during the handshake")
        }
        guard let core = self.core(frame.channel) else {
            // Stragglers of a channel that was closed are legal; a number never used is not.
            guard frame.channel <= self.highestNumber else {
                throw AMQPWireError(.unexpectedFrame, "a frame on channel \(frame.channel), which was never opened")
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

    private func receivedOnConnection(_ method: AMQPMethod) {
        guard self.handshake.isDone else {
            self.perform(self.handshake.received(method))
            return
        }
        switch method {
        case .connectionClose(let close):
            self.writeQuietly(.connectionCloseOk(.init()), channel: 0)
            self.end(AMQPError(close))
        case .connectionCloseOk:
            if case .closing = self.phase { self.end(Self.closedByUs) } else { self.misplaced(method) }
        case .connectionBlocked(let blocked):
            self.logger.info("blocked by the broker", metadata: ["amqp.reply.text": "\(blocked.reason)"])
            self.gate.setBlocked(blocked.reason)
        case .connectionUnblocked:
            self.logger.info("unblocked by the broker")
            self.gate.setBlocked(nil)
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
                deliver, properties: try content.header.decodeProperties(), body: content.body, channel: core.channel,
                epoch: core.epoch)
            if consumer.needsAcknowledgement { self.gate.delivered(deliver.deliveryTag, channel: core.id) }
            consumer.sink.received(delivery)
            if !consumer.isTouched {
                consumer.isTouched = true
                self.touched.append(consumer)
            }
        case .basicReturn(let returned):
            let properties = try content.header.decodeProperties()
            let reply = AMQPError.Reply(code: returned.replyCode, text: returned.replyText)
            self.gate.returned(channel: core.id, messageID: properties.messageID, reply: reply)
            core.returns?(
                AMQPReturnedMessage(
                    reply: reply, exchange: returned.exchange, routingKey: returned.routingKey, properties: properties,
                    body: content.body))
        default:
            self.replied(content.method.id, .content(content), on: core)
        }
    }

    /// Whether the socket is not read, because a consumer is full.
    var isReadingPaused: Bool { self.fullConsumers > 0 }
    var channelCount: Int { self.channels.count }
    /// Consumers on all channels.
    var consumerCount: Int { self.channels.values.reduce(0) { $0 + $1.consumers.count } }

    // MARK: - Heartbeats

    private func scheduleHeartbeat() {
        guard let interval = self.heartbeat?.tickInterval else { return }
        _ = self.scheduler.schedule(at: .now() + interval) { self.assumeIsolated { $0.heartbeatTick() } }
    }

    private func heartbeatTick() {
        switch self.phase {
        case .open, .closing: break
        case .connecting, .closed: return
        }
        self.heartbeat?.sent(at: self.gate.lastWrite)
        switch self.heartbeat?.tick(now: .now(), isReading: self.fullConsumers == 0) {
        case .send: self.gate.writeHeartbeat()
        case .dead:
            // No farewell: whoever does not speak does not listen.
            let interval = self.heartbeatInterval
            self.end(AMQPError(.connectionClosed, "nothing was heard from the broker for two intervals of \(interval)"))
            return
        case .some(.none), nil: break
        }
        self.scheduleHeartbeat()
    }

    // MARK: - Ending

    static var closedByUs: AMQPError { AMQPError(.connectionClosed, "the connection was closed") }

    /// Closes the connection: what was published before is written first.
    ///
    /// Sends `connection.close` and waits for the answer. A broker that does not answer in time is hung up on. Closing
    /// again, or closing what was lost, does nothing. It goes on to the end even if the calling task is cancelled.
    public func close(within timeout: Duration = .seconds(5)) async {
        switch self.phase {
        case .closed: return
        case .connecting: self.end(Self.closedByUs)
        case .closing: break
        case .open:
            self.phase = .closing
            self.gate.close(
                Self.closedByUs,
                farewell: .connectionClose(
                    .init(replyCode: 200, replyText: "goodbye", failingClassID: 0, failingMethodID: 0)))
        }
        let waiter = PublishWaiter(cancelled: .cancelled)
        let deadline = self.scheduler.schedule(after: timeout) {
            self.assumeIsolated { $0.end(Self.closedByUs) }
        }
        if case .closed = self.phase { waiter.resolve(.success(())) } else { self.endWaiters.append(waiter) }
        try? await waiter.uncancellableValue()
        self.scheduler.cancel(deadline)
        if let transport { try? await transport.closeFuture.get() }
    }

    /// The socket closed, or failed.
    func transportEnded(_ cause: (any Error)?) {
        switch self.phase {
        case .connecting: self.end(self.handshake.connectionEnded(cause))
        case .closing: self.end(Self.closedByUs)
        case .open:
            let why = cause.map { " (\(ConnectFailure.describe($0)))" } ?? ""
            self.end(
                AMQPError(.connectionClosed, "the connection to the broker was lost\(why)", origin: .peer, cause: cause)
            )
        case .closed: break
        }
    }

    private func protocolFailed(_ error: AMQPError) {
        if case .closed = self.phase { return }
        self.logger.info("protocol error", metadata: ["error": "\(error.message)"])
        let reply = error.reply
        self.writeQuietly(
            .connectionClose(
                .init(
                    replyCode: reply?.code ?? 501, replyText: String((reply?.text ?? "").prefix(60)),
                    failingClassID: reply?.method?.classID ?? 0, failingMethodID: reply?.method?.methodID ?? 0)),
            channel: 0)
        self.end(error)
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

    /// The one end of a connection, however it comes about. Everybody who waits is told.
    func end(_ error: AMQPError) {
        if case .closed = self.phase { return }
        let phase = self.phase
        self.phase = .closed(error)
        self.logger.debug("connection ended", metadata: ["error": "\(error.message)"])
        self.gate.flushBeforeEnd()
        self.gate.lost(error)
        for core in self.channels.values { self.end(core, error) }
        self.channels.removeAll()
        self.lastChannel = nil
        self.readCompleted()
        self.transport?.close(promise: nil)
        for candidate in self.candidates { candidate.channel.close(promise: nil) }
        self.candidates.removeAll()
        self.handler = nil
        if case .connecting(let waiter) = phase { waiter.resolve(.failure(error)) }
        for waiter in self.endWaiters { waiter.resolve(.success(())) }
        self.endWaiters.removeAll()
        for action in self.onEnd { action(error) }
        self.onEnd.removeAll()
        self.scheduler.cancelAll()
    }

    /// Runs `action` on the loop when the connection has ended; at once if it has.
    package func whenEnded(_ action: @escaping @Sendable (AMQPError) -> Void) {
        if case .closed(let error) = self.phase { action(error) } else { self.onEnd.append(action) }
    }

    // MARK: - Channels

    /// Opens a channel.
    ///
    /// - Throws: ``AMQPError``: the connection is closed, or as many channels are open as both sides agreed on.
    public func openChannel() async throws(AMQPError) -> AMQPChannel {
        switch self.phase {
        case .open: break
        case .closed(let error): throw error
        case .connecting, .closing: throw Self.closedByUs
        }
        guard let number = self.numbers.allocate() else {
            // Asking the broker for one more would end the connection (530).
            throw AMQPError(.invalidArgument, "all \(self.numbers.maximum) channels of the connection are in use")
        }
        self.highestNumber = max(self.highestNumber, number)
        self.lastChannelID += 1
        let channel = AMQPChannel(id: self.lastChannelID, number: number, connection: self)
        let epoch = self.gate.openChannel(channel.id, number: number)
        self.channels[number] = ChannelCore(
            id: channel.id, number: number, epoch: epoch, channel: channel,
            maximumBodySize: self.configuration.maximumIncomingMessageSize)
        do {
            _ = try await self.request(.channelOpen(.init()), on: channel)
        } catch {
            // Nobody will ever close a channel that nobody has, and the broker may have opened it.
            if let core = self.channels[number], core.id == channel.id { self.close(core, error, waiter: nil) }
            throw error
        }
        return channel
    }

    /// Ends a channel's life and frees its number.
    func remove(_ core: ChannelCore, _ error: AMQPError) {
        self.end(core, error)
        self.channels[core.number] = nil
        if self.lastChannel === core { self.lastChannel = nil }
        self.numbers.release(core.number)
        self.readCompleted()
    }

    private func end(_ core: ChannelCore, _ error: AMQPError) {
        for waiter in core.machine.connectionEnded(error) { waiter.resolve(.failure(error)) }
        for consumer in core.consumers.values { self.remove(consumer, error) }
        core.consumers.removeAll()
        self.gate.closeChannel(core.id, error, farewell: nil)
        self.gate.forgetChannel(core.id)
        core.ended(error)
    }

    func add(_ consumer: ChannelCore.Consumer, to core: ChannelCore) {
        core.consumers[consumer.tag] = consumer
        let (number, tag) = (core.number, consumer.tag)
        // Tags and numbers are used again, so it takes the sink to know whose room it is.
        consumer.sink.whenRoom { [weak self, weak sink = consumer.sink] in
            guard let self, let sink else { return }
            self.eventLoop.execute {
                self.assumeIsolated { connection in
                    guard let consumer = connection.channels[number]?.consumers[tag], consumer.sink === sink else {
                        return
                    }
                    connection.hasRoom(consumer)
                }
            }
        }
    }

    func remove(_ consumer: ChannelCore.Consumer, _ error: AMQPError?) {
        consumer.sink.ended(error)
        self.detach(consumer)
    }

    /// Reading does not wait for this consumer any more, even if it is found full at the end of the batch.
    func detach(_ consumer: ChannelCore.Consumer) {
        consumer.isRemoved = true
        self.hasRoom(consumer)
    }
}
