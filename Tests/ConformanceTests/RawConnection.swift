// SPDX-License-Identifier: Apache-2.0
import AMQPClient
import AMQPWire
import NIOConcurrencyHelpers
import NIOCore
import NIOPosix
import TestSupport

/// A connection that does what a test says and nothing of its own accord, to a broker of any kind: for what the client
/// refuses to send, and for what it keeps from its user.
final class RawConnection: Sendable {
    enum Event: Sendable {
        case method(channel: UInt16, AMQPMethod)
        case content(channel: UInt16, AMQPContentAssembler.Content)
        case heartbeat
        /// The broker was spoken to in another protocol, and says which one it speaks.
        case protocolHeader([UInt8])
        /// What came is not AMQP.
        case garbage(String)
        /// There is no connection any more: whoever asks is told again.
        case closed
    }

    struct Unexpected: Error, CustomStringConvertible {
        let description: String

        init(_ description: String) { self.description = description }
    }

    private let channel: any Channel
    private let inbox: Inbox
    let configuration: AMQPConfiguration
    private let lastChannel = NIOLockedValueBox<UInt16>(1)

    private init(channel: any Channel, inbox: Inbox, configuration: AMQPConfiguration) {
        self.channel = channel
        self.inbox = inbox
        self.configuration = configuration
    }

    /// A socket, and nothing said on it.
    static func connect(_ url: String) async throws -> RawConnection {
        let configuration = try AMQPConfiguration(uri: url)
        guard case .tcp(let host, let port) = configuration.address else {
            throw Unexpected("no TCP address: \(configuration.address)")
        }
        let inbox = Inbox()
        let channel = try await ClientBootstrap(group: MultiThreadedEventLoopGroup.singleton)
            .channelInitializer { channel in
                channel.eventLoop.makeCompletedFuture {
                    try channel.pipeline.syncOperations.addHandler(Handler(inbox: inbox))
                }
            }
            .connect(host: host, port: port).get()
        return RawConnection(channel: channel, inbox: inbox, configuration: configuration)
    }

    // MARK: - Opening

    /// What clients usually say they can do, as far as it changes what a broker sends.
    static let capabilities: AMQPTable = [
        "capabilities": ["authentication_failure_close": true, "consumer_cancel_notify": true]
    ]

    /// From the protocol header to `connection.start-ok`.
    ///
    /// - Parameters:
    ///   - password: `nil` is the right one.
    ///   - response: what is answered, if it is not user and password as PLAIN has them.
    @discardableResult
    func startLogin(
        password: String? = nil, mechanism: String = "PLAIN", response: [UInt8]? = nil,
        properties: AMQPTable = RawConnection.capabilities
    ) async throws -> AMQPMethod.ConnectionStart {
        await self.send(bytes: AMQPProtocolHeader.bytes)
        let reply = try await self.method(on: 0)
        guard case .connectionStart(let start) = reply else { throw Unexpected("\(reply) instead of a start") }
        let plain = "\u{0}\(self.configuration.user)\u{0}\(password ?? self.configuration.password)"
        try await self.send(
            .connectionStartOk(
                .init(
                    clientProperties: properties, mechanism: mechanism,
                    response: AMQPLongString(bytes: response ?? Array(plain.utf8)), locale: "en_US")), on: 0)
        return start
    }

    /// From the protocol header to `connection.tune`.
    @discardableResult
    func logIn(properties: AMQPTable = RawConnection.capabilities) async throws -> AMQPMethod.ConnectionTune {
        try await self.startLogin(properties: properties)
        let reply = try await self.method(on: 0)
        guard case .connectionTune(let tune) = reply else { throw Unexpected("\(reply) instead of a tune") }
        return tune
    }

