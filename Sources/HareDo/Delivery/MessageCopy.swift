// SPDX-License-Identifier: Apache-2.0
import AMQPClient
import AMQPWire
import NIOCore

/// What a service publishes again of a message it received: for another attempt, or to keep it.
///
/// A copy carries the service's own login as its verified sender, because the broker accepts no other, and the first
/// sender in a header (``sender(of:own:)``).
struct MessageCopy {
    private var properties: AMQPBasicProperties
    private var headers: AMQPTable
    private let body: ByteBuffer
    private let originalExpiration: String?

    /// Headers that the broker writes, or routes by: a copy begins anew.
    private static let brokerHeaders: Set<String> = [
        "CC", "BCC", "x-death", "x-first-death-exchange", "x-first-death-queue", "x-first-death-reason",
        "x-last-death-exchange", "x-last-death-queue", "x-last-death-reason", "x-delivery-count", "x-acquired-count",
    ]

    /// - Parameter own: the login of whoever makes the copy; `nil` if it is not known.
    init(of delivery: AMQPDelivery, own: String?) {
        self.properties = delivery.properties
        self.originalExpiration = delivery.properties.expiration
        self.body = delivery.body
        var headers = AMQPTable(
            (delivery.properties.headers ?? [:]).entries
                .filter { !Self.brokerHeaders.contains($0.key) }
                .map { ($0.key, $0.value) })
        headers[WireHeaders.sender] = Self.sender(of: delivery.properties, own: own).map {
            .longString(AMQPLongString($0))
        }
        if !delivery.exchange.isEmpty, headers[WireHeaders.topic] == nil {
            headers[WireHeaders.topic] = .longString(AMQPLongString(delivery.routingKey))
        }
        self.headers = headers
        self.properties.userID = own
        self.properties.deliveryMode = AMQPBasicProperties.persistent
        self.properties.expiration = nil
    }

    /// Who sent a message first, as verified by the broker.
    ///
    /// - Parameter own: the login of whoever asks. A header that names another sender is believed only in a message that
    ///   one of the same login made a copy of.
    static func sender(of properties: AMQPBasicProperties, own: String?) -> String? {
        guard let own, properties.userID == own, let first = properties.headers?[WireHeaders.sender]?.string else {
            return properties.userID
        }
        return first
    }

    /// The message as it goes out.
    var message: AMQPMessage {
        var properties = self.properties
        properties.headers = self.headers.isEmpty ? nil : self.headers
        return AMQPMessage(self.body, properties: properties)
    }

    /// With an attempt that failed at the end of its history.
    func after(_ failure: FailedAttempt) -> MessageCopy {
        var copy = self
        copy.headers[WireHeaders.attempt] = .int64(Int64(failure.attempt))
        copy.headers[WireHeaders.history] = failure.appended(to: copy.headers[WireHeaders.history])
        return copy
    }

    /// For another attempt.
    ///
    /// - Parameters:
    ///   - attempt: which one it will be.
    ///   - remaining: milliseconds the caller will still wait then; `nil` if none does. The absolute deadline stays.
    func forAttempt(_ attempt: Int, remaining: Int64?) -> MessageCopy {
        var copy = self
        copy.headers[WireHeaders.attempt] = .int64(Int64(attempt))
        if let remaining { copy.headers[WireHeaders.remaining] = .int64(remaining) }
        return copy
    }

    /// For the queue it came from: it expires there as the original would have.
    ///
    /// - Parameter remaining: milliseconds the caller still waits; `nil` if none does.
    func inPlace(remaining: Int64?) -> MessageCopy {
        var copy = self
        copy.properties.expiration =
            remaining.flatMap { UInt32(exactly: $0) }.map { String($0) } ?? self.originalExpiration
        return copy
    }

    /// To be kept until somebody looks. Nobody waits for a call any more then.
    func parked(from queue: String) -> MessageCopy {
        var copy = self
        copy.headers[WireHeaders.parkedFrom] = .longString(AMQPLongString(queue))
        if copy.headers[WireHeaders.remaining] != nil { copy.properties.replyTo = nil }
        copy.headers[WireHeaders.remaining] = nil
        copy.headers[WireHeaders.deadline] = nil
        return copy
    }

    /// To be handled as if for the first time. What happened before stays in its history.
    var replayed: MessageCopy {
        var copy = self
        copy.headers[WireHeaders.attempt] = nil
        copy.headers[WireHeaders.parkedFrom] = nil
        return copy
    }

    /// The same without its history, where there is no room for it.
    var withoutHistory: MessageCopy {
        var copy = self
        copy.headers[WireHeaders.history] = nil
        return copy
    }
}
