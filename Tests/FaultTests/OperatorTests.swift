// SPDX-License-Identifier: Apache-2.0
import AMQPClient
import NIOCore
import TestSupport
import Testing

/// What the operator of a broker does, and a broker that dies, while messages are published and consumed.
@Suite(
    "RabbitMQ whose operator is at work", .serialized, .enabled(if: TestBroker.hasRabbitMQ, "needs RabbitMQ"))
struct OperatorTests {
    @Test("Its operator closes all connections three times: they come back, and nothing confirmed is lost")
    func connectionsClosed() async throws {
        try await within(.seconds(180)) {
            try await TestBroker.runOnSpareRabbitMQ { broker in
                let load = try await ConfirmedLoad(broker.url())
                let book = try await load.run { book in
                    for round in 1...3 {
                        try await eventually("messages", within: .seconds(20)) { book.confirmed >= round * 5000 }
                        try await broker.ctl("close_all_connections", "a test")
                        try await eventually("recovery", within: .seconds(20)) {
                            book.count(of: "publisher recovered") >= round
                                && book.count(of: "consumer recovered") >= round
                        }
                    }
                }
                print(book.summary)
                #expect(book.missing == 0)
                #expect(book.confirmed + book.unknown == book.sent)
            }
        }
    }

    @Test("A memory alarm suspends publishers and is an event; when it is over they go on, and nothing was lost")
    func memoryAlarm() async throws {
        try await within(.seconds(180)) {
            try await TestBroker.runOnSpareRabbitMQ { broker in
                let load = try await ConfirmedLoad(broker.url())
                let book = try await load.run { book in
                    try await eventually("messages", within: .seconds(20)) { book.confirmed >= 1000 }
                    try await broker.ctl("set_vm_memory_high_watermark", "absolute", "1")
                    do {
                        try await eventually("connection.blocked", within: .seconds(30)) {
                            book.count(of: "publisher blocked") == 1
                        }
                        // What it had read before may still be confirmed.
                        try await standsStill("confirms", within: .seconds(5)) { book.confirmed }
                    } catch {
                        try await broker.ctl("set_vm_memory_high_watermark", "absolute", "1GB")
                        throw error
                    }
                    try await broker.ctl("set_vm_memory_high_watermark", "absolute", "1GB")
                    try await eventually("connection.unblocked", within: .seconds(30)) {
                        book.count(of: "publisher unblocked") == 1
                    }
                }
                print(book.summary)
                #expect(book.confirmed == book.sent)
                #expect(book.unknown == 0)
                #expect(book.missing == 0)
                #expect(book.count(of: "publisher lost") == 0)
            }
        }
    }

    @Test("A queue deleted under its consumer is declared again, and the same loop goes on")
    func queueDeleted() async throws {
        try await within(.seconds(180)) {
            try await TestBroker.runOnSpareRabbitMQ { broker in
                let url = try await broker.url()
                let queue = TestBroker.uniqueName()
                try await withChannel(url) { channel in
                    try await channel.declareQueue(queue, durable: true)
                    try await channel.qos(prefetchCount: 10)
                    var deliveries = try await channel.consume(queue).deliveries.makeAsyncIterator()
                    try await withChannel(url) { other in
                        try await other.confirmSelect()
                        for round in 1...3 {
                            try await other.publishConfirmed(AMQPMessage("\(round)"), routingKey: queue)
                            let delivery = try #require(try await deliveries.next())
                            #expect(String(buffer: delivery.body) == "\(round)")
                            try delivery.ack()
                            try await other.deleteQueue(queue)
                            try await eventually("the consumer on the new queue", within: .seconds(30)) {
                                try await broker.ctl("list_queues", "name", "consumers").contains("\(queue)\t1")
                            }
                        }
                    }
                    try await channel.deleteQueue(queue)
                }
            }
        }
    }

    @Test("Killed and started again under load: publishers and consumer go on, and nothing confirmed is lost")
    func killed() async throws {
        try await within(.seconds(180)) {
            try await TestBroker.runOnSpareRabbitMQ { broker in
                let load = try await ConfirmedLoad(broker.url())
                let book = try await load.run(ready: { try await broker.flush() }) { book in
                    try await eventually("messages", within: .seconds(20)) { book.confirmed >= 5000 }
                    try await broker.crash()
                    try await eventually("unknown outcomes") { book.unknown > 0 }
                    let confirmed = book.confirmed
                    try await broker.resume()
                    try await eventually("publishing to resume", within: .seconds(30)) { book.confirmed > confirmed }
                }
                print(book.summary)
                #expect(book.missing == 0)
                #expect(book.unknown > 0)
                #expect(book.confirmed + book.unknown == book.sent)
                #expect(book.count(of: "publisher recovered") >= 1)
            }
        }
    }
}

/// Waits until a number has not changed for half a second.
private func standsStill(_ what: String, within limit: Duration, _ number: () -> Int) async throws {
    let deadline = ContinuousClock.now + limit
    var (last, since) = (number(), ContinuousClock.now)
    while ContinuousClock.now - since < .milliseconds(500) {
        guard ContinuousClock.now < deadline else { throw TookTooLong(what: "\(what) to stand still", limit: limit) }
        try await Task.sleep(for: .milliseconds(20))
        let now = number()
        if now != last { (last, since) = (now, .now) }
    }
}
