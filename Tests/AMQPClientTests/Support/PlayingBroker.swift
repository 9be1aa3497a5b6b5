// SPDX-License-Identifier: Apache-2.0
import AMQPWire
import NIOConcurrencyHelpers
import NIOCore
import NIOPosix
import Testing

@_spi(HareDo) @testable import AMQPClient

/// A broker that plays along: it answers every method as a broker would, remembers nothing but what it heard, and does
/// otherwise where the test says so. For tests whose conversations are too long to be scripted step by step.
final class PlayingBroker: Sendable {
    /// Something it heard. Without a method it is the protocol header.
    struct Heard: Sendable {
        var session: Int
        var channel: UInt16
        var method: AMQPMethod?
    }
    struct Message: Sendable {
        var session: Int
        var channel: UInt16
        /// Its number in confirm mode; 0 without.
        var tag: UInt64
        var method: AMQPMethod.BasicPublish
        var properties: AMQPBasicProperties
        var body: ByteBuffer
        var text: String { String(buffer: self.body) }
    }
    enum Reaction: Sendable {
        case usual
        /// Nothing, as if it had not been heard.
        case silence
        case answer([AMQPMethod])
        /// Answers on channel 0.
        case answerOnConnection([AMQPMethod])
        case hangUp
        case hangUpAfter([AMQPMethod])
    }
    enum Verdict: Sendable {
        case ack, nack, silence
    }
    typealias Script = @Sendable (Heard) -> Reaction

    fileprivate struct State: Sendable {
        var sessions: [PlayingSession] = []
        var heard: [Heard] = []
        var messages: [Message] = []
        var script: Script = { _ in .usual }
        var verdict: @Sendable (Message) -> Verdict = { _ in .ack }
        var lastQueue = 0
    }
    fileprivate let state = NIOLockedValueBox(State())
    fileprivate let arrived = Mailbox<Message>()
    private let opened = Mailbox<PlayingSession>()
    private let frameMax: UInt32
    private let listener = NIOLockedValueBox<(any Channel)?>(nil)
    private let boundPort = NIOLockedValueBox(0)

    var port: Int { self.boundPort.withLockedValue { $0 } }

    private init(frameMax: UInt32) { self.frameMax = frameMax }

    static func start(frameMax: UInt32 = 131_072) async throws -> PlayingBroker {
        let broker = PlayingBroker(frameMax: frameMax)
        try await broker.listen()
        return broker
    }

    /// Listens; again on the same port if it did before.
    func listen() async throws {
        let channel = try await ServerBootstrap(group: ScriptedBroker.group)
            .serverChannelOption(.socketOption(.so_reuseaddr), value: 1)
            .childChannelInitializer { channel in
                channel.eventLoop.makeCompletedFuture {
                    let session = self.state.withLockedValue { state in
                        let session = PlayingSession(index: state.sessions.count, channel: channel, broker: self)
                        state.sessions.append(session)
                        return session
                    }
                    try channel.pipeline.syncOperations.addHandler(
                        PlayingSession.Handler(session, frameMax: self.frameMax))
                }
            }
            .bind(host: "127.0.0.1", port: self.port).get()
        self.listener.withLockedValue { $0 = channel }
        self.boundPort.withLockedValue { $0 = channel.localAddress?.port ?? 0 }
    }

    /// Refuses connections from now on.
    func stopListening() async { try? await self.listener.withLockedValue { $0 }?.close() }

    /// How to reach it: with recovery that does not take long.
    var configuration: AMQPConfiguration {
        var configuration = AMQPConfiguration(host: "127.0.0.1", port: self.port)
        configuration.heartbeat = .zero
        configuration.connectTimeout = .seconds(10)
        configuration.recovery = AMQPRecovery()
        configuration.recovery.minimumDelay = .milliseconds(1)
        configuration.recovery.maximumDelay = .milliseconds(20)
        return configuration
    }

    /// Says what is done otherwise from now on.
    func play(_ script: @escaping Script) { self.state.withLockedValue { $0.script = script } }

    /// Says how messages are confirmed from now on.
    func confirm(_ verdict: @escaping @Sendable (Message) -> Verdict) {
        self.state.withLockedValue { $0.verdict = verdict }
    }

    /// The next session whose handshake is complete.
    @discardableResult
    func nextSession(within timeout: Duration = .seconds(10)) async throws -> PlayingSession {
        try await self.opened.next(within: timeout)
    }

    /// The next message that arrived whole.
    func nextMessage(within timeout: Duration = .seconds(10)) async throws -> Message {
        try await self.arrived.next(within: timeout)
    }

