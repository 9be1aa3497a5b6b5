// SPDX-License-Identifier: Apache-2.0
import AMQPWire
import NIOCore
import Testing

@testable import AMQPBroker

@Suite("A message that died")
struct DeadMessageTests {
    func message(_ properties: AMQPBasicProperties = .init(), copies: [String] = []) throws -> BrokerMessage {
        var encoded = ByteBuffer()
        try properties.encode(into: &encoded)
        return BrokerMessage(
            exchange: "ex", routingKey: "key", properties: encoded, body: ByteBuffer(string: "x"),
            traits: .init(copies: copies))
    }

    func letter(
        _ message: BrokerMessage, _ reason: DeadMessage.Reason, in queue: String = "q", key: String? = nil
    ) throws -> BrokerMessage {
        try #require(
            DeadMessage(message: message, reason: reason)
                .letter(
                    from: queue, to: .init(exchange: "dlx", routingKey: key), time: 1_700_000_000,
                    compatibility: .strict, memory: nil))
    }

    func properties(_ message: BrokerMessage) throws -> AMQPBasicProperties {
        try AMQPBasicProperties(decoding: message.properties)
    }

    @Test("says where, why and when, and has no expiration any more")
    func firstDeath() throws {
        var properties = AMQPBasicProperties()
        properties.expiration = "60"
        properties.headers = ["CC": ["copy"], "note": "kept"]
        let letter = try self.letter(try self.message(properties, copies: ["copy", "hidden"]), .expired)
        #expect(letter.exchange == "dlx" && letter.routingKey == "key" && letter.copies == ["copy", "hidden"])
        let result = try self.properties(letter)
        #expect(result.expiration == nil)
        let death: AMQPTable = [
            "count": .int64(1), "reason": "expired", "queue": "q", "time": .timestamp(1_700_000_000),
            "exchange": "ex", "routing-keys": ["key", "copy"], "original-expiration": "60",
        ]
        #expect(result.headers?["x-death"] == .array([.table(death)]))
        #expect(result.headers?["x-first-death-reason"] == "expired")
        #expect(result.headers?["x-first-death-queue"] == "q")
        #expect(result.headers?["x-first-death-exchange"] == "ex")
        #expect(result.headers?["note"] == "kept")
    }

    @Test("loses its copies when it gets another key")
    func anotherKey() throws {
        var properties = AMQPBasicProperties()
        properties.headers = ["CC": ["copy"]]
        let letter = try self.letter(try self.message(properties, copies: ["copy"]), .rejected, key: "other")
        #expect(letter.routingKey == "other" && letter.copies.isEmpty)
        #expect(try self.properties(letter).headers?["CC"] == nil)
    }

    @Test("counts deaths of one kind, and has the newest first")
    func laterDeaths() throws {
        var message = try self.message()
        for (reason, queue) in [
            (.rejected, "q"), (.expired, "wait"), (.rejected, "q"), (.rejected, "q"),
        ] as [(DeadMessage.Reason, String)] {
            message = try self.letter(message, reason, in: queue)
        }
        guard case .array(let deaths) = try self.properties(message).headers?["x-death"] else {
            Issue.record("no deaths")
            return
        }
        let summary = deaths.map { death -> String in
            guard case .table(let table) = death else { return "" }
            return "\(table["queue"]?.string ?? "") \(table["reason"]?.string ?? "") \(table["count"]?.integer ?? 0)"
        }
        #expect(summary == ["q rejected 3", "wait expired 1"])
    }

    @Test("does not go round by itself for ever, and does if a consumer rejects it")
    func cycles() throws {
        let expired = try self.properties(try self.letter(try self.message(), .expired)).headers ?? [:]
        #expect(DeadMessage.isCycle(to: "q", headers: expired))
        #expect(!DeadMessage.isCycle(to: "other", headers: expired))
        let rejected = try self.letter(try self.letter(try self.message(), .expired), .rejected, in: "other")
        #expect(!DeadMessage.isCycle(to: "q", headers: try self.properties(rejected).headers ?? [:]))
    }
}
