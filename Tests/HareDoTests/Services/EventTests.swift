// SPDX-License-Identifier: Apache-2.0
import AMQPClient
import NIOConcurrencyHelpers
import TestSupport
import Testing

@testable import HareDo

@Suite("Events, and questions to many", .timeLimit(.minutes(1)))
struct EventTests {
    private struct Order: Codable, Sendable, Equatable { var id: Int }
    private final class Book: Sendable {
        private let entries = NIOLockedValueBox<[String]>([])
        func enter(_ entry: String) { self.entries.withLockedValue { $0.append(entry) } }
        var sorted: [String] { self.entries.withLockedValue { $0.sorted() } }
    }

    /// Topics that no other test uses.
    private static func prefix() -> String { TestBroker.uniqueName("t").replacing(".", with: "-") }

    @Test("Every instance gets them, or one of a group", arguments: TestBroker.available)
    func subscriptions(broker: TestBroker) async throws {
        try await broker.run { url in
            try await withPair(url) { first, second in
                let (prefix, book) = (Self.prefix(), Book())
                for (name, peer) in [("first", first), ("second", second)] {
                    try await peer.subscribe(to: "\(prefix).*") { message in
                        book.enter("\(name) \(message.topic ?? "") \(message.text ?? "")")
                    }
                    try await peer.subscribe(to: "\(prefix).#", as: .oneOf("billing")) { message in
                        book.enter("billing \(message.topic ?? "") \(message.text ?? "")")
                    }
                }
                try await first.emit("\(prefix).created", data: "1", confirm: true)
                try await second.emit("\(prefix).created.twice", data: "2", confirm: true)
                try await second.emit("\(prefix)x.created", data: "3", confirm: true)
                try await eventually("all came") { book.sorted.count >= 4 }
                #expect(
                    book.sorted == [
                        "billing \(prefix).created 1", "billing \(prefix).created.twice 2",
                        "first \(prefix).created 1", "second \(prefix).created 1",
                    ])
            }
        }
    }

    @Test("A durable subscription keeps events until somebody comes", arguments: TestBroker.available)
    func durable(broker: TestBroker) async throws {
        try await broker.run { url in
            try await withPair(url) { subscriber, emitter in
                let prefix = Self.prefix()
                let subscription = Subscription.oneOf("audit", durable: true)
                let service = try await subscriber.subscribe(to: "\(prefix).created", as: subscription)
                let queue = service.queue
                #expect(queue == "haredo.events.audit.\(prefix).created")
                await service.drain()
                try await emitter.emit("\(prefix).created", encoding: Order(id: 7), confirm: true)
                let orders = NIOLockedValueBox<[Order]>([])
                try await subscriber.subscribe(to: "\(prefix).created", as: subscription, decoding: Order.self) {
                    order in
                    orders.withLockedValue { $0.append(order) }
                }
                try await eventually("it came") { orders.withLockedValue { $0 } == [Order(id: 7)] }
                await subscriber.disconnect()
                try await TestQueues.delete(queue, url)
            }
        }
    }

    @Test("An event keeps its topic when it is tried again", arguments: TestBroker.available)
    func retried(broker: TestBroker) async throws {
        try await broker.run { url in
            try await withPair(url) { subscriber, emitter in
                let (prefix, book) = (Self.prefix(), Book())
                let options = ServiceOptions(
                    onFailure: .retry(attempts: 2, backoff: .constant(.milliseconds(50))))
                let service = try await subscriber.subscribe(
                    to: "\(prefix).*", as: .oneOf("billing"), options: options
                ) { message in
                    book.enter("\(message.topic ?? "") \(message.attempt)")
                    throw CancellationError()
                }
                try await emitter.emit("\(prefix).created")
                try await eventually("it is parked") { subscriber.statistics.parkedMessages == 1 }
                #expect(book.sorted == ["\(prefix).created 1", "\(prefix).created 2"])
                await subscriber.disconnect()
                for suffix in ["", ".parked", ".retry.50"] { try await TestQueues.delete(service.queue + suffix, url) }
            }
        }
    }

    @Test("A namespace keeps environments apart", arguments: TestBroker.available)
    func namespaces(broker: TestBroker) async throws {
        try await broker.run { url in
            let (prefix, book) = (Self.prefix(), Book())
            try await withPair(url, configure: { $0.namespace = "staging" }) { staging, other in
                try await withPair(url) { live, _ in
                    try await staging.subscribe(to: "\(prefix).#") { book.enter("staging \($0.text ?? "")") }
                    try await live.subscribe(to: "\(prefix).#") { book.enter("live \($0.text ?? "")") }
                    try await other.emit("\(prefix).x", data: "1", confirm: true)
                    try await live.emit("\(prefix).x", data: "2", confirm: true)
                    try await eventually("both came") { book.sorted.count >= 2 }
                    #expect(book.sorted == ["live 2", "staging 1"])
                }
            }
            for namespace in ["a.b", "#", String(repeating: "x", count: 65), "ä"] {
                try await withPair(url, configure: { $0.namespace = namespace }) { peer, _ in
                    await expectError(.invalidArgument) { try await peer.emit("x") }
                }
            }
        }
    }

    @Test("What is no topic and no pattern is refused", arguments: TestBroker.available)
    func mistakes(broker: TestBroker) async throws {
        try await broker.run { url in
            try await withPair(url) { peer, _ in
                for topic in ["", ".", "a.", ".a", "a..b", "a.*", "#", String(repeating: "x", count: 256)] {
                    await expectError(.invalidArgument) { try await peer.emit(topic) }
                    await expectError(.invalidArgument) { _ = try await peer.callAll(topic, within: .seconds(1)) }
                }
                for pattern in ["", "a..b", "a*", "#b.c", "**"] {
                    await expectError(.invalidArgument) { _ = try await peer.subscribe(to: pattern) }
                }
                await expectError(.invalidArgument) { _ = try await peer.subscribe(to: "a", as: .oneOf("")) }
                await expectError(.invalidArgument) { _ = try await peer.callAll("a", within: .seconds(-1)) }
                await expectError(.invalidArgument) { _ = try await peer.callAll("a", within: .seconds(1), quorum: 0) }
            }
        }
    }

    @Test("An exchange that was deleted is made again", arguments: TestBroker.available)
    func deletedExchange(broker: TestBroker) async throws {
        try await broker.run { url in
            try await withPair(url, configure: { $0.namespace = "deleted" }) { peer, _ in
                let prefix = Self.prefix()
                try await peer.emit("\(prefix).a", confirm: true)
                try await withChannel(url) { try await $0.deleteExchange("deleted.haredo.events") }
                // The first one finds out, and is lost as events are that nobody subscribed to.
                try? await peer.emit("\(prefix).b")
                let book = Book()
                try await peer.subscribe(to: "\(prefix).*") { book.enter($0.topic ?? "") }
                try await eventually("events go out again") {
                    try? await peer.emit("\(prefix).c")
                    return !book.sorted.isEmpty
                }
            }
        }
    }

    // MARK: - Questions to many

    @Test("All who subscribed answer, or as many as are needed", arguments: TestBroker.available)
    func callAll(broker: TestBroker) async throws {
        try await broker.run { url in
            try await withPair(url) { first, second in
                let prefix = Self.prefix()
                for (name, peer) in [("first", first), ("second", second)] {
                    try await peer.subscribe(to: "\(prefix).prices") { message in
                        if name == "second", message.text == "fail" { throw ServiceError("sold-out", "no") }
                        try await message.reply("\(name) \(message.text ?? "")")
                    }
                }
                let both = try await second.callAll("\(prefix).prices", data: "?", within: .seconds(10), quorum: 2)
                #expect(Set(both.map(\.text)) == ["first ?", "second ?"])
                let one = try await second.callAll("\(prefix).prices", data: "?", within: .seconds(10), quorum: 1)
                #expect(one.count == 1)
                let failed = try await second.callAll("\(prefix).prices", data: "fail", within: .seconds(10), quorum: 2)
                #expect(failed.compactMap(\.failure?.code) == ["sold-out"])
                try await eventually("the late one is counted") { second.statistics.lateReplies >= 1 }
                // Nobody: at once.
                let began = ContinuousClock.now
                let nobody = try await second.callAll("\(prefix).nothing", within: .seconds(30))
                #expect(nobody.isEmpty && ContinuousClock.now - began < .seconds(10))
                // Or as many as come in time: once more if one was held up for longer.
                try await eventually("both answer in time") {
                    try await second.callAll("\(prefix).prices", data: "?", within: .milliseconds(300)).count == 2
                }
            }
        }
    }

    @Test("A question to many ends with its connection, or its task", arguments: TestBroker.available)
    func callAllEnds(broker: TestBroker) async throws {
        try await broker.run { url in
            try await withPair(url) { first, second in
                let prefix = Self.prefix()
                try await first.subscribe(to: "\(prefix).silence") { _ in }
                let cancelled = Task { try await second.callAll("\(prefix).silence", within: .seconds(60)) }
                let asking = Task { try await second.callAll("\(prefix).silence", within: .seconds(60)) }
                cancelled.cancel()
                await expectError(.cancelled) { _ = try await cancelled.value }
                try await eventually("it was asked") { second.calls.gatheringCount == 1 }
                await second.disconnect()
                await expectError(.disconnected) { _ = try await asking.value }
                #expect(second.calls.gatheringCount == 0)
            }
        }
    }
}
