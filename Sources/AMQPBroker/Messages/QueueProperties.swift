// SPDX-License-Identifier: Apache-2.0
import AMQPWire
import NIOCore

/// What a queue was declared as.
struct QueueProperties: Hashable, Sendable {
    enum Kind: String, Sendable {
        case classic
        case quorum
    }

    /// `x-queue-mode`, which is checked and means nothing in memory.
    private enum Mode: String {
        case standard = "default"
        case lazy
    }

    /// What happens to a message that finds the queue full.
    enum Overflow: String, Sendable {
        /// The oldest messages make room.
        case dropHead = "drop-head"
        /// The publisher is told with `basic.nack`.
        case rejectPublish = "reject-publish"
        /// So it is, and the message is dead-lettered.
        case rejectPublishDeadLetter = "reject-publish-dlx"
    }

    /// Where messages go that the queue gives up.
    struct DeadLetter: Hashable, Sendable {
        let exchange: String
        /// Instead of the keys a message was published with.
        let routingKey: String?
    }

    let durable: Bool
    let exclusive: Bool
    let autoDelete: Bool
    let arguments: AMQPTable
    let kind: Kind
    /// `x-message-ttl`
    let messageTimeToLive: TimeAmount?
    /// `x-expires`
    let expires: TimeAmount?
    /// `x-max-length`
    let maximumLength: Int?
    /// `x-max-length-bytes`
    let maximumBytes: Int?
    let overflow: Overflow
    let deadLetter: DeadLetter?
    /// `x-max-priority`
    let maximumPriority: UInt8
    let hasSingleActiveConsumer: Bool
    /// `x-delivery-limit`: how often a message may come back.
    let deliveryLimit: UInt32?

    /// What RabbitMQ 4 gives a quorum queue that names no limit.
    static let defaultDeliveryLimit: UInt32 = 20

    /// - Parameter resource: `queue 'q' in vhost '/'`, for error texts.
    /// - Throws: ``BrokerException`` 406 for an argument of the wrong type or value.
    init(
        _ declare: AMQPMethod.QueueDeclare, resource: String, compatibility: AMQPEmbeddedBroker.Compatibility = .strict
    ) throws(BrokerException) {
        let arguments = MethodArguments(
            table: declare.arguments, resource: resource, compatibility: compatibility)
        self.exclusive = declare.exclusive
        // RabbitMQ's errata 30: an exclusive queue cannot outlive its connection, so it is never durable.
        self.durable = declare.durable && !declare.exclusive
        self.autoDelete = declare.autoDelete
        self.arguments = declare.arguments
        self.kind =
            try arguments.choice("x-queue-type", Kind.self) { "\"unsupported queue type '\($0)'\"" } ?? .classic
        try arguments.check(for: self.kind)
        self.messageTimeToLive = try arguments.time("x-message-ttl", orZero: true)
        self.expires = try arguments.time("x-expires", orZero: false)
        self.maximumLength = try arguments.count("x-max-length")
        self.maximumBytes = try arguments.count("x-max-length-bytes")
        self.overflow = try arguments.choice("x-overflow", Overflow.self) { _ in "invalid_overflow" } ?? .dropHead
        self.maximumPriority = UInt8(clamping: try arguments.count("x-max-priority", most: 255) ?? 0)
        self.hasSingleActiveConsumer = try arguments.boolean("x-single-active-consumer") ?? false
        _ = try arguments.choice("x-queue-mode", Mode.self) { "\"unsupported queue mode '\($0)'\"" }
        if let version = try arguments.count("x-queue-version"), !(1...2).contains(version) {
            throw arguments.invalid("x-queue-version", "\"unsupported queue version '\(version)'\"")
        }
        let key = try arguments.string("x-dead-letter-routing-key")
        if let exchange = try arguments.exchange("x-dead-letter-exchange") {
            self.deadLetter = DeadLetter(exchange: exchange, routingKey: key)
        } else if key != nil {
            throw arguments.invalid("x-dead-letter-routing-key", "routing_key_but_no_dlx_defined")
        } else {
            self.deadLetter = nil
        }
        switch (self.kind, compatibility) {
        case (.classic, _): self.deliveryLimit = nil
        // RabbitMQ 3 takes anything for it, and knows no default.
        case (.quorum, .lenient):
            self.deliveryLimit = declare.arguments["x-delivery-limit"]?.integer.flatMap { UInt32(exactly: $0) }
        // -1 is no limit.
        case (.quorum, .strict):
            let limit = try arguments.count("x-delivery-limit", least: -1) ?? Int(Self.defaultDeliveryLimit)
            self.deliveryLimit = limit < 0 ? nil : UInt32(clamping: limit)
        }
        guard self.kind == .quorum else { return }
        let fault: String?
        switch (declare.exclusive, declare.autoDelete, declare.durable) {
        case (true, _, _): fault = "exclusive-owner"
        case (_, true, _): fault = "auto-delete"
        case (_, _, false): fault = "non-durable"
        default: fault = nil
        }
        if let fault { throw .preconditionFailed("invalid property '\(fault)' for \(resource)") }
    }

