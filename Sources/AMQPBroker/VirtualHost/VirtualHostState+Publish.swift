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
        self.exchange = method.exchange
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
        try self.authorize(.write, .exchange(publishing.exchange), on: channel)
        if !publishing.exchange.isEmpty, try self.exchange(publishing.exchange).isInternal {
            throw .accessRefused(
                "cannot publish to internal \(self.describe(exchange: publishing.exchange))")
        }
        var properties = try self.addressed(publishing, on: channel)
        // Before 4.0 the user's name is looked at first.
        if self.settings.compatibility == .lenient { try self.checkUser(publishing.scan, on: channel) }
        var traits = BrokerMessage.Traits(
            timeToLive: try self.timeToLive(publishing.scan.expiration), isPersistent: publishing.scan.isPersistent,
            priority: publishing.scan.priority)
        try self.checkUser(publishing.scan, on: channel)
        if let mode = publishing.scan.deliveryMode, !(1...2).contains(mode) {
            throw .preconditionFailed("invalid message: {delivery_mode_unknown,\(mode)}")
        }
        if publishing.scan.hasCopies { traits.copies = try Self.takeCopies(from: &properties) }
        let message = BrokerMessage(
            exchange: publishing.exchange, routingKey: publishing.routingKey, properties: properties,
            body: publishing.body, traits: traits, memory: self.settings.memory)
        if self.channels[channel]?.transaction != nil {
            let routes = self.routes(of: message)
            self.channels[channel]?.transaction?.publishes.append(
                .init(message: message, routes: routes, isMandatory: publishing.mandatory))
            return
        }
        // The commonest publish of all: to one queue, by name.
        let outcome =
            message.exchange.isEmpty && traits.copies.isEmpty
            ? self.route(named: message.routingKey).map { self.accept(message, $0) } ?? .unrouted
            : self.accept(message, self.routes(of: message))
        if outcome == .unrouted, publishing.mandatory { self.sendReturn(message, on: channel) }
        self.confirm(outcome, on: channel)
    }

    private func checkUser(_ scan: PropertyScan, on channel: ChannelID) throws(BrokerException) {
        guard let claimed = scan.userID, let user = self.channels[channel]?.user, claimed != user else { return }
        throw .preconditionFailed("user_id property set to '\(claimed)' but authenticated user was '\(user)'")
    }

    private mutating func confirm(_ outcome: PublishOutcome, on channel: ChannelID) {
        let isRefused = outcome == .refused || self.faults.refusals > 0
        guard isRefused else {
            if self.channels[channel]?.confirms?.accepted() != nil { self.confirmLater(channel) }
            return
        }
        guard self.channels[channel]?.confirms != nil else { return }
        if outcome != .refused { self.faults.refusals -= 1 }
        self.sendConfirms(of: channel)
        guard let tag = self.channels[channel]?.confirms?.refused() else { return }
        self.send(.basicNack(.init(deliveryTag: tag, multiple: false, requeue: false)), to: channel)
    }

    func tooLarge(_ size: UInt64) -> BrokerException {
        .preconditionFailed(
            "message size \(size) is larger than configured max size \(self.settings.maximumMessageSize)")
    }

    // MARK: - Routing

    /// Where a message goes.
    enum Route: Hashable, Sendable {
        case queue(QueueID)
        /// An address of direct reply-to.
        case replyAddress(String)
    }

    enum PublishOutcome {
        /// A queue, or a consumer of direct reply-to, took it.
        case routed
        case unrouted
        /// A queue that is full does not take it.
        case refused
    }

    /// Every queue that a message goes to, once.
    func routes(of message: BrokerMessage) -> [Route] {
        let keys = [message.routingKey] + message.copies
        if message.exchange.isEmpty {
            var seen: Set<String> = []
            return keys.compactMap { seen.insert($0).inserted ? self.route(named: $0) : nil }
        }
        var headers: AMQPTable?
        return self.routing.route(exchange: message.exchange, keys: keys) {
            if let headers { return headers }
            let decoded = (try? AMQPBasicProperties(decoding: message.properties))?.headers ?? [:]
            headers = decoded
            return decoded
        }.map(Route.queue)
    }

    private func route(named name: String) -> Route? {
        if let queue = self.queueIDs[name] { return .queue(queue) }
        return name.hasPrefix(PropertyScan.directReplyAddress) ? .replyAddress(name) : nil
    }

    mutating func accept(_ message: BrokerMessage, _ routes: [Route]) -> PublishOutcome {
        message.spreads(over: routes.count)
        var outcome = PublishOutcome.unrouted
        for route in routes {
            switch (self.accept(message, route), outcome) {
            case (.unrouted, _), (_, .refused): break
            case (let one, _): outcome = one
            }
        }
        return outcome
    }

    private mutating func accept(_ message: BrokerMessage, _ route: Route) -> PublishOutcome {
        switch route {
        case .replyAddress(let address):
            self.deliverReply(message, to: address)
            return .routed
        case .queue(let id):
            guard let isTaken = self.queues[id]?.offer(message, now: self.now) else { return .unrouted }
            guard isTaken else {
                self.deadLetter(from: id)
                return .refused
            }
            if !self.faults.duplicates.isEmpty, let name = self.queues[id]?.name, self.faults.takeDuplicate(of: name) {
                self.queues[id]?.enqueue(message, now: self.now, isRedelivered: true)
            }
            self.deliver(from: id)
            return .routed
        }
    }

    /// `CC` and `BCC` add routing keys; `BCC` is not passed on (RabbitMQ's sender-selected distribution).
    private static func takeCopies(from encoded: inout ByteBuffer) throws(BrokerException) -> [String] {
        guard let headers = (try? AMQPBasicProperties(decoding: encoded))?.headers else { return [] }
        var keys: [String] = []
        for name in ["CC", "BCC"] {
            guard let value = headers[name] else { continue }
            guard case .array(let elements) = value else {
                throw .preconditionFailed(
                    "invalid message: {unacceptable_type_in_header,\"\(name)\",\(value.erlangType)}")
            }
            keys += elements.compactMap(\.string)
        }
        if headers["BCC"] != nil { encoded = encoded.rewritingProperties { $0.headers?["BCC"] = nil } ?? encoded }
        return keys
    }

    mutating func sendReturn(_ message: BrokerMessage, on channel: ChannelID) {
        guard let output = self.channels[channel]?.output, let number = self.channels[channel]?.number else { return }
        let method = AMQPMethod.basicReturn(
            .init(
                replyCode: 312, replyText: "NO_ROUTE", exchange: message.exchange, routingKey: message.routingKey))
        self.append(to: output) { frames throws(AMQPWireError) in
            try frames.append(
                method, properties: message.properties, body: message.body, channel: number)
        }
    }

    private func timeToLive(_ expiration: String?) throws(BrokerException) -> TimeAmount? {
        guard let expiration else { return nil }
        let digits = expiration.prefix { $0.isASCII && $0.isNumber || $0 == "-" && expiration.first == "-" }
        let rest = expiration[digits.endIndex...]
        guard digits.contains(where: \.isNumber) else {
            throw .preconditionFailed("invalid expiration '\(expiration)': no_integer")
        }
        guard rest.isEmpty else {
            throw .preconditionFailed("invalid expiration '\(expiration)': {leftover_string,\"\(rest)\"}")
        }
        // Beyond 64 bits a number is too high, or too low, all the same.
        let milliseconds = Int64(digits) ?? (digits.first == "-" ? .min : .max)
        guard milliseconds >= 0 else {
            throw .preconditionFailed("invalid expiration '\(expiration)': {value_negative,\(digits)}")
        }
        guard milliseconds <= MethodArguments.longestTime else {
            let fault = MethodArguments.tooHigh(self.settings.compatibility)
            throw .preconditionFailed("invalid expiration '\(expiration)': {\(fault),\(digits)}")
        }
        return .milliseconds(milliseconds)
    }
}
