// SPDX-License-Identifier: Apache-2.0
import AMQPWire
import NIOCore

/// A message that its queue gave up, and what becomes of it at the dead-letter exchange.
struct DeadMessage: Sendable {
    /// As the header `x-death` names them.
    enum Reason: String, Sendable {
        case rejected, expired, maxlen
        case deliveryLimit = "delivery_limit"
    }

    let message: BrokerMessage
    let reason: Reason

    /// The message as it is published again: with one more death in its headers, and without expiration.
    ///
    /// - Parameters:
    ///   - queue: where it died.
    ///   - time: seconds since 1970.
    ///   - compatibility: how deaths are written down, see ``record(in:queue:expiration:time:compatibility:)``.
    /// - Returns: `nil` if its properties cannot be read or written.
    func letter(
        from queue: String, to deadLetter: QueueProperties.DeadLetter, time: UInt64,
        compatibility: AMQPEmbeddedBroker.Compatibility, memory: MemoryGauge?
    ) -> BrokerMessage? {
        let rewritten = self.message.properties.rewritingProperties { properties in
            var headers = properties.headers ?? [:]
            self.record(
                in: &headers, queue: queue, expiration: properties.expiration, time: time, compatibility: compatibility)
            if deadLetter.routingKey != nil { headers["CC"] = nil }
            properties.headers = headers.sorted
            properties.expiration = nil
        }
        guard let rewritten else { return nil }
        return BrokerMessage(
            exchange: deadLetter.exchange, routingKey: deadLetter.routingKey ?? self.message.routingKey,
            properties: rewritten, body: self.message.body,
            traits: .init(
                isPersistent: self.message.isPersistent, priority: self.message.priority,
                copies: deadLetter.routingKey == nil ? self.message.copies : []), memory: memory)
    }

    /// Puts this death before those of before: strict as RabbitMQ 4, which also has headers for the last death as for the
    /// first; lenient as RabbitMQ 3.10, which turns those of before round each time.
    private func record(
        in headers: inout AMQPTable, queue: String, expiration: String?, time: UInt64,
        compatibility: AMQPEmbeddedBroker.Compatibility
    ) {
        let isFirst = headers["x-death"] == nil
        let death = self.death(in: queue, headers: headers, expiration: expiration, time: time)
        var deaths: [AMQPFieldValue] = []
        if case .array(let earlier) = headers["x-death"] { deaths = earlier.filter { !self.isSame($0, queue) } }
        if compatibility == .lenient { deaths.reverse() }
        headers["x-death"] = .array([.table(death)] + deaths)
        for (kind, isWanted) in [("first", isFirst), ("last", compatibility == .strict)] where isWanted {
            headers["x-\(kind)-death-exchange"] = .longString(AMQPLongString(self.message.exchange))
            headers["x-\(kind)-death-queue"] = .longString(AMQPLongString(queue))
            headers["x-\(kind)-death-reason"] = .longString(AMQPLongString(self.reason.rawValue))
        }
    }

    /// Whether a message that has died as `headers` say must not go to `queue` again: it was there before, and went
    /// round by itself ever since, without any consumer rejecting it.
    static func isCycle(to queue: String, headers: AMQPTable) -> Bool {
        guard case .array(let deaths) = headers["x-death"] else { return false }
        for case .table(let death) in deaths {
            if death["reason"]?.string == Reason.rejected.rawValue { return false }
            if death["queue"]?.string == queue { return true }
        }
        return false
    }

    private func isSame(_ value: AMQPFieldValue, _ queue: String) -> Bool {
        guard case .table(let death) = value else { return false }
        return death["queue"]?.string == queue && death["reason"]?.string == self.reason.rawValue
    }

    /// The entry for this death: a new one, or the one of the same queue and reason counted up.
    private func death(in queue: String, headers: AMQPTable, expiration: String?, time: UInt64) -> AMQPTable {
        if case .array(let earlier) = headers["x-death"] {
            for case .table(var death) in earlier where self.isSame(.table(death), queue) {
                death["count"] = .int64((death["count"]?.integer ?? 0) &+ 1)
                return death.sorted
            }
        }
        var keys = [self.message.routingKey]
        if case .array(let copies) = headers["CC"] { keys += copies.compactMap(\.string) }
        var death: AMQPTable = [
            "count": .int64(1), "reason": .longString(AMQPLongString(self.reason.rawValue)),
            "queue": .longString(AMQPLongString(queue)), "time": .timestamp(time),
            "exchange": .longString(AMQPLongString(self.message.exchange)),
            "routing-keys": .array(keys.map { .longString(AMQPLongString($0)) }),
        ]
        if let expiration { death["original-expiration"] = .longString(AMQPLongString(expiration)) }
        return headers["x-death"] == nil ? death : death.sorted
    }
}

extension AMQPTable {
    /// In the order of names, as RabbitMQ leaves tables that it changed.
    fileprivate var sorted: AMQPTable {
        AMQPTable(self.entries.sorted { $0.key < $1.key }.map { ($0.key, $0.value) })
    }
}
