// SPDX-License-Identifier: Apache-2.0
import AMQPWire
import NIOCore

/// A message as it came from a publisher, read as far as that needs no virtual host.
struct Publishing {
    let exchange: String
    let routingKey: String
    let mandatory: Bool
    let immediate: Bool
    let scan: PropertyScan
    let properties: ByteBuffer
    let body: ByteBuffer

    /// - Throws: ``BrokerException`` 502 for a malformed property list.
    init(
        _ method: AMQPMethod.BasicPublish, properties: ByteBuffer, body: ByteBuffer
    ) throws(BrokerException) {
        self.exchange = stripped(method.exchange)
        self.routingKey = method.routingKey
        self.mandatory = method.mandatory
        self.immediate = method.immediate
        self.scan = try PropertyScan(properties)
        var properties = properties
        var body = body
        BrokerMessage.detach(properties: &properties, body: &body)
        self.properties = properties
        self.body = body
    }
}

/// `basic.publish`: checks, routing, return, confirm.
extension VirtualHostState {
    mutating func publish(_ publishing: Publishing, on channel: ChannelID) throws(BrokerException) {
        if publishing.immediate { throw .notImplemented("immediate=true") }
        if publishing.body.readableBytes > self.settings.maximumMessageSize {
            throw self.tooLarge(UInt64(publishing.body.readableBytes))
        }
        if !publishing.exchange.isEmpty, try self.exchange(publishing.exchange).isInternal {
            throw .accessRefused(
                "cannot publish to internal \(self.describe(exchange: publishing.exchange))")
        }
        let properties = try self.addressed(publishing, on: channel)
        let message = BrokerMessage(
            exchange: publishing.exchange, routingKey: publishing.routingKey, properties: properties,
            body: publishing.body, timeToLive: try Self.timeToLive(publishing.scan.expiration),
            isPersistent: publishing.scan.isPersistent)
        if let claimed = publishing.scan.userID, let user = self.channels[channel]?.user, claimed != user {
            throw .preconditionFailed(
                "user_id property set to '\(claimed)' but authenticated user was '\(user)'")
        }
        let isRouted =
            publishing.scan.hasCopies
            ? try self.routeWithCopies(message) : self.route(message, keys: [message.routingKey])
        if !isRouted, publishing.mandatory { self.sendReturn(publishing, on: channel) }
        if self.channels[channel]?.confirms?.published() != nil { self.confirmLater(channel) }
    }

    func tooLarge(_ size: UInt64) -> BrokerException {
        .preconditionFailed(
            "message size \(size) is larger than configured max size \(self.settings.maximumMessageSize)")
    }

    /// - Returns: whether a queue, or a consumer of direct reply-to, took the message.
    private mutating func route(_ message: BrokerMessage, keys: [String]) -> Bool {
        // The commonest publish of all: to one queue, by name.
        if message.exchange.isEmpty, keys.count == 1 { return self.routeByName(message, message.routingKey) }
        var isRouted = false
        if message.exchange.isEmpty {
            var seen: Set<String> = []
            for key in keys where seen.insert(key).inserted {
                if self.routeByName(message, key) { isRouted = true }
            }
            return isRouted
        }
        var headers: AMQPTable?
        let queues = self.routing.route(exchange: message.exchange, keys: keys) {
            if let headers { return headers }
            let decoded = (try? AMQPBasicProperties(decoding: message.properties))?.headers ?? [:]
            headers = decoded
            return decoded
        } queueNamed: {
            self.queueIDs[$0]
        }
        for queue in queues { self.enqueue(message, in: queue) }
        return !queues.isEmpty
    }

    private mutating func routeByName(_ message: BrokerMessage, _ name: String) -> Bool {
        if let queue = self.queueIDs[name] {
            self.enqueue(message, in: queue)
            return true
        }
        guard name.hasPrefix(PropertyScan.directReplyAddress) else { return false }
        self.deliverReply(message, to: name)
        return true
    }

    private mutating func enqueue(_ message: BrokerMessage, in queue: QueueID) {
        self.queues[queue]?.enqueue(message, now: self.now)
        self.deliver(from: queue)
    }

    /// `CC` and `BCC` add routing keys; `BCC` is not passed on (RabbitMQ's sender-selected distribution).
    private mutating func routeWithCopies(_ message: BrokerMessage) throws(BrokerException) -> Bool {
        guard var properties = try? AMQPBasicProperties(decoding: message.properties) else { return false }
        var keys = [message.routingKey]
        for name in ["CC", "BCC"] {
            guard let value = properties.headers?[name] else { continue }
            guard case .array(let elements) = value else {
                throw .preconditionFailed("\(name) header must be an array: {unexpected_type,\(value.erlangType)}")
            }
            for element in elements { if let key = element.string { keys.append(key) } }
        }
        guard properties.headers?["BCC"] != nil else { return self.route(message, keys: keys) }
        properties.headers?["BCC"] = nil
        var encoded = ByteBufferAllocator().buffer(capacity: message.properties.readableBytes)
        guard (try? properties.encode(into: &encoded)) != nil else { return false }
        return self.route(
            BrokerMessage(
                exchange: message.exchange, routingKey: message.routingKey, properties: encoded, body: message.body,
                timeToLive: message.timeToLive, isPersistent: message.isPersistent), keys: keys)
    }

    private mutating func sendReturn(_ publishing: Publishing, on channel: ChannelID) {
        guard let output = self.channels[channel]?.output, let number = self.channels[channel]?.number else { return }
        let method = AMQPMethod.basicReturn(
            .init(
                replyCode: 312, replyText: "NO_ROUTE", exchange: publishing.exchange,
                routingKey: publishing.routingKey))
        self.append(to: output) { frames throws(AMQPWireError) in
            try frames.append(
                method, properties: publishing.properties, body: publishing.body, channel: number)
        }
    }

    private static func timeToLive(_ expiration: String?) throws(BrokerException) -> TimeAmount? {
        guard let expiration else { return nil }
        guard let milliseconds = Int64(expiration) else {
            throw .preconditionFailed("invalid expiration '\(expiration)': no_integer")
        }
        guard milliseconds >= 0 else {
            throw .preconditionFailed("invalid expiration '\(expiration)': {value_negative,\(milliseconds)}")
        }
        guard milliseconds <= QueueProperties.longestTime else {
            throw .preconditionFailed("invalid expiration '\(expiration)': {value_too_big,\(milliseconds)}")
        }
        return .milliseconds(milliseconds)
    }
}