    /// From the protocol header to `connection.open-ok`.
    ///
    /// - Parameter heartbeat: seconds; 0 is none.
    func handshake(
        channelMax: UInt16 = 2047, heartbeat: UInt16 = 0, properties: AMQPTable = RawConnection.capabilities
    ) async throws {
        try await self.logIn(properties: properties)
        try await self.send(
            .connectionTuneOk(.init(channelMax: channelMax, frameMax: 131_072, heartbeat: heartbeat)), on: 0)
        try await self.perform(.connectionOpen(.init(virtualHost: self.configuration.virtualHost)), on: 0)
    }

    func openChannel(_ number: UInt16) async throws {
        self.lastChannel.withLockedValue { $0 = max($0, number) }
        try await self.perform(.channelOpen(.init()), on: number)
    }

    /// Opens a channel whose number was not used yet.
    func openChannel() async throws -> UInt16 {
        let number = self.lastChannel.withLockedValue { $0 } + 1
        try await self.openChannel(number)
        return number
    }

    // MARK: - Sending

    /// Sends; that the broker hangs up meanwhile is for the test to see by what comes.
    func send(_ bytes: ByteBuffer) async {
        try? await self.channel.writeAndFlush(bytes).get()
    }

    func send(bytes: some Sequence<UInt8>) async { await self.send(ByteBuffer(bytes: bytes)) }

    private func send(_ frames: (inout AMQPOutput) throws -> Void) async throws {
        var output = AMQPOutput(frameMax: 131_072)
        try frames(&output)
        for piece in output.take() { await self.send(piece) }
    }

    func send(_ method: AMQPMethod, on channel: UInt16 = 1) async throws {
        try await self.send { try $0.append(method, channel: channel) }
    }

    /// To a queue, or with a key to an exchange.
    func publish(
        _ body: String, to key: String, exchange: String = "", mandatory: Bool = false, immediate: Bool = false,
        properties: AMQPBasicProperties = .init(), on channel: UInt16 = 1
    ) async throws {
        try await self.send {
            try $0.append(
                .basicPublish(
                    .init(exchange: exchange, routingKey: key, mandatory: mandatory, immediate: immediate)),
                properties: properties, body: ByteBuffer(string: body), channel: channel)
        }
    }

    /// With a property list that is encoded already, right or wrong.
    func publish(_ body: String, to key: String, encoded properties: [UInt8], on channel: UInt16 = 1) async throws {
        try await self.send {
            try $0.append(
                .basicPublish(.init(exchange: "", routingKey: key)), properties: ByteBuffer(bytes: properties),
                body: ByteBuffer(string: body), channel: channel)
        }
    }

    /// Publishes to a queue on a channel in confirm mode, and returns when the broker has the message.
    func put(
        _ body: String, in queue: String, properties: AMQPBasicProperties = .init(), on channel: UInt16 = 1
    ) async throws {
        try await self.publish(body, to: queue, properties: properties, on: channel)
        let reply = try await self.method(on: channel)
        guard case .basicAck = reply else { throw Unexpected("\(reply) instead of a confirm") }
    }

    /// Publishes "0", "1" and so on to an empty queue, which has them when this returns.
    func fill(_ queue: String, _ count: Int, on channel: UInt16 = 1) async throws {
        for number in 0..<count { try await self.publish("\(number)", to: queue, on: channel) }
        try await self.expectReady(count, in: queue, on: channel)
    }

    /// A frame of any kind, right or wrong.
    ///
    /// - Parameter size: what it says of its payload, if that is not the truth.
    static func frame(
        _ kind: UInt8, channel: UInt16 = 1, payload: [UInt8], size: UInt32? = nil, end: UInt8 = 0xCE
    ) -> [UInt8] {
        var frame = ByteBuffer()
        frame.writeInteger(kind)
        frame.writeInteger(channel)
        frame.writeInteger(size ?? UInt32(payload.count))
        frame.writeBytes(payload)
        frame.writeInteger(end)
        return Array(frame.readableBytesView)
    }

