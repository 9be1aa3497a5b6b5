// SPDX-License-Identifier: Apache-2.0
@_spi(HareDo) import AMQPClient
import AMQPWire

/// Who gets the events of a subscription.
public enum Subscription: Sendable, Hashable {
    /// Each peer that subscribes: for what all instances have to know. Events that come while it is not connected are lost
    /// to it.
    case everyInstance
    /// One of the peers that subscribe under this name, to the same pattern: for work to be done once.
    ///
    /// Events wait while none of them is connected: for a minute, or if durable until somebody comes. A durable
    /// subscription that nobody needs any more has to be deleted at the broker: its queue is
    /// `haredo.events.GROUP.PATTERN`.
    case oneOf(String, durable: Bool = false)
}

extension Peer {
    /// Tells all who subscribed that something happened. Nobody need have.
    ///
    /// - Parameters:
    ///   - topic: words with dots between them, such as `orders.created`. At most 255 bytes.
    ///   - confirm: waits until the broker has it in the queues of all who subscribed.
    /// - Throws: ``HareDoError``: `invalidArgument` (nothing was sent), `notConnected`, `connectionLost`, `disconnected`,
    ///   `timedOut`, `brokerRefused` or `cancelled`; with `confirm` also `nacked` or `outcomeUnknown`.
    public nonisolated func emit<Body: MessageBody>(
        _ topic: String, headers: Headers = [:], data: Body = .empty, confirm: Bool = false
    ) async throws(HareDoError) {
        try await self.emit(topic, headers, data.messageBytes, Body.contentType, confirm: confirm)
    }

    /// Tells a value in the peer's preferred format. Otherwise as ``emit(_:headers:data:confirm:)``.
    public nonisolated func emit(
        _ topic: String, headers: Headers = [:], encoding value: some Encodable, confirm: Bool = false
    ) async throws(HareDoError) {
        let format = self.formats.preferred
        try await self.emit(topic, headers, try format.body(of: value), format.contentType, confirm: confirm)
    }

    private nonisolated func emit(
        _ topic: String, _ headers: Headers, _ body: Bytes, _ contentType: String?, confirm: Bool
    ) async throws(HareDoError) {
        try Topics.check(topic: topic)
        try headers.check()
        let exchange = try self.exchangeNames().events
        let link = try await self.linkState.link(until: .after(self.timeout), self.scheduler)
        try await self.ensure(exchange, on: link)
        var properties = Self.properties(self.calls.nextID(.send), contentType: contentType, user: link.user)
        properties.deliveryMode = AMQPBasicProperties.persistent
        if !headers.isEmpty { properties.headers = headers.amqpTable }
        let message = AMQPMessage(body.buffer, properties: properties)
        guard !confirm else {
            try await self.publishConfirmed(message, to: topic, exchange: exchange, mandatory: false, on: link)
            return
        }
        do {
            try await link.sending.publish(message, exchange: exchange, routingKey: topic)
        } catch {
            throw HareDoError(error)
        }
    }

    /// Subscribes to events, for ``PeerService/messages`` to be iterated.
    ///
    /// - Parameters:
    ///   - pattern: a topic, in which `*` stands for one word and `#` for any number of words. At most 255 bytes, together
    ///     with the name of a group somewhat less.
    ///   - subscription: who else gets them.
    ///   - options: as for a service.
    /// - Throws: as ``listen(on:as:options:)``.
    public func subscribe(
        to pattern: String, as subscription: Subscription = .everyInstance, options: ServiceOptions = ServiceOptions()
    ) async throws(HareDoError) -> PeerService {
        try await self.makeSubscription(to: pattern, as: subscription, options: options, handle: nil)
    }

    private func makeSubscription(
        to pattern: String, as subscription: Subscription, options: ServiceOptions, handle: HandlerInterceptor.Next?
    ) async throws(HareDoError) -> PeerService {
        let names = try self.exchangeNames()
        let topics = try Topics(pattern, exchange: names.events)
        let (queue, shape): (String, QueueShape) =
            switch subscription {
            case .everyInstance: (names.ownQueue(for: "subscription"), .exclusive)
            case .oneOf(let group, let isDurable):
                (names.queue(of: group, pattern: pattern), isDurable ? .durable : .shared)
            }
        if case .oneOf(let group, _) = subscription {
            try ServiceOptions.require(!group.isEmpty, "the name of those who share a subscription is empty")
        }
        return PeerService(
            core: try await self.makeService(on: queue, as: shape, options: options, topics: topics, serve: handle))
    }

    /// Subscribes to events with a handler, which runs for several of them at once. To answer those who ask many
    /// (``callAll(_:headers:data:within:quorum:)``), it may reply to the message.
    ///
    /// - Throws: as ``listen(on:as:options:)``.
    @discardableResult
    public func subscribe(
        to pattern: String, as subscription: Subscription = .everyInstance, options: ServiceOptions = ServiceOptions(),
        handle: @escaping @concurrent @Sendable (Message) async throws -> Void
    ) async throws(HareDoError) -> PeerService {
        try await self.makeSubscription(to: pattern, as: subscription, options: options) { message in
            try await handle(message)
            return nil
        }
    }

    /// Subscribes to events whose bodies are values of a type. What cannot be decoded never reaches the handler, and is
    /// treated as a message whose handler failed.
    ///
    /// - Throws: as ``listen(on:as:options:)``.
    @discardableResult
    public func subscribe<Event: Decodable & Sendable>(
        to pattern: String, as subscription: Subscription = .everyInstance, decoding type: Event.Type,
        options: ServiceOptions = ServiceOptions(),
        handle: @escaping @concurrent @Sendable (Event) async throws -> Void
    ) async throws(HareDoError) -> PeerService {
        try await self.subscribe(to: pattern, as: subscription, options: options) { message in
            try await handle(try message.decode(type))
        }
    }

    // MARK: - Parts

    nonisolated func exchangeNames() throws(HareDoError) -> ExchangeNames {
        try ExchangeNames(namespace: self.configuration.namespace)
    }

    /// Makes an exchange that messages are about to be published to, unless that was done.
    nonisolated func ensure(_ exchange: String, on link: PeerLink) async throws(HareDoError) {
        guard !link.exchanges.contains(exchange) else { return }
        do throws(AMQPError) {
            // A refusal closes it.
            let channel = try await link.connection.openChannel()
            do throws(AMQPError) {
                try await channel.declareExchange(exchange, type: .topic, durable: true)
            } catch {
                await channel.close()
                throw error
            }
            await channel.close()
        } catch {
            throw HareDoError(error)
        }
        link.exchanges.insert(exchange)
    }
}
