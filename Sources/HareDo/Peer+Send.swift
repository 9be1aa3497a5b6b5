// SPDX-License-Identifier: Apache-2.0
@_spi(HareDo) import AMQPClient
import AMQPWire
import NIOCore

#if canImport(FoundationEssentials)
    import FoundationEssentials
#else
    import Foundation
#endif

/// Sending and calling. None of it hops to the peer's event loop.
extension Peer {
    /// Sends a message. Never waits for an answer: that can be asked for with ``receive(id:timeout:)``.
    ///
    /// Returns when the message is accepted for writing, which suspends only while the broker takes nothing. A message to
    /// an address where nobody listens comes back, and is logged and counted (``Statistics/returnedMessages``).
    ///
    /// - Parameters:
    ///   - address: the name that a service listens on, or another peer's ``address``. At most 255 bytes.
    ///   - wantsReply: whether the receiver is told where to reply to.
    ///   - confirm: waits until the broker has the message in its queue.
    /// - Returns: the message's id.
    /// - Throws: ``HareDoError``: `invalidArgument` (nothing was sent), `notConnected`, `connectionLost`, `disconnected`,
    ///   `timedOut` or `cancelled`; with `confirm` also `noSuchService`, `nacked` or `outcomeUnknown`.
    @discardableResult
    public nonisolated func send<Body: MessageBody>(
        _ address: String, headers: Headers = [:], data: Body = .empty, wantsReply: Bool = true, confirm: Bool = false
    ) async throws(HareDoError) -> MessageID {
        try await self.send(
            address, headers: headers, bytes: data.messageBytes, contentType: Body.contentType, wantsReply: wantsReply,
            confirm: confirm)
    }

    /// Sends a value in the peer's preferred format (``Configuration/formats``): JSON. Otherwise as
    /// ``send(_:headers:data:wantsReply:confirm:)``.
    @discardableResult
    public nonisolated func send(
        _ address: String, headers: Headers = [:], encoding value: some Encodable, wantsReply: Bool = true,
        confirm: Bool = false
    ) async throws(HareDoError) -> MessageID {
        let format = self.formats.preferred
        return try await self.send(
            address, headers: headers, bytes: try format.body(of: value), contentType: format.contentType,
            wantsReply: wantsReply, confirm: confirm)
    }

    private nonisolated func send(
        _ address: String, headers: Headers, bytes: Bytes, contentType: String?, wantsReply: Bool, confirm: Bool
    ) async throws(HareDoError) -> MessageID {
        try Self.check(address)
        try headers.check()
        let link = try await self.linkState.link(until: .after(self.timeout), self.scheduler)
        let id = self.calls.nextID(.send)
        var properties = Self.properties(id, contentType: contentType, user: link.user)
        properties.deliveryMode = AMQPBasicProperties.persistent
        if wantsReply { properties.replyTo = self.address }
        if !headers.isEmpty { properties.headers = headers.amqpTable }
        let message = AMQPMessage(bytes.buffer, properties: properties)
        guard confirm else {
            do {
                try await link.sending.publish(message, routingKey: address, mandatory: true)
            } catch {
                throw HareDoError(error)
            }
            return id
        }
        try await self.publishConfirmed(message, to: address, exchange: "", mandatory: true, on: link)
        return id
    }

    /// Publishes a message and returns when the broker has it.
    nonisolated func publishConfirmed(
        _ message: AMQPMessage, to address: String, exchange: String, mandatory: Bool, on link: PeerLink
    ) async throws(HareDoError) {
        let channel = try await self.confirmingChannel(link)
        do {
            try await channel.publishConfirmed(message, exchange: exchange, routingKey: address, mandatory: mandatory)
        } catch  where error.code == .returned {
            throw .noSuchService(address)
        } catch {
            throw HareDoError(error)
        }
    }

    /// Sends a request and waits for the reply to it.
    ///
    /// It cannot hang: it ends with the reply, with `nil` at its deadline, or at once with an error. A reply that comes
    /// later is counted (``Statistics/lateReplies``) and discarded. Many calls may be under way at once.
    ///
    /// A call that a handler makes, by whichever peer, ends no later than the call that it handles: what its own caller
    /// does not wait for, nobody needs.
    ///
    /// - Parameters:
    ///   - address: the name that a service listens on. At most 255 bytes.
    ///   - timeout: counts from now, and covers everything; `nil` for the peer's ``timeout``.
    /// - Returns: the reply, or `nil` if none came in time.
    /// - Throws: ``HareDoError``: `noSuchService`, `remoteFailed` if the other side's handler failed, `invalidArgument`
    ///   (nothing was sent), `notConnected`, `connectionLost`, `disconnected` or `cancelled`.
    public nonisolated func call<Body: MessageBody>(
        _ address: String, headers: Headers = [:], data: Body = .empty, timeout: Duration? = nil
    ) async throws(HareDoError) -> Message? {
        try await self.call(
            address, headers: headers, bytes: data.messageBytes, contentType: Body.contentType,
            timeout: timeout ?? self.timeout)
    }