    /// The frame of a content header without properties.
    static func headerFrame(classID: UInt16 = 60, bodySize: UInt64, channel: UInt16 = 1) -> [UInt8] {
        var payload = ByteBuffer()
        payload.writeInteger(classID)
        payload.writeInteger(UInt16(0))
        payload.writeInteger(bodySize)
        payload.writeInteger(UInt16(0))
        return Self.frame(2, channel: channel, payload: Array(payload.readableBytesView))
    }

    // MARK: - Receiving

    /// The next event of a channel, or of any. The end of the connection is everybody's.
    func next(on channel: UInt16? = nil, within limit: TimeAmount = .seconds(10)) async throws -> Event {
        try await self.inbox.next(channel, within: limit, on: self.channel.eventLoop)
    }

    /// The next event, which has to be a method without content.
    func method(on channel: UInt16 = 1) async throws -> AMQPMethod {
        let event = try await self.next(on: channel)
        guard case .method(_, let method) = event else { throw Unexpected("\(event) instead of a method") }
        return method
    }

    func content(on channel: UInt16? = 1) async throws -> AMQPContentAssembler.Content {
        let event = try await self.next(on: channel)
        guard case .content(_, let content) = event else { throw Unexpected("\(event) instead of a content") }
        return content
    }

    struct Delivery: Sendable {
        let deliver: AMQPMethod.BasicDeliver
        let content: AMQPContentAssembler.Content
        var tag: UInt64 { self.deliver.deliveryTag }
        var text: String { String(buffer: self.content.body) }
        var redelivered: Bool { self.deliver.redelivered }
    }

    /// The next event of a channel, or of any, which has to be a delivery.
    func delivery(on channel: UInt16? = 1) async throws -> Delivery {
        let content = try await self.content(on: channel)
        guard case .basicDeliver(let deliver) = content.method else {
            throw Unexpected("\(content.method.id) instead of a delivery")
        }
        return Delivery(deliver: deliver, content: content)
    }

    func deliveries(_ count: Int, on channel: UInt16? = 1) async throws -> [Delivery] {
        var deliveries: [Delivery] = []
        for _ in 0..<count { deliveries.append(try await self.delivery(on: channel)) }
        return deliveries
    }

    /// Sends a method, and returns the next one that comes.
    func call(_ method: AMQPMethod, on channel: UInt16 = 1) async throws -> AMQPMethod {
        try await self.send(method, on: channel)
        return try await self.method(on: channel)
    }

    /// Sends a method, and expects its own answer, whatever stands in it.
    @discardableResult
    func perform(_ method: AMQPMethod, on channel: UInt16 = 1) async throws -> AMQPMethod {
        let reply = try await self.call(method, on: channel)
        let (sent, came) = (method.id, reply.id)
        // Numbers of answers are one higher; that of exchange.unbind is not.
        let isAnswer = came.classID == sent.classID && came.methodID == sent.methodID + 1
        guard isAnswer || (sent == .exchangeUnbind && came == .exchangeUnbindOk) else {
            throw Unexpected("\(reply) in answer to \(sent)")
        }
        return reply
    }

    /// Returns when the broker has read everything that was sent on the channel, and throws if anything came meanwhile.
    func sync(on channel: UInt16 = 1) async throws {
        // A method that changes nothing.
        try await self.perform(.channelFlow(.init(active: true)), on: channel)
    }

    // MARK: - The end

    /// The broker closes a channel; returns why, and answers.
    func channelClose(on channel: UInt16 = 1) async throws -> AMQPMethod.ChannelClose {
        let reply = try await self.method(on: channel)
        guard case .channelClose(let close) = reply else { throw Unexpected("\(reply) instead of channel.close") }
        try await self.send(.channelCloseOk(.init()), on: channel)
        return close
    }

    /// The broker closes the connection; returns why, and answers.
    func connectionClose() async throws -> AMQPMethod.ConnectionClose {
        let reply = try await self.method(on: 0)
        guard case .connectionClose(let close) = reply else { throw Unexpected("\(reply) instead of connection.close") }
        try await self.send(.connectionCloseOk(.init()), on: 0)
        return close
    }