    /// Whether the last session is there.
    var isConnected: Bool { self.state.withLockedValue { $0.sessions.last }?.channel.isActive ?? false }
    var sessionCount: Int { self.state.withLockedValue { $0.sessions.count } }
    var messages: [Message] { self.state.withLockedValue { $0.messages } }
    /// What was heard in a session.
    func heard(in session: Int) -> [Heard] { self.state.withLockedValue { $0.heard.filter { $0.session == session } } }
    /// The methods of a session behind its handshake.
    func methods(in session: Int) -> [AMQPMethod] {
        self.heard(in: session).compactMap(\.method).filter { method in
            switch method {
            case .connectionStartOk, .connectionTuneOk, .connectionOpen: false
            default: true
            }
        }
    }

    /// Forgets what it heard so far, for tests that go on for long.
    func forget() {
        self.state.withLockedValue { state in
            state.heard.removeAll()
            state.messages.removeAll()
        }
        while self.arrived.poll() != nil {}
    }

    func stop() async {
        await self.stopListening()
        for session in self.state.withLockedValue({ $0.sessions }) { await session.cut() }
    }

    // MARK: - What a broker does

    fileprivate func reaction(to heard: Heard) -> Reaction {
        let script = self.state.withLockedValue { state in
            state.heard.append(heard)
            return state.script
        }
        return script(heard)
    }

    fileprivate func usualAnswer(to method: AMQPMethod) -> [AMQPMethod] {
        switch method {
        case .connectionStartOk: [.connectionTune(.init(channelMax: 100, frameMax: self.frameMax, heartbeat: 0))]
        case .connectionOpen: [.connectionOpenOk(.init())]
        case .connectionClose: [.connectionCloseOk(.init())]
        case .channelOpen: [.channelOpenOk(.init())]
        case .channelClose: [.channelCloseOk(.init())]
        case .exchangeDeclare: [.exchangeDeclareOk(.init())]
        case .exchangeDelete: [.exchangeDeleteOk(.init())]
        case .exchangeBind: [.exchangeBindOk(.init())]
        case .exchangeUnbind: [.exchangeUnbindOk(.init())]
        case .queueDeclare(let declare):
            [.queueDeclareOk(.init(queue: self.name(declare.queue), messageCount: 0, consumerCount: 0))]
        case .queueBind: [.queueBindOk(.init())]
        case .queueUnbind: [.queueUnbindOk(.init())]
        case .queuePurge: [.queuePurgeOk(.init(messageCount: 0))]
        case .queueDelete: [.queueDeleteOk(.init(messageCount: 0))]
        case .basicQos: [.basicQosOk(.init())]
        case .basicConsume(let consume): [.basicConsumeOk(.init(consumerTag: consume.consumerTag))]
        case .basicCancel(let cancel): [.basicCancelOk(.init(consumerTag: cancel.consumerTag))]
        case .basicGet: [.basicGetEmpty(.init())]
        case .basicRecover: [.basicRecoverOk(.init())]
        case .confirmSelect: [.confirmSelectOk(.init())]
        case .txSelect: [.txSelectOk(.init())]
        case .txCommit: [.txCommitOk(.init())]
        case .txRollback: [.txRollbackOk(.init())]
        default: []
        }
    }

    /// The broker's own names are never the same twice.
    private func name(_ asked: String) -> String {
        guard asked.isEmpty else { return asked }
        return self.state.withLockedValue { state in
            state.lastQueue += 1
            return "amq.gen-\(state.lastQueue)"
        }
    }

    fileprivate func opened(_ session: PlayingSession) { self.opened.put(session) }

    fileprivate func received(_ message: Message) -> Verdict {
        let verdict = self.state.withLockedValue { state in
            state.messages.append(message)
            return state.verdict
        }
        defer { self.arrived.put(message) }
        return verdict(message)
    }
}

/// One connection to a ``PlayingBroker``.
final class PlayingSession: Sendable {
    /// Counted from 0, with those that did not get through the handshake.
    let index: Int
    fileprivate let channel: any Channel
    private unowned let broker: PlayingBroker
    fileprivate struct Bytes: Sendable {
        /// All that were received.
        var count = 0
        /// Those that it still takes before it hangs up.
        var left: Int?
        var startsWithHeader: Bool?
        var isGarbage = false
        var largestFrame = 0
    }
    fileprivate let bytes = NIOLockedValueBox(Bytes())

    fileprivate init(index: Int, channel: any Channel, broker: PlayingBroker) {
        self.index = index
        self.channel = channel
        self.broker = broker
    }

