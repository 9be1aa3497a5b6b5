// SPDX-License-Identifier: Apache-2.0
public import AMQPWire
import NIOConcurrencyHelpers
package import NIOCore

/// A channel of a connection: the place where messages are published and consumed, in order.
///
/// Made by ``AMQPConnection/openChannel()``. May be used from any task; publishing and acknowledging do not hop to
/// another thread.
public final class AMQPChannel: Sendable {
    /// Unique in the connection and kept over recoveries, unlike the number.
    let id: UInt64
    /// The connection it belongs to.
    public let connection: AMQPConnection
    private let endedWith = NIOLockedValueBox<AMQPError?>(nil)
    private let lastConsumer = NIOLockedValueBox(0)

    init(id: UInt64, connection: AMQPConnection) {
        self.id = id
        self.connection = connection
    }

    /// Why the channel ended, if it did.
    public var failure: AMQPError? { self.endedWith.withLockedValue { $0 } }

    func ended(_ error: AMQPError) {
        self.endedWith.withLockedValue { if $0 == nil { $0 = error } }
    }

    /// Closes the channel: its consumers end, and what was delivered and not acknowledged goes back to the queues.
    ///
    /// Sends `channel.close` and waits for the answer. Closing again does nothing.
    public func close() async {
        try? await self.connection.close(self)
    }

    // MARK: - Publishing

    /// Publishes a message. Returns when it is written to the output; suspends while the output is above its high-water
    /// mark, the broker blocks the connection (`connection.blocked`) or the channel (`channel.flow`).
    ///
    /// Sends `basic.publish`. Nothing is said about arrival: an exchange that does not exist closes the channel later.
    ///
    /// - Parameters:
    ///   - exchange: empty for the default exchange, which routes to the queue named by `routingKey`.
    ///   - mandatory: whether the broker sends back what reaches no queue (see ``returnedMessages()``).
    /// - Throws: ``AMQPError``: `invalidArgument` (nothing was written), `channelClosed`, `connectionClosed`, `cancelled`
    ///   or, after ``AMQPConfiguration/publishTimeout``, `timedOut`; in all cases the message is not sent.
    public func publish(
        _ message: AMQPMessage, exchange: String = "", routingKey: String, mandatory: Bool = false
    ) async throws(AMQPError) {
        try await self.submit(message, exchange: exchange, routingKey: routingKey, mandatory: mandatory, confirm: nil)
    }

    /// As ``publish(_:exchange:routingKey:mandatory:)``, but waits for room until `deadline` at most.
    package func publish(
        _ message: AMQPMessage, exchange: String = "", routingKey: String, mandatory: Bool, deadline: NIODeadline
    ) async throws(AMQPError) {
        try await self.submit(
            message, exchange: exchange, routingKey: routingKey, mandatory: mandatory, confirm: nil, deadline: deadline)
    }

    /// Publishes a message if that needs no waiting.
    ///
    /// Not async: what an async function has in hand while it suspends stays in its task's memory.
    ///
    /// - Returns: whether it was published; if not, there was no room.
    package func publishIfRoom(
        _ message: AMQPMessage, routingKey: String, mandatory: Bool
    ) throws(AMQPError) -> Bool {
        let publish = try self.prepare(
            message, exchange: "", routingKey: routingKey, mandatory: mandatory, confirm: nil)
        return try self.accepted(publish)
    }

    func submit(
        _ message: AMQPMessage, exchange: String, routingKey: String, mandatory: Bool, confirm: PublishWaiter?,
        deadline: NIODeadline? = nil
    ) async throws(AMQPError) {
        let publish = try self.prepare(
            message, exchange: exchange, routingKey: routingKey, mandatory: mandatory, confirm: confirm)
        if try self.accepted(publish) { return }
        do {
            try await self.waitForRoom(publish, until: deadline)
        } catch {
            throw self.reason(error)
        }
    }

    private func prepare(
        _ message: AMQPMessage, exchange: String, routingKey: String, mandatory: Bool, confirm: PublishWaiter?
    ) throws(AMQPError) -> PublishGate.Publish {
        let limit = self.connection.configuration.maximumMessageSize
        guard message.body.readableBytes <= limit else {
            throw AMQPError(
                .invalidArgument, "a body of \(message.body.readableBytes) bytes, and at most \(limit) may be published"
            )
        }
        return PublishGate.Publish(
            channel: self.id,
            method: AMQPMethod.BasicPublish(exchange: exchange, routingKey: routingKey, mandatory: mandatory),
            properties: message.properties, body: message.body, confirm: confirm)
    }

