// SPDX-License-Identifier: Apache-2.0
import AMQPClient
import AMQPWire
import Logging
import NIOConcurrencyHelpers
import NIOCore

#if canImport(FoundationEssentials)
import FoundationEssentials
#else
import Foundation
#endif

/// One end of a conversation. A peer that listens is a service, a peer that calls is a client; it may be both at once.
///
/// ```swift
/// let peer = Peer()
/// try await peer.connect()
/// let reply = try await peer.call("rpc", data: "jujifruit")
/// await peer.disconnect()
/// ```
///
/// A peer is an actor on its connection's event loop; sending and calling do not hop there. Whoever connected a peer has
/// to disconnect it, or use ``with(_:_:)``.
public actor Peer {
    /// What this peer is called: what ``listen(on:as:concurrency:prefetch:)`` listens on if no queue is given.
    public nonisolated let name: String
    /// The queue that messages to this peer itself go to: its inbox. It stays the same over reconnects.
    public nonisolated let address: String
    public nonisolated let configuration: Configuration

    nonisolated let eventLoop: any EventLoop
    private nonisolated let executor: any SerialExecutor
    public nonisolated var unownedExecutor: UnownedSerialExecutor { self.executor.asUnownedSerialExecutor() }

    nonisolated let logger: Logger
    nonisolated let linkState = LinkState()
    nonisolated let calls = CallTable()
    nonisolated let scheduler: DeadlineScheduler
    private nonisolated let timeoutBox = NIOLockedValueBox(Duration.seconds(1))
    nonisolated let counters = NIOLockedValueBox(Statistics())
    /// Whether the peer has a name its user chose, so that it may listen on it.
    nonisolated let isNamed: Bool

    private var inbox: Inbox<Message, Waiter<Message?, HareDoError>>
    private var lastToken: UInt64 = 0
    private var usesEmbeddedBroker = false
    private var confirming: AMQPChannel?
    var services: [ObjectIdentifier: ServiceCore] = [:]
    private var ending: [Waiter<Void, HareDoError>]?

    /// - Parameters:
    ///   - name: `nil` for a random one.
    public init(name: String? = nil, _ configuration: Configuration = .environment) {
        self.name = name ?? "peer-" + Self.random()
        self.isNamed = name != nil
        self.address = "haredo.inbox." + Self.random()
        self.configuration = configuration
        self.eventLoop = SharedEventLoops.next()
        self.executor = self.eventLoop.executor
        self.scheduler = DeadlineScheduler(eventLoop: self.eventLoop)
        var logger = configuration.logger ?? Logger(label: "haredo")
        logger[metadataKey: "peer.id"] = "\(self.name)"
        self.logger = logger
        self.inbox = Inbox(maximumCount: configuration.inboxCount, maximumBytes: configuration.inboxBytes)
    }

    private static func random() -> String {
        String(UInt64.random(in: 0 ... .max), radix: 36) + String(UInt64.random(in: 0 ... .max), radix: 36)
    }

    /// How long calls and receives wait that do not say so themselves. Default 1 s.
    public nonisolated var timeout: Duration {
        get { self.timeoutBox.withLockedValue { $0 } }
        set { self.timeoutBox.withLockedValue { $0 = newValue } }
    }

    /// What was lost or late, counted since the peer was made.
    public struct Statistics: Sendable, Hashable {
        /// Replies that came after their call had ended. They were discarded.
        public var lateReplies = 0
        /// Messages dropped from a full inbox.
        public var droppedMessages = 0
        /// Messages that were sent to an address where nobody listens, and came back.
        public var returnedMessages = 0
    }

    public nonisolated var statistics: Statistics { self.counters.withLockedValue { $0 } }

    /// Connects a peer for as long as `body` runs.
    ///
    /// - Throws: ``HareDoError`` if the peer cannot connect, and what `body` throws.
    public static func with<R: Sendable>(
        _ configuration: Configuration = .environment, _ body: (Peer) async throws -> R
    ) async throws -> R {
        let peer = Peer(configuration)
        try await peer.connect()
        do {
            let result = try await body(peer)
            await peer.disconnect()
            return result
        } catch {
            await peer.disconnect()
            throw error
        }
    }

    public init(_ configuration: Configuration) { self.init(name: nil, configuration) }

    // MARK: - Connecting

    /// Connects to the broker. Doing it again while connected does nothing.
    ///
    /// - Throws: ``HareDoError``, within ``Configuration/connectTimeout``: `noBroker`, `authenticationFailed`,
    ///   `virtualHostRefused`, `invalidArgument` (a mistake in the URL), `brokerRefused` or `cancelled`.
    public func connect() async throws(HareDoError) {
        switch self.linkState.state {
        case .connected: return
        case .connecting:
            _ = try await self.linkState.link(
                until: .now() + TimeAmount(self.configuration.connectTimeout), self.scheduler)
            return
        case .idle, .ended: break
        }
        guard self.ending == nil else { throw HareDoError(.disconnected, "the peer is being disconnected") }
        self.linkState.set(.connecting)
        do {
            let link = try await self.makeLink()
            self.calls.reopen()
            self.linkState.set(.connected(link))
            // Called at once if the connection has ended by now.
            await link.connection.whenEnded { error in self.assumeIsolated { $0.connectionEnded(HareDoError(error)) } }
        } catch {
            await self.releaseEmbeddedBroker()
            self.linkState.set(.ended(error))
            throw error
        }
    }

    private func makeLink() async throws(HareDoError) -> PeerLink {
        var amqp: AMQPConfiguration
        if let resolved = try self.configuration.resolved() {
            amqp = resolved
        } else {
            self.usesEmbeddedBroker = true
            do {
                amqp = try await EmbeddedBroker.shared.acquire()
            } catch {
                self.usesEmbeddedBroker = false
                throw error
            }
        }
        amqp.connectionName = self.name
        amqp.connectTimeout = self.configuration.connectTimeout
        amqp.heartbeat = self.configuration.heartbeat
        amqp.maximumMessageSize = self.configuration.maximumMessageSize
        do throws(AMQPError) {
            let connection = try await AMQPConnection.connect(amqp, on: self.eventLoop, logger: self.logger)
            do throws(AMQPError) {
                return try await self.prepare(connection, user: amqp.user)
            } catch {
                await connection.close()
                throw error
            }
        } catch {
            throw HareDoError(error)
        }
    }

    private func prepare(_ connection: AMQPConnection, user: String) async throws(AMQPError) -> PeerLink {
        let sending = try await connection.openChannel()
        try await sending.onReturn { message in self.assumeIsolated { $0.returned(message) } }
        let inbox = try await connection.openChannel()
        try await inbox.declareQueue(self.address, exclusive: true)
        let responder = MessageStorage.Responder(channel: sending, user: user)
        _ = try await inbox.consume(
            self.address, acknowledgement: .automatic,
            sink: ClosureSink { delivery in self.assumeIsolated { $0.arrived(delivery, responder) } })
        let (calling, replyTo) = try await self.prepareCalls(connection, responder)
        // Without one of these the peer would be deaf in part: better to end as a whole, and say so.
        for channel in [sending, inbox, calling] {
            await channel.whenEnded { error in
                self.assumeIsolated { $0.channelEnded(error, of: connection) }
            }
        }
        return PeerLink(
            connection: connection, inbox: inbox, sending: sending, calling: calling, callReplyTo: replyTo, user: user)
    }

    /// RabbitMQ's name for a reply that goes straight to the channel that asked; with a suffix once the broker has seen it.
    private static let directReplyTo = "amq.rabbitmq.reply-to"

    /// Replies to calls skip the queue where the broker can do that (RabbitMQ's direct reply-to).
    private func prepareCalls(
        _ connection: AMQPConnection, _ responder: MessageStorage.Responder
    ) async throws(AMQPError) -> (AMQPChannel, String) {
        let direct = Self.directReplyTo
        let onReturn: @Sendable (AMQPReturnedMessage) -> Void = { message in
            self.assumeIsolated { $0.callReturned(message) }
        }
        let channel = try await connection.openChannel()
        do {
            _ = try await channel.consume(
                direct, acknowledgement: .automatic,
                sink: ClosureSink { delivery in
                    self.replied(MessageStorage(delivery, needsAcknowledgement: false, responder: responder, keeps: false))
                })
            try await channel.onReturn(onReturn)
            return (channel, direct)
        } catch where error.code == .channelClosed && error.reply?.code == 404 {
            let channel = try await connection.openChannel()
            try await channel.onReturn(onReturn)
            return (channel, self.address)
        }
    }

    private func channelEnded(_ error: AMQPError, of connection: AMQPConnection) {
        guard case .connected(let link) = self.linkState.state, link.connection === connection, self.ending == nil
        else { return }
        guard error.origin == .peer, error.code == .channelClosed else { return }
        self.logger.info("a channel was closed by the broker", metadata: ["error": "\(error.message)"])
        // What waits is told why, not just that the connection closed.
        self.connectionEnded(HareDoError(error))
        connection.assumeIsolated { $0.abandon(error) }
    }

    /// The connection is gone, on purpose or not: nothing may go on waiting for it.
    private func connectionEnded(_ error: HareDoError) {
        guard case .connected = self.linkState.state else { return }
        let error = self.ending == nil ? error : .disconnected
        if self.ending == nil {
            self.logger.info("the connection to the broker was lost", metadata: ["error": "\(error.message)"])
        }
        self.linkState.set(.ended(error))
        self.calls.failAll(error)
        for waiter in self.inbox.removeWaiters() { waiter.resolve(.failure(error)) }
        self.confirming = nil
    }

    /// Ends the conversation: services drain, then the connection closes. Pending calls end at once with `disconnected`
    /// when no service of this peer is still handling a message. Disconnecting again waits for the first.
    ///
    /// Nothing is left running when it returns.
    ///
    /// - Parameter limit: how long services may take to finish what they have begun. What they have not finished by then
    ///   is cancelled, and goes back to its queue.
    public func disconnect(within limit: Duration = .seconds(10)) async {
        if self.ending != nil {
            let waiter = Waiter<Void, HareDoError>(cancelled: .cancelled)
            self.ending?.append(waiter)
            try? await waiter.uncancellableValue()
            return
        }
        self.ending = []
        if case .connecting = self.linkState.state {
            // Its outcome decides whether there is something to close.
            _ = try? await self.linkState.link(
                until: .now() + TimeAmount(self.configuration.connectTimeout), self.scheduler)
        }
        if !self.services.isEmpty { await self.drainServices(within: limit) }
        if case .connected(let link) = self.linkState.state {
            self.connectionEnded(.disconnected)
            await link.connection.close()
        } else {
            self.linkState.set(.ended(.disconnected))
        }
        await self.releaseEmbeddedBroker()
        let waiters = self.ending ?? []
        self.ending = nil
        for waiter in waiters { waiter.resolve(.success(())) }
    }

    private func drainServices(within limit: Duration) async {
        let services = Array(self.services.values)
        await withTaskGroup(of: Void.self) { group in
            for service in services { group.addTask { await service.drain(within: limit) } }
        }
    }

    private func releaseEmbeddedBroker() async {
        guard self.usesEmbeddedBroker else { return }
        self.usesEmbeddedBroker = false
        await EmbeddedBroker.shared.release()
    }

    // MARK: - What arrives

    /// A message in the inbox.
    private func arrived(_ delivery: AMQPDelivery, _ responder: MessageStorage.Responder) {
        let storage = MessageStorage(delivery, needsAcknowledgement: false, responder: responder, keeps: true)
        // Only an id of our own making makes it a reply, whatever its message id says; and what we sent to ourselves, which
        // asks for a reply to us, is none.
        var replyID: String?
        let isOurs =
            storage.replyTo.map { $0 == self.address || $0.hasPrefix(Self.directReplyTo) } ?? false
        if !isOurs, let id = delivery.properties.correlationID {
            switch self.calls.kind(of: id) {
            case .call:
                self.replied(storage)
                return
            case .send: replyID = id
            case nil: break
            }
        }
        let message = Message(storage: storage)
        switch self.inbox.arrived(message, id: replyID, bytes: storage.data.count + 256) {
        case .deliver(let waiter, let message):
            // A waiter that gave up in this moment must not take the message with it.
            if !waiter.resolve(.success(message)) { self.arrived(delivery, responder) }
        case .kept(let dropped):
            guard dropped > 0 else { return }
            let total = self.counters.withLockedValue { counters in
                counters.droppedMessages += dropped
                return counters.droppedMessages
            }
            // Once per power of two: a full inbox must not become a full log.
            if total & (total - 1) == 0 {
                self.logger.info("the inbox is full: old messages are dropped", metadata: ["count": "\(total)"])
            }
        }
    }

    /// A reply to a call.
    nonisolated func replied(_ storage: MessageStorage) {
        let message = Message(storage: storage)
        let result: Result<Message?, HareDoError> =
            if let failure = message.failure { .failure(.remote(failure)) } else { .success(message) }
        guard let id = storage.properties.correlationID, self.calls.resolve(id, result) else {
            self.counters.withLockedValue { $0.lateReplies += 1 }
            self.logger.debug("a reply came too late")
            return
        }
    }

    private func callReturned(_ message: AMQPReturnedMessage) {
        guard let id = message.properties.messageID else { return }
        _ = self.calls.resolve(id, .failure(.noSuchService(message.routingKey)))
    }

    private func returned(_ message: AMQPReturnedMessage) {
        self.counters.withLockedValue { $0.returnedMessages += 1 }
        self.logger.info(
            "a message came back: nobody listens on its address",
            metadata: ["amqp.routing_key": "\(message.routingKey)"])
    }

    // MARK: - Receiving

    /// Takes the oldest message from the inbox, or waits for one.
    ///
    /// - Parameter timeout: `nil` for the peer's ``timeout``.
    /// - Returns: `nil` if none came in time.
    /// - Throws: ``HareDoError``: `notConnected`, `connectionLost`, `disconnected` or `cancelled`.
    public func receive(timeout: Duration? = nil) async throws(HareDoError) -> Message? {
        try await self.take(id: nil, timeout: timeout)
    }

    /// Takes the reply to the message that ``send(_:headers:data:wantsReply:confirm:)`` returned this id for, or waits
    /// for it. Other messages stay where they are.
    ///
    /// - Parameter timeout: `nil` for the peer's ``timeout``.
    /// - Returns: `nil` if it did not come in time; it can still be asked for later.
    /// - Throws: as ``receive(timeout:)``, and `remoteFailed` if the reply says that the handler failed.
    public func receive(id: MessageID, timeout: Duration? = nil) async throws(HareDoError) -> Message? {
        let message = try await self.take(id: id.rawValue, timeout: timeout)
        if let failure = message?.failure { throw .remote(failure) }
        return message
    }

    private func take(id: String?, timeout: Duration?) async throws(HareDoError) -> Message? {
        let deadline = NIODeadline.now() + TimeAmount(timeout ?? self.timeout)
        if let message = id.map({ self.inbox.take(id: $0) }) ?? self.inbox.takeOldest() { return message }
        _ = try await self.linkState.link(until: deadline, self.scheduler)
        if let message = id.map({ self.inbox.take(id: $0) }) ?? self.inbox.takeOldest() { return message }
        self.lastToken += 1
        let token = self.lastToken
        let waiter = Waiter<Message?, HareDoError>(cancelled: .cancelled)
        self.inbox.wait(waiter, token: token, id: id)
        let scheduled = self.scheduler.schedule(at: deadline) { waiter.resolve(.success(nil)) }
        defer {
            self.scheduler.cancel(scheduled)
            self.inbox.abandon(token: token, id: id)
        }
        return try await waiter.value()
    }

    // MARK: - Confirmed sending

    /// The channel in confirm mode, made when it is first needed.
    func confirmingChannel(_ link: PeerLink) async throws(HareDoError) -> AMQPChannel {
        if let confirming, confirming.failure == nil { return confirming }
        do {
            let channel = try await link.connection.openChannel()
            try await channel.confirmSelect()
            // Two may have been made at once; the second is not worth keeping.
            if let confirming, confirming.failure == nil {
                await channel.close()
                return confirming
            }
            self.confirming = channel
            return channel
        } catch {
            throw HareDoError(error)
        }
    }
}