    /// Sends a method on a channel of its own, which the broker closes because of it; returns why.
    func refusal(of method: AMQPMethod) async throws -> Refusal {
        let channel = try await self.openChannel()
        try await self.send(method, on: channel)
        return try await self.refusal(blaming: method.id, on: channel)
    }

    /// Publishes on a channel of its own, which the broker closes because of it; returns why.
    func refusal(
        ofPublishingTo key: String, exchange: String = "", properties: AMQPBasicProperties = .init()
    ) async throws -> Refusal {
        let channel = try await self.openChannel()
        try await self.publish("x", to: key, exchange: exchange, properties: properties, on: channel)
        return try await self.refusal(blaming: .basicPublish, on: channel)
    }

    /// The broker closes a channel because of a method; returns why.
    func refusal(blaming method: AMQPMethodID, on channel: UInt16 = 1) async throws -> Refusal {
        let close = try await self.channelClose(on: channel)
        guard close.blamed == method else { throw Unexpected("\(close.refusal) is blamed on \(close.blamed)") }
        return close.refusal
    }

    /// Sends a method that ends the connection; returns why.
    func fatalRefusal(of method: AMQPMethod, on channel: UInt16 = 1) async throws -> Refusal {
        try await self.send(method, on: channel)
        let close = try await self.connectionClose()
        guard close.blamed == method.id else { throw Unexpected("\(close.refusal) is blamed on \(close.blamed)") }
        return close.refusal
    }

    /// There is no connection any more, or soon.
    func expectClosed(within limit: TimeAmount = .seconds(10)) async throws {
        let event = try await self.next(within: limit)
        guard case .closed = event else { throw Unexpected("\(event) instead of the end") }
    }

    /// The broker ends the connection.
    ///
    /// - Returns: why; `nil` if it hung up without a word.
    func end() async throws -> Refusal? {
        switch try await self.next(on: 0) {
        case .closed: return nil
        case .method(_, .connectionClose(let close)):
            try await self.send(.connectionCloseOk(.init()), on: 0)
            return close.refusal
        case let event: throw Unexpected("\(event) instead of the end")
        }
    }

    /// An orderly goodbye; returns once the broker has answered.
    func close() async throws {
        try await self.perform(
            .connectionClose(.init(replyCode: 200, replyText: "bye", failingClassID: 0, failingMethodID: 0)), on: 0)
    }

    func closeChannel(_ channel: UInt16) async throws {
        try await self.perform(
            .channelClose(.init(replyCode: 200, replyText: "bye", failingClassID: 0, failingMethodID: 0)), on: channel)
    }

    /// Drops the socket.
    func drop() async { try? await self.channel.close().get() }

    func stopReading() async throws { try await self.channel.setOption(.autoRead, value: false).get() }

    func startReading() async throws { try await self.channel.setOption(.autoRead, value: true).get() }

    // MARK: - Shorthand

    /// Declares a queue that goes with this connection, unless told otherwise.
    ///
    /// - Returns: its name.
    @discardableResult
    func declare(
        _ name: String = TestBroker.uniqueName(), durable: Bool = false, exclusive: Bool = true,
        autoDelete: Bool = false, arguments: AMQPTable = [:], on channel: UInt16 = 1
    ) async throws -> String {
        let reply = try await self.call(
            .queueDeclare(
                .init(
                    queue: name, durable: durable, exclusive: exclusive, autoDelete: autoDelete,
                    arguments: arguments)), on: channel)
        guard case .queueDeclareOk(let ok) = reply else { throw Unexpected("\(reply) in answer to queue.declare") }
        return ok.queue
    }

