// SPDX-License-Identifier: Apache-2.0
@_spi(HareDo) import AMQPClient
import NIOConcurrencyHelpers
import TestSupport
import Testing

@testable import HareDo

/// The deadline of a call travels with it, and binds whoever works for it.
@Suite("The deadline of a call", .timeLimit(.minutes(1)))
struct DeadlineTests {
    /// How a handler ended, and when.
    private struct End: Sendable {
        var wasCancelled: Bool
        var time: ContinuousClock.Instant
    }

    private static func remaining(_ message: Message) -> Int? { message.headers["haredo-remaining-ms"]?.int }

    @Test("is handed on by handlers that call others, and ends all of them", arguments: TestBroker.available)
    func nested(broker: TestBroker) async throws {
        try await broker.run { url in
            try await withPair(url) { last, caller in
                let timeout = Duration.seconds(3)
                let ends = NIOLockedValueBox<[String: End]>([:])
                let seen = NIOLockedValueBox<[String: Int]>([:])
                try await Peer.with(.url(url)) { middle in
                    let queue = TestBroker.uniqueName()
                    try await last.listen { message in
                        seen.withLockedValue { $0["last"] = Self.remaining(message) }
                        // Until it is cancelled, which is what the test is about.
                        try? await Task.sleep(for: .seconds(30))
                        ends.withLockedValue { $0["last"] = End(wasCancelled: Task.isCancelled, time: .now) }
                        return nil
                    }
                    try await middle.listen(on: queue) { message in
                        seen.withLockedValue { $0["middle"] = Self.remaining(message) }
                        // Which would wait for far longer by itself.
                        let reply = try? await middle.call(last.name, timeout: .seconds(60))
                        ends.withLockedValue { $0["middle"] = End(wasCancelled: Task.isCancelled, time: .now) }
                        return reply.map { Reply($0.data) }
                    }
                    let canary = Canary()
                    let deadline = ContinuousClock.now + timeout
                    #expect(try await caller.call(queue, timeout: timeout) == nil)
                    ends.withLockedValue { $0["caller"] = End(wasCancelled: true, time: .now) }
                    try await eventually("all have ended") { ends.withLockedValue { $0.count == 3 } }
                    for (who, end) in ends.withLockedValue({ $0 }) {
                        let late = end.time - deadline
                        #expect(
                            await canary.finds(
                                "\(who) after the deadline (\(broker))", took: late, from: .milliseconds(-100),
                                to: .zero))
                    }
                    #expect(ends.withLockedValue { $0["last"]?.wasCancelled } == true)
                    let (first, second) = try seen.withLockedValue {
                        (try #require($0["middle"]), try #require($0["last"]))
                    }
                    #expect(first < 3000 && second < first)
                }
            }
        }
    }

    @Test("is not handed on by what goes on after the handler", arguments: TestBroker.available)
    func afterTheHandler(broker: TestBroker) async throws {
        try await broker.run { url in
            try await withPair(url) { service, client in
                let isReplied = AsyncGate()
                let found = NIOLockedValueBox<[String]>([])
                let echo = try await client.listen(on: TestBroker.uniqueName()) { Reply($0.data) }
                try await service.listen { _ in
                    Task {
                        await isReplied.wait()
                        let reply = try? await service.call(echo.queue, data: "still there", timeout: .seconds(10))
                        found.withLockedValue { $0.append(reply?.text ?? "nothing") }
                    }
                    return "done"
                }
                try await eventually("a call is answered in time") {
                    guard let reply = try await client.call(service.name, timeout: .milliseconds(300)) else {
                        return false
                    }
                    #expect(reply.text == "done")
                    return true
                }
                // Only time makes the deadline pass.
                try await Task.sleep(for: .milliseconds(400))
                isReplied.open()
                try await eventually("the other call has ended") { found.withLockedValue { !$0.isEmpty } }
                #expect(found.withLockedValue { $0.allSatisfy { $0 == "still there" } })
            }
        }
    }

