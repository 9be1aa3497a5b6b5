// SPDX-License-Identifier: Apache-2.0
import HareDo
import NIOConcurrencyHelpers
import TestSupport
import Testing

@Suite("Services that end")
struct DrainTests {
    @Test("A handler that is cancelled in the middle of a call gives its message back", arguments: TestBroker.available)
    func cancelledInACall(broker: TestBroker) async throws {
        try await broker.run { url in
            try await withPair(url) { server, client in
                let inner = try await client.listen(on: TestBroker.uniqueName("inner"))
                var innerCalls = inner.messages.makeAsyncIterator()
                for round in 0..<5 {
                    let service = try await server.listen(as: .durable) { _ in
                        let reply = try await server.call(inner.queue, timeout: .seconds(60))
                        return reply.map { Reply($0.data) }
                    }
                    if round == 0 { try await client.send(server.name) }
                    // The handler is in its call once that has arrived.
                    #expect(await innerCalls.next() != nil)
                    await service.drain(within: .milliseconds(10))
                    try await eventually("the message is back") { try await TestQueues.count(server.name, url) == 1 }
                }
                #expect(try await client.receive(timeout: .milliseconds(20)) == nil)
                try await TestQueues.delete(server.name, url)
            }
        }
    }

    @Test("A handler that has replied may finish what it does after that", arguments: TestBroker.available)
    func finishesAfterReply(broker: TestBroker) async throws {
        try await broker.run { url in
            try await withPair(url) { server, client in
                let outcome = NIOLockedValueBox("")
                let service = try await server.listen { message in
                    try await message.reply("early")
                    do {
                        try await Task.sleep(for: .milliseconds(300))
                        outcome.withLockedValue { $0 = "finished" }
                    } catch {
                        outcome.withLockedValue { $0 = "cancelled" }
                    }
                    return nil
                }
                #expect(try await client.call(server.name)?.text == "early")
                await service.drain()
                #expect(outcome.withLockedValue { $0 } == "finished")
            }
        }
    }

    @Test("A handler may disconnect its own peer, and drain its own service", arguments: TestBroker.available)
    func fromWithin(broker: TestBroker) async throws {
        try await broker.run { url in
            try await withPair(url) { server, client in
                let service = NIOLockedValueBox<PeerService?>(nil)
                let done = AsyncGate()
                let listening = try await server.listen { message in
                    try await message.reply("bye")
                    if message.text == "drain" { await service.withLockedValue { $0 }?.drain() }
                    if message.text == "disconnect" { await server.disconnect() }
                    done.open()
                    return nil
                }
                service.withLockedValue { $0 = listening }
                // Whoever waited for itself would do so for 10 s.
                let (canary, began) = (Canary(), ContinuousClock.now)
                #expect(try await client.call(server.name, data: "drain")?.text == "bye")
                await done.wait()
                let drained = ContinuousClock.now - began
                let gone = AsyncGate()
                try await server.listen(on: TestBroker.uniqueName()) { _ in nil }
                let again = try await server.listen(on: TestBroker.uniqueName()) { message in
                    try message.ack()
                    await server.disconnect()
                    gone.open()
                    return nil
                }
                try await client.send(again.queue)
                await gone.wait()
                let disconnected = ContinuousClock.now - began
                #expect(await canary.finds("drained from within", took: drained, to: .milliseconds(2500)))
                #expect(await canary.finds("disconnected from within", took: disconnected, to: .milliseconds(5500)))
                await expectError(.disconnected) { try await server.send("x") }
            }
        }
    }

    @Test("Disconnecting in the middle of a drain lets handlers finish", arguments: TestBroker.available)
    func disconnectWhileDraining(broker: TestBroker) async throws {
        try await broker.run { url in
            try await withPair(url) { server, client in
                let began = AsyncGate()
                let service = try await server.listen(as: .durable) { _ in
                    began.open()
                    // Its work goes on for a while.
                    try await Task.sleep(for: .milliseconds(300))
                    return "finished"
                }
                let id = try await client.send(server.name)
                await began.wait()
                async let drained: Void = service.drain()
                try await eventually("the drain has begun") {
                    try await TestQueues.consumers(server.name, url) == 0
                }
                await server.disconnect()
                await drained
                #expect(try await client.receive(id: id)?.text == "finished")
                try await TestQueues.delete(server.name, url)
            }
        }
    }

    @Test("A patient drain does not hold up an impatient disconnect", arguments: TestBroker.available)
    func shorterLimitWins(broker: TestBroker) async throws {
        try await broker.run { url in
            try await withPair(url) { server, client in
                let began = AsyncGate()
                let service = try await server.listen(as: .durable) { _ in
                    began.open()
                    try await Task.sleep(for: .seconds(60))
                    return nil
                }
                try await client.send(server.name)
                await began.wait()
                async let drained: Void = service.drain(within: .seconds(15))
                try await eventually("the drain has begun") {
                    try await TestQueues.consumers(server.name, url) == 0
                }
                let start = ContinuousClock.now
                await server.disconnect(within: .milliseconds(100))
                #expect(ContinuousClock.now - start < .seconds(5))
                await drained
                try await TestQueues.delete(server.name, url)
            }
        }
    }

