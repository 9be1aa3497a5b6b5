// SPDX-License-Identifier: Apache-2.0
import AMQPClient
import AMQPWire
import NIOCore

/// Where handlers run.
public enum HandlerExecution: Sendable {
    /// On Swift's global executor: a handler may compute, and even block, without holding up the connection.
    case concurrent
    /// On the connection's event loop, as are the tasks a handler starts: two thread hops less per message. Only for
    /// handlers that are short and never block: while one runs, everything on the connection waits, and a handler that
    /// blocks for longer than the heartbeat allows loses the connection.
    case onConnectionLoop
}

extension Peer {
    /// Listens on a queue, for ``PeerService/messages`` to be iterated.
    ///
    /// - Parameters:
    ///   - queue: the service's address. `nil` for the peer's own name, if it was given one. At most 255 bytes.
    ///   - shape: who may share the queue, and what survives what. Default: for this peer alone.
    ///   - prefetch: how many messages may be delivered and not acknowledged. Default 16, at least 1.
    /// - Throws: ``HareDoError``: `nameTaken` if the queue is another's or has another shape, `invalidArgument`,
    ///   `notConnected`, or what became of the connection.
    public func listen(
        on queue: String? = nil, as shape: QueueShape = .exclusive, prefetch: Int = 16
    ) async throws(HareDoError) -> PeerService {
        PeerService(core: try await self.makeService(on: queue, as: shape, prefetch: prefetch))
    }

    /// Listens on a queue with a handler, which runs for several messages at once.
    ///
    /// What the handler returns is the reply; with `nil` there is none, or it replied itself. Then the message is
    /// acknowledged. A handler that throws answers the caller with an error: with code and text of a ``ServiceError``,
    /// or else without details; and the message is acknowledged.
    ///
    /// - Parameters:
    ///   - concurrency: how many messages are handled at once. Default 16, at least 1.
    ///   - prefetch: how many messages may be delivered and not acknowledged. Default: as many as are handled at once.
    ///   - execution: where the handler runs.
    ///   - cancelsAtDeadline: whether a handler's task is cancelled when its caller gives up. What the handler returns or
    ///     throws then is of no interest, and its message is acknowledged. Default: yes.
    /// - Throws: as ``listen(on:as:prefetch:)``.
    @discardableResult
    public func listen(
        on queue: String? = nil, as shape: QueueShape = .exclusive, concurrency: Int = 16, prefetch: Int? = nil,
        execution: HandlerExecution = .concurrent, cancelsAtDeadline: Bool = true,
        serve: @escaping @concurrent @Sendable (Message) async throws -> Reply?
    ) async throws(HareDoError) -> PeerService {
        let concurrency = max(concurrency, 1)
        let core = try await self.makeService(on: queue, as: shape, prefetch: prefetch ?? concurrency)
        let executor: (any TaskExecutor)? =
            switch execution {
            case .concurrent: nil
            case .onConnectionLoop: self.taskExecutor
            }
        let loop = HandlerLoop(
            core: core, concurrency: concurrency, executor: executor, cancelsAtDeadline: cancelsAtDeadline, serve: serve
        )
        core.own {
            Task(executorPreference: executor) { @concurrent in
                await loop.run()
                await core.taskEnded()
            }
        }
        return PeerService(core: core)
    }

    private func makeService(
        on queue: String?, as shape: QueueShape, prefetch: Int
    ) async throws(HareDoError) -> ServiceCore {
        guard let queue = queue ?? (self.isNamed ? self.name : nil) else {
            throw HareDoError(.invalidArgument, "the peer has no name of its own to listen on: say on which queue")
        }
        guard !queue.isEmpty else { throw HareDoError(.invalidArgument, "the name to listen on is empty") }
        guard queue.utf8.count <= 255 else {
            throw HareDoError(
                .invalidArgument, "the name to listen on has \(queue.utf8.count) bytes, and AMQP allows a queue 255")
        }
        let link = try await self.linkState.link(until: .after(self.timeout), self.scheduler)
        guard self.ending == nil else { throw Self.beingDisconnected }
        try await self.declare(queue, as: shape, on: link.connection)
        do throws(AMQPError) {
            let channel = try await link.connection.openChannel()
            // A reply and the acknowledgement of its request go out on one channel, in this order, if that may be.
            let responder = MessageStorage.Responder(
                channel: link.isSeparated ? link.sending : channel, user: link.user)
            let core = ServiceCore(
                queue: queue, channel: channel, responder: responder, scheduler: self.scheduler, logger: self.logger,
                counters: self.counters
            ) { core in
                self.eventLoop.execute {
                    self.assumeIsolated { $0.forget(core, link) }
                }
            }
            self.services[ObjectIdentifier(core)] = core
            do throws(AMQPError) {
                try await channel.qos(prefetchCount: UInt16(clamping: max(prefetch, 1)))
                core.started(consumerTag: try await channel.consume(queue, sink: core))
            } catch {
                self.forget(core, link)
                await channel.close()
                throw error
            }
            return core
        } catch {
            if self.ending != nil { throw Self.beingDisconnected }
            throw Self.explain(error, queue, shape)
        }
    }

    /// A service has ended: unless another one listens there too, its queue is not declared again after a loss.
    private func forget(_ core: ServiceCore, _ link: PeerLink) {
        self.services[ObjectIdentifier(core)] = nil
        guard !self.services.values.contains(where: { $0.queue == core.queue }) else { return }
        link.connection.assumeIsolated { $0.forget(queue: core.queue) }
    }

    /// On a channel of its own: a refusal closes it.
    private func declare(
        _ queue: String, as shape: QueueShape, on connection: AMQPConnection
    ) async throws(HareDoError) {
        do throws(AMQPError) {
            let channel = try await connection.openChannel()
            do throws(AMQPError) {
                try await channel.declareQueue(
                    queue, durable: shape.isDurable, exclusive: shape.isExclusive, autoDelete: shape.isAutoDelete,
                    arguments: shape.amqpArguments)
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
