// SPDX-License-Identifier: Apache-2.0
import AMQPBroker
import HareDo
import TestSupport
import Testing

@Suite("Clients in other languages on the brokers", .foreignSoftware)
struct ForeignBrokerTests {
    /// What the programs say on RabbitMQ.
    static let facts = [
        "declared True 0 0", "missing 404", "inequivalent 406", "no exchange 404", "confirmed 5",
        "returned 312 NO_ROUTE back", "got 1 False 4 2", "got 2 False", "got 2 True", "delivered ['2', '3'] 2",
        "again 2 True", "delivered ['4', '5']", "cancelled 0 0", "unknown tag 406", "back 4 True", "purged 1",
        "empty None", "deleted 0", "cancelled by the broker True", "named True", "locked 405", "in use 406",
        "routed direct a True",
        "routed fanout b True", "routed topic a.b.c True", "routed 1", "recovered x True", "many True", "taken 403",
        "before 0", "after 1", "before 1", "after 1", "closed True",
    ]

    @Test(
        "Queues, confirms, returns, prefetch, requeueing, cancelling, exchanges: all is as with RabbitMQ",
        arguments: TestBroker.available, Language.allCases)
    func everything(broker: TestBroker, language: Language) async throws {
        try await broker.run { url in
            let name = TestBroker.uniqueName("größe")
            let facts = try await ForeignPeer.run(language.program("broker"), [name], url)
            #expect(facts == Self.facts)
        }
    }

    /// What py-amqp says on RabbitMQ 3.10.
    static let extensions = [
        "dead rejected rejected 1 True True rejected", "dead [('expired', 'expired')]", "dead [('old', 'maxlen')] 1",
        "ranked ['high', 'middle', 'low']", "routes ['routed'] ['unrouted']", "single ['1', '2'] ['3']",
        "transactions b True", "committed 0", "tx after confirm 406 True", "confirm after tx 406 True",
        "commit alone 406 True", "auto-delete stays worked", "auto-delete goes 404 True", "locked 405 True",
        "gone with its connection 404 True", "bad ttl 406 True", "bad overflow 406 True", "bad tag 406 True",
        "default exchange 403 True", "reserved 403 True",
    ]

    @Test(
        "Dead letters, priorities, single active consumers, transactions, life cycles: py-amqp finds no difference",
        arguments: TestBroker.modes)
    func extensions(broker: TestBroker) async throws {
        try await broker.run { url in
            let facts = try await ForeignPeer.run("extensions.py", [TestBroker.uniqueName("größe")], url)
            #expect(facts == Self.extensions)
        }
    }

    @Test("Connections that are idle for longer than a heartbeat live on")
    func heartbeats() async throws {
        try await TestBroker.available.runAtOnce { url in
            let queue = TestBroker.uniqueName("idle")
            #expect(try await ForeignPeer.run("amqp-declare-queue", ["--url", url, "-d", "-q", queue], url) == [queue])
            // All three at once. Each waits until it would have been given up, or would have given up the broker.
            try await ForeignPeer.run("idle.py", [], url) { python in
                try await ForeignPeer.run("idle.rb", [], url) { ruby in
                    let arguments = ["--url", url, "--heartbeat", "2", "-q", queue, "-c", "1", "cat"]
                    try await ForeignPeer.run("amqp-consume", arguments, url) { consumer in
                        try await python.expect("ready")
                        try await ruby.expect("ready")
                        #expect(try await python.finish() == ["named True"])
                        #expect(try await ruby.finish() == ["named True"])
                        #expect(
                            try await ForeignPeer.run("amqp-publish", ["--url", url, "-r", queue, "-b", "x"], url) == []
                        )
                        #expect(try await consumer.finish() == ["x"])
                    }
                }
            }
            #expect(try await ForeignPeer.run("amqp-delete-queue", ["--url", url, "-q", queue], url) == ["0"])
        }
    }

    @Test("Logins are refused as they know it from RabbitMQ", arguments: TestBroker.available)
    func refusals(broker: TestBroker) async throws {
        try await broker.run { url in
            let urls = [url + "/nowhere", url.replacing("guest:guest", with: "guest:wrong"), url + "/%2F"]
            #expect(
                try await ForeignPeer.run("refused.py", urls, url) == [
                    "ProbableAccessDeniedError  ", "ProbableAuthenticationError  ", "connected",
                ])
            let ruby = try await ForeignPeer.run("refused.rb", urls, url)
            try #require(ruby.count == 3)
            #expect(ruby[0] == "Bunny::NotAllowedError Connection-level error: NOT_ALLOWED - vhost nowhere not found")
            #expect(ruby[1].hasPrefix("Bunny::AuthenticationFailureError "))
            #expect(ruby[2] == "connected")
        }
    }

    /// RabbitMQ would have to be told of it by its administrator.
    @Test("All meet in a virtual host of the embedded broker", arguments: Language.allCases)
    func virtualHost(language: Language) async throws {
        var configuration = AMQPEmbeddedBroker.Configuration()
        configuration.virtualHosts = ["/", "team/größe"]
        try await AMQPEmbeddedBroker.with(configuration) { broker in
            let url = broker.url + "/team%2Fgr%C3%B6%C3%9Fe"
            try await withPeer(url) { peer in
                try await peer.listen(on: "increment") { message in "\((message.headers["i"]?.int ?? 0) + 1)" }
                let lines = try await ForeignPeer.run(language.program("client"), ["increment"], url)
                #expect(Set(lines) == ["1 -> 2", "2 -> 3", "3 -> 4"])
            }
        }
    }
}
