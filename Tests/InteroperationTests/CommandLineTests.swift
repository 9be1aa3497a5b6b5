// SPDX-License-Identifier: Apache-2.0
import AMQPClient
import HareDo
import TestSupport
import Testing

@Suite("The command-line clients amqp-*", .foreignSoftware)
struct CommandLineTests {
    /// Runs a test with a durable queue that amqp-declare-queue makes and amqp-delete-queue removes.
    func withQueue(_ url: String, left: Int = 0, _ body: (String) async throws -> Void) async throws {
        let queue = TestBroker.uniqueName("größe")
        #expect(try await ForeignPeer.run("amqp-declare-queue", ["--url", url, "-d", "-q", queue], url) == [queue])
        try await body(queue)
        #expect(try await ForeignPeer.run("amqp-delete-queue", ["--url", url, "-q", queue], url) == ["\(left)"])
    }

    @Test("amqp-consume gets what our peer sends", arguments: TestBroker.available)
    func consume(broker: TestBroker) async throws {
        try await broker.run { url in
            try await self.withQueue(url, left: 1) { queue in
                try await withPeer(url) { peer in
                    // A line each, since that is how they are read here.
                    let bodies = ["one", "größe 🐇", String(repeating: "x", count: 200_000), ""]
                    // The first are there before it comes, the others not.
                    for body in bodies.prefix(2) { try await peer.send(queue, data: body + "\n", confirm: true) }
                    let arguments = ["--url", url, "-q", queue, "-c", "4", "-p", "1", "cat"]
                    try await ForeignPeer.run("amqp-consume", arguments, url) { consumer in
                        for body in bodies.prefix(2) { try await consumer.expect(body) }
                        for body in bodies.dropFirst(2) { try await peer.send(queue, data: body + "\n", confirm: true) }
                        try await peer.send(queue, data: "the fifth, which it does not want", confirm: true)
                        #expect(try await consumer.finish() == Array(bodies.dropFirst(2)))
                    }
                    // It never acknowledges what its command fails on.
                    let failing = ["--url", url, "-q", queue, "-c", "1", "grep", "absent"]
                    #expect(try await ForeignPeer.run("amqp-consume", failing, url) == [])
                    #expect(peer.statistics.returnedMessages == 0)
                }
            }
        }
    }

    @Test("amqp-get gets what our peer sends, and our service's reply", arguments: TestBroker.available)
    func get(broker: TestBroker) async throws {
        try await broker.run { url in
            try await self.withQueue(url) { queue in
                try await withPeer(url) { peer in
                    let get = ["--url", url, "-q", queue]
                    // 2: the queue is empty.
                    try await ForeignPeer.run("amqp-get", get, url) { _ = try await $0.finish(status: 2) }
                    try await peer.send(queue, data: "zwölf", confirm: true)
                    #expect(try await ForeignPeer.run("amqp-get", get, url) == ["zwölf"])

                    let address = TestBroker.uniqueName("upper")
                    try await peer.listen(on: address) { message in Reply(message.text?.uppercased() ?? "") }
                    let publish = ["--url", url, "-r", address, "-t", queue, "-b", "größe"]
                    #expect(try await ForeignPeer.run("amqp-publish", publish, url) == [])
                    try await eventually("the reply is there") {
                        try await withChannel(url) {
                            try await $0.declareQueue(queue, passive: true).messageCount == 1
                        }
                    }
                    #expect(try await ForeignPeer.run("amqp-get", get, url) == ["GRÖSSE"])
                }
            }
        }
    }

    @Test("Our service and our inbox get what amqp-publish sends", arguments: TestBroker.available)
    func publish(broker: TestBroker) async throws {
        try await broker.run { url in
            try await withPeer(url) { peer in
                let address = TestBroker.uniqueName("listener")
                let messages = try await peer.listen(on: address).messages
                let publish = [
                    "--url", url, "-r", address, "-C", "text/plain", "-H", "größe: zwölf", "-H", "i: 12", "-p", "-l",
                ]
                #expect(try await ForeignPeer.run("amqp-publish", publish, url, input: "one\nzwei 🐇\n") == [])
                var iterator = messages.makeAsyncIterator()
                for text in ["one", "zwei 🐇"] {
                    let message = try #require(await iterator.next())
                    #expect(message.text == text + "\n")
                    #expect(message.contentType == "text/plain")
                    #expect(message.headers == ["größe": "zwölf", "i": "12"])
                    #expect(message.replyTo == nil && message.id == nil && message.deadline == nil)
                    await expectNoReplyAddress { try await message.reply("nobody reads this") }
                }
                let inbox = ["--url", url, "-r", peer.address, "-b", "for you"]
                #expect(try await ForeignPeer.run("amqp-publish", inbox, url) == [])
                #expect(try await peer.receive()?.text == "for you")
            }
        }
    }

    func expectNoReplyAddress(_ body: () async throws -> Void) async {
        do {
            try await body()
            Issue.record("replied to nobody")
        } catch let error as HareDoError {
            #expect(error.code == .noReplyAddress)
        } catch {
            Issue.record("thrown: \(error)")
        }
    }
}
