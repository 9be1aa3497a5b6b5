// SPDX-License-Identifier: Apache-2.0
import AMQPWire
import NIOCore

/// What a queue was declared as.
struct QueueProperties: Hashable, Sendable {
    enum Kind: String, Sendable {
        case classic
        case quorum
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

    /// The longest time RabbitMQ accepts: ten years, in milliseconds.
    static let longestTime: Int64 = 315_360_000_000

    /// - Parameter resource: `queue 'q' in vhost '/'`, for error texts.
    /// - Throws: ``BrokerException`` 406 for an argument of the wrong type or value.
    init(_ declare: AMQPMethod.QueueDeclare, resource: String) throws(BrokerException) {
        self.exclusive = declare.exclusive
        // RabbitMQ's errata 30: an exclusive queue cannot outlive its connection, so it is never durable.
        self.durable = declare.durable && !declare.exclusive
        self.autoDelete = declare.autoDelete
        self.arguments = declare.arguments
        self.messageTimeToLive = try Self.time("x-message-ttl", declare.arguments, resource, orZero: true)
        self.expires = try Self.time("x-expires", declare.arguments, resource, orZero: false)
        switch declare.arguments["x-queue-type"] {
        case nil: self.kind = .classic
        case let value?:
            guard let name = value.string else {
                throw Self.invalid("x-queue-type", resource, "{unacceptable_type,\(value.erlangType)}")
            }
            guard let kind = Kind(rawValue: name) else {
                throw Self.invalid("x-queue-type", resource, "{unsupported_queue_type,<<\"\(name)\">>}")
            }
            self.kind = kind
        }
        guard self.kind == .quorum else { return }
        let fault: String?
        switch (declare.exclusive, declare.durable, declare.autoDelete) {
        case (true, _, _): fault = "exclusive-owner"
        case (_, false, _): fault = "non-durable"
        case (_, _, true): fault = "auto-delete"
        default: fault = nil
        }
        if let fault { throw .preconditionFailed("invalid property '\(fault)' for \(resource)") }
    }

    private static func invalid(_ key: String, _ resource: String, _ reason: String) -> BrokerException {
        .preconditionFailed("invalid arg '\(key)' for \(resource): \(reason)")
    }

    private static func time(
        _ key: String, _ arguments: AMQPTable, _ resource: String, orZero: Bool
    ) throws(BrokerException) -> TimeAmount? {
        guard let value = arguments[key] else { return nil }
        guard let milliseconds = value.integer else {
            throw Self.invalid(key, resource, "{unacceptable_type,\(value.erlangType)}")
        }
        if milliseconds < 0 { throw Self.invalid(key, resource, "{value_negative,\(milliseconds)}") }
        if milliseconds == 0, !orZero { throw Self.invalid(key, resource, "{value_zero,0}") }
        if milliseconds > Self.longestTime { throw Self.invalid(key, resource, "{value_too_big,\(milliseconds)}") }
        return .milliseconds(milliseconds)
    }

    /// The arguments RabbitMQ compares when a queue is declared again; others are ignored.
    private static let compared = [
        "x-expires", "x-message-ttl", "x-dead-letter-exchange", "x-dead-letter-routing-key", "x-dead-letter-strategy",
        "x-max-length", "x-max-length-bytes", "x-max-in-memory-length", "x-max-in-memory-bytes", "x-max-priority",
        "x-overflow", "x-queue-mode", "x-queue-type", "x-quorum-initial-group-size", "x-single-active-consumer",
        "x-delivery-limit",
    ]

    /// Checks a second declaration against this one. Exclusivity is not compared here: RabbitMQ checks it first.
    ///
    /// - Throws: ``BrokerException`` 406 with what differs.
    func check(equivalent other: QueueProperties, resource: String) throws(BrokerException) {
        try inequivalence("durable", of: resource, received: other.durable, current: self.durable)
        try inequivalence("auto_delete", of: resource, received: other.autoDelete, current: self.autoDelete)
        for key in Self.compared {
            var received = other.arguments[key]
            var current = self.arguments[key]
            if key == "x-queue-type" {
                // Leaving the type out means classic.
                received = received ?? .longString("classic")
                current = current ?? .longString("classic")
            }
            if received.isEquivalent(to: current) { continue }
            throw .preconditionFailed(
                "inequivalent arg '\(key)' for \(resource): received \(received.erlangDescription) but current is "
                    + current.erlangDescription)
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

extension AMQPFieldValue {
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
        let value = self.integer.map(String.init) ?? self.string ?? self.boolean.map(String.init) ?? "..."
        return "the value '\(value)' of type '\(self.erlangType)'"
    }
}
