// SPDX-License-Identifier: Apache-2.0
import AMQPClient
import AMQPWire
import NIOCore

extension Peer {
    /// Listens on a queue, for ``PeerService/messages`` to be iterated, or for methods to be added and run:
    /// `handle` of ``PeerService``, ``PeerService/run()``.
    ///
    /// - Parameters:
    ///   - queue: the service's address. `nil` for the peer's own name, if it was given one. At most 255 bytes.
    ///   - shape: who may share the queue, and what survives what. Default: for this peer alone.
    ///   - options: how its messages are treated. A loop over ``PeerService/messages`` settles them itself: for it only
    ///     the prefetch counts.
    /// - Throws: ``HareDoError``: `nameTaken` if the queue is another's or has another shape, `invalidArgument`,
    ///   `notConnected`, or what became of the connection.
    public func listen(
        on queue: String? = nil, as shape: QueueShape = .exclusive, options: ServiceOptions = ServiceOptions()
    ) async throws(HareDoError) -> PeerService {
        PeerService(core: try await self.makeService(on: try self.named(queue), as: shape, options: options))
    }

    /// Listens on a queue with a handler, which runs for several messages at once.
    ///
    /// What the handler returns is the reply; with `nil` there is none, or it replied itself. Then the message is
    /// acknowledged, unless ``ServiceOptions/acknowledgement`` says otherwise. A handler that throws answers the caller
    /// with an error, with code and text of a ``ServiceError`` or else without details; what becomes of the message,
    /// ``ServiceOptions/onFailure`` says.
    ///
    /// - Throws: as ``listen(on:as:options:)``.
    @discardableResult
    public func listen(
        on queue: String? = nil, as shape: QueueShape = .exclusive, options: ServiceOptions = ServiceOptions(),
        serve: @escaping @concurrent @Sendable (Message) async throws -> Reply?
    ) async throws(HareDoError) -> PeerService {
        PeerService(
            core: try await self.makeService(on: try self.named(queue), as: shape, options: options, serve: serve))
    }

    /// Listens on a queue with something that serves messages, such as the peer's ``plugins``. Otherwise as
    /// ``listen(on:as:options:serve:)``.
    ///
    /// - Parameter options: `nil` for the servant's own, ``Serving/options``.
    @discardableResult
    public func listen<Servant: Serving>(
        on queue: String? = nil, as shape: QueueShape = .exclusive, options: ServiceOptions? = nil,
        serving servant: Servant
    ) async throws(HareDoError) -> PeerService {
        try await self.listen(on: queue, as: shape, options: options ?? Servant.options) { message in
            try await servant.serve(message)
        }
    }

    /// Listens for as long as `body` runs, and drains the service then.
    ///
    /// - Throws: as ``listen(on:as:options:)``, and what `body` throws.
    public func withService<Result: Sendable>(
        on queue: String? = nil, as shape: QueueShape = .exclusive, options: ServiceOptions = ServiceOptions(),
        serve: @escaping @concurrent @Sendable (Message) async throws -> Reply?,
        _ body: (PeerService) async throws -> Result
    ) async throws -> Result {
        let service = try await self.listen(on: queue, as: shape, options: options, serve: serve)
        do {
            let result = try await body(service)
            await service.drain()
            return result
        } catch {
            await service.drain()
            throw error
        }
    }

    private func named(_ queue: String?) throws(HareDoError) -> String {
        guard let queue = queue ?? (self.isNamed ? self.name : nil) else {
            throw HareDoError(.invalidArgument, "the peer has no name of its own to listen on: say on which queue")
        }
        return queue
    }

