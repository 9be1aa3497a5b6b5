// SPDX-License-Identifier: Apache-2.0
public import AMQPWire

/// What the broker says of a queue.
public struct AMQPQueueStatus: Hashable, Sendable {
    /// The queue's name, also where the broker made it.
    public let name: String
    /// Messages that are ready to be delivered.
    public let messageCount: Int
    /// Consumers that are subscribed to it.
    public let consumerCount: Int
}

/// Exchanges, queues and bindings.
///
/// Every method throws ``AMQPError``; an error of the broker (404 not found, 403 refused, 405 locked, 406 precondition
/// failed) closes the channel, so what may fail is better done on a channel of its own.
extension AMQPChannel {
    /// Makes a queue, or checks that there is an equal one. Sends `queue.declare`.
    ///
    /// - Parameters:
    ///   - name: empty for a name of the broker's making, which is in the result.
    ///   - passive: only looks whether it exists.
    ///   - durable: survives a restart of the broker.
    ///   - exclusive: for this connection only, and gone with it.
    ///   - autoDelete: gone when its last consumer leaves.
    ///   - arguments: `x-expires`, `x-message-ttl`, `x-queue-type` and others of RabbitMQ's.
    @discardableResult
    public func declareQueue(
        _ name: String, passive: Bool = false, durable: Bool = false, exclusive: Bool = false,
        autoDelete: Bool = false, arguments: AMQPTable = [:]
    ) async throws(AMQPError) -> AMQPQueueStatus {
        let reply = try await self.request(
            .queueDeclare(
                .init(
                    queue: name, passive: passive, durable: durable, exclusive: exclusive, autoDelete: autoDelete,
                    arguments: arguments)))
        guard case .method(.queueDeclareOk(let ok)) = reply else { throw Self.unexpected(reply) }
        return AMQPQueueStatus(
            name: ok.queue, messageCount: Int(ok.messageCount), consumerCount: Int(ok.consumerCount))
    }

    /// Deletes a queue; one that does not exist is no error. Sends `queue.delete`.
    ///
    /// - Returns: how many messages were in it.
    @discardableResult
    public func deleteQueue(
        _ name: String, ifUnused: Bool = false, ifEmpty: Bool = false
    ) async throws(AMQPError) -> Int {
        let reply = try await self.request(.queueDelete(.init(queue: name, ifUnused: ifUnused, ifEmpty: ifEmpty)))
        guard case .method(.queueDeleteOk(let ok)) = reply else { throw Self.unexpected(reply) }
        return Int(ok.messageCount)
    }

    /// Empties a queue of what is ready to be delivered. Sends `queue.purge`.
    ///
    /// - Returns: how many messages were dropped.
    @discardableResult
    public func purgeQueue(_ name: String) async throws(AMQPError) -> Int {
        let reply = try await self.request(.queuePurge(.init(queue: name)))
        guard case .method(.queuePurgeOk(let ok)) = reply else { throw Self.unexpected(reply) }
        return Int(ok.messageCount)
    }

    /// Sends `queue.bind`.
    public func bindQueue(
        _ queue: String, to exchange: String, routingKey: String = "", arguments: AMQPTable = [:]
    ) async throws(AMQPError) {
        _ = try await self.request(
            .queueBind(.init(queue: queue, exchange: exchange, routingKey: routingKey, arguments: arguments)))
    }

    /// Sends `queue.unbind`. A binding that does not exist is no error.
    public func unbindQueue(
        _ queue: String, from exchange: String, routingKey: String = "", arguments: AMQPTable = [:]
    ) async throws(AMQPError) {
        _ = try await self.request(
            .queueUnbind(.init(queue: queue, exchange: exchange, routingKey: routingKey, arguments: arguments)))
    }

    /// The types every broker knows; others come with RabbitMQ's plugins.
    public struct ExchangeType: Hashable, Sendable, ExpressibleByStringLiteral {
        /// The name that goes over the wire.
        public let name: String
        public init(stringLiteral name: String) { self.name = name }
        /// To the queues bound with exactly the routing key.
        public static let direct: ExchangeType = "direct"
        /// To all queues that are bound.
        public static let fanout: ExchangeType = "fanout"
        /// To the queues bound with a pattern: words between dots, `*` for one, `#` for any number.
        public static let topic: ExchangeType = "topic"
        /// To the queues bound with arguments that the message's headers match.
        public static let headers: ExchangeType = "headers"
    }

    /// Makes an exchange, or checks that there is an equal one. Sends `exchange.declare`.
    ///
    /// - Parameters:
    ///   - passive: only looks whether it exists.
    ///   - autoDelete: gone when its last binding is.
    ///   - isInternal: takes messages from other exchanges only.
    public func declareExchange(
        _ name: String, type: ExchangeType, passive: Bool = false, durable: Bool = false, autoDelete: Bool = false,
        internal isInternal: Bool = false, arguments: AMQPTable = [:]
    ) async throws(AMQPError) {
        _ = try await self.request(
            .exchangeDeclare(
                .init(
                    exchange: name, type: type.name, passive: passive, durable: durable, autoDelete: autoDelete,
                    internal: isInternal, arguments: arguments)))
    }

    /// Deletes an exchange; one that does not exist is no error. Sends `exchange.delete`.
    public func deleteExchange(_ name: String, ifUnused: Bool = false) async throws(AMQPError) {
        _ = try await self.request(.exchangeDelete(.init(exchange: name, ifUnused: ifUnused)))
    }

    /// Makes `destination` get what `source` routes with the key. Sends `exchange.bind`, a RabbitMQ extension.
    public func bindExchange(
        _ destination: String, to source: String, routingKey: String = "", arguments: AMQPTable = [:]
    ) async throws(AMQPError) {
        _ = try await self.request(
            .exchangeBind(
                .init(destination: destination, source: source, routingKey: routingKey, arguments: arguments)))
    }

    /// Sends `exchange.unbind`.
    public func unbindExchange(
        _ destination: String, from source: String, routingKey: String = "", arguments: AMQPTable = [:]
    ) async throws(AMQPError) {
        _ = try await self.request(
            .exchangeUnbind(
                .init(destination: destination, source: source, routingKey: routingKey, arguments: arguments)))
    }

    private static func unexpected(_ reply: ChannelReply) -> AMQPError {
        AMQPError(.protocolViolation, "the broker answered with another method", origin: .peer)
    }
}