    @Test("What has not been started goes back, also the next one in line", arguments: TestBroker.available)
    func onlyTheRunningFinish(broker: TestBroker) async throws {
        try await broker.run { url in
            try await withPair(url) { server, client in
                let began = AsyncGate()
                let finish = AsyncGate()
                let handled = NIOLockedValueBox(0)
                let service = try await server.listen(as: .durable, options: .init(concurrency: 1, prefetch: 5)) { _ in
                    began.open()
                    await finish.wait()
                    handled.withLockedValue { $0 += 1 }
                    return nil
                }
                for _ in 0..<5 { try await client.send(server.name, wantsReply: false, confirm: true) }
                await began.wait()
                async let drained: Void = service.drain()
                try await eventually("the other four are back") { try await TestQueues.count(server.name, url) == 4 }
                finish.open()
                await drained
                #expect(handled.withLockedValue { $0 } == 1)
                try await TestQueues.delete(server.name, url)
            }
        }
    }

    @Test("An error text of any length reaches the caller, cut where it must be", arguments: TestBroker.available)
    func longErrors(broker: TestBroker) async throws {
        try await broker.run { url in
            try await withPair(url) { service, client in
                try await service.listen { message in
                    throw ServiceError(
                        String(repeating: "c", count: 100_000), String(repeating: "ü", count: 100_000))
                }
                do {
                    _ = try await client.call(service.name)
                    Issue.record("the call returned")
                } catch let error as HareDoError {
                    #expect(error.code == .remoteFailed)
                    #expect(error.remote?.text.hasPrefix("üüü") == true)
                    #expect(error.remote?.code.hasPrefix("ccc") == true)
                }
            }
        }
    }

    struct Picky: Codable, Sendable {
        struct Refused: Error { var secret = "hunter2" }
        init() {}
        init(from decoder: any Decoder) throws { throw Refused() }
    }

    @Test(
        "A request that cannot be decoded is the caller's fault, a reply from elsewhere is not",
        arguments: TestBroker.available)
    func whoseFault(broker: TestBroker) async throws {
        try await broker.run { url in
            try await withPair(url) { service, client in
                try await client.listen(on: client.name) { _ in "not JSON" }
                try await service.listen { message in
                    if message.text == "inner" {
                        _ = try await service.call(client.name, encoding: 1, as: [Int].self)
                    } else {
                        _ = try message.decode(Picky.self)
                    }
                    return nil
                }
                func failure(_ text: String) async throws -> HareDoError? {
                    do {
                        _ = try await client.call(service.name, data: text)
                        return nil
                    } catch {
                        return error
                    }
                }
                #expect(try await failure("inner")?.remote?.code == "handler-failed")
                let refused = try await failure("{}")
                #expect(refused?.remote?.code == "bad-request")
                #expect(refused.map { !"\($0)".contains("hunter2") } == true)
            }
        }
    }

    @Test("Attempts to listen that fail leave no channel behind")
    func noChannelsLeft() async throws {
        let peer = Peer(.embedded)
        peer.timeout = .seconds(10)
        try await peer.connect()
        var nested: HeaderValue = 1
        for _ in 0..<70 { nested = .list([nested]) }
        let shape = QueueShape.exclusive.with(["nested": nested])
        // More than the 2047 channels of a connection.
        for _ in 0..<2100 { await expectError(.invalidArgument) { _ = try await peer.listen(on: "x", as: shape) } }
        try await peer.listen(on: "x") { _ in "y" }
        #expect(try await peer.call("x")?.text == "y")
        await peer.disconnect()
    }

    /// A service that begins late: when its group is shutting down already.
    private struct Late: Service {
        let service: PeerService
        let began: AsyncGate
        func run() async throws {
            self.began.open()
            try? await gracefulShutdown()
            try await self.service.run()
        }
    }

    @Test("A service that is run when its group is shutting down already ends as well")
    func gracefulShutdownBeforeRun() async throws {
        let peer = Peer(.embedded)
        try await peer.connect()
        let service = try await peer.listen(on: TestBroker.uniqueName()) { _ in "x" }
        let began = AsyncGate()
        let group = ServiceGroup(services: [Late(service: service, began: began)], logger: Logger(label: "test"))
        try await within(.seconds(10), "the shutdown") {
            async let ended: Void = group.run()
            await began.wait()
            await group.triggerGracefulShutdown()
            try await ended
        }
        await peer.disconnect()
    }

    @Test("A reply after the end of its service says that the service has ended")
    func replyAfterTheEnd() async throws {
        let peer = Peer(.embedded)
        try await peer.connect()
        let service = try await peer.listen(on: TestBroker.uniqueName())
        var iterator = service.messages.makeAsyncIterator()
        try await peer.send(service.queue)
        let message = try #require(await iterator.next())
        await service.drain(within: .milliseconds(10))
        await expectError(.serviceEnded) { try await message.reply("too late") }
        await peer.disconnect()
    }
}
