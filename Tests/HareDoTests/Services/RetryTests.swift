// SPDX-License-Identifier: Apache-2.0
import AMQPClient
import AMQPWire
import NIOConcurrencyHelpers
import TestSupport
import Testing

@testable import HareDo

/// What services do with messages whose handlers throw, crash, or come again.
@Suite("Delivery promises", .timeLimit(.minutes(1)))
struct RetryTests {
    private struct Failure: Error {}
    /// When a handler ran, and as which attempt.
    private final class Book: Sendable {
        private let entries = NIOLockedValueBox<[(attempt: Int, time: ContinuousClock.Instant, redelivered: Bool)]>([])
        func enter(_ message: Message) {
            self.entries.withLockedValue { $0.append((message.attempt, .now, message.redelivered)) }
        }
        var attempts: [Int] { self.entries.withLockedValue { $0.map(\.attempt) } }
        var redelivered: [Bool] { self.entries.withLockedValue { $0.map(\.redelivered) } }
        var pauses: [Duration] {
            self.entries.withLockedValue { entries in
                zip(entries.dropFirst(), entries).map { $0.time - $1.time }
            }
        }
    }
    private static let shapes: [QueueShape] = [.exclusive, .shared, .durable, .quorum]
    private static func retrying(_ attempts: Int) -> ServiceOptions {
        .init(onFailure: .retry(attempts: attempts, backoff: .exponential(from: .milliseconds(100))))
    }

