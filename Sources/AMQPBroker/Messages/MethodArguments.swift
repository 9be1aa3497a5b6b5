// SPDX-License-Identifier: Apache-2.0
import AMQPWire
import NIOCore

/// Reads the optional arguments of a queue, an exchange or a consumer, and refuses as RabbitMQ does (`check_arguments` in
/// its rabbit_amqqueue).
struct MethodArguments {
    let table: AMQPTable
    /// Whose they are, for error texts: `queue 'q' in vhost '/'`.
    let resource: String
    let compatibility: AMQPEmbeddedBroker.Compatibility

    /// The longest time RabbitMQ accepts: ten years, in milliseconds.
    static let longestTime: Int64 = 315_360_000_000

    /// What RabbitMQ says of a number that is too high: the name changed with 3.13.
    static func tooHigh(_ compatibility: AMQPEmbeddedBroker.Compatibility) -> String {
        compatibility == .strict ? "value_too_big" : "value_too_large"
    }

    func invalid(_ key: String, _ reason: String) -> BrokerException {
        .preconditionFailed("invalid arg '\(key)' for \(self.resource): \(reason)")
    }

    private func unacceptable(_ key: String, _ value: AMQPFieldValue) -> BrokerException {
        self.invalid(key, "{unacceptable_type,\(value.erlangType)}")
    }

    func integer(_ key: String) throws(BrokerException) -> Int64? {
        guard let value = self.table[key] else { return nil }
        guard let number = value.integer else {
            throw self.invalid(key, "\"expected integer, got \(value.erlangType)\"")
        }
        return number
    }

    /// RabbitMQ says this in other words than of any other argument.
    func exchange(_ key: String) throws(BrokerException) -> String? {
        guard let value = self.table[key] else { return nil }
        guard let name = value.string else {
            throw .preconditionFailed("invalid type '\(value.erlangType)' for arg '\(key)' in \(self.resource)")
        }
        return name
    }

    func string(_ key: String) throws(BrokerException) -> String? {
        guard let value = self.table[key] else { return nil }
        guard let string = value.string else { throw self.unacceptable(key, value) }
        return string
    }

    func boolean(_ key: String) throws(BrokerException) -> Bool? {
        guard let value = self.table[key] else { return nil }
        guard let boolean = value.boolean else { throw self.unacceptable(key, value) }
        return boolean
    }

    func count(_ key: String, least: Int64 = 0, most: Int64 = .max) throws(BrokerException) -> Int? {
        guard let number = try self.integer(key) else { return nil }
        if number < least { throw self.invalid(key, "{value_negative,\(number)}") }
        if number > most { throw self.invalid(key, "{max_value_exceeded,\(number)}") }
        return Int(clamping: number)
    }

    func time(_ key: String, orZero: Bool) throws(BrokerException) -> TimeAmount? {
        guard let milliseconds = try self.integer(key) else { return nil }
        if milliseconds < 0 { throw self.invalid(key, "{value_negative,\(milliseconds)}") }
        if milliseconds == 0, !orZero { throw self.invalid(key, "{value_zero,0}") }
        if milliseconds > Self.longestTime {
            throw self.invalid(key, "{\(Self.tooHigh(self.compatibility)),\(milliseconds)}")
        }
        return .milliseconds(milliseconds)
    }

    /// One of the names of an enumeration.
    func choice<Choice: RawRepresentable>(
        _ key: String, _ type: Choice.Type, otherwise reason: (String) -> String
    ) throws(BrokerException) -> Choice? where Choice.RawValue == String {
        guard let name = try self.string(key) else { return nil }
        guard let choice = Choice(rawValue: name) else { throw self.invalid(key, reason(name)) }
        return choice
    }

    /// What RabbitMQ knows of one kind of queue only. It refuses an argument of another kind, and ignores what it does not
    /// know.
    private static let ofClassic: Set<String> = [
        "x-max-priority", "x-queue-mode", "x-queue-version", "x-queue-master-locator",
    ]
    private static let ofQuorum: Set<String> = [
        "x-delivery-limit", "x-dead-letter-strategy", "x-quorum-initial-group-size", "x-max-in-memory-length",
        "x-max-in-memory-bytes",
    ]
    private static let ofStream: Set<String> = [
        "x-max-age", "x-stream-max-segment-size-bytes", "x-initial-cluster-size",
    ]

    /// Comes before any look at values.
    func check(for kind: QueueProperties.Kind) throws(BrokerException) {
        var others = Self.ofStream.union(kind == .classic ? Self.ofQuorum : Self.ofClassic)
        if kind == .classic, self.compatibility == .lenient { others.insert("x-queue-leader-locator") }
        for entry in self.table.entries where others.contains(entry.key) {
            throw .preconditionFailed(
                "invalid arg '\(entry.key)' for \(self.resource) of queue type \(kind.moduleName)")
        }
    }
}

extension QueueProperties.Kind {
    /// As RabbitMQ's error texts call it.
    var moduleName: String { "rabbit_\(self.rawValue)_queue" }
}