    /// What a queue's passive declaration says of it.
    func counts(_ queue: String, on channel: UInt16 = 1) async throws -> AMQPMethod.QueueDeclareOk {
        let reply = try await self.call(.queueDeclare(.init(queue: queue, passive: true)), on: channel)
        guard case .queueDeclareOk(let ok) = reply else { throw Unexpected("\(reply) in answer to queue.declare") }
        return ok
    }

    /// How many messages of a queue are ready.
    ///
    /// RabbitMQ answers before it has put away what was just published or given back: ``get(_:noAck:on:)`` and
    /// ``purge(_:on:)`` wait for that, and ``expectReady(_:in:on:)`` asks again.
    func ready(_ queue: String, on channel: UInt16 = 1) async throws -> Int {
        Int(try await self.counts(queue, on: channel).messageCount)
    }

    /// Waits until so many messages of a queue are ready.
    func expectReady(_ count: Int, in queue: String, on channel: UInt16 = 1) async throws {
        try await eventually("\(count) ready messages") { try await self.ready(queue, on: channel) == count }
    }

    /// Whether there is a queue of this name.
    func hasQueue(_ name: String) async throws -> Bool {
        try await self.exists(.queueDeclare(.init(queue: name, passive: true)))
    }

    /// Whether there is an exchange of this name.
    func hasExchange(_ name: String) async throws -> Bool {
        try await self.exists(.exchangeDeclare(.init(exchange: name, type: "direct", passive: true)))
    }

    private func exists(_ look: AMQPMethod) async throws -> Bool {
        let channel = try await self.openChannel()
        switch try await self.call(look, on: channel) {
        case .queueDeclareOk, .exchangeDeclareOk:
            try await self.closeChannel(channel)
            return true
        case .channelClose(let close):
            try await self.send(.channelCloseOk(.init()), on: channel)
            guard close.replyCode == 404 else { throw Unexpected("\(close.refusal)") }
            return false
        case let reply: throw Unexpected("\(reply) in answer to \(look.id)")
        }
    }

    /// Empties a queue of what is ready.
    ///
    /// - Returns: how many messages that were.
    @discardableResult
    func purge(_ queue: String, on channel: UInt16 = 1) async throws -> Int {
        let reply = try await self.call(.queuePurge(.init(queue: queue)), on: channel)
        guard case .queuePurgeOk(let ok) = reply else { throw Unexpected("\(reply) in answer to queue.purge") }
        return Int(ok.messageCount)
    }

    func declareExchange(
        _ name: String, _ type: String, autoDelete: Bool = false, arguments: AMQPTable = [:]
    ) async throws {
        try await self.perform(
            .exchangeDeclare(.init(exchange: name, type: type, autoDelete: autoDelete, arguments: arguments)))
    }

    func deleteExchange(_ name: String) async throws {
        try await self.perform(.exchangeDelete(.init(exchange: name)))
    }

    func bind(_ queue: String, to exchange: String, _ key: String = "", arguments: AMQPTable = [:]) async throws {
        try await self.perform(
            .queueBind(.init(queue: queue, exchange: exchange, routingKey: key, arguments: arguments)))
    }

    func unbind(_ queue: String, from exchange: String, _ key: String = "", arguments: AMQPTable = [:]) async throws {
        try await self.perform(
            .queueUnbind(.init(queue: queue, exchange: exchange, routingKey: key, arguments: arguments)))
    }

    func prefetch(_ count: UInt16, global: Bool = false, on channel: UInt16 = 1) async throws {
        try await self.perform(.basicQos(.init(prefetchSize: 0, prefetchCount: count, global: global)), on: channel)
    }

    func consume(
        _ queue: String, tag: String = "c", noAck: Bool = false, exclusive: Bool = false, arguments: AMQPTable = [:],
        on channel: UInt16 = 1
    ) async throws {
        let method = AMQPMethod.basicConsume(
            .init(queue: queue, consumerTag: tag, noAck: noAck, exclusive: exclusive, arguments: arguments))
        let reply = try await self.call(method, on: channel)
        guard reply == .basicConsumeOk(.init(consumerTag: tag)) else {
            throw Unexpected("\(reply) in answer to basic.consume")
        }
    }

