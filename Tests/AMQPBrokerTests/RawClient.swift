// SPDX-License-Identifier: Apache-2.0
import AMQPBroker
import AMQPWire
import NIOConcurrencyHelpers
import NIOCore
import NIOPosix
import TestSupport
import Testing

/// A client that does what it is told and nothing of its own accord: sends frames, and hands out those that come.
final class RawClient: Sendable {
    enum Event: Sendable {
        case method(channel: UInt16, AMQPMethod)
        case content(channel: UInt16, AMQPContentAssembler.Content)
        case heartbeat
        case closed
    }

    struct Unexpected: Error, CustomStringConvertible {
        let description: String
        init(_ description: String) { self.description = description }
    }

    private let channel: any Channel
    private let inbox: Inbox

    private init(channel: any Channel, inbox: Inbox) {
        self.channel = channel
        self.inbox = inbox
    }

    /// A socket, and nothing said on it.
    static func connect(_ broker: AMQPEmbeddedBroker, isReading: Bool = true) async throws -> RawClient {
        try await self.connect(port: try #require(broker.port), isReading: isReading)
    }

    static func connect(port: Int, isReading: Bool = true) async throws -> RawClient {
        let inbox = Inbox()
        let channel = try await ClientBootstrap(group: MultiThreadedEventLoopGroup.singleton)
            .channelOption(.autoRead, value: isReading)
            .channelInitializer { channel in
                channel.eventLoop.makeCompletedFuture {
                    try channel.pipeline.syncOperations.addHandler(Handler(inbox: inbox))
                }
            }
            .connect(host: "127.0.0.1", port: port).get()
        return RawClient(channel: channel, inbox: inbox)
    }

    static func connect(path: String) async throws -> RawClient {
        let inbox = Inbox()
        let channel = try await ClientBootstrap(group: MultiThreadedEventLoopGroup.singleton)
            .channelInitializer { channel in
                channel.eventLoop.makeCompletedFuture {
                    try channel.pipeline.syncOperations.addHandler(Handler(inbox: inbox))
                }
            }
            .connect(unixDomainSocketPath: path).get()
        return RawClient(channel: channel, inbox: inbox)
    }

    /// A connection that is open, with channel 1 open on it.
    static func open(_ broker: AMQPEmbeddedBroker) async throws -> RawClient {
        let client = try await Self.connect(broker)
        try await client.handshake()
        try await client.openChannel(1)
        return client
    }

    static let capabilities: AMQPTable = [
        "capabilities": ["authentication_failure_close": true, "consumer_cancel_notify": true]
    ]

    func handshake(
        user: String = "guest", password: String = "guest", virtualHost: String = "/", frameMax: UInt32 = 131_072,
        channelMax: UInt16 = 2047, heartbeat: UInt16 = 0, properties: AMQPTable = RawClient.capabilities
    ) async throws {
        try await self.beginHandshake(user: user, password: password, properties: properties)
        guard case .connectionTune = try await self.method() else { throw Unexpected("no tune") }
        try await self.send(
            .connectionTuneOk(.init(channelMax: channelMax, frameMax: frameMax, heartbeat: heartbeat)), channel: 0)
        let reply = try await self.call(.connectionOpen(.init(virtualHost: virtualHost)), channel: 0)
        guard case .connectionOpenOk = reply else { throw Unexpected("\(reply)") }
    }

    func beginHandshake(
        user: String = "guest", password: String = "guest", properties: AMQPTable = RawClient.capabilities
    ) async throws {
        try await self.send(bytes: AMQPProtocolHeader.bytes)
        guard case .connectionStart = try await self.method() else { throw Unexpected("no start") }
        try await self.send(
            .connectionStartOk(
                .init(
                    clientProperties: properties, mechanism: "PLAIN",
                    response: AMQPLongString("\u{0}\(user)\u{0}\(password)"), locale: "en_US")), channel: 0)
    }

    func openChannel(_ number: UInt16) async throws {
        let reply = try await self.call(.channelOpen(.init()), channel: number)
        guard case .channelOpenOk = reply else { throw Unexpected("\(reply)") }
    }

    // MARK: - Sending

    func send(bytes: some Sequence<UInt8> & Sendable) async throws {
        try await self.send(ByteBuffer(bytes: bytes))
    }

    func send(_ bytes: ByteBuffer) async throws {
        do {
            try await self.channel.writeAndFlush(bytes).get()
        } catch ChannelError.ioOnClosedChannel {
            // The broker may hang up while the test still writes; the test sees it by what it receives.
        }
    }

    func send(_ frames: (inout AMQPOutput) throws -> Void) async throws {
        var output = AMQPOutput(frameMax: 131_072)
        try frames(&output)
        for piece in output.take() { try await self.send(piece) }
    }

    func send(_ method: AMQPMethod, channel: UInt16 = 1) async throws {
        try await self.send { try $0.append(method, channel: channel) }
    }

    func publish(
        _ body: String, to key: String, exchange: String = "", mandatory: Bool = false,
        properties: AMQPBasicProperties = .init(), channel: UInt16 = 1
    ) async throws {
        try await self.send {
            try $0.append(
                .basicPublish(.init(exchange: exchange, routingKey: key, mandatory: mandatory)),
                properties: properties, body: ByteBuffer(string: body), channel: channel)
        }
    }

    // MARK: - Receiving

    /// The next thing that happens, within five seconds.
    func next() async throws -> Event { try await self.inbox.next(self.channel.eventLoop) }

    /// The next thing, which has to be a method without content.
    func method(channel: UInt16? = nil) async throws -> AMQPMethod {
        let event = try await self.next()
        guard case .method(let number, let method) = event, channel == nil || channel == number else {
            throw Unexpected("\(event) instead of a method")
        }
        return method
    }

    func content() async throws -> AMQPContentAssembler.Content {
        let event = try await self.next()
        guard case .content(_, let content) = event else { throw Unexpected("\(event) instead of a content") }
        return content
    }

    func delivery() async throws -> Delivery {
        let content = try await self.content()
        guard case .basicDeliver(let deliver) = content.method else { throw Unexpected("\(content.method)") }
        return Delivery(deliver: deliver, content: content)
    }

    struct Delivery {
        let deliver: AMQPMethod.BasicDeliver
        let content: AMQPContentAssembler.Content
        var tag: UInt64 { self.deliver.deliveryTag }
        var text: String { String(buffer: self.content.body) }
    }

    func call(_ method: AMQPMethod, channel: UInt16 = 1) async throws -> AMQPMethod {
        try await self.send(method, channel: channel)
        return try await self.method(channel: channel)
    }

    /// Nothing has come by the time an answer to something else comes.
    func expectNothing(channel: UInt16 = 1) async throws {
        let reply = try await self.call(.basicQos(.init(prefetchSize: 0, prefetchCount: 0)), channel: channel)
        guard case .basicQosOk = reply else { throw Unexpected("\(reply)") }
    }

    /// The broker closes channel 1; returns why, and answers.
    func channelClose(channel: UInt16 = 1) async throws -> AMQPMethod.ChannelClose {
        let method = try await self.method(channel: channel)
        guard case .channelClose(let close) = method else { throw Unexpected("\(method)") }
        try await self.send(.channelCloseOk(.init()), channel: channel)
        return close
    }

    func connectionClose() async throws -> AMQPMethod.ConnectionClose {
        let method = try await self.method()
        guard case .connectionClose(let close) = method else { throw Unexpected("\(method)") }
        try await self.send(.connectionCloseOk(.init()), channel: 0)
        return close
    }

    func expectClosed() async throws {
        let event = try await self.next()
        guard case .closed = event else { throw Unexpected("\(event) instead of the end") }
    }

    /// An orderly goodbye; returns once the broker has answered.
    func close() async throws {
        let reply = try await self.call(
            .connectionClose(.init(replyCode: 200, replyText: "bye", failingClassID: 0, failingMethodID: 0)),
            channel: 0)
        guard case .connectionCloseOk = reply else { throw Unexpected("\(reply)") }
        try await self.expectClosed()
    }

    /// Drops the socket.
    func drop() async { try? await self.channel.close().get() }

    func startReading() async throws { try await self.channel.setOption(.autoRead, value: true).get() }

    func stopReading() async throws { try await self.channel.setOption(.autoRead, value: false).get() }

    // MARK: - Shorthand

    @discardableResult
    func declare(
        _ name: String, durable: Bool = true, exclusive: Bool = false, autoDelete: Bool = false,
        arguments: AMQPTable = [:], channel: UInt16 = 1
    ) async throws -> AMQPMethod.QueueDeclareOk {
        let reply = try await self.call(
            .queueDeclare(
                .init(
                    queue: name, durable: durable, exclusive: exclusive, autoDelete: autoDelete,
                    arguments: arguments)), channel: channel)
        guard case .queueDeclareOk(let ok) = reply else { throw Unexpected("\(reply)") }
        return ok
    }

    /// How many messages are ready, and how many consumers there are.
    func count(_ name: String, channel: UInt16 = 1) async throws -> (messages: UInt32, consumers: UInt32) {
        let reply = try await self.call(.queueDeclare(.init(queue: name, passive: true)), channel: channel)
        guard case .queueDeclareOk(let ok) = reply else { throw Unexpected("\(reply)") }
        return (ok.messageCount, ok.consumerCount)
    }

    func consume(
        _ queue: String, tag: String = "c", noAck: Bool = false, exclusive: Bool = false, arguments: AMQPTable = [:],
        channel: UInt16 = 1
    ) async throws {
        let reply = try await self.call(
            .basicConsume(
                .init(
                    queue: queue, consumerTag: tag, noAck: noAck, exclusive: exclusive, arguments: arguments)),
            channel: channel)
        guard case .basicConsumeOk(let ok) = reply, ok.consumerTag == tag else { throw Unexpected("\(reply)") }
    }

    func prefetch(_ count: UInt16, channel: UInt16 = 1) async throws {
        _ = try await self.call(.basicQos(.init(prefetchSize: 0, prefetchCount: count)), channel: channel)
    }

    func ack(_ tag: UInt64, multiple: Bool = false, channel: UInt16 = 1) async throws {
        try await self.send(.basicAck(.init(deliveryTag: tag, multiple: multiple)), channel: channel)
    }

    /// `basic.get`, or `nil` if the queue is empty.
    func get(_ queue: String, noAck: Bool = true, channel: UInt16 = 1) async throws -> (
        ok: AMQPMethod.BasicGetOk, text: String, header: AMQPContentHeader
    )? {
        try await self.send(.basicGet(.init(queue: queue, noAck: noAck)), channel: channel)
        switch try await self.next() {
        case .method(_, .basicGetEmpty): return nil
        case .content(_, let content):
            guard case .basicGetOk(let ok) = content.method else { throw Unexpected("\(content.method)") }
            return (ok, String(buffer: content.body), content.header)
        case let event: throw Unexpected("\(event)")
        }
    }
}

/// What came and was not asked for, or who asked and got nothing yet.
private final class Inbox: Sendable {
    private struct State {
        var events: [RawClient.Event] = []
        var waiter: EventLoopPromise<RawClient.Event>?
        var isClosed = false
    }
    private let state = NIOLockedValueBox(State())