    /// The arguments RabbitMQ compares when a queue is declared again; others are ignored.
    private static let compared = [
        "x-expires", "x-message-ttl", "x-dead-letter-exchange", "x-dead-letter-routing-key", "x-dead-letter-strategy",
        "x-max-length", "x-max-length-bytes", "x-max-in-memory-length", "x-max-in-memory-bytes", "x-max-priority",
        "x-overflow", "x-queue-mode", "x-queue-version", "x-queue-master-locator", "x-queue-type",
        "x-quorum-initial-group-size", "x-single-active-consumer",
        "x-delivery-limit",
    ]

    /// Checks a second declaration against this one. Exclusivity is not compared here: RabbitMQ checks it first.
    ///
    /// - Throws: ``BrokerException`` 406 with what differs.
    func check(equivalent other: AMQPMethod.QueueDeclare, resource: String) throws(BrokerException) {
        let isDurable = other.durable && !other.exclusive
        try inequivalence("durable", of: resource, received: isDurable, current: self.durable)
        try inequivalence("auto_delete", of: resource, received: other.autoDelete, current: self.autoDelete)
        for key in Self.compared {
            let (received, current) = (other.arguments[key], self.arguments[key])
            // Leaving the type out means classic.
            let standard: AMQPFieldValue? = key == "x-queue-type" ? .longString("classic") : nil
            if (received ?? standard).isEquivalent(to: current ?? standard) { continue }
            throw .preconditionFailed(
                "inequivalent arg '\(key)' for \(resource): \(inequivalence(received: received, current: current))")
        }
    }
}

/// - Throws: ``BrokerException`` 406 if two declarations differ in one property.
func inequivalence<T: Equatable>(
    _ name: String, of resource: String, received: T, current: T
) throws(BrokerException) {
    guard received != current else { return }
    throw .preconditionFailed(
        "inequivalent arg '\(name)' for \(resource): received '\(received)' but current is '\(current)'")
}

/// What RabbitMQ says of two values of an argument: without their types if there are both.
func inequivalence(received: AMQPFieldValue?, current: AMQPFieldValue?) -> String {
    guard let received, let current else {
        return "received \(received.erlangDescription) but current is \(current.erlangDescription)"
    }
    return "received '\(received.erlangValue)' but current is '\(current.erlangValue)'"
}

extension AMQPFieldValue {
    /// As RabbitMQ's error texts print it.
    var erlangValue: String {
        self.integer.map(String.init) ?? self.string ?? self.boolean.map(String.init) ?? "..."
    }

    /// RabbitMQ's name of the type, as its error texts have it.
    var erlangType: String {
        switch self {
        case .boolean: "bool"
        case .int8: "byte"
        case .uint8: "unsignedbyte"
        case .int16: "short"
        case .uint16: "unsignedshort"
        case .int32: "signedint"
        case .uint32: "unsignedint"
        case .int64: "long"
        case .float: "float"
        case .double: "double"
        case .decimal: "decimal"
        case .longString: "longstr"
        case .byteArray: "binary"
        case .array: "array"
        case .timestamp: "timestamp"
        case .table: "table"
        case .void: "void"
        }
    }
}

extension AMQPFieldValue? {
    /// Integers are compared by value whatever their width.
    func isEquivalent(to other: AMQPFieldValue?) -> Bool {
        if let one = self?.integer, let two = other?.integer { return one == two }
        return self == other
    }

    /// `none`, or value and type as RabbitMQ's error texts have them.
    var erlangDescription: String {
        guard let self else { return "none" }
        return "the value '\(self.erlangValue)' of type '\(self.erlangType)'"
    }
}