    /// - Returns: whether there was room.
    private func accepted(_ publish: PublishGate.Publish) throws(AMQPError) -> Bool {
        switch self.connection.gate.publish(publish) {
        case .accepted: return true
        case .refused(let error): throw self.reason(error)
        case .full: return false
        }
    }

    /// A channel that is closed and forgotten is refused without a reason; we know it.
    private func reason(_ error: AMQPError) -> AMQPError {
        error.code == .channelClosed ? self.failure ?? error : error
    }

    private func waitForRoom(
        _ publish: PublishGate.Publish, until deadline: NIODeadline?
    ) async throws(AMQPError) {
        let gate = self.connection.gate
        let waiter = PublishWaiter(cancelled: .cancelled)
        let handle = gate.publishWhenThereIsRoom(publish, waiter: waiter)
        let latest = deadline ?? .after(self.connection.configuration.publishTimeout)
        let token = self.connection.scheduler.schedule(at: latest) {
            // Whoever takes it out of the queue decides: a message that was appended is not reported as timed out.
            guard gate.abandon(handle, channel: publish.channel) else { return }
            waiter.resolve(.failure(AMQPError(.timedOut, "no room to publish in time: the broker takes nothing")))
        }
        defer { self.connection.scheduler.cancel(token) }
        // Cancelled too late to take the message back means that the gate has resolved it, one way or the other.
        let result = await withTaskCancellationHandler { () async -> Result<Void, AMQPError> in
            do throws(AMQPError) {
                return .success(try await waiter.uncancellableValue())
            } catch {
                return .failure(error)
            }
        } onCancel: {
            if gate.abandon(handle, channel: publish.channel) { waiter.resolve(.failure(.cancelled)) }
        }
        try result.get()
    }

    /// Mandatory messages of this channel that came back, from now on. Up to 1024 wait to be taken; then the oldest are
    /// dropped. A later call takes over from an earlier one.
    public func returnedMessages() async throws(AMQPError) -> AMQPReturnedMessages {
        let buffer = DeliveryBuffer<AMQPReturnedMessage>(highWaterMark: .max) { _ in 0 }
        try await self.onReturn { message in
            buffer.append(message, keeping: 1024)
            buffer.batchEnded()
        }
        await self.whenEnded { buffer.finish($0) }
        return AMQPReturnedMessages(buffer: buffer)
    }

    /// Calls `action` on the connection's event loop with each mandatory message that comes back.
    package func onReturn(_ action: @escaping @Sendable (AMQPReturnedMessage) -> Void) async throws(AMQPError) {
        try await self.connection.setReturns(action, on: self)
    }

    /// Calls `action` on the connection's event loop when the channel has ended; at once if it has.
    package func whenEnded(_ action: @escaping @Sendable (AMQPError) -> Void) async {
        await self.connection.whenEnded(self, action)
    }

    /// Calls `action` on the connection's event loop whenever a generation of the channel is lost: what was under way on
    /// it will not be answered.
    package func whenInterrupted(_ action: @escaping @Sendable (AMQPError) -> Void) async {
        await self.connection.whenInterrupted(self, action)
    }

    // MARK: - Consuming

    /// Who says that a delivery is dealt with.
    public enum Acknowledgement: Sendable {
        /// Every delivery is to be acknowledged or refused.
        case manual
        /// The broker forgets a message when it sends it (`no-ack`).
        case automatic
    }

    /// How many bytes may wait for a `for await` before the connection stops reading.
    public static let bufferHighWaterMark = 16 << 20