    /// Sends a value in the peer's preferred format (``Configuration/formats``): JSON, and decodes the reply. Otherwise as
    /// ``call(_:headers:data:timeout:)``.
    ///
    /// - Parameter method: which method of the service to call, if it has several. At most 255 bytes.
    /// - Throws: as there; a call that times out throws `timedOut`, one of a method that there is not `noSuchMethod`, and a
    ///   reply that is not an `Output` `decodingFailed`.
    public nonisolated func call<Output: Decodable & Sendable>(
        _ address: String, method: String? = nil, headers: Headers = [:], encoding value: some Encodable & Sendable,
        as type: Output.Type, timeout: Duration? = nil
    ) async throws(HareDoError) -> Output {
        let timeout = timeout ?? self.timeout
        let format = self.formats.preferred
        let reply = try await self.call(
            address, headers: try Self.headers(headers, calling: method), bytes: try format.body(of: value),
            contentType: format.contentType, timeout: timeout)
        guard let reply else { throw HareDoError(.timedOut, "no reply from '\(address)' within \(timeout)") }
        return try reply.decode(type)
    }

    private static func headers(_ headers: Headers, calling method: String?) throws(HareDoError) -> Headers {
        guard let method else { return headers }
        try ServiceOptions.require(
            1...MethodTable.longestName ~= method.utf8.count,
            "the name of a method has 1 to \(MethodTable.longestName) bytes, not \(method.utf8.count)")
        var headers = headers
        headers[WireHeaders.method] = .string(method)
        return headers
    }

    private nonisolated func call(
        _ address: String, headers: Headers, bytes: Bytes, contentType: String?, timeout: Duration
    ) async throws(HareDoError) -> Message? {
        guard !self.configuration.callInterceptors.isEmpty else {
            return try await self.callDirectly(
                address, headers: headers, bytes: bytes, contentType: contentType, timeout: timeout)
        }
        let deadline = ContinuousClock.now + timeout
        let outgoing = OutgoingCall(
            address: address, headers: headers, data: bytes, contentType: contentType, deadline: deadline)
        let call = CallInterceptor.chain(self.configuration.callInterceptors) { outgoing in
            try await self.callDirectly(
                outgoing.address, headers: outgoing.headers, bytes: outgoing.data, contentType: outgoing.contentType,
                timeout: max(deadline - .now, .zero))
        }
        do {
            return try await call(outgoing)
        } catch let error as HareDoError {
            throw error
        } catch is CancellationError {
            throw .cancelled
        } catch {
            throw HareDoError(.intercepted, "an interceptor of the call to '\(address)' threw: \(error)", cause: error)
        }
    }

    private nonisolated func callDirectly(
        _ address: String, headers: Headers, bytes: Bytes, contentType: String?, timeout: Duration
    ) async throws(HareDoError) -> Message? {
        try Self.check(timeout)
        let left = ServiceCore.turn?.timeLeft ?? timeout
        let deadline = NIODeadline.after(min(timeout, left))
        let waiter = CallWaiter(cancelled: .cancelled)
        // What goes wrong on the way is told to the waiter, so that there is one error to make room for.
        var attempt = self.begin(
            waiter, address, headers: headers, bytes: bytes, contentType: contentType, deadline: deadline)
        // Connected again, it may have been lost once more before this task went on.
        while case .connecting = attempt {
            attempt = await self.beginWhenConnected(
                waiter, address, headers: headers, bytes: bytes, contentType: contentType, deadline: deadline)
        }
        defer { self.end(attempt) }
        if case .begun(let call) = attempt, let unsent = call.unsent {
            await unsent.send(until: deadline, orFail: waiter)
        }
        return try await waiter.value()
    }

    @inline(never)
    private nonisolated func beginWhenConnected(
        _ waiter: CallWaiter, _ address: String, headers: Headers, bytes: Bytes, contentType: String?,
        deadline: NIODeadline
    ) async -> Attempt {
        do {
            _ = try await self.linkState.link(until: deadline, self.scheduler)
        } catch {
            waiter.resolve(.failure(error))
            return .failed
        }
        return self.begin(
            waiter, address, headers: headers, bytes: bytes, contentType: contentType, deadline: deadline)
    }

    private enum Attempt {
        case begun(BegunCall)
        /// The waiter knows why.
        case failed
        /// There will be a link, or not: wait.
        case connecting
    }