    @Test(
        "A call is tried again until it has failed three times: then its caller is told, it is parked, and comes back",
        arguments: TestBroker.available, Self.shapes)
    func retries(broker: TestBroker, shape: QueueShape) async throws {
        try await broker.run("retries(\(shape))") { url in
            try await withPair(url) { server, client in
                let book = Book()
                let isMended = NIOLockedValueBox(false)
                let replayed = AsyncGate()
                try await server.listen(as: shape, options: Self.retrying(3)) { message in
                    guard !isMended.withLockedValue({ $0 }) else {
                        #expect(message.attempt == 1 && message.history.count == 3)
                        #expect(message.text == "jujifruit" && message.headers["kind"]?.string == "fruit")
                        // Nobody waits for the call that it was.
                        #expect(message.deadline == nil && message.replyTo == nil)
                        replayed.open()
                        return "late"
                    }
                    book.enter(message)
                    #expect(message.verifiedSender == "guest" && message.deadline != nil)
                    throw ServiceError("busy", "try \(message.attempt)")
                }
                let error = await #expect(throws: HareDoError.self) {
                    _ = try await client.call(
                        server.name, headers: ["kind": "fruit"], data: "jujifruit", timeout: .seconds(30))
                }
                #expect(error?.remote == .init(code: "busy", text: "try 3"))
                #expect(book.attempts == [1, 2, 3])
                #expect(book.redelivered == [false, true, true])
                let pauses = book.pauses
                #expect(pauses[0] >= .milliseconds(99) && pauses[1] >= .milliseconds(199), "\(pauses)")
                #expect(server.statistics.failedAttempts == 3 && server.statistics.retries == 2)
                let parked = client.parked(server.name)
                let messages = try await parked.list()
                let message = try #require(messages.first)
                #expect(messages.count == 1 && message.text == "jujifruit")
                #expect(message.history.map(\.attempt) == [1, 2, 3])
                #expect(message.history.last?.error.contains("try 3") == true)
                isMended.withLockedValue { $0 = true }
                let count = try await parked.replay()
                #expect(count == 1)
                await replayed.wait()
                let left = try await parked.list().count
                #expect(left == 0)
                try await Self.clean(url, server.name)
            }
        }
    }

    @Test("Whoever has looked at what is parked can bring it back at once", arguments: TestBroker.available)
    func replayAfterLooking(broker: TestBroker) async throws {
        try await broker.run { url in
            try await withPair(url) { server, client in
                // A replicated queue: that what was looked at is there again takes it a moment.
                try await server.listen(as: .quorum, options: .init(onFailure: .park)) { _ in throw Failure() }
                for round in 1...20 {
                    _ = try? await client.call(server.name, data: "\(round)", timeout: .seconds(10))
                    try await eventually("it is parked") { server.statistics.parkedMessages == 2 * round - 1 }
                    let parked = client.parked(server.name)
                    let seen = try await parked.list()
                    #expect(seen.map(\.text) == ["\(round)"])
                    let count = try await parked.replay()
                    #expect(count == 1)
                    try await eventually("it is parked again") { server.statistics.parkedMessages == 2 * round }
                    try await parked.purge()
                }
                try await Self.clean(url, server.name)
            }
        }
    }

    @Test("Nothing is tried that its caller would not wait for", arguments: TestBroker.available, Self.shapes)
    func deadline(broker: TestBroker, shape: QueueShape) async throws {
        try await broker.run("deadline(\(shape))") { url in
            try await withPair(url) { server, client in
                let book = Book()
                let options = ServiceOptions(
                    onFailure: .retry(attempts: 3, backoff: .exponential(from: .milliseconds(400), factor: 100)))
                try await server.listen(as: shape, options: options) { message in
                    book.enter(message)
                    throw Failure()
                }
                let error = await #expect(throws: HareDoError.self) {
                    _ = try await client.call(server.name, timeout: .seconds(10))
                }
                #expect(error?.remote?.code == "handler-failed")
                // The third would have been 40 s after the second.
                #expect(book.attempts == [1, 2])
                try await eventually("it is parked") { server.statistics.parkedMessages == 1 }
                try await Self.clean(url, server.name)
            }
        }
    }

    @Test("What succeeds at a later attempt is answered then", arguments: TestBroker.available, Self.shapes)
    func succeeds(broker: TestBroker, shape: QueueShape) async throws {
        try await broker.run("succeeds(\(shape))") { url in
            try await withPair(url) { server, client in
                try await server.listen(as: shape, options: Self.retrying(3)) { message in
                    guard message.attempt == 3 else { throw Failure() }
                    return "\(message.attempt) \(message.verifiedSender ?? "")"
                }
                let reply = try await client.call(server.name, timeout: .seconds(10))
                #expect(reply?.text == "3 guest")
                let id = try await client.send(server.name)
                let other = try await client.receive(id: id, timeout: .seconds(10))
                #expect(other?.text == "3 guest")
                #expect(server.statistics.parkedMessages == 0)
                try await Self.clean(url, server.name)
            }
        }
    }

    @Test("A message is dropped or parked as the service says", arguments: TestBroker.available)
    func dropsOrParks(broker: TestBroker) async throws {
        try await broker.run { url in
            try await withPair(url) { server, client in
                for (policy, count) in [(FailurePolicy.drop, 0), (.park, 1), (.retry(attempts: 1), 1)] {
                    let queue = TestBroker.uniqueName()
                    let service = try await server.listen(on: queue, as: .shared, options: .init(onFailure: policy)) {
                        message in
                        if message.text == "no" { throw ServiceError("no", "never", isFinal: true) }
                        _ = try message.decode(Int.self)
                        throw Failure()
                    }
                    // An answer is none to be parked; what cannot be decoded is, at once.
                    for (body, code) in [("no", "no"), ("x", "bad-request")] {
                        let error = await #expect(throws: HareDoError.self) {
                            _ = try await client.call(queue, data: body)
                        }
                        #expect(error?.remote?.code == code)
                    }
                    await expectError(.remoteFailed) { _ = try await client.call(queue, data: "1") }
                    let parked = try await client.parked(queue).list()
                    #expect(parked.map(\.text) == (count == 0 ? [] : ["x", "1"]))
                    #expect(try await client.parked(queue).purge() == parked.count)
                    await service.drain()
                    try await Self.clean(url, queue)
                }
            }
        }
    }

    @Test("At most once: acknowledged before, and gone with its process", arguments: TestBroker.available)
    func beforeHandler(broker: TestBroker) async throws {
        try await broker.run { url in
            try await withPair(url) { server, client in
                let (began, go) = (AsyncGate(), AsyncGate())
                let service = try await server.listen(
                    as: .durable, options: .init(acknowledgement: .beforeHandler)
                ) { _ in
                    began.open()
                    await go.wait()
                    return "done"
                }
                let call = Task { try await client.call(server.name, timeout: .seconds(10)) }
                await began.wait()
                // As if the process were gone: everything unacknowledged goes back.
                await service.core.channel.close()
                try await eventually("the consumer is gone") { try await TestQueues.consumers(server.name, url) == 0 }
                let waiting = try await TestQueues.count(server.name, url)
                #expect(waiting == 0)
                go.open()
                call.cancel()
                _ = try? await call.value
                try await Self.clean(url, server.name)
            }
        }
    }

    @Test("By hand: what nobody acknowledges stays out until the service ends", arguments: TestBroker.available)
    func byHand(broker: TestBroker) async throws {
        try await broker.run { url in
            try await withPair(url) { server, client in
                let kept = NIOLockedValueBox<[Message]>([])
                let service = try await server.listen(
                    as: .durable, options: .init(prefetch: 2, acknowledgement: .manual)
                ) { message in
                    kept.withLockedValue { $0.append(message) }
                    return nil
                }
                for text in ["a", "b", "c"] { try await client.send(server.name, data: text, confirm: true) }
                try await eventually("two came") { kept.withLockedValue { $0.count } == 2 }
                // Two are handled at a time, so either may be the first of them.
                let two = kept.withLockedValue { $0 }
                #expect(Set(two.map(\.text)) == ["a", "b"])
                try #require(two.first).ack()
                try await eventually("a third came") { kept.withLockedValue { $0.count } == 3 }
                #expect(kept.withLockedValue { $0.last?.text } == "c")
                await service.drain()
                try await eventually("two are back") { try await TestQueues.count(server.name, url) == 2 }
                try await Self.clean(url, server.name)
            }
        }
    }

    @Test(
        "A message that ends its process is not handed out for ever", arguments: TestBroker.available,
        [QueueShape.shared, .quorum])
    func poison(broker: TestBroker, shape: QueueShape) async throws {
        try await broker.run("poison(\(shape))") { url in
            try await withPair(url) { server, client in
                let book = Book()
                let options = ServiceOptions(onFailure: .park, maximumDeliveries: 3)
                // Each instance takes the message, and dies with it.
                for instance in 1...3 {
                    let began = AsyncGate()
                    let dying = Peer(.url(url))
                    try await dying.connect()
                    let service = try await dying.listen(on: server.name, as: shape, options: options) { message in
                        book.enter(message)
                        began.open()
                        // Until it dies, which is what the test is about.
                        try await Task.sleep(for: .seconds(60))
                        return nil
                    }
                    if instance == 1 { try await client.send(server.name, data: "poison", confirm: true) }
                    await began.wait()
                    let connection = service.core.channel.connection
                    await connection.abandon(AMQPError(.connectionLost, "a test", origin: .local))
                    await dying.disconnect(within: .zero)
                }
                #expect(book.attempts == [1, 2, 3])
                #expect(book.redelivered == [false, true, true])
                try await server.listen(as: shape, options: options) { _ in
                    Issue.record("it was handed out a fourth time")
                    return nil
                }
                try await eventually("it is parked") { server.statistics.parkedMessages == 1 }
                let parked = try await client.parked(server.name).list()
                #expect(parked.first?.text == "poison")
                #expect(parked.first?.history.last?.error.contains("3 times") == true)
                try await Self.clean(url, server.name)
            }
        }
    }

    @Test(
        "Of many that come back at once, as after a restart, few are published again, and all are handled",
        arguments: TestBroker.available)
    func manyRedelivered(broker: TestBroker) async throws {
        try await broker.run { url in
            let (queue, count) = (TestBroker.uniqueName(), 2000)
            try await withChannel(url) { channel in
                try await channel.declareQueue(queue, durable: true)
                for number in 0..<count { try await channel.publish(AMQPMessage("\(number)"), routingKey: queue) }
                var deliveries = try await channel.consume(queue).deliveries.makeAsyncIterator()
                for _ in 0..<count { _ = try await deliveries.next() }
                // Closed without acknowledging any: all of them were delivered, and nobody began.
            }
            try await withPair(url) { server, _ in
                let handled = NIOLockedValueBox<[String: Int]>([:])
                let (copies, firsts) = (NIOLockedValueBox(0), NIOLockedValueBox(0))
                let began = ContinuousClock.now
                try await server.listen(on: queue, as: .durable) { message in
                    if message.headers["haredo-attempt"] != nil { copies.withLockedValue { $0 += 1 } }
                    if message.attempt == 1 { firsts.withLockedValue { $0 += 1 } }
                    handled.withLockedValue { $0[message.text ?? "", default: 0] += 1 }
                    return nil
                }
                try await eventually("all are handled", within: .seconds(50)) {
                    handled.withLockedValue { $0.count } == count
                }
                let seconds = (ContinuousClock.now - began) / .seconds(1)
                #expect(handled.withLockedValue { $0.values.allSatisfy { $0 == 1 } })
                #expect(firsts.withLockedValue { $0 } == 0)
                let written = copies.withLockedValue { $0 }
                #expect(written >= 64 && Double(written) <= 64 + 10 * seconds + 1, "\(written) in \(seconds) s")
            }
            try await TestQueues.delete(queue, url)
        }
    }

    @Test("Whoever lies about the first sender is not believed", arguments: TestBroker.available)
    func forgedSender(broker: TestBroker) async throws {
        try await broker.run { url in
            try await withPair(url) { server, _ in
                let senders = NIOLockedValueBox<[String?]>([])
                try await server.listen(options: .init(concurrency: 1)) { message in
                    senders.withLockedValue { $0.append(message.verifiedSender) }
                    return nil
                }
                try await withChannel(url) { channel in
                    // Without a sender of its own, and with one.
                    for user in [nil, "guest"] {
                        var properties = AMQPBasicProperties()
                        properties.userID = user
                        properties.headers = ["haredo-sender": "root"]
                        try await channel.publish(AMQPMessage("x", properties: properties), routingKey: server.name)
                    }
                }
                try await eventually("both came") { senders.withLockedValue { $0.count } == 2 }
                // Those who have the service's own login may say for whom they speak: services do.
                #expect(senders.withLockedValue { $0 } == [nil, "root"])
            }
        }
    }

    // MARK: - Parts

    /// On a RabbitMQ that others use.
    private static func clean(_ url: String, _ queue: String) async throws {
        for name in [queue, queue + ".parked"] + [100, 200, 400].map({ "\(queue).retry.\($0)" }) {
            // The exclusive ones are not ours to delete.
            try? await TestQueues.delete(name, url)
        }
    }
}
