// SPDX-License-Identifier: Apache-2.0
import AMQPClient
import AMQPWire
import NIOConcurrencyHelpers
import NIOCore

#if canImport(FoundationEssentials)
    import FoundationEssentials
#else
    import Foundation
#endif

/// A message that arrived.
public struct Message: Sendable {
    let storage: MessageStorage

    /// The sender's name for the message; a reply carries it as its ``correlationID``.
    public var id: MessageID? { self.storage.properties.messageID.map { MessageID($0) } }
    /// Of which message this is the reply.
    public var correlationID: MessageID? { self.storage.properties.correlationID.map { MessageID($0) } }
    /// Where a reply would go; `nil` if the sender wants none.
    public var replyTo: String? { self.storage.replyTo }
    /// The queue the message came through.
    public var address: String { self.storage.delivery.routingKey }
    /// The headers, HareDo's own among them.
    public var headers: Headers { self.storage.properties.headers.map(Headers.init) ?? [:] }
    /// The body.
    public var data: Bytes { self.storage.data }
    /// The body as text, or `nil` if it is not UTF-8.
    public var text: String? { self.storage.data.text }
    /// MIME type of the body, if the sender told.
    public var contentType: String? { self.storage.properties.contentType }
    /// The sender's login name, which the broker verified; `nil` if the sender did not give it.
    public var verifiedSender: String? { self.storage.verifiedSender }
    /// Whether the message was delivered before, to this or another instance.
    public var redelivered: Bool { self.storage.delivery.redelivered || self.attempt > 1 }
    /// Which attempt at handling the message this is, from 1. It may count too many, as one that ended with its process
    /// before the handler began counts too, but never too few.
    public var attempt: Int { self.storage.attempt }
    /// The topic, if the message is an event; `nil` for one that was sent to this address.
    public var topic: String? { self.storage.topic }
    /// The name of the method that is called, if any.
    public var method: String? { self.storage.properties.headers?[WireHeaders.method]?.string }
    /// Until when the caller waits; `nil` if nobody does.
    public var deadline: ContinuousClock.Instant? { self.storage.deadline }
    /// How the handler failed whose reply this is; `nil` for a reply that brings a result, and for any other message.
    public var failure: HareDoError.RemoteFailure? { WireHeaders.failure(in: self.storage.properties.headers) }

    /// The body, decoded from the format that its content type names: JSON, or one of
    /// ``Peer/Configuration/formats``; if it names none of them, from the first of these.
    ///
    /// - Throws: ``HareDoError/Code/decodingFailed``, naming the field and the type. A handler that lets it through
    ///   answers the caller with `bad-request`.
    public func decode<T: Decodable>(_ type: T.Type = T.self) throws(HareDoError) -> T {
        do {
            return try self.storage.format.value(type, of: self.data)
        } catch {
            self.storage.noteDecodingFailure()
            throw error
        }
    }

    // MARK: - Answering

    /// Replies, and then acknowledges the message if that was not done before: both go out in this order.
    ///
    /// - Throws: ``HareDoError``: `noReplyAddress` if the sender wants no reply, `alreadyReplied`, `alreadySettled` if the
    ///   message was rejected, `invalidArgument` (then another reply may be tried), or why the connection could not take it.
    public func reply(_ data: some MessageBody = .empty, headers: Headers = [:]) async throws(HareDoError) {
        try await self.storage.reply(Reply(data, headers: headers))
    }

    /// Replies with a value, in the format of the message, and then acknowledges the message.
    ///
    /// - Throws: as ``reply(_:headers:)``, and `invalidArgument` if the value cannot be encoded.
    public func reply(encoding value: some Encodable, headers: Headers = [:]) async throws(HareDoError) {
        try await self.storage.reply(try Reply(value, in: self.storage.format, headers: headers))
    }

    /// Replies with what a handler made.
    ///
    /// - Throws: as ``reply(_:headers:)``.
    public func reply(_ reply: Reply) async throws(HareDoError) {
        try await self.storage.reply(reply)
    }

