// SPDX-License-Identifier: Apache-2.0
import HareDo
import NIOConcurrencyHelpers
import TestSupport
import Testing

@Suite("Services")
struct ServiceTests {
    @Test("Instances on one shared name share the load", arguments: TestBroker.available)
    func sharedLoad(broker: TestBroker) async throws {
        try await broker.run { url in
            try await withPair(url) { first, client in
                let second = Peer(name: first.name, .url(url))
                try await second.connect()
                let counts = NIOLockedValueBox((0, 0))
                try await first.listen(as: .shared) { _ in
                    counts.withLockedValue { $0.0 += 1 }
                    return "1"
                }
                try await second.listen(as: .shared) { _ in
                    counts.withLockedValue { $0.1 += 1 }
                    return "2"
                }
                for _ in 0..<40 { #expect(try await client.call(first.name) != nil) }
                let (one, two) = counts.withLockedValue { $0 }
                #expect(one + two == 40)
                #expect(one >= 10 && two >= 10, "\(one) and \(two)")
                await second.disconnect()
            }
        }
    }

    @Test("An exclusive name that is taken is an error with both possible reasons", arguments: TestBroker.available)
    func nameTaken(broker: TestBroker) async throws {
        try await broker.run { url in
            try await withPair(url) { service, client in
                _ = try await service.listen()
                do {
                    _ = try await client.listen(on: service.name)
                    Issue.record("two listen exclusively")
                } catch let error as HareDoError {
                    #expect(error.code == .nameTaken)
                    #expect(error.message.contains("another peer listens on it"))
                    #expect(error.message.contains("in another shape"))
                }
                await expectError(.nameTaken) { _ = try await client.listen(on: service.name, as: .shared) }
                // Neither attempt cost the connection.
                _ = try await client.listen(on: TestBroker.uniqueName())
            }
        }
    }

    @Test(
        "Every shape can be listened on, and by the same shape again",
        arguments: TestBroker.available, [QueueShape.shared, .durable, .quorum])
    func shapes(broker: TestBroker, shape: QueueShape) async throws {
        try await broker.run("shapes(broker:shape:) \(shape)") { url in
            try await withPair(url) { service, client in
                try await service.listen(as: shape) { _ in "ok" }
                try await client.listen(on: service.name, as: shape) { _ in "ok" }
                for _ in 0..<4 { #expect(try await client.call(service.name)?.text == "ok") }
                try await TestQueues.delete(service.name, url)
            }
        }
    }

    @Test("What a durable service did not get to is there for the next one", arguments: TestBroker.available)
    func durableKeeps(broker: TestBroker) async throws {
        try await broker.run { url in
            try await withPair(url) { first, client in
                let service = try await first.listen(as: .durable)
                await service.drain()
                try await client.send(first.name, data: "kept", confirm: true)
                let again = try await first.listen(as: .durable)
                for await message in again.messages {
                    #expect(message.text == "kept")
                    break
                }
                await again.drain()
                try await TestQueues.delete(first.name, url)
            }
        }
    }

    @Test("Leaving the loop puts the current message back, and its successors wait", arguments: TestBroker.available)
    func breakRequeues(broker: TestBroker) async throws {
        try await broker.run { url in
            try await withPair(url) { service, client in
                let service = try await service.listen(options: .init(prefetch: 4))
                for text in ["1", "2", "3"] { try await client.send(service.queue, data: text, confirm: true) }
                for await message in service.messages {
                    #expect(message.text == "1")
                    break
                }
                var texts: [String] = []
                for await message in service.messages {
                    texts.append((message.text ?? "") + (message.redelivered ? " again" : ""))
                    try await message.reply()
                    if texts.count == 3 { break }
                }
                #expect(Set(texts) == ["1 again", "2", "3"])
                // 1 went back to the queue; 2 and 3 had been delivered by then and keep their order.
                #expect(texts.firstIndex(of: "2") ?? 9 < texts.firstIndex(of: "3") ?? 0)
            }
        }
    }

    @Test("Leaving the loop after a reply puts nothing back", arguments: TestBroker.available)
    func breakAfterReply(broker: TestBroker) async throws {
        try await broker.run { url in
            try await withPair(url) { service, client in
                let service = try await service.listen(as: .durable)
                let id = try await client.send(service.queue, data: "once")
                for await message in service.messages {
                    try await message.reply("done")
                    await expectError(.alreadyReplied) { try await message.reply("done twice") }
                    await expectError(.alreadySettled) { try message.reject(requeue: true) }
                    try message.ack()
                    break
                }
                #expect(try await client.receive(id: id)?.text == "done")
                await service.drain()
                #expect(try await TestQueues.count(service.queue, url) == 0)
                try await TestQueues.delete(service.queue, url)
            }
        }
    }

    @Test("Messages are acknowledged when the loop asks for the next", arguments: TestBroker.available)
    func implicitAck(broker: TestBroker) async throws {
        try await broker.run { url in
            try await withPair(url) { service, client in
                let service = try await service.listen(as: .durable, options: .init(prefetch: 1))
                for i in 0..<5 { try await client.send(service.queue, data: "\(i)", confirm: true) }
                var texts: [String] = []
                // With a prefetch of 1 each comes only once the one before is acknowledged.
                for await message in service.messages {
                    texts.append(message.text ?? "")
                    if texts.count == 5 {
                        try message.ack()
                        await expectError(.alreadySettled) { try message.ack() }
                        break
                    }
                }
                #expect(texts == ["0", "1", "2", "3", "4"])
                await service.drain()
                #expect(try await TestQueues.count(service.queue, url) == 0)
                try await TestQueues.delete(service.queue, url)
            }
        }
    }

    @Test("Cancelling the loop's task ends the loop; nothing is lost", arguments: TestBroker.available)
    func cancelledLoop(broker: TestBroker) async throws {
        try await broker.run { url in
            try await withPair(url) { service, client in
                let service = try await service.listen(as: .durable, options: .init(prefetch: 2))
                for i in 0..<3 { try await client.send(service.queue, data: "\(i)", confirm: true) }
                let first = AsyncGate()
                let loop = Task {
                    var texts: [String] = []
                    for await message in service.messages {
                        texts.append(message.text ?? "")
                        first.open()
                        try? await Task.sleep(for: .seconds(60))
                    }
                    return texts
                }
                await first.wait()
                loop.cancel()
                // The message whose turn it was is done with: its body ran to its end.
                #expect(await loop.value == ["0"])
                await service.drain()
                try await eventually("the others are back in the queue") {
                    try await TestQueues.count(service.queue, url) == 2
                }
                try await TestQueues.delete(service.queue, url)
            }
        }
    }

    @Test("A rejected message goes back, or is dropped", arguments: TestBroker.available)
    func reject(broker: TestBroker) async throws {
        try await broker.run { url in
            try await withPair(url) { service, client in
                let service = try await service.listen(as: .durable, options: .init(prefetch: 1))
                var iterator = service.messages.makeAsyncIterator()
                try await client.send(service.queue, data: "back", confirm: true)
                try #require(await iterator.next()).reject(requeue: true)
                let again = try #require(await iterator.next())
                #expect(again.redelivered)
                try again.reject(requeue: false)
                await service.drain()
                #expect(try await TestQueues.count(service.queue, url) == 0)
                try await TestQueues.delete(service.queue, url)
            }
        }
    }

    @Test("Only one loop at a time gets messages; the second ends, and run() tells", arguments: TestBroker.available)
    func unicast(broker: TestBroker) async throws {
        try await broker.run { url in
            try await withPair(url) { service, client in
                let service = try await service.listen()
                var first = service.messages.makeAsyncIterator()
                var second = service.messages.makeAsyncIterator()
                #expect(await second.next() == nil)
                try await client.send(service.queue, data: "x")
                #expect(await first.next()?.text == "x")
                await service.drain(within: .milliseconds(10))
                await expectError(.serviceEnded) { try await service.run() }
            }
        }
    }

    @Test("Draining finishes what has begun and gives back what has not", arguments: TestBroker.available)
    func drain(broker: TestBroker) async throws {
        try await broker.run { url in
            try await withPair(url) { service, client in
                let began = AsyncGate()
                let finish = AsyncGate()
                let handled = NIOLockedValueBox(0)
                let service = try await service.listen(as: .durable, options: .init(concurrency: 1, prefetch: 3)) {
                    message in
                    began.open()
                    await finish.wait()
                    handled.withLockedValue { $0 += 1 }
                    return "finished"
                }
                // On the channel of the others: between two of them RabbitMQ keeps no order.
                let id = try await client.send(service.queue, confirm: true)
                for _ in 0..<3 { try await client.send(service.queue, confirm: true) }
                await began.wait()
                async let drained: Void = service.drain()
                // Draining has begun once the queue has got back what was only delivered.
                try await eventually("what was not started is back") {
                    try await TestQueues.count(service.queue, url) >= 2
                }
                finish.open()
                await drained
                #expect(try await client.receive(id: id)?.text == "finished")
                let count = handled.withLockedValue { $0 }
                try await eventually("the others are back") {
                    try await TestQueues.count(service.queue, url) == 4 - count
                }
                try await TestQueues.delete(service.queue, url)
            }
        }
    }

    @Test(
        "A handler that does not end is cancelled at the limit, and its message goes back",
        arguments: TestBroker.available)
    func drainLimit(broker: TestBroker) async throws {
        try await broker.run { url in
            try await withPair(url) { service, client in
                let began = AsyncGate()
                let service = try await service.listen(as: .durable) { _ in
                    began.open()
                    try await Task.sleep(for: .seconds(60))
                    return nil
                }
                try await client.send(service.queue)
                await began.wait()
                let start = ContinuousClock.now
                await service.drain(within: .milliseconds(100))
                #expect(ContinuousClock.now - start < .seconds(5))
                try await eventually("the message is back") { try await TestQueues.count(service.queue, url) == 1 }
                try await TestQueues.delete(service.queue, url)
            }
        }
    }

    @Test(
        "run() ends with the reason when the queue is deleted and nothing is recovered", arguments: TestBroker.available
    )
    func queueDeleted(broker: TestBroker) async throws {
        try await broker.run { url in
            try await withPair(url, configure: { $0.reconnects = false }) { service, _ in
                let service = try await service.listen(as: .durable)
                let run = Task { try await service.run() }
                try await TestQueues.delete(service.queue, url)
                await expectError(.serviceEnded) { try await run.value }
                for await _ in service.messages { Issue.record("a message out of nowhere") }
            }
        }
    }

    @Test("A cancelled run() drains the service", arguments: TestBroker.available)
    func cancelledRun(broker: TestBroker) async throws {
        try await broker.run { url in
            try await withPair(url) { service, client in
                let service = try await service.listen { _ in "x" }
                let run = Task { try await service.run() }
                #expect(try await client.call(service.queue)?.text == "x")
                run.cancel()
                try await run.value
                // An exclusive queue lives as long as its connection, but nobody takes from it any more.
                #expect(try await client.call(service.queue, timeout: .milliseconds(100)) == nil)
            }
        }
    }

    @Test("Handlers run at most as many at once as asked for", arguments: TestBroker.available)
    func concurrency(broker: TestBroker) async throws {
        try await broker.run { url in
            try await withPair(url) { service, client in
                let running = NIOLockedValueBox((now: 0, most: 0))
                let full = AsyncGate()
                try await service.listen(options: .init(concurrency: 3, prefetch: 20)) { _ in
                    let now = running.withLockedValue { running in
                        running.now += 1
                        running.most = max(running.most, running.now)
                        return running.now
                    }
                    if now == 3 { full.open() }
                    await full.wait()
                    running.withLockedValue { $0.now -= 1 }
                    return "x"
                }
                try await withThrowingTaskGroup(of: Void.self) { group in
                    for _ in 0..<20 {
                        group.addTask {
                            let reply = try await client.call(service.name)
                            #expect(reply != nil)
                        }
                    }
                    try await group.waitForAll()
                }
                #expect(running.withLockedValue { $0.most } == 3)
            }
        }
    }
}