    /// A call that is registered, and sent unless there was no room.
    private struct BegunCall {
        let number: UInt64
        let scheduled: DeadlineScheduler.Token
        let unsent: UnsentCall?
    }

    private nonisolated func end(_ attempt: Attempt) {
        guard case .begun(let call) = attempt else { return }
        self.scheduler.cancel(call.scheduled)
        self.calls.end(call.number)
    }

    /// Not async, and not part of a function that is: the message in the making would stay in the memory of the task that
    /// waits for the reply, and there may be 100,000 of those.
    @inline(never)
    private nonisolated func begin(
        _ waiter: CallWaiter, _ address: String, headers: Headers, bytes: Bytes, contentType: String?,
        deadline: NIODeadline
    ) -> Attempt {
        do throws(HareDoError) {
            try Self.check(address)
            try headers.check()
            guard let link = try self.linkState.connected else { return .connecting }
            let (id, number) = try self.calls.begin(waiter)
            let scheduled = self.scheduler.schedule(at: deadline) { waiter.resolve(.success(nil)) }
            let message = Self.request(
                id, link, headers: headers, bytes: bytes, contentType: contentType, deadline: deadline)
            do {
                let isSent = try link.calling.publishIfRoom(message, routingKey: address, mandatory: true)
                let unsent = isSent ? nil : UnsentCall(message, to: address, on: link.calling)
                return .begun(BegunCall(number: number, scheduled: scheduled, unsent: unsent))
            } catch {
                self.end(.begun(BegunCall(number: number, scheduled: scheduled, unsent: nil)))
                throw HareDoError(error)
            }
        } catch {
            waiter.resolve(.failure(error))
            return .failed
        }
    }

    static func request(
        _ id: MessageID, _ link: PeerLink, headers: Headers, bytes: Bytes, contentType: String?, deadline: NIODeadline
    ) -> AMQPMessage {
        let left = max((deadline - .now()).nanoseconds, 0) / 1_000_000
        var properties = Self.properties(id, contentType: contentType, user: link.user)
        properties.deliveryMode = AMQPBasicProperties.transient
        properties.replyTo = link.callReplyTo
        // A request that nobody waits for any more leaves its queue.
        // One that waits for ever, or for more than the 49 days that RabbitMQ counts to, stays there.
        if let expiration = UInt32(exactly: left) { properties.expiration = String(expiration) }
        properties.headers = headers.amqpTable.setting(
            WireHeaders.remaining, .int64(left),
            WireHeaders.deadline, .int64(Int64(Date().timeIntervalSince1970 * 1000) + left))
        return AMQPMessage(bytes.buffer, properties: properties)
    }

    /// Replies to a message, wherever it came from. The same as `message.reply`.
    ///
    /// - Throws: as ``Message/reply(_:headers:)``.
    public nonisolated func reply<Body: MessageBody>(
        to message: Message, data: Body = .empty, headers: Headers = [:]
    ) async throws(HareDoError) {
        try await message.reply(data, headers: headers)
    }

    // MARK: - Parts

    static func check(_ timeout: Duration) throws(HareDoError) {
        guard timeout < .zero else { return }
        throw HareDoError(.invalidArgument, "the timeout \(timeout) is negative: there is no waiting for the past")
    }

    private static func check(_ address: String) throws(HareDoError) {
        guard !address.isEmpty else { throw HareDoError(.invalidArgument, "the address is empty: where to?") }
        guard address.utf8.count <= 255 else {
            throw HareDoError(
                .invalidArgument, "the address has \(address.utf8.count) bytes, and AMQP allows a queue name 255")
        }
    }

    static func properties(
        _ id: MessageID, contentType: String?, user: String?
    ) -> AMQPBasicProperties {
        var properties = AMQPBasicProperties()
        properties.messageID = id.rawValue
        // The same again: services in other languages echo this one.
        properties.correlationID = id.rawValue
        properties.contentType = contentType
        properties.userID = user
        return properties
    }
}

/// A call for which there was no room.
private final class UnsentCall: Sendable {
    private let message: AMQPMessage
    private let address: String
    private let channel: AMQPChannel

    init(_ message: AMQPMessage, to address: String, on channel: AMQPChannel) {
        self.message = message
        self.address = address
        self.channel = channel
    }

    func send(until deadline: NIODeadline, orFail waiter: CallWaiter) async {
        // With a loss between registering and publishing the caller has been told already.
        guard !waiter.isResolved else { return }
        do {
            try await self.channel.publish(
                self.message, routingKey: self.address, mandatory: true, deadline: deadline)
        } catch  where error.code == .timedOut {
            waiter.resolve(.success(nil))
        } catch {
            waiter.resolve(.failure(HareDoError(error)))
        }
    }
}