    @Test("ends the handler that is late, and the next message has one", arguments: TestBroker.available)
    func cancelled(broker: TestBroker) async throws {
        try await broker.run { url in
            try await withPair(url) { service, client in
                let (sleeps, cancelled, others) = (NIOLockedValueBox(0), NIOLockedValueBox(0), NIOLockedValueBox(0))
                let listening = try await service.listen(as: .shared, options: .init(concurrency: 1)) { message in
                    guard message.text == "sleep" else {
                        others.withLockedValue { $0 += 1 }
                        return Reply("\(Task.isCancelled)")
                    }
                    sleeps.withLockedValue { $0 += 1 }
                    // Until it is cancelled.
                    do {
                        try await Task.sleep(for: .seconds(30))
                    } catch {
                        cancelled.withLockedValue { $0 += 1 }
                        throw error
                    }
                    return "too late"
                }
                for _ in 0..<3 {
                    let before = sleeps.withLockedValue { $0 }
                    try await callInVain(client, service.name, data: "sleep", timeout: .milliseconds(100)) {
                        sleeps.withLockedValue { $0 } > before
                    }
                    #expect(try await client.call(service.name, data: "next")?.text == "false")
                    // One at a time: those before it have ended.
                    #expect(sleeps.withLockedValue { $0 } == cancelled.withLockedValue { $0 })
                }
                #expect(others.withLockedValue { $0 } == 3)
                // Acknowledged: not for another instance either.
                await listening.drain()
                #expect(try await TestQueues.count(service.name, url) == 0)
            }
        }
    }

    @Test("leaves a handler alone that may be late", arguments: TestBroker.available)
    func notCancelled(broker: TestBroker) async throws {
        try await broker.run { url in
            try await withPair(url) { service, client in
                let (begun, ends) = (NIOLockedValueBox(0), NIOLockedValueBox<[Bool]>([]))
                try await service.listen(options: .init(cancelsAtDeadline: false)) { message in
                    begun.withLockedValue { $0 += 1 }
                    if let deadline = message.deadline { try? await Task.sleep(until: deadline + .milliseconds(100)) }
                    ends.withLockedValue { $0.append(Task.isCancelled) }
                    return nil
                }
                try await callInVain(client, service.name, timeout: .milliseconds(50)) {
                    begun.withLockedValue { $0 } > 0
                }
                try await eventually("what has begun has ended") {
                    ends.withLockedValue { $0.count } == begun.withLockedValue { $0 }
                }
                #expect(ends.withLockedValue { !$0.contains(true) })
            }
        }
    }

    @Test("passes while a request waits for its turn: then it is not handled", arguments: TestBroker.available)
    func waited(broker: TestBroker) async throws {
        try await broker.run { url in
            try await withPair(url) { service, client in
                let handled = NIOLockedValueBox<[String]>([])
                let isBusy = AsyncGate()
                let isFree = AsyncGate()
                // A second message is delivered, and waits here.
                let listening = try await service.listen(options: .init(concurrency: 1, prefetch: 2)) { message in
                    handled.withLockedValue { $0.append(message.text ?? "") }
                    if message.text == "first" {
                        isBusy.open()
                        await isFree.wait()
                    }
                    return Reply(message.data)
                }
                try await client.send(service.name, data: "first")
                await isBusy.wait()
                let timeout = Duration.milliseconds(100)
                #expect(try await client.call(service.name, data: "late", timeout: timeout) == nil)
                try await eventually("it came") { listening.core.buffer.count == 1 }
                // What is left to it counts from then.
                try await Task.sleep(for: timeout)
                isFree.open()
                #expect(try await client.call(service.name, data: "in time")?.text == "in time")
                #expect(handled.withLockedValue { $0 } == ["first", "in time"])
                #expect(service.statistics.expiredRequests == 1)
            }
        }
    }

    @Test("passes while a request waits for the loop over the messages", arguments: TestBroker.available)
    func waitedForTheLoop(broker: TestBroker) async throws {
        try await broker.run { url in
            try await withPair(url) { service, client in
                let listening = try await service.listen(options: .init(prefetch: 10))
                let timeout = Duration.milliseconds(100)
                #expect(try await client.call(service.name, data: "late", timeout: timeout) == nil)
                try await eventually("it came") { listening.core.buffer.count == 1 }
                // What is left to it counts from then.
                try await Task.sleep(for: timeout)
                try await client.send(service.name, data: "no deadline")
                var iterator = listening.messages.makeAsyncIterator()
                #expect(await iterator.next()?.text == "no deadline")
                #expect(service.statistics.expiredRequests == 1)
            }
        }
    }
}