    func cancel(_ tag: String = "c", on channel: UInt16 = 1) async throws {
        try await self.perform(.basicCancel(.init(consumerTag: tag)), on: channel)
    }

    func ack(_ tag: UInt64, multiple: Bool = false, on channel: UInt16 = 1) async throws {
        try await self.send(.basicAck(.init(deliveryTag: tag, multiple: multiple)), on: channel)
    }

    func nack(_ tag: UInt64, multiple: Bool = false, requeue: Bool = true, on channel: UInt16 = 1) async throws {
        try await self.send(.basicNack(.init(deliveryTag: tag, multiple: multiple, requeue: requeue)), on: channel)
    }

    func reject(_ tag: UInt64, requeue: Bool = true, on channel: UInt16 = 1) async throws {
        try await self.send(.basicReject(.init(deliveryTag: tag, requeue: requeue)), on: channel)
    }

    struct Fetched: Sendable {
        let ok: AMQPMethod.BasicGetOk
        let content: AMQPContentAssembler.Content
        var tag: UInt64 { self.ok.deliveryTag }
        var text: String { String(buffer: self.content.body) }
        var redelivered: Bool { self.ok.redelivered }
    }

    /// Takes a message from a queue, for good unless told otherwise; `nil` if none is ready.
    func get(_ queue: String, noAck: Bool = true, on channel: UInt16 = 1) async throws -> Fetched? {
        try await self.send(.basicGet(.init(queue: queue, noAck: noAck)), on: channel)
        switch try await self.next(on: channel) {
        case .method(_, .basicGetEmpty): return nil
        case .content(_, let content):
            guard case .basicGetOk(let ok) = content.method else {
                throw Unexpected("\(content.method.id) in answer to basic.get")
            }
            return Fetched(ok: ok, content: content)
        case let event: throw Unexpected("\(event) in answer to basic.get")
        }
    }

    /// Takes all that is ready in a queue, for good.
    func drain(_ queue: String, on channel: UInt16 = 1) async throws -> [Fetched] {
        var all: [Fetched] = []
        while let fetched = try await self.get(queue, on: channel) { all.append(fetched) }
        return all
    }
}

/// Runs a test on a connection that is open, with channel 1 open on it; it is dropped at the end, whatever happens.
func withRawConnection(
    _ url: String, channelMax: UInt16 = 2047, properties: AMQPTable = RawConnection.capabilities,
    _ body: (RawConnection) async throws -> Void
) async throws {
    try await withRawSocket(url) { connection in
        try await connection.handshake(channelMax: channelMax, properties: properties)
        try await connection.openChannel(1)
        try await body(connection)
    }
}

/// Runs a test on a socket on which nothing was said; it is dropped at the end, whatever happens.
func withRawSocket(_ url: String, _ body: (RawConnection) async throws -> Void) async throws {
    let connection = try await RawConnection.connect(url)
    do {
        try await body(connection)
    } catch {
        await connection.drop()
        throw error
    }
    await connection.drop()
}

/// Why a broker closed a channel or a connection.
struct Refusal: Hashable, Sendable, CustomStringConvertible {
    let code: UInt16
    let text: String

    init(_ code: UInt16, _ text: String) {
        self.code = code
        self.text = text
    }

    var description: String { "\(self.code) \(self.text)" }
}

extension AMQPMethod.ChannelClose {
    var refusal: Refusal { Refusal(self.replyCode, self.replyText) }
    /// The method that was at fault; 0.0 if none was.
    var blamed: AMQPMethodID { AMQPMethodID(classID: self.failingClassID, methodID: self.failingMethodID) }
}

