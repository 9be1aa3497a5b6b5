// SPDX-License-Identifier: Apache-2.0
import AMQPWire
import NIOConcurrencyHelpers
import NIOCore
import NIOPosix
import NIOSSL
import Testing

@_spi(HareDo) @testable import AMQPClient

/// A broker that does nothing by itself: a listening socket on the loopback interface whose script is in the test.
///
/// The test takes the connections as they come with ``accept(within:)`` and says, step by step, what is expected on them
/// and what is answered.
final class ScriptedBroker: Sendable {
    /// A loop of its own, so that a test may hold up the client's.
    static let group = MultiThreadedEventLoopGroup(numberOfThreads: 1)

    let port: Int
    private let listener: any Channel
    private let accepted: Mailbox<ScriptedPeer>

    /// - Parameter tls: what it speaks TLS with; `nil` for not at all.
    static func start(port: Int = 0, tls: NIOSSLContext? = nil) async throws -> ScriptedBroker {
        let accepted = Mailbox<ScriptedPeer>()
        let listener = try await ServerBootstrap(group: Self.group)
            .serverChannelOption(.socketOption(.so_reuseaddr), value: 1)
            .childChannelOption(.allowRemoteHalfClosure, value: false)
            .childChannelInitializer { channel in
                channel.eventLoop.makeCompletedFuture {
                    let peer = ScriptedPeer(channel)
                    if let tls {
                        try channel.pipeline.syncOperations.addHandler(NIOSSLServerHandler(context: tls))
                    }
                    try channel.pipeline.syncOperations.addHandler(ScriptedPeer.Handler(peer))
                    accepted.put(peer)
                }
            }
            .bind(host: "127.0.0.1", port: port).get()
        return ScriptedBroker(listener, accepted)
    }

    private init(_ listener: any Channel, _ accepted: Mailbox<ScriptedPeer>) {
        self.listener = listener
        self.accepted = accepted
        self.port = listener.localAddress?.port ?? 0
    }

    /// How to reach it, with bounds that suit a test.
    var configuration: AMQPConfiguration {
        var configuration = AMQPConfiguration(host: "127.0.0.1", port: self.port)
        configuration.heartbeat = .zero
        configuration.connectTimeout = .seconds(10)
        // Most scripts end with the socket.
        configuration.recovery = .disabled
        return configuration
    }

    /// The next connection.
    func accept(within timeout: Duration = .seconds(10)) async throws -> ScriptedPeer {
        try await self.accepted.next(within: timeout)
    }

    /// Accepts no more; connections that are there stay.
    func stop() async {
        try? await self.listener.close()
    }
}

/// The broker's end of one connection.
final class ScriptedPeer: Sendable {
    enum Event: Hashable, Sendable {
        /// The client's first eight bytes.
        case protocolHeader
        case frame(AMQPFrame)
        /// What is not AMQP.
        case garbage
        /// The client hung up, or was hung up on.
        case closed
    }

    /// What the client was asked to agree to, and what it asked for.
    struct Handshake: Sendable {
        var startOk: AMQPMethod.ConnectionStartOk
        var tuneOk: AMQPMethod.ConnectionTuneOk
        var open: AMQPMethod.ConnectionOpen
    }

    /// Something else came than the script says.
    struct Unexpected: Error, CustomStringConvertible {
        let description: String
    }

    let channel: any Channel
    let events = Mailbox<Event>()
    private let frameMax = NIOLockedValueBox<UInt32>(131_072)
    private let bytes = NIOLockedValueBox(0)

    init(_ channel: any Channel) { self.channel = channel }

    /// Bytes received so far.
    var byteCount: Int { self.bytes.withLockedValue { $0 } }

    // MARK: - Expecting

    /// What comes next; heartbeats are left out unless asked for.
    func next(heartbeats: Bool = false, within timeout: Duration = .seconds(10)) async throws -> Event {
        while true {
            let event = try await self.events.next(within: timeout)
            if event != .frame(.heartbeat) || heartbeats { return event }
        }
    }

    /// The next method, on whatever channel.
    func method(within timeout: Duration = .seconds(10)) async throws -> (AMQPMethod, channel: UInt16) {
        let event = try await self.next(within: timeout)
        guard case .frame(.method(let channel, let method)) = event else {
            throw Unexpected(description: "expected a method, not \(event)")
        }
        return (method, channel)
    }

    /// - Returns: the next method, which has to be this one.
    @discardableResult
    func expect(
        _ id: AMQPMethodID, on channel: UInt16 = 1, within timeout: Duration = .seconds(10)
    ) async throws -> AMQPMethod {
        let event = try await self.next(within: timeout)
        guard case .frame(.method(channel, let method)) = event, method.id == id else {
            throw Unexpected(description: "expected \(id) on channel \(channel), not \(event)")
        }
        return method
    }

    struct Published: Sendable {
        var method: AMQPMethod.BasicPublish
        var properties: AMQPBasicProperties
        var body: ByteBuffer
        /// Sizes of the body frames.
        var fragments: [Int]
        var text: String { String(buffer: self.body) }
    }