    /// Tells the broker that the message is dealt with; it can still be replied to. After a reply it is dealt with, so that
    /// this does nothing. Messages from ``Peer/receive(timeout:)`` need no acknowledgement.
    ///
    /// - Throws: ``HareDoError/Code/alreadySettled`` if it was acknowledged or rejected before, or the service has ended.
    public func ack() throws(HareDoError) { try self.storage.settle(.ack) }

    /// Refuses the message.
    ///
    /// - Parameter requeue: back to the queue, for this or another instance; otherwise it is dropped.
    /// - Throws: as ``ack()``; after a reply too.
    public func reject(requeue: Bool = false) throws(HareDoError) {
        try self.storage.settle(requeue ? .requeue : .drop)
    }
}

/// What is behind a ``Message``: it is copied by reference, and remembers whether it was answered.
final class MessageStorage: Sendable {
    enum Settlement {
        case ack
        case requeue
        case drop
    }
    /// Answering and settling are two things: a message may be acknowledged first and replied to later.
    private struct State: Sendable {
        enum Reply {
            case none, underway, sent
        }
        var reply = Reply.none
        var settlement: Settlement?
        var couldNotBeDecoded = false
        /// Attempts that were made since it was delivered.
        var attemptsHere = 0
        var sentReply: HareDo.Reply?
    }

    let delivery: AMQPDelivery
    let data: Bytes
    let deadline: ContinuousClock.Instant?
    private let needsAcknowledgement: Bool
    private let responder: Responder
    private let state = NIOLockedValueBox(State())
    private let onSettled: (@Sendable () -> Void)?

    /// Where replies go out, and under which name.
    struct Responder: Sendable {
        var channel: AMQPChannel
        var user: String?
        var formats: BodyFormats
    }

    var properties: AMQPBasicProperties { self.delivery.properties }
    var replyTo: String? {
        guard let address = self.delivery.properties.replyTo, !address.isEmpty else { return nil }
        return address
    }

    var verifiedSender: String? { MessageCopy.sender(of: self.properties, own: self.responder.user) }

    /// As the header says, which anybody may write, and what was not written there yet.
    var attempt: Int {
        let before = self.properties.headers?[WireHeaders.attempt]?.integer ?? 1
        return Int(min(max(before, 1), Self.mostAttempts)) + (self.delivery.redelivered ? 1 : 0)
            + self.state.withLockedValue { $0.attemptsHere }
    }
    /// Beyond all that is allowed, and far from what cannot be counted.
    private static let mostAttempts: Int64 = 1_000_000

    /// The message is handled again without having been to the broker.
    func attemptAgain() { self.state.withLockedValue { $0.attemptsHere += 1 } }

    /// What was replied, if anything was.
    var sentReply: Reply? { self.state.withLockedValue { $0.sentReply } }

    var format: any BodyFormat { self.responder.formats.format(of: self.properties.contentType) }

    var topic: String? {
        self.delivery.exchange.isEmpty
            ? self.properties.headers?[WireHeaders.topic]?.string : self.delivery.routingKey
    }

    /// About how many bytes the headers take.
    var headersSize: Int {
        func size(_ table: AMQPTable) -> Int {
            table.entries.reduce(0) { $0 + $1.key.utf8.count + 32 + size($1.value) }
        }
        func size(_ value: AMQPFieldValue) -> Int {
            switch value {
            case .longString(let string): string.bytes.count
            case .byteArray(let bytes): bytes.count
            case .array(let values): values.reduce(0) { $0 + 32 + size($1) }
            case .table(let table): size(table)
            default: 0
            }
        }
        return self.properties.headers.map(size) ?? 0
    }

    /// - Parameters:
    ///   - arrival: when it came; `nil` is now.
    ///   - keeps: whether the message may be kept for long, so that it must not hold on to a shared buffer.
    ///   - onSettled: called once, when the message is acknowledged or refused.
    init(
        _ delivery: AMQPDelivery, arrival: ContinuousClock.Instant? = nil, needsAcknowledgement: Bool,
        responder: Responder, keeps: Bool, onSettled: (@Sendable () -> Void)? = nil
    ) {
        self.delivery = delivery
        self.data = keeps ? Bytes(delivery.body).compacted() : Bytes(delivery.body)
        self.needsAcknowledgement = needsAcknowledgement
        self.responder = responder
        self.onSettled = onSettled
        self.deadline = Self.deadline(of: delivery, arrival: arrival)
    }