    /// - Parameters:
    ///   - topics: whether the queue gets events.
    ///   - handler: of all messages, if there is one from the beginning.
    func makeService(
        on queue: String, as shape: QueueShape, options: ServiceOptions, topics: Topics? = nil,
        serve handler: HandlerInterceptor.Next? = nil
    ) async throws(HareDoError) -> ServiceCore {
        guard !queue.isEmpty else { throw HareDoError(.invalidArgument, "the name to listen on is empty") }
        guard queue.utf8.count <= 255 else {
            throw HareDoError(
                .invalidArgument, "the name to listen on has \(queue.utf8.count) bytes, and AMQP allows a queue 255")
        }
        try options.check(for: queue, shape)
        let link = try await self.linkState.link(until: .after(self.timeout), self.scheduler)
        guard self.ending == nil else { throw Self.beingDisconnected }
        try await self.declare(queue, as: shape, topics, on: link.connection)
        let core: ServiceCore
        do throws(AMQPError) {
            let channel = try await link.connection.openChannel()
            core = ServiceCore(
                queue: queue, shape: shape, options: options, channel: channel,
                surroundings: self.surroundings(of: channel, link)
            ) { ended in
                self.eventLoop.execute {
                    self.assumeIsolated { $0.forget(ended, link) }
                }
            }
            self.services[ObjectIdentifier(core)] = core
            do throws(AMQPError) {
                try await channel.qos(prefetchCount: core.prefetch)
                core.started(consumerTag: try await channel.consume(queue, sink: core))
            } catch {
                self.forget(core, link)
                await channel.close()
                throw error
            }
            self.endedServices[queue] = nil
            self.healthMayHaveChanged()
        } catch {
            if self.ending != nil { throw Self.beingDisconnected }
            throw Self.explain(error, queue, shape)
        }
        // Served at once, found a little later: the broker may be slow to answer.
        if let handler { try core.serve(handler) }
        await self.announce(core, link)
        return core
    }

    private func surroundings(of channel: AMQPChannel, _ link: PeerLink) -> ServiceCore.Surroundings {
        ServiceCore.Surroundings(
            // A reply and the acknowledgement of its request go out on one channel, in this order, if that may be.
            responder: MessageStorage.Responder(
                channel: link.isSeparated ? link.sending : channel, user: link.user, formats: self.formats),
            republisher: Republisher(
                declare: { queue throws(HareDoError) in try await self.declare(queue, on: link) },
                publish: { copy, queue throws(HareDoError) in try await self.publish(copy, to: queue, on: link) }),
            scheduler: self.scheduler, logger: self.logger, counters: self.counters, taskExecutor: self.taskExecutor)
    }

    /// Makes a queue that belongs to a service's.
    private func declare(_ queue: RetryQueue, on link: PeerLink) async throws(HareDoError) {
        try await self.declare(queue.name, as: .durable.with(queue.arguments), nil, on: link.connection)
    }

    /// Puts a copy of a message into a queue, and returns when the broker has it.
    func publish(_ copy: MessageCopy, to queue: String, on link: PeerLink) async throws(HareDoError) {
        try await self.publishConfirmed(copy.message, to: queue, exchange: "", mandatory: true, on: link)
    }

    /// A service has ended: unless another one listens there too, its queue is not declared again after a loss.
    private func forget(_ core: ServiceCore, _ link: PeerLink) {
        self.services[ObjectIdentifier(core)] = nil
        if self.ending == nil, let failure = core.failure { self.endedServices[core.queue] = failure.message }
        self.healthMayHaveChanged()
        guard !self.services.values.contains(where: { $0.queue == core.queue }) else { return }
        link.connection.assumeIsolated { $0.forget(queue: core.queue) }
    }

    /// On a channel of its own: a refusal closes it.
    private func declare(
        _ queue: String, as shape: QueueShape, _ topics: Topics?, on connection: AMQPConnection
    ) async throws(HareDoError) {
        do throws(AMQPError) {
            let channel = try await connection.openChannel()
            do throws(AMQPError) {
                try await channel.declareQueue(
                    queue, durable: shape.isDurable, exclusive: shape.isExclusive, autoDelete: shape.isAutoDelete,
                    arguments: shape.amqpArguments)
                if let topics {
                    try await channel.declareExchange(topics.exchange, type: .topic, durable: true)
                    try await channel.bindQueue(queue, to: topics.exchange, routingKey: topics.pattern)
                }
            } catch {
                // Not every refusal closes it: arguments that cannot be encoded do not, nor does a cancelled task.
                await channel.close()
                throw error
            }
            await channel.close()
        } catch {
            throw Self.explain(error, queue, shape)
        }
    }

    /// What a refusal means to somebody who wants to listen.
    private static func explain(_ error: AMQPError, _ queue: String, _ shape: QueueShape) -> HareDoError {
        switch error.reply?.code {
        case 405?:
            HareDoError(
                .nameTaken,
                "'\(queue)' is taken: either another peer listens on it exclusively (or did until a moment ago), "
                    + "or the queue exists in another shape than .\(shape.kind)", cause: error)
        // A 406 of another kind is about the arguments.
        case 406? where error.message.contains("inequivalent"):
            HareDoError(
                .nameTaken, "the queue '\(queue)' exists in another shape than .\(shape.kind): \(error.message)",
                cause: error)
        default: HareDoError(error)
        }
    }
}