    /// - Returns: the next message, with all its frames.
    @discardableResult
    func expectPublish(on channel: UInt16 = 1) async throws -> Published {
        guard case .basicPublish(let method) = try await self.expect(.basicPublish, on: channel) else {
            throw Unexpected(description: "not a publish")
        }
        let event = try await self.next()
        guard case .frame(.header(channel, let header)) = event else {
            throw Unexpected(description: "expected a content header, not \(event)")
        }
        var body = ByteBuffer()
        var fragments: [Int] = []
        while body.readableBytes < Int(header.bodySize) {
            let event = try await self.next()
            guard case .frame(.body(channel, let fragment)) = event else {
                throw Unexpected(description: "expected a body, not \(event)")
            }
            fragments.append(fragment.readableBytes)
            body.writeImmutableBuffer(fragment)
        }
        return Published(method: method, properties: try header.decodeProperties(), body: body, fragments: fragments)
    }

    func expectClosed(within timeout: Duration = .seconds(10)) async throws {
        let event = try await self.next(within: timeout)
        guard event == .closed else { throw Unexpected(description: "expected the end, not \(event)") }
    }

    /// Makes sure that nothing came but heartbeats: asks the client something, and its answer is the next there is.
    ///
    /// Uses that a client answers `channel.flow`; `number` has to be an open channel.
    func expectNothingElse(on number: UInt16 = 1) async throws {
        try await self.send(.channelFlow(.init(active: true)), on: number)
        try await self.expect(.channelFlowOk, on: number)
    }

    // MARK: - Answering

    /// Writes all that is appended in one go.
    func write(_ build: (inout AMQPOutput) throws -> Void) async throws {
        var output = AMQPOutput(frameMax: self.frameMax.withLockedValue { $0 })
        try build(&output)
        var bytes = ByteBuffer()
        for piece in output.take() { bytes.writeImmutableBuffer(piece) }
        try await self.send(bytes: bytes)
    }

    func send(_ methods: AMQPMethod..., on channel: UInt16 = 1) async throws {
        try await self.write { output in
            for method in methods { try output.append(method, channel: channel) }
        }
    }

    func send(bytes: ByteBuffer) async throws {
        try await self.channel.writeAndFlush(bytes)
    }

    func send(bytes: [UInt8]) async throws { try await self.send(bytes: ByteBuffer(bytes: bytes)) }

    /// One byte at a time, each in a packet of its own as far as the system lets it.
    func drip(_ build: (inout AMQPOutput) throws -> Void) async throws {
        var output = AMQPOutput(frameMax: self.frameMax.withLockedValue { $0 })
        try build(&output)
        for piece in output.take() {
            for byte in piece.readableBytesView { try await self.send(bytes: [byte]) }
        }
    }

    func sendHeartbeat() async throws {
        try await self.write { $0.appendHeartbeat() }
    }

    /// Hangs up.
    func close() async {
        try? await self.channel.close()
    }

    /// Hangs up with a RST in place of a FIN.
    func reset() async throws {
        guard let provider = self.channel as? any SocketOptionProvider else { return }
        try await provider.setSoLinger(linger(l_onoff: 1, l_linger: 0)).get()
        try? await self.channel.close()
    }

    /// Reads nothing any more, so that the client's bytes pile up.
    func pauseReading() async throws {
        try await self.channel.setOption(.autoRead, value: false).get()
    }

    func resumeReading() async throws {
        try await self.channel.setOption(.autoRead, value: true).get()
        self.channel.read()
    }

    // MARK: - Whole steps

    func expectProtocolHeader() async throws {
        let event = try await self.next()
        guard event == .protocolHeader else { throw Unexpected(description: "expected the header, not \(event)") }
    }

    func start(mechanisms: AMQPLongString = "PLAIN AMQPLAIN") async throws -> AMQPMethod.ConnectionStartOk {
        try await self.expectProtocolHeader()
        try await self.send(
            .connectionStart(
                .init(
                    versionMajor: 0, versionMinor: 9, serverProperties: ["product": "Scripted"],
                    mechanisms: mechanisms, locales: "en_US")), on: 0)
        guard case .connectionStartOk(let ok) = try await self.expect(.connectionStartOk, on: 0) else {
            throw Unexpected(description: "not start-ok")
        }
        return ok
    }

    func tune(
        channelMax: UInt16 = 2047, frameMax: UInt32 = 131_072, heartbeat: UInt16 = 0
    ) async throws -> (AMQPMethod.ConnectionTuneOk, AMQPMethod.ConnectionOpen) {
        try await self.send(
            .connectionTune(.init(channelMax: channelMax, frameMax: frameMax, heartbeat: heartbeat)), on: 0)
        guard case .connectionTuneOk(let ok) = try await self.expect(.connectionTuneOk, on: 0),
            case .connectionOpen(let open) = try await self.expect(.connectionOpen, on: 0)
        else { throw Unexpected(description: "not tune-ok and open") }
        self.frameMax.withLockedValue { $0 = ok.frameMax }
        return (ok, open)
    }