    func append(_ event: RawClient.Event) {
        let waiter = self.state.withLockedValue { state -> EventLoopPromise<RawClient.Event>? in
            if case .closed = event {
                guard !state.isClosed else { return nil }
                state.isClosed = true
            }
            if let waiter = state.waiter {
                state.waiter = nil
                return waiter
            }
            state.events.append(event)
            return nil
        }
        waiter?.succeed(event)
    }

    func next(_ loop: any EventLoop) async throws -> RawClient.Event {
        let promise = loop.makePromise(of: RawClient.Event.self)
        let ready = self.state.withLockedValue { state -> RawClient.Event? in
            if !state.events.isEmpty { return state.events.removeFirst() }
            state.waiter = promise
            return nil
        }
        if let ready {
            promise.succeed(ready)
            return ready
        }
        let deadline = loop.scheduleTask(in: .seconds(5)) {
            let isLate = self.state.withLockedValue { state in
                defer { state.waiter = nil }
                return state.waiter != nil
            }
            if isLate { promise.fail(RawClient.Unexpected("nothing came in five seconds")) }
        }
        defer { deadline.cancel() }
        return try await promise.futureResult.get()
    }
}

/// Only on the channel's loop.
private final class Handler: ChannelInboundHandler {
    typealias InboundIn = ByteBuffer

