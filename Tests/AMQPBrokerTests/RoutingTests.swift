// SPDX-License-Identifier: Apache-2.0
import AMQPWire
import TestSupport
import Testing

@testable import AMQPBroker

@Suite("Routing")
struct RoutingTests {
    let one = Destination.queue(SlotID(index: 1, generation: 0))
    let two = Destination.queue(SlotID(index: 2, generation: 0))

    func exchange(_ kind: Exchange.Kind, _ name: String = "x", arguments: AMQPTable = [:]) -> Exchange {
        Exchange(name: name, kind: kind, durable: true, arguments: arguments)
    }

    func binding(_ key: String, _ destination: Destination, _ arguments: AMQPTable = [:]) -> Binding {
        Binding(source: "x", destination: destination, routingKey: key, arguments: arguments)
    }

    func found(_ exchange: Exchange, _ key: String, _ headers: AMQPTable = [:]) -> Set<Destination> {
        var result: Set<Destination> = []
        exchange.route(key, headers: { headers }) { result.insert($0) }
        return result
    }

    @Test("by direct exchange is by equal key, and ends with the binding")
    func direct() throws {
        var exchange = self.exchange(.direct)
        #expect(try exchange.bind(self.binding("a", self.one)) == true)
        #expect(try exchange.bind(self.binding("a", self.one)) == false)
        #expect(try exchange.bind(self.binding("a", self.two)) == true)
        #expect(self.found(exchange, "a") == [self.one, self.two])
        #expect(self.found(exchange, "A").isEmpty)
        #expect(exchange.unbind(self.binding("a", self.one)) == true)
        #expect(exchange.unbind(self.binding("a", self.one)) == false)
        #expect(self.found(exchange, "a") == [self.two])
        #expect(exchange.isUsed)
        #expect(exchange.unbind(self.binding("a", self.two)) == true)
        #expect(!exchange.isUsed)
    }

    @Test("by fanout exchange ignores the key")
    func fanout() throws {
        var exchange = self.exchange(.fanout)
        _ = try exchange.bind(self.binding("a", self.one))
        _ = try exchange.bind(self.binding("b", self.one))
        #expect(self.found(exchange, "anything") == [self.one])
        _ = exchange.unbind(self.binding("a", self.one))
        #expect(self.found(exchange, "") == [self.one])
    }

    @Test(
        "by topic pattern",
        arguments: [
            ("a.b", "a.b", true), ("a.b", "a.b.c", false), ("a.*", "a.b", true), ("a.*", "a", false),
            ("a.*", "a.b.c", false), ("*", "", false), ("#", "", true), ("#", "a.b", true), ("a.#", "a", true),
            ("a.#", "a.b.c", true), ("#.c", "a.b.c", true), ("#.c", "c", true), ("a.#.c", "a.c", true),
            ("a.#.c", "a.b.b.c", true), ("a.#.c", "a.c.b", false), ("#.a.#", "b.a.b.a", true), ("#.a.*", "a.a.b", true),
            ("#.#", "", true), ("*.#", "", false), ("*.#.*", "a.b", true), ("*.#.*", "a", false), ("", "", true),
            ("", "a", false), ("a..b", "a..b", true), ("a.*.b", "a..b", true), (".", ".", true), ("*.*", ".", true),
            ("a.b#", "a.b#", true), ("a.b#", "a.bc", false), ("#.b.#.d", "a.b.c.d.b.e.d", true),
        ])
    func topic(pattern: String, key: String, matches: Bool) throws {
        #expect(TopicPattern(pattern).matches(TopicPattern.words(of: key)) == matches)
        var exchange = self.exchange(.topic)
        _ = try exchange.bind(self.binding(pattern, self.one))
        #expect(self.found(exchange, key).isEmpty != matches)
        #expect(exchange.unbind(self.binding(pattern, self.one)) == true)
        #expect(self.found(exchange, key).isEmpty)
    }

    @Test("by a hostile topic pattern takes no exponential time")
    func hostilePattern() async {
        let pattern = TopicPattern(String(repeating: "#.a.", count: 60) + "b")
        let key = Array(repeating: Substring("a"), count: 120)
        var matches = true
        let canary = Canary()
        let time = ContinuousClock().measure { matches = pattern.matches(key) }
        #expect(!matches)
        #expect(await canary.finds("a hostile topic pattern", took: time, to: .milliseconds(500)))
    }

    @Test(
        "by headers",
        arguments: [
            (["k": 1], ["k": .int32(1)], true), (["k": 1, "l": 2], ["k": 1], false),
            (["k": 1, "l": 2, "x-match": "any"], ["k": 1], true), (["x-match": "any"], ["k": 1], false),
            ([:], [:], true), (["x-match": "all"], ["k": 1], true), (["k": .void], ["k": "whatever"], true),
            (["k": .void], ["l": 1], false), (["x-k": 1], [:], true),
            (["x-k": 1, "x-match": "all-with-x"], [:], false),
            (["x-k": 1, "x-match": "any-with-x"], ["x-k": 1], true), (["k": "1"], ["k": 1], false),
        ] as [(AMQPTable, AMQPTable, Bool)])
    func headers(arguments: AMQPTable, message: AMQPTable, matches: Bool) throws {
        var exchange = self.exchange(.headers)
        _ = try exchange.bind(self.binding("ignored", self.one, arguments))
        #expect(self.found(exchange, "key", message).isEmpty != matches)
        #expect(exchange.unbind(self.binding("ignored", self.one, arguments)) == true)
        #expect(self.found(exchange, "key", message).isEmpty)
    }

    @Test("refuses an x-match that is none", arguments: [["x-match": "some"], ["x-match": 1]] as [AMQPTable])
    func invalidMatch(arguments: AMQPTable) {
        var exchange = self.exchange(.headers)
        #expect(throws: BrokerException.self) { try exchange.bind(self.binding("", self.one, arguments)) }
        #expect(!exchange.isUsed)
    }

    // MARK: - From exchange to exchange

    func route(_ table: RoutingTable, _ exchange: String, _ keys: [String] = ["k"]) -> [SlotID<BrokerQueue>] {
        table.route(exchange: exchange, keys: keys, headers: { [:] })
    }

    @Test("goes in circles once, and gives each queue one copy")
    func circle() throws {
        var table = RoutingTable()
        table["a"] = self.exchange(.fanout, "a")
        table["b"] = self.exchange(.fanout, "b")
        _ = try table["a"]?.bind(self.binding("", .exchange("b")))
        _ = try table["b"]?.bind(self.binding("", .exchange("a")))
        _ = try table["a"]?.bind(self.binding("", self.one))
        _ = try table["b"]?.bind(self.binding("", self.one))
        #expect(self.route(table, "a") == [SlotID(index: 1, generation: 0)])
    }

    @Test("falls back to the alternate exchange, in a chain, only where nothing matched")
    func alternate() throws {
        var table = RoutingTable()
        table["a"] = self.exchange(.direct, "a", arguments: ["alternate-exchange": "b"])
        table["b"] = self.exchange(.direct, "b", arguments: ["alternate-exchange": "c"])
        table["c"] = self.exchange(.fanout, "c", arguments: ["alternate-exchange": "missing"])
        #expect(self.route(table, "a").isEmpty)
        _ = try table["c"]?.bind(self.binding("", self.two))
        #expect(self.route(table, "a") == [SlotID(index: 2, generation: 0)])
        _ = try table["a"]?.bind(self.binding("k", self.one))
        #expect(self.route(table, "a") == [SlotID(index: 1, generation: 0)])
        #expect(self.route(table, "a", ["other"]) == [SlotID(index: 2, generation: 0)])
    }
}
