// SPDX-License-Identifier: Apache-2.0
@_spi(HareDo) import AMQPClient
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
    /// What this peer is called: what ``listen(on:as:options:)`` listens on if no queue is given.
    public nonisolated let name: String
    /// The queue that messages to this peer itself go to: its inbox. It stays the same over reconnects.
    public nonisolated let address: String
    /// What it was made with.
    public nonisolated let configuration: Configuration

    nonisolated let eventLoop: any EventLoop
    private nonisolated let executor: any SerialExecutor
    /// The event loop that the peer shares with its connection.
    public nonisolated var unownedExecutor: UnownedSerialExecutor { self.executor.asUnownedSerialExecutor() }

    /// Runs tasks on the event loop that the peer shares with its connection, which spares them two changes of thread
    /// per reply: `Task(executorPreference: peer.taskExecutor) { … }`, `withTaskExecutorPreference`.
    ///
    /// For work that is short and never blocks: while it runs, nothing is read or written, heartbeats included.
    public nonisolated let taskExecutor: any TaskExecutor

    nonisolated let logger: Logger
    nonisolated let linkState = LinkState()
    nonisolated let calls = CallTable()
    nonisolated let scheduler: DeadlineScheduler
    private nonisolated let timeoutBox = NIOLockedValueBox(Duration.seconds(1))
    nonisolated let counters = NIOLockedValueBox(Statistics())
    /// Whether the peer has a name its user chose, so that it may listen on it.
    nonisolated let isNamed: Bool

    /// The plugins that messages to ``listen(on:as:options:serving:)`` may be handed to.
    public nonisolated let plugins: Plugins
    nonisolated let formats: BodyFormats
    nonisolated let healthBox = HealthBox()
    /// Services that ended by themselves, by their queues: why.
    var endedServices: [String: String] = [:]
    var discovery: DiscoveryResponder?

    private var inbox: Inbox<Message, Waiter<Message?, HareDoError>>
    private var lastToken: UInt64 = 0
    private var usesEmbeddedBroker = false
    private var confirming: AMQPChannel?
    private var confirmingAttempt: Task<Void, Never>?
    private var confirmingWaiters: [Waiter<AMQPChannel, HareDoError>] = []
    /// Those that have not ended, or whose handlers still run.
    var services: [ObjectIdentifier: ServiceCore] = [:]
    /// While the peer is being disconnected: who waits for the end of that.
    private(set) var ending: [Waiter<Void, HareDoError>]?
    private var attempt: Task<Result<PeerLink, HareDoError>, Never>?
    private var connectWaiters: [Waiter<Void, HareDoError>] = []

    /// - Parameters:
    ///   - name: `nil` for a random one.
    public init(name: String? = nil, _ configuration: Configuration = .environment) {
        self.name = name ?? "peer-" + RandomName.make()
        self.isNamed = name != nil
        self.address = "haredo.inbox." + RandomName.make()
        self.configuration = configuration
        self.eventLoop = SharedEventLoops.next()
        self.executor = self.eventLoop.executor
        self.taskExecutor = EventLoopTaskExecutor(self.eventLoop)
        self.scheduler = DeadlineScheduler(eventLoop: self.eventLoop)
        var logger = configuration.logger ?? Logger(label: "haredo")
        logger[metadataKey: "peer.id"] = "\(self.name)"
        self.logger = logger
        self.plugins = Plugins(counters: self.counters)
        self.formats = BodyFormats(configuration.formats)
        self.inbox = Inbox(maximumCount: configuration.inboxCount, maximumBytes: configuration.inboxBytes)
        self.plugins.belong(to: self)
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
        /// Requests to a service that were not handled, because their callers had given up when it was their turn.
        public var expiredRequests = 0
        /// Messages whose handlers failed: attempts, so that one message may count several times.
        public var failedAttempts = 0
        /// Messages that were, or are to be, handled again after an attempt failed.
        public var retries = 0
        /// Messages that were parked.
        public var parkedMessages = 0
        /// Messages for which there was neither method nor plugin. They were dropped.
        public var unservedMessages = 0
        /// Messages that were refused because a header of HareDo's in them is not what it should be.
        public var rejectedMessages = 0
        /// Messages that had been handled before, and were answered without being handled again.
        public var repeatedMessages = 0
    }

    /// What was lost or late so far.
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

    /// A peer with a random name.
    public init(_ configuration: Configuration) { self.init(name: nil, configuration) }

    // MARK: - Connecting

    /// Connects to the broker. Doing it again while connected does nothing.
    ///
    /// - Throws: ``HareDoError``, within ``Configuration/connectTimeout``: `noBroker`, `authenticationFailed`,
    ///   `virtualHostRefused`, `invalidArgument` (a mistake in the URL), `brokerRefused` or `cancelled`.
    public func connect() async throws(HareDoError) {
        while case .connecting = self.linkState.state {
            // It has a deadline of its own.
            do {
                _ = try await self.linkState.link(until: .distantFuture, self.scheduler)
                return
            } catch {
                // The one who connected was cancelled: this one connects in its place.
                guard case .idle = self.linkState.state, error.code == .notConnected else { throw error }
            }
        }
        switch self.linkState.state {
        case .connected, .connecting: return
        case .recovering:
            _ = try await self.linkState.link(until: .after(self.configuration.connectTimeout), self.scheduler)
            return
        case .idle, .ended: break
        }
        guard self.ending == nil else { throw Self.beingDisconnected }
        self.linkState.set(.connecting)
        do {
            let link = try await self.makeLink()
            self.calls.reopen()
            self.linkState.set(.connected(link))
            self.connectEnded()
            await self.watch(link)
            self.healthMayHaveChanged()
        } catch {
            await self.releaseEmbeddedBroker()
            // That one caller was cancelled says nothing to others.
            self.linkState.set(error.code == .cancelled ? .idle : .ended(error))
            self.connectEnded()
            throw error
        }
    }

    static let beingDisconnected = HareDoError(.disconnected, "the peer is being disconnected")

    /// `disconnect` waits for that.
    private func connectEnded() {
        let waiters = self.connectWaiters
        self.connectWaiters.removeAll()
        for waiter in waiters { waiter.resolve(.success(())) }
    }

    private func watch(_ link: PeerLink) async {
        // What happened since they were connected is told at once.
        for connection in link.connections {
            await connection.observe { event in self.assumeIsolated { $0.observed(event, of: link) } }
            await connection.whenEnded { error in
                self.assumeIsolated { $0.connectionEnded(HareDoError(error), of: link) }
            }
        }
        // The channel on which calls go out, and, where that is another, the one on which their replies come.
        for channel in link.isSeparated ? [link.calling, link.inbox] : [link.calling] {
            await channel.whenInterrupted { error in self.assumeIsolated { $0.callsInterrupted(error, link) } }
        }
        self.linkChanged(link)
    }

    private func makeLink() async throws(HareDoError) -> PeerLink {
        let amqp = try await self.brokerConfiguration()
        guard self.ending == nil else { throw .disconnected }
        // In a task of its own, so that its deadline and `disconnect` can end it as well as its caller.
        let attempt = Task { await self.attempt(amqp) }
        self.attempt = attempt
        let isLate = NIOLockedValueBox(false)
        let deadline = self.scheduler.schedule(after: amqp.connectTimeout) {
            isLate.withLockedValue { $0 = true }
            attempt.cancel()
        }
        let result = await withTaskCancellationHandler {
            await attempt.value
        } onCancel: {
            attempt.cancel()
        }
        self.attempt = nil
        self.scheduler.cancel(deadline)
        switch result {
        case .success(let link):
            guard self.ending != nil else { return link }
            for connection in link.connections { await connection.close() }
            throw .disconnected
        case .failure(let error):
            if self.ending != nil { throw .disconnected }
            if Task.isCancelled { throw .cancelled }
            guard error.code == .cancelled, isLate.withLockedValue({ $0 }) else { throw error }
            throw HareDoError(
                .noBroker, "the broker at \(amqp.address) did not answer within \(amqp.connectTimeout)", cause: error)
        }
    }

    private func brokerConfiguration() async throws(HareDoError) -> AMQPConfiguration {
        var amqp: AMQPConfiguration
        if let resolved = try self.configuration.resolved() {
            amqp = resolved
        } else {
            amqp = try await EmbeddedBroker.shared.acquire()
            // After a loss the broker is still held. It is given back only now: with its last user it would end.
            if self.usesEmbeddedBroker { await EmbeddedBroker.shared.release() }
            self.usesEmbeddedBroker = true
        }
        amqp.connectionName = self.name
        self.configuration.apply(to: &amqp)
        return amqp
    }

    private func attempt(_ amqp: AMQPConfiguration) async -> Result<PeerLink, HareDoError> {
        var connections: [AMQPConnection] = []
        do throws(AMQPError) {
            let connection = try await AMQPConnection.connect(amqp, on: self.eventLoop, logger: self.logger)
            connections.append(connection)
            guard self.configuration.publishesSeparately else {
                return .success(try await self.prepare(connection, publishing: connection, user: Self.user(amqp)))
            }
            let publishing = try await AMQPConnection.connect(amqp, on: self.eventLoop, logger: self.logger)
            connections.append(publishing)
            return .success(try await self.prepare(connection, publishing: publishing, user: Self.user(amqp)))
        } catch {
            // It may have stopped answering: nothing is lost with it.
            for connection in connections {
                // Whoever does not wait for it any more does not wait for its end either.
                if Task.isCancelled {
                    await connection.abandon(error)
                } else {
                    await connection.close(within: .seconds(1))
                }
            }
            return .failure(HareDoError(error))
        }
    }

    /// The login name that messages carry, where it is known here: it may come from a certificate or a provider.
    private static func user(_ amqp: AMQPConfiguration) -> String? {
        amqp.user.isEmpty || amqp.saslMechanisms.contains(.external) ? nil : amqp.user
    }

    private func prepare(
        _ connection: AMQPConnection, publishing: AMQPConnection, user: String?
    ) async throws(AMQPError) -> PeerLink {
        let sending = try await publishing.openChannel()
        try await sending.onReturn { message in self.assumeIsolated { $0.returned(message) } }
        let inbox = try await self.declareInbox(connection)
        let responder = MessageStorage.Responder(channel: sending, user: user, formats: self.formats)
        _ = try await inbox.consume(
            self.address, acknowledgement: .automatic,
            sink: ClosureSink { delivery in self.assumeIsolated { $0.arrived(delivery, responder) } })
        let exchanges = DeclaredExchanges()
        // What a message was published to may not be there any more: then its channel was closed.
        await sending.whenInterrupted { _ in exchanges.removeAll() }
        let (calling, replyTo) =
            publishing === connection
            ? try await self.prepareCalls(connection, responder)
            : (try await self.callingChannel(publishing), self.address)
        return PeerLink(
            connection: connection, publishing: publishing, inbox: inbox, sending: sending, calling: calling,
            callReplyTo: replyTo, user: user, exchanges: exchanges)
    }

    /// - Returns: the channel it is declared on.
    private func declareInbox(_ connection: AMQPConnection) async throws(AMQPError) -> AMQPChannel {
        var pause = Duration.milliseconds(10)
        while true {
            let channel = try await connection.openChannel()
            do throws(AMQPError) {
                try await channel.declareQueue(self.address, exclusive: true)
                return channel
            } catch {
                await channel.close()
                // The broker may not have noticed yet that the connection before this one is gone.
                guard error.reply?.code == 405 else { throw error }
                guard (try? await Task.sleep(for: pause)) != nil else { throw error }
                pause = min(pause * 2, .seconds(1))
            }
        }
    }

    /// RabbitMQ's name for a reply that goes straight to the channel that asked; with a suffix once the broker has seen it.
    private static let directReplyTo = "amq.rabbitmq.reply-to"

    /// Replies to calls skip the queue where the broker can do that (RabbitMQ's direct reply-to).
    private func prepareCalls(
        _ connection: AMQPConnection, _ responder: MessageStorage.Responder
    ) async throws(AMQPError) -> (AMQPChannel, String) {
        let direct = Self.directReplyTo
        let channel = try await self.callingChannel(connection)
        do {
            _ = try await channel.consume(
                direct, acknowledgement: .automatic,
                sink: ClosureSink { delivery in
                    self.replied(
                        MessageStorage(delivery, needsAcknowledgement: false, responder: responder, keeps: false))
                })
            return (channel, direct)
        } catch  where error.code == .channelClosed && error.reply?.code == 404 {
            await channel.close()
            return (try await self.callingChannel(connection), self.address)
        }
    }

    private func callingChannel(_ connection: AMQPConnection) async throws(AMQPError) -> AMQPChannel {
        let channel = try await connection.openChannel()
        try await channel.onReturn { message in self.assumeIsolated { $0.callReturned(message) } }
        return channel
    }

    // MARK: - Losing the connection and having it again

    private func observed(_ event: AMQPConnectionEvent, of link: PeerLink) {
        switch event {
        case .lost: self.linkLost(link)
        case .recovered: self.linkChanged(link)
        case .connected, .recovering, .unhealthy, .blocked, .unblocked, .channelLost, .closed: break
        }
        self.healthMayHaveChanged()
    }

    private func linkLost(_ link: PeerLink) {
        guard case .connected(let current) = self.linkState.state, current === link else { return }
        self.linkState.set(.recovering(link))
        self.healthMayHaveChanged()
    }

    /// Asks rather than is told: with two connections, news of one say nothing of the other.
    private func linkChanged(_ link: PeerLink) {
        guard let current = self.linkState.state.link, current === link else { return }
        for connection in link.connections {
            // On the same loop: nothing happens between asking and setting.
            guard connection.assumeIsolated({ $0.isOpen }) else {
                self.linkLost(link)
                return
            }
        }
        if case .recovering = self.linkState.state { self.linkState.set(.connected(link)) }
        self.healthMayHaveChanged()
    }

    /// What was sent to be answered on the way that is lost will not be answered.
    private func callsInterrupted(_ error: AMQPError, _ link: PeerLink) {
        // A call of many may have gone to one that is not there any more.
        link.exchanges.removeAll()
        self.calls.failSent(except: link.calling.suspendedMessageIDs) { count in
            // An error of the broker about one message closes the channel for all: which it was is known if there is one.
            guard error.isRefusal, count > 1 else { return HareDoError(error) }
            return HareDoError(
                .connectionLost,
                "the way back of \(count) calls is lost, because the broker refused one of them: \(error.message)",
                cause: error)
        }
    }

    /// The connection is gone, on purpose or not: nothing may go on waiting for it.
    private func connectionEnded(_ error: HareDoError, of link: PeerLink) {
        guard let current = self.linkState.state.link, current === link else { return }
        let error = self.ending == nil ? error : .disconnected
        if self.ending == nil {
            self.logger.info("the connection to the broker was lost", metadata: ["error": "\(error.message)"])
        }
        self.linkState.set(.ended(error))
        // One without the other is of no use.
        for connection in link.connections {
            connection.assumeIsolated {
                $0.abandon(AMQPError(.connectionClosed, error.message, origin: .peer, cause: error.cause))
            }
        }
        self.calls.failAll(error)
        for waiter in self.inbox.removeWaiters() { waiter.resolve(.failure(error)) }
        self.confirming = nil
        self.discovery = nil
        self.healthMayHaveChanged()
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
            // A handler must not wait for what waits for it.
            if let turn = ServiceCore.turn, self.services[ObjectIdentifier(turn.core)] != nil { return }
            let waiter = Waiter<Void, HareDoError>(cancelled: .cancelled)
            self.ending?.append(waiter)
            try? await waiter.uncancellableValue()
            return
        }
        self.ending = []
        if case .connecting = self.linkState.state {
            self.attempt?.cancel()
            let waiter = Waiter<Void, HareDoError>(cancelled: .cancelled)
            self.connectWaiters.append(waiter)
            try? await waiter.uncancellableValue()
        }
        let deadline = ContinuousClock.now + limit
        await self.drainServices(within: limit)
        // They may still send.
        await self.plugins.unloadAll(within: max(deadline - .now, .zero))
        self.discovery = nil
        if let link = self.linkState.state.link {
            await self.close(link)
        } else {
            self.linkState.set(.ended(.disconnected))
        }
        // Whoever began to listen in the meantime.
        await self.drainServices(within: .zero)
        await self.releaseEmbeddedBroker()
        let waiters = self.ending ?? []
        self.ending = nil
        self.endedServices.removeAll()
        self.healthMayHaveChanged()
        for waiter in waiters { waiter.resolve(.success(())) }
    }

    private func close(_ link: PeerLink) async {
        self.linkState.set(.ended(.disconnected))
        self.calls.failAll(.disconnected)
        for waiter in self.inbox.removeWaiters() { waiter.resolve(.failure(.disconnected)) }
        self.confirming = nil
        await withTaskGroup(of: Void.self) { group in
            for connection in link.connections { group.addTask { await connection.close() } }
        }
        await self.confirmingAttempt?.value
    }

    private func drainServices(within limit: Duration) async {
        guard !self.services.isEmpty else { return }
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
        let bytes = storage.data.count + storage.headersSize + 256
        while true {
            switch self.inbox.arrived(message, id: replyID, bytes: bytes) {
            case .deliver(let waiter, let message):
                // A waiter that gave up in this moment must not take the message with it.
                if waiter.resolve(.success(message)) { return }
            case .kept(let dropped):
                if dropped > 0 { self.dropped(dropped) }
                return
            }
        }
    }

    private func dropped(_ count: Int) {
        let (before, total) = self.counters.withLockedValue { counters in
            counters.droppedMessages += count
            return (counters.droppedMessages - count, counters.droppedMessages)
        }
        // Once per power of two: a full inbox must not become a full log.
        if before.leadingZeroBitCount != total.leadingZeroBitCount {
            self.logger.info("the inbox is full: old messages are dropped", metadata: ["count": "\(total)"])
        }
    }

    /// A reply to a call.
    nonisolated func replied(_ storage: MessageStorage) {
        let message = Message(storage: storage)
        if let id = storage.properties.correlationID, self.calls.gather(id, message) { return }
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
        self.calls.nobodyGot(id)
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
        try Self.check(timeout ?? self.timeout)
        let deadline = NIODeadline.after(timeout ?? self.timeout)
        if let message = id.map({ self.inbox.take(id: $0) }) ?? self.inbox.takeOldest() { return message }
        _ = try await self.linkState.link(until: deadline, self.scheduler)
        if let message = id.map({ self.inbox.take(id: $0) }) ?? self.inbox.takeOldest() { return message }
        // On the way here the connection may have been lost again, and whoever waited for it been told.
        if case .ended(let error) = self.linkState.state { throw error }
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

    /// The channel in confirm mode, made when it is first needed: once, however many need it.
    func confirmingChannel(_ link: PeerLink) async throws(HareDoError) -> AMQPChannel {
        if let confirming, confirming.failure == nil { return confirming }
        let waiter = Waiter<AMQPChannel, HareDoError>(cancelled: .cancelled)
        self.confirmingWaiters.append(waiter)
        if self.confirmingAttempt == nil {
            // Not this caller's: that it is cancelled is nothing to the others. It ends with the connection.
            self.confirmingAttempt = Task { await self.openConfirming(link) }
        }
        return try await waiter.value()
    }

    private func openConfirming(_ link: PeerLink) async {
        let result: Result<AMQPChannel, HareDoError>
        do throws(AMQPError) {
            let channel = try await link.publishing.openChannel()
            do throws(AMQPError) {
                try await channel.confirmSelect()
            } catch {
                // Nobody else would, and it would come back after every loss.
                await channel.close()
                throw error
            }
            self.confirming = channel
            result = .success(channel)
        } catch {
            result = .failure(HareDoError(error))
        }
        self.confirmingAttempt = nil
        let waiters = self.confirmingWaiters
        self.confirmingWaiters.removeAll()
        for waiter in waiters { waiter.resolve(result) }
    }
}