    /// All of the handshake.
    @discardableResult
    func handshake(
        channelMax: UInt16 = 2047, frameMax: UInt32 = 131_072, heartbeat: UInt16 = 0
    ) async throws -> Handshake {
        let startOk = try await self.start()
        let (tuneOk, open) = try await self.tune(channelMax: channelMax, frameMax: frameMax, heartbeat: heartbeat)
        try await self.send(.connectionOpenOk(.init()), on: 0)
        return Handshake(startOk: startOk, tuneOk: tuneOk, open: open)
    }

    func openChannel(_ number: UInt16 = 1) async throws {
        try await self.expect(.channelOpen, on: number)
        try await self.send(.channelOpenOk(.init()), on: number)
    }

    func closeConnection() async throws {
        try await self.expect(.connectionClose, on: 0)
        try await self.send(.connectionCloseOk(.init()), on: 0)
        try await self.expectClosed()
    }

    // MARK: - The socket

    final class Handler: ChannelInboundHandler {
        typealias InboundIn = ByteBuffer
        typealias OutboundOut = ByteBuffer

        private let peer: ScriptedPeer
        private var header = ByteBuffer()
        private var hasHeader = false
        private var isGarbage = false
        private var decoder = AMQPFrameDecoder()

        init(_ peer: ScriptedPeer) { self.peer = peer }

        func channelRead(context: ChannelHandlerContext, data: NIOAny) {
            var bytes = self.unwrapInboundIn(data)
            self.peer.bytes.withLockedValue { $0 += bytes.readableBytes }
            if !self.hasHeader {
                self.header.writeBuffer(&bytes)
                guard let head = self.header.readBytes(length: 8) else { return }
                self.hasHeader = true
                self.peer.events.put(head == AMQPProtocolHeader.bytes ? .protocolHeader : .garbage)
                bytes = self.header
            }
            self.decoder.append(bytes)
            do {
                while let frame = try self.decoder.nextFrame() { self.peer.events.put(.frame(frame)) }
            } catch {
                if !self.isGarbage { self.peer.events.put(.garbage) }
                self.isGarbage = true
            }
        }

        func channelInactive(context: ChannelHandlerContext) { self.peer.events.put(.closed) }

        func errorCaught(context: ChannelHandlerContext, error: any Error) { context.close(promise: nil) }
    }
}

#if canImport(Glibc)
    import Glibc
#elseif canImport(Musl)
    import Musl
#elseif canImport(Darwin)
    import Darwin
#endif

/// A client that is connected to a scripted broker.
struct Scripted: Sendable {
    let broker: ScriptedBroker
    let connection: AMQPConnection
    let peer: ScriptedPeer

    /// Opens a channel.
    func channel(_ number: UInt16 = 1) async throws -> AMQPChannel {
        async let opened = self.connection.openChannel()
        try await self.peer.openChannel(number)
        return try await opened
    }

    /// Opens a channel in confirm mode.
    func confirmingChannel(_ number: UInt16 = 1) async throws -> AMQPChannel {
        let channel = try await self.channel(number)
        async let selected: Void = channel.confirmSelect()
        try await self.peer.expect(.confirmSelect, on: number)
        try await self.peer.send(.confirmSelectOk(.init()), on: number)
        try await selected
        return channel
    }

    func consumer(on channel: AMQPChannel, _ number: UInt16 = 1) async throws -> AMQPConsumer {
        async let consumer = channel.consume("q")
        guard case .basicConsume(let consume) = try await self.peer.expect(.basicConsume, on: number) else {
            throw ScriptedPeer.Unexpected(description: "not a consume")
        }
        try await self.peer.send(.basicConsumeOk(.init(consumerTag: consume.consumerTag)), on: number)
        return try await consumer
    }
}

/// Runs `body` with a client that is connected to a scripted broker, and makes sure that nothing stays behind.
func withScriptedBroker(
    channelMax: UInt16 = 2047, frameMax: UInt32 = 131_072, heartbeat: UInt16 = 0,
    _ configure: (inout AMQPConfiguration) -> Void = { _ in }, _ body: (Scripted) async throws -> Void
) async throws {
    let broker = try await ScriptedBroker.start()
    var configuration = broker.configuration
    configure(&configuration)
    async let accepted = broker.accept()
    async let connected = AMQPConnection.connect(configuration)
    let peer = try await accepted
    try await peer.handshake(channelMax: channelMax, frameMax: frameMax, heartbeat: heartbeat)
    let connection = try await connected
    do {
        try await body(Scripted(broker: broker, connection: connection, peer: peer))
    } catch {
        await peer.close()
        await connection.close()
        await broker.stop()
        throw error
    }
    await peer.close()
    await connection.close()
    await broker.stop()
}

extension AMQPOutput {
    mutating func deliver(
        _ text: String, to consumerTag: String = "c1", tag: UInt64, on channel: UInt16 = 1
    ) throws {
        try self.append(
            .basicDeliver(
                .init(consumerTag: consumerTag, deliveryTag: tag, redelivered: false, exchange: "", routingKey: "q")),
            properties: AMQPBasicProperties(), body: ByteBuffer(string: text), channel: channel)
    }
}