    private let inbox: Inbox
    private var reader = FrameReader()

    init(inbox: Inbox) { self.inbox = inbox }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        do {
            try self.reader.read(self.unwrapInboundIn(data)) { item in
                switch item {
                case .method(let channel, let method): self.inbox.append(.method(channel: channel, method))
                case .content(let channel, let content): self.inbox.append(.content(channel: channel, content))
                case .heartbeat: self.inbox.append(.heartbeat)
                }
            }
        } catch {
            // A protocol header instead of frames: the broker refused ours.
            self.inbox.append(.closed)
        }
    }

    func channelInactive(context: ChannelHandlerContext) { self.inbox.append(.closed) }

    func errorCaught(context: ChannelHandlerContext, error: any Error) { context.close(promise: nil) }
}

/// Runs a test on a broker of its own.
func withBroker(
    _ change: (inout AMQPEmbeddedBroker.Configuration) -> Void = { _ in },
    _ body: (AMQPEmbeddedBroker) async throws -> Void
) async throws {
    var configuration = AMQPEmbeddedBroker.Configuration()
    // A test that ends with a client that does not answer should not wait for it long.
    configuration.closeTimeout = .milliseconds(200)
    change(&configuration)
    try await AMQPEmbeddedBroker.with(configuration, body)
}