    /// Bytes of the largest frame that came, with its header and end.
    var largestFrame: Int { self.bytes.withLockedValue { $0.largestFrame } }
    var byteCount: Int { self.bytes.withLockedValue { $0.count } }
    /// Whether its first bytes were the protocol header, and everything behind it AMQP. `nil`: they did not come.
    var isClean: Bool? { self.bytes.withLockedValue { bytes in bytes.startsWithHeader.map { $0 && !bytes.isGarbage } } }

    /// Hangs up.
    func cut() async { try? await self.channel.close() }

    /// Takes so many bytes more, and then hangs up without looking at the rest.
    func cut(after count: Int) async throws {
        try await self.channel.eventLoop.submit {
            self.bytes.withLockedValue { $0.left = count }
            if count == 0 { self.channel.close(promise: nil) }
        }.get()
    }

    func send(_ methods: AMQPMethod..., on channel: UInt16 = 1) async throws {
        try await self.write { output in
            for method in methods { try output.append(method, channel: channel) }
        }
    }

    func send(bytes: ByteBuffer) async throws { try await self.channel.writeAndFlush(bytes) }

    func write(_ build: (inout AMQPOutput) throws -> Void) async throws {
        var output = AMQPOutput()
        try build(&output)
        var bytes = ByteBuffer()
        for piece in output.take() { bytes.writeImmutableBuffer(piece) }
        try await self.channel.writeAndFlush(bytes)
    }

    func waitUntilClosed() async throws { try await self.channel.closeFuture.get() }

    /// The consumers there are, in the order in which they were started.
    var consumers: [(channel: UInt16, tag: String)] {
        self.broker.heard(in: self.index).compactMap { heard in
            guard case .basicConsume(let consume)? = heard.method else { return nil }
            return (heard.channel, consume.consumerTag)
        }
    }

    final class Handler: ChannelInboundHandler {
        typealias InboundIn = ByteBuffer
        typealias OutboundOut = ByteBuffer

        private let session: PlayingSession
        private let frameMax: UInt32
        private var header = ByteBuffer()
        private var hasHeader = false
        private var decoder = AMQPFrameDecoder()
        private var publishes: [UInt16: (AMQPMethod.BasicPublish, AMQPContentHeader?, ByteBuffer)] = [:]
        private var tags: [UInt16: UInt64] = [:]

        init(_ session: PlayingSession, frameMax: UInt32) {
            self.session = session
            self.frameMax = frameMax
        }

        func channelRead(context: ChannelHandlerContext, data: NIOAny) {
            var bytes = self.unwrapInboundIn(data)
            let isLast = self.session.bytes.withLockedValue { state in
                guard let left = state.left else {
                    state.count += bytes.readableBytes
                    return false
                }
                let taken = min(left, bytes.readableBytes)
                bytes = bytes.getSlice(at: bytes.readerIndex, length: taken) ?? ByteBuffer()
                state.left = left - taken
                state.count += taken
                return left == taken
            }
            if bytes.readableBytes > 0 { self.received(bytes, context) }
            if isLast { context.close(promise: nil) }
        }

        private func received(_ bytes: ByteBuffer, _ context: ChannelHandlerContext) {
            var bytes = bytes
            if !self.hasHeader {
                self.header.writeBuffer(&bytes)
                guard let head = self.header.readBytes(length: 8) else { return }
                self.hasHeader = true
                self.session.bytes.withLockedValue { $0.startsWithHeader = head == AMQPProtocolHeader.bytes }
                bytes = self.header
                self.answer(nil, on: 0, context)
            }
            self.decoder.append(bytes)
            do {
                while let frame = try self.decoder.nextFrame() { try self.received(frame, context) }
            } catch {
                self.session.bytes.withLockedValue { $0.isGarbage = true }
                context.close(promise: nil)
            }
        }

        private func received(_ frame: AMQPFrame, _ context: ChannelHandlerContext) throws {
            switch frame {
            case .heartbeat: break
            case .method(let channel, .basicPublish(let publish)):
                self.publishes[channel] = (publish, nil, ByteBuffer())
            case .method(let channel, let method):
                switch method {
                case .channelOpen: self.tags[channel] = nil
                case .confirmSelect: self.tags[channel] = self.tags[channel] ?? 0
                default: break
                }
                self.answer(method, on: channel, context)
            case .header(let channel, let header):
                self.publishes[channel]?.1 = header
                try self.completeIfWhole(channel, context)
            case .body(let channel, let fragment):
                self.session.bytes.withLockedValue { bytes in
                    bytes.largestFrame = max(bytes.largestFrame, fragment.readableBytes + AMQPFrame.overhead)
                }
                self.publishes[channel]?.2.writeImmutableBuffer(fragment)
                try self.completeIfWhole(channel, context)
            }
        }