    private static func deadline(
        of delivery: AMQPDelivery, arrival: ContinuousClock.Instant?
    ) -> ContinuousClock.Instant? {
        guard let headers = delivery.properties.headers, headers[WireHeaders.remaining] != nil else { return nil }
        let now = ContinuousClock.now
        let arrival = arrival ?? now
        // The clock on the wall as it stood when the message came.
        let waited = (now - arrival) / .milliseconds(1)
        let wall = Int64(Date().timeIntervalSince1970 * 1000 - waited)
        return TimeLeft.onArrival(headers, now: wall).map { arrival + .milliseconds($0) }
    }

    /// Whether somebody tried to decode the body in vain.
    var couldNotBeDecoded: Bool { self.state.withLockedValue { $0.couldNotBeDecoded } }
    func noteDecodingFailure() { self.state.withLockedValue { $0.couldNotBeDecoded = true } }

    var isSettled: Bool { self.state.withLockedValue { $0.settlement != nil } }
    /// Whether the sender wants a reply that it has not had and may still get.
    var awaitsReply: Bool {
        self.replyTo != nil
            && self.state.withLockedValue { $0.reply == .none && ($0.settlement ?? .ack) == .ack }
    }

    func reply(_ reply: Reply) async throws(HareDoError) {
        guard let address = self.replyTo else {
            throw HareDoError(
                .noReplyAddress, "the message has no reply-to address: its sender does not wait for a reply")
        }
        let refusal = self.state.withLockedValue { state -> HareDoError? in
            guard case .none = state.reply else {
                return HareDoError(.alreadyReplied, "the message was replied to before")
            }
            switch state.settlement {
            case .requeue, .drop:
                return HareDoError(.alreadySettled, "the message was rejected: a reply would contradict that")
            case .ack, nil:
                state.reply = .underway
                return nil
            }
        }
        if let refusal { throw refusal }
        do throws(HareDoError) {
            let message = try reply.message(to: self.properties, user: self.responder.user)
            do {
                try await self.responder.channel.publish(message, routingKey: address)
            } catch {
                throw HareDoError(error)
            }
        } catch {
            self.state.withLockedValue { $0.reply = .none }
            throw error
        }
        self.state.withLockedValue { state in
            state.reply = .sent
            state.sentReply = reply
        }
        // Refused only if the channel has ended: then the broker gives the message to another instance, as promised.
        self.settleIfOpen(.ack)
    }

    func settle(_ settlement: Settlement) throws(HareDoError) {
        enum Verdict {
            case settle, ignore, refuse
        }
        let verdict = self.state.withLockedValue { state -> Verdict in
            guard state.settlement == nil else {
                // The acknowledgement that comes with a reply.
                return state.reply == .sent && state.settlement == .ack && settlement == .ack ? .ignore : .refuse
            }
            guard settlement == .ack || state.reply == .none else { return .refuse }
            state.settlement = settlement
            return .settle
        }
        switch verdict {
        case .ignore: return
        case .refuse:
            throw HareDoError(.alreadySettled, "the message was replied to, acknowledged or rejected before")
        case .settle: break
        }
        defer { self.onSettled?() }
        guard self.needsAcknowledgement else { return }
        do {
            switch settlement {
            case .ack: try self.delivery.ack()
            case .requeue: try self.delivery.nack(requeue: true)
            case .drop: try self.delivery.reject(requeue: false)
            }
        } catch {
            throw HareDoError(error)
        }
    }

    /// Settles the message if nobody did.
    func settleIfOpen(_ settlement: Settlement) {
        guard !self.isSettled else { return }
        // Refused only if it was settled in this moment, or its channel ended.
        try? self.settle(settlement)
    }
}