extension AMQPMethod.ConnectionClose {
    var refusal: Refusal { Refusal(self.replyCode, self.replyText) }
    /// The method that was at fault; 0.0 if none was.
    var blamed: AMQPMethodID { AMQPMethodID(classID: self.failingClassID, methodID: self.failingMethodID) }
}

extension RawConnection.Event {
    /// Whether somebody who waits for an event of a channel, or of any (`nil`), gets this one.
    fileprivate func concerns(_ channel: UInt16?) -> Bool {
        guard let channel else { return true }
        switch self {
        case .method(_, .connectionClose), .garbage, .closed: return true
        case .method(let number, _), .content(let number, _): return number == channel
        case .heartbeat, .protocolHeader: return channel == 0
        }
    }
}

/// What came and was not asked for yet, and who asked and got nothing yet.
private final class Inbox: Sendable {
    private struct Waiter: Sendable {
        let number: UInt64
        let channel: UInt16?
        let promise: EventLoopPromise<RawConnection.Event>
    }

    private struct State: Sendable {
        var events: [RawConnection.Event] = []
        var waiters: [Waiter] = []
        var lastWaiter: UInt64 = 0
        var isClosed = false
    }

    private let state = NIOLockedValueBox(State())

    func append(_ event: RawConnection.Event) {
        let waiter = self.state.withLockedValue { state -> Waiter? in
            guard let index = state.waiters.firstIndex(where: { event.concerns($0.channel) }) else {
                state.events.append(event)
                return nil
            }
            return state.waiters.remove(at: index)
        }
        waiter?.promise.succeed(event)
    }

    func close() {
        let waiters = self.state.withLockedValue { state -> [Waiter] in
            state.isClosed = true
            defer { state.waiters = [] }
            return state.waiters
        }
        for waiter in waiters { waiter.promise.succeed(RawConnection.Event.closed) }
    }

    func next(
        _ channel: UInt16?, within limit: TimeAmount, on loop: any EventLoop
    ) async throws -> RawConnection.Event {
        let promise = loop.makePromise(of: RawConnection.Event.self)
        let number = self.state.withLockedValue { state -> UInt64 in
            state.lastWaiter += 1
            return state.lastWaiter
        }
        let ready = self.state.withLockedValue { state -> RawConnection.Event? in
            if let index = state.events.firstIndex(where: { $0.concerns(channel) }) {
                return state.events.remove(at: index)
            }
            if state.isClosed { return RawConnection.Event.closed }
            state.waiters.append(Waiter(number: number, channel: channel, promise: promise))
            return nil
        }
        if let ready {
            promise.succeed(ready)
            return ready
        }
        let deadline = loop.scheduleTask(in: limit) {
            let isLate = self.state.withLockedValue { state -> Bool in
                guard let index = state.waiters.firstIndex(where: { $0.number == number }) else { return false }
                state.waiters.remove(at: index)
                return true
            }
            guard isLate else { return }
            promise.fail(RawConnection.Unexpected("nothing came in \(limit.nanoseconds / 1_000_000_000) seconds"))
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
    /// The first eight bytes, which are a protocol header if the broker did not like ours.
    private var head: [UInt8] = []

    init(inbox: Inbox) { self.inbox = inbox }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        let bytes = self.unwrapInboundIn(data)
        if self.head.count < 8 { self.head += bytes.readableBytesView.prefix(8 - self.head.count) }
        do throws(AMQPWireError) {
            try self.reader.read(bytes) { item in
                switch item {
                case .method(let channel, let method): self.inbox.append(.method(channel: channel, method))
                case .content(let channel, let content): self.inbox.append(.content(channel: channel, content))
                case .heartbeat: self.inbox.append(.heartbeat)
                }
            }
        } catch {
            self.inbox.append(error.code == .protocolHeader ? .protocolHeader(self.head) : .garbage(error.message))
        }
    }

    func channelInactive(context: ChannelHandlerContext) { self.inbox.close() }

    func errorCaught(context: ChannelHandlerContext, error: any Error) { context.close(promise: nil) }
}
