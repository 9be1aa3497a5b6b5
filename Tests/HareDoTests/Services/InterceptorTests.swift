// SPDX-License-Identifier: Apache-2.0
import AMQPClient
import AMQPWire
import NIOConcurrencyHelpers
import TestSupport
import Testing

@testable import HareDo

@Suite("Around handlers and calls", .timeLimit(.minutes(1)))
struct InterceptorTests {
    private final class Book: Sendable {
        private let entries = NIOLockedValueBox<[String]>([])
        func enter(_ entry: String) { self.entries.withLockedValue { $0.append(entry) } }
        var all: [String] { self.entries.withLockedValue { $0 } }
    }

    private static func marking(_ name: String, _ book: Book) -> HandlerInterceptor {
        HandlerInterceptor { message, next in
            book.enter("\(name) before")
            let reply = try await next(message)
            book.enter("\(name) after")
            return reply.map { Reply("\($0.data.text ?? "") \(name)") }
        }
    }

    @Test("They are called in the order written, on both sides", arguments: TestBroker.available)
    func order(broker: TestBroker) async throws {
        try await broker.run { url in
            let book = Book()
            let calling: @Sendable (String) -> CallInterceptor = { name in
                CallInterceptor { outgoing, next in
                    book.enter("\(name) before")
                    var outgoing = outgoing
                    outgoing.headers[name] = true
                    let reply = try await next(outgoing)
                    book.enter("\(name) after")
                    return reply
                }
            }
            try await withPair(url, configure: { $0.callInterceptors = [calling("c1"), calling("c2")] }) {
                server, client in
                let options = ServiceOptions(interceptors: [Self.marking("h1", book), Self.marking("h2", book)])
                try await server.listen(options: options) { message in
                    book.enter("handler")
                    return message.headers["c1"] == true && message.headers["c2"] == true ? "x" : "no headers"
                }
                let reply = try await client.call(server.name)
                #expect(reply?.text == "x h2 h1")
                #expect(
                    book.all == [
                        "c1 before", "c2 before", "h1 before", "h2 before", "handler", "h2 after", "h1 after",
                        "c2 after",
                        "c1 after",
                    ])
            }
        }
    }

    @Test("One that throws, or answers itself, keeps the call from going out", arguments: TestBroker.available)
    func callsThatStay(broker: TestBroker) async throws {
        struct Refusal: Error {}
        try await broker.run { url in
            let refusing = CallInterceptor { outgoing, next in
                if outgoing.address == "refused" { throw Refusal() }
                if outgoing.address == "own" { throw HareDoError(.noSuchService, "x") }
                if outgoing.address == "late" { return nil }
                return try await next(outgoing)
            }
            try await withPair(url, configure: { $0.callInterceptors = [refusing] }) { _, client in
                let error = await #expect(throws: HareDoError.self) { _ = try await client.call("refused") }
                #expect(error?.code == .intercepted && error?.cause is Refusal)
                await expectError(.noSuchService) { _ = try await client.call("own") }
                let late = try await client.call("late")
                #expect(late == nil)
                await expectError(.noSuchService) { _ = try await client.call(TestBroker.uniqueName("nobody")) }
            }
        }
    }

    @Test("Only verified senders that are allowed are served", arguments: TestBroker.available)
    func authorisation(broker: TestBroker) async throws {
        try await broker.run { url in
            try await withPair(url) { server, client in
                let options = ServiceOptions(onFailure: .park, interceptors: [.allowing(senders: ["guest"])])
                let strict = ServiceOptions(onFailure: .park, interceptors: [.allowing(senders: ["root"])])
                let other = TestBroker.uniqueName()
                try await server.listen(options: options) { _ in "welcome" }
                try await server.listen(on: other, options: strict) { _ in "welcome" }
                let reply = try await client.call(server.name)
                #expect(reply?.text == "welcome")
                let error = await #expect(throws: HareDoError.self) { _ = try await client.call(other) }
                #expect(error?.remote?.code == "forbidden")
                // Refusing strangers must not fill a queue.
                #expect(server.statistics.parkedMessages == 0)
            }
        }
    }

    @Test("A limit on the rate lets so many through, and tells the others", arguments: TestBroker.available)
    func rateLimit(broker: TestBroker) async throws {
        try await broker.run { url in
            try await withPair(url) { server, client in
                let options = ServiceOptions(interceptors: [.rateLimit(perSecond: 0.001, burst: 2)])
                try await server.listen(options: options) { _ in "x" }
                for _ in 1...2 {
                    let reply = try await client.call(server.name)
                    #expect(reply?.text == "x")
                }
                let error = await #expect(throws: HareDoError.self) { _ = try await client.call(server.name) }
                #expect(error?.remote?.code == "rate-limited")
            }
        }
    }

    @Test("A bucket fills with time, up to its burst")
    func bucket() {
        var bucket = TokenBucket.State(perSecond: 10, burst: 3)
        let start = ContinuousClock.now
        func take(_ milliseconds: Int) -> Bool { bucket.take(at: start + .milliseconds(milliseconds)) }
        #expect([take(0), take(0), take(0), take(0)] == [true, true, true, false])
        #expect([take(99), take(101), take(101)] == [false, true, false])
        #expect([take(10_000), take(10_000), take(10_000), take(10_000)] == [true, true, true, false])
        // A clock that runs backwards gives nothing.
        #expect(!take(0))
    }

    @Test("Logging says what was handled and called, and no bodies", arguments: TestBroker.available)
    func logging(broker: TestBroker) async throws {
        try await broker.run { url in
            let log = LogBook()
            let logger = log.logger
            try await withPair(url, configure: { $0.callInterceptors = [.logging(logger)] }) { server, client in
                try await server.listen(options: .init(interceptors: [.logging(logger)])) { message in
                    if message.text == "fail" { throw ServiceError("a", "b") }
                    return "secret"
                }
                _ = try await client.call(server.name, data: "secret")
                _ = try? await client.call(server.name, data: "fail")
                #expect(log.messages.filter { $0 == "handled a message" }.count == 2)
                #expect(log.messages.filter { $0 == "called a service" }.count == 2)
            }
        }
    }

    // MARK: - Messages that come again

    @Test("A message that comes again is answered again, and not handled again", arguments: TestBroker.available)
    func once(broker: TestBroker) async throws {
        try await broker.run { url in
            try await withPair(url) { server, _ in
                let count = NIOLockedValueBox(0)
                try await server.listen(options: .init(handledMessages: .inMemory())) { message in
                    let number = count.withLockedValue { count in
                        count += 1
                        return count
                    }
                    if message.text == "fail", number == 1 { throw ServiceError("a", "b") }
                    // Long enough for the copies to come meanwhile.
                    try await Task.sleep(for: .milliseconds(100))
                    if message.text == "by hand" {
                        try await message.reply("\(number)")
                        return nil
                    }
                    return "\(number)"
                }
                for (body, expected) in [
                    ("fail", ["2", "2", "b"]), ("x", ["3", "3", "3"]), ("by hand", ["4", "4", "4"]),
                ] {
                    let replies = try await Self.sendThrice(body, to: server.name, url)
                    // Each is sent when the next one may already be handled.
                    #expect(replies.sorted() == expected, "\(body)")
                }
                #expect(count.withLockedValue { $0 } == 4)
                #expect(server.statistics.repeatedMessages == 5)
            }
        }
    }

    /// - Returns: bodies, or texts of errors, of the replies.
    private static func sendThrice(_ body: String, to queue: String, _ url: String) async throws -> [String] {
        try await withChannel(url) { channel in
            let inbox = try await channel.declareQueue("", exclusive: true).name
            let consumer = try await channel.consume(inbox, acknowledgement: .automatic)
            var deliveries = consumer.deliveries.makeAsyncIterator()
            var properties = AMQPBasicProperties()
            properties.messageID = TestBroker.uniqueName()
            properties.replyTo = inbox
            let message = AMQPMessage(.init(string: body), properties: properties)
            var replies: [String] = []
            for _ in 1...3 { try await channel.publish(message, routingKey: queue) }
            while replies.count < 3, let delivery = try await deliveries.next() {
                replies.append(
                    delivery.properties.headers?["haredo-error-text"]?.string ?? String(buffer: delivery.body))
            }
            return replies
        }
    }

    @Test("What is remembered has a bound, in number and in bytes")
    func bounds() {
        let few = HandledMessagesInMemory(count: 3, bytes: .max)
        for number in 1...10_000 { few.remember(HandledMessage(reply: nil), of: MessageID("\(number)")) }
        #expect(few.rememberedCount == 3)
        #expect(few.outcome(of: "9998") == HandledMessage(reply: nil) && few.outcome(of: "9997") == nil)
        let small = HandledMessagesInMemory(count: .max, bytes: 10_000)
        let reply = Reply([UInt8](repeating: 0, count: 3000))
        for number in 1...100 { small.remember(HandledMessage(reply: reply), of: MessageID("\(number)")) }
        #expect(small.rememberedCount == 3)
        // One that is larger than everything is remembered alone.
        small.remember(HandledMessage(reply: Reply([UInt8](repeating: 0, count: 20_000))), of: "large")
        #expect(small.rememberedCount == 1 && small.outcome(of: "large") != nil)
        // The first outcome counts.
        few.remember(HandledMessage(reply: "other"), of: "10000")
        #expect(few.outcome(of: "10000") == HandledMessage(reply: nil) && few.rememberedCount == 3)
    }
}