        private func completeIfWhole(_ channel: UInt16, _ context: ChannelHandlerContext) throws {
            guard case (let method, let header?, let body)? = self.publishes[channel],
                body.readableBytes >= Int(header.bodySize)
            else { return }
            self.publishes[channel] = nil
            var tag: UInt64 = 0
            if let last = self.tags[channel] {
                tag = last + 1
                self.tags[channel] = tag
            }
            let verdict = self.session.broker.received(
                .init(
                    session: self.session.index, channel: channel, tag: tag, method: method,
                    properties: try header.decodeProperties(), body: body))
            guard tag > 0 else { return }
            switch verdict {
            case .ack: self.write([.basicAck(.init(deliveryTag: tag))], on: channel, context)
            case .nack: self.write([.basicNack(.init(deliveryTag: tag, requeue: false))], on: channel, context)
            case .silence: break
            }
        }

        private func answer(_ method: AMQPMethod?, on channel: UInt16, _ context: ChannelHandlerContext) {
            let broker = self.session.broker
            switch broker.reaction(to: .init(session: self.session.index, channel: channel, method: method)) {
            case .usual:
                guard let method else {
                    self.write(
                        [
                            .connectionStart(
                                .init(
                                    versionMajor: 0, versionMinor: 9, serverProperties: ["product": "Playing"],
                                    mechanisms: "PLAIN AMQPLAIN", locales: "en_US"))
                        ], on: 0, context)
                    return
                }
                self.write(broker.usualAnswer(to: method), on: channel, context)
                if case .connectionOpen = method { broker.opened(self.session) }
                if case .connectionClose = method { context.close(promise: nil) }
            case .silence: break
            case .answer(let methods): self.write(methods, on: channel, context)
            case .answerOnConnection(let methods): self.write(methods, on: 0, context)
            case .hangUp: context.close(promise: nil)
            case .hangUpAfter(let methods):
                self.write(methods, on: channel, context)
                context.close(promise: nil)
            }
        }

        private func write(_ methods: [AMQPMethod], on channel: UInt16, _ context: ChannelHandlerContext) {
            guard !methods.isEmpty else { return }
            var output = AMQPOutput(frameMax: self.frameMax)
            do {
                for method in methods { try output.append(method, channel: channel) }
            } catch {
                context.fireErrorCaught(error)
            }
            for piece in output.take() { context.write(self.wrapOutboundOut(piece), promise: nil) }
            context.flush()
        }

        func errorCaught(context: ChannelHandlerContext, error: any Error) { context.close(promise: nil) }
    }
}

/// What a connection tells about itself, for one reader that does not wait for ever.
final class EventLog: Sendable {
    private let mailbox: Mailbox<AMQPConnectionEvent>
    private let pump: Task<Void, Never>

    init(_ connection: AMQPConnection) {
        let (mailbox, events) = (Mailbox<AMQPConnectionEvent>(), connection.events)
        self.mailbox = mailbox
        self.pump = Task { for await event in events { mailbox.put(event) } }
    }

    deinit { self.pump.cancel() }

    func next(within timeout: Duration = .seconds(10)) async throws -> AMQPConnectionEvent {
        try await self.mailbox.next(within: timeout)
    }

    /// The report of the next `recovered`; other events are passed over.
    @discardableResult
    func recovered(within timeout: Duration = .seconds(20)) async throws -> AMQPRecoveryReport {
        while true {
            if case .recovered(let report) = try await self.next(within: timeout) { return report }
        }
    }

    /// Why it is over; other events are passed over.
    func closed(within timeout: Duration = .seconds(20)) async throws -> AMQPError {
        while true {
            if case .closed(let error) = try await self.next(within: timeout) { return error }
        }
    }
}

/// Runs `body` with a client that is connected to a playing broker, and makes sure that nothing stays behind.
func withPlayingBroker(
    frameMax: UInt32 = 131_072, _ configure: (inout AMQPConfiguration) -> Void = { _ in },
    _ body: (PlayingBroker, AMQPConnection, PlayingSession) async throws -> Void
) async throws {
    let broker = try await PlayingBroker.start(frameMax: frameMax)
    var configuration = broker.configuration
    configure(&configuration)
    let connection = try await AMQPConnection.connect(configuration)
    let session = try await broker.nextSession()
    do {
        try await body(broker, connection, session)
    } catch {
        await connection.close(within: .seconds(1))
        await broker.stop()
        throw error
    }
    await connection.close(within: .seconds(1))
    await broker.stop()
}