    /// Subscribes to a queue. Sends `basic.consume`.
    ///
    /// How much is delivered ahead is bounded by ``qos(prefetchCount:scope:)``. Without such a bound, or without
    /// acknowledgements, the connection stops reading while more than 16 MiB wait to be taken; then replies to other
    /// calls on the connection wait as well.
    ///
    /// - Parameters:
    ///   - consumerTag: unique on the channel; `nil` for a name of our own making.
    ///   - exclusive: asks to be the queue's only consumer.
    /// - Throws: ``AMQPError``: the queue does not exist (404) or is another's (403, 405), which closes the channel.
    public func consume(
        _ queue: String, consumerTag: String? = nil, acknowledgement: Acknowledgement = .manual,
        exclusive: Bool = false, arguments: AMQPTable = [:]
    ) async throws(AMQPError) -> AMQPConsumer {
        let (deliveries, sink) = AMQPDeliveries.make(highWaterMark: Self.bufferHighWaterMark)
        let tag = try await self.consume(
            queue, consumerTag: consumerTag, acknowledgement: acknowledgement, exclusive: exclusive,
            arguments: arguments, sink: sink)
        return AMQPConsumer(consumerTag: tag, deliveries: deliveries, channel: self)
    }

    package func consume(
        _ queue: String, consumerTag: String? = nil, acknowledgement: Acknowledgement = .manual,
        exclusive: Bool = false, arguments: AMQPTable = [:], sink: any DeliverySink
    ) async throws(AMQPError) -> String {
        let tag =
            consumerTag
            ?? self.lastConsumer.withLockedValue { last in
                last += 1
                return "c\(last)"
            }
        let method = AMQPMethod.BasicConsume(
            queue: queue, consumerTag: tag, noAck: acknowledgement == .automatic, exclusive: exclusive,
            arguments: arguments)
        try await self.connection.consume(method, on: self, sink: sink)
        return tag
    }

    /// Ends a subscription. Sends `basic.cancel`; a tag that is not in use is no error.
    public func cancel(_ consumerTag: String) async throws(AMQPError) {
        try await self.connection.cancel(consumerTag, on: self)
    }

    /// Takes one message from a queue, or `nil` if it is empty. Sends `basic.get`.
    public func get(
        _ queue: String, acknowledgement: Acknowledgement = .manual
    ) async throws(AMQPError) -> AMQPDelivery? {
        let reply = try await self.request(.basicGet(.init(queue: queue, noAck: acknowledgement == .automatic)))
        guard case .content(let content, let epoch) = reply, case .basicGetOk(let getOk) = content.method else {
            return nil
        }
        do {
            return AMQPDelivery(
                .init(
                    consumerTag: "", deliveryTag: getOk.deliveryTag, redelivered: getOk.redelivered,
                    exchange: getOk.exchange, routingKey: getOk.routingKey),
                properties: try content.header.decodeProperties(), body: content.body, channel: self,
                epoch: epoch)
        } catch {
            throw AMQPError(decoding: error)
        }
    }

    /// What a limit on unacknowledged deliveries applies to.
    public enum QosScope: Sendable {
        /// For each consumer that is started on the channel from now on.
        case consumer
        /// For all consumers of the channel together (`global`); RabbitMQ ignores it from 4.3 on.
        case channel
    }

    /// Limits how many deliveries may be unacknowledged at once. Sends `basic.qos`.
    ///
    /// - Parameters:
    ///   - prefetchCount: largest number of unacknowledged deliveries; 0 means no limit.
    ///   - scope: RabbitMQ reads the specification's `global` differently from the specification itself.
    public func qos(prefetchCount: UInt16, scope: QosScope = .consumer) async throws(AMQPError) {
        try await self.connection.qos(
            .init(prefetchSize: 0, prefetchCount: prefetchCount, global: scope == .channel), on: self)
    }

    /// Puts every unacknowledged delivery of the channel back into its queue. Sends `basic.recover`.
    public func recover() async throws(AMQPError) {
        _ = try await self.request(.basicRecover(.init(requeue: true)))
    }

    /// Message ids of those that wait for room to be published.
    package var suspendedMessageIDs: [String] { self.connection.gate.suspendedMessageIDs(channel: self.id) }

    func settle(_ delivery: AMQPDelivery, multiple: Bool, _ settlement: PublishGate.Settlement) throws(AMQPError) {
        try self.connection.gate.settle(
            channel: self.id, epoch: delivery.epoch, tag: delivery.deliveryTag, multiple: multiple, settlement)
    }

    // MARK: - Requests

    func request(_ method: AMQPMethod) async throws(AMQPError) -> ChannelReply {
        try await self.connection.request(method, on: self)
    }
}
