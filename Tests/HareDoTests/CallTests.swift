// SPDX-License-Identifier: Apache-2.0
import HareDo
import NIOConcurrencyHelpers
import TestSupport
import Testing

@Suite("Calls end, whatever happens", .timeLimit(.minutes(2)))
struct CallTests {
    @Test("Nobody listens: the call ends at once and says so", arguments: TestBroker.available)
    func nobodyListens(broker: TestBroker) async throws {
        try await broker.run { url in
            try await withPair(url) { _, client in
                let name = TestBroker.uniqueName("nobody")
                // Its timeout is 10 s: the error comes from the broker, not from the clock.
                let began = ContinuousClock.now
                do {
                    _ = try await client.call(name)
                    Issue.record("the call returned")
                } catch let error as HareDoError {
                    #expect(error.code == .noSuchService)
                    #expect(error.message.contains("nobody listens on '\(name)'"))
                }
                #expect(ContinuousClock.now - began < .seconds(5))
            }
        }
    }

    @Test("A late reply is counted, discarded, and found by nobody", arguments: TestBroker.available)
    func lateReply(broker: TestBroker) async throws {
        try await broker.run { url in
            try await withPair(url) { service, client in
                let (begun, isLate) = (NIOLockedValueBox(0), AsyncGate())
                try await service.listen(options: .init(cancelsAtDeadline: false)) { message in
                    guard message.text == "slow" else { return Reply("in time: \(message.text ?? "")") }
                    begun.withLockedValue { $0 += 1 }
                    await isLate.wait()
                    return "late"
                }
                try await callInVain(client, service.name, data: "slow", timeout: .milliseconds(300)) {
                    begun.withLockedValue { $0 } > 0
                }
                #expect(client.statistics.lateReplies == 0)
                isLate.open()
                try await eventually("the late reply is counted") {
                    client.statistics.lateReplies == begun.withLockedValue { $0 }
                }
                #expect(try await client.receive(timeout: .milliseconds(50)) == nil)
                // The next call is not given the old reply.
                #expect(try await client.call(service.name, data: "second")?.text == "in time: second")
            }
        }
    }

    @Test(
        "A call that timed out leaves its queue, so that nobody handles it for nothing", arguments: TestBroker.available
    )
    func expiredRequests(broker: TestBroker) async throws {
        try await broker.run { url in
            try await withPair(url) { service, client in
                let echo = try await client.listen(on: TestBroker.uniqueName()) { _ in "echo" }
                // Two messages are delivered; what is behind them waits in the queue and expires there.
                let service = try await service.listen(as: .shared, options: .init(prefetch: 1))
                var iterator = service.messages.makeAsyncIterator()
                try await client.send(service.queue, data: "first")
                let first = try #require(await iterator.next())
                #expect(try await client.call(service.queue, data: "expires", timeout: .milliseconds(50)) == nil)
                // On the channel of the calls: by then the request has come to its queue.
                #expect(try await client.call(echo.queue)?.text == "echo")
                try await eventually("the request has expired") { try await TestQueues.count(service.queue, url) == 0 }
                try await client.send(service.queue, data: "stays")
                try first.ack()
                #expect(await iterator.next()?.text == "stays")
            }
        }
    }

    @Test("A handler that throws answers with its error, and the message is done with", arguments: TestBroker.available)
    func handlerThrows(broker: TestBroker) async throws {
        struct Internal: Error { var secret = "jdbc://admin:hunter2@db" }
        try await broker.run { url in
            try await withPair(url) { service, client in
                try await service.listen { message in
                    switch message.text {
                    case "typed": throw ServiceError("no-such-user", "there is no user 17")
                    case "internal": throw Internal()
                    default: return "fine"
                    }
                }
                do {
                    _ = try await client.call(service.name, data: "typed")
                    Issue.record("the call returned")
                } catch let error as HareDoError {
                    #expect(error.code == .remoteFailed)
                    #expect(error.remote == .init(code: "no-such-user", text: "there is no user 17"))
                }
                do {
                    _ = try await client.call(service.name, data: "internal")
                    Issue.record("the call returned")
                } catch let error as HareDoError {
                    #expect(error.remote?.code == "handler-failed")
                    #expect(!"\(error)".contains("hunter2"))
                }
                let id = try await client.send(service.name, data: "typed")
                await expectError(.remoteFailed) { _ = try await client.receive(id: id) }
                // Its successors are served.
                #expect(try await client.call(service.name, data: "x")?.text == "fine")
                // Nothing is left behind: the service's queue is empty and nothing was delivered twice.
                await service.disconnect()
            }
        }
    }

    @Test("A call whose task is cancelled ends at once", arguments: TestBroker.available)
    func cancelledCall(broker: TestBroker) async throws {
        try await broker.run { url in
            try await withPair(url) { service, client in
                let arrived = AsyncGate()
                let messages = try await service.listen().messages
                let server = Task {
                    for await message in messages {
                        arrived.open()
                        _ = message
                        try? await Task.sleep(for: .seconds(60))
                        break
                    }
                }
                let call = Task { try await client.call(service.name, timeout: .seconds(60)) }
                await arrived.wait()
                call.cancel()
                await expectError(.cancelled) { _ = try await call.value }
                server.cancel()
                await server.value
            }
        }
    }

    @Test("Disconnecting ends every pending call and receive at once", arguments: TestBroker.available)
    func disconnectEndsWaiting(broker: TestBroker) async throws {
        try await broker.run { url in
            try await withPair(url) { service, client in
                let service = try await service.listen()
                let calls = (0..<20).map { _ in
                    Task { try await client.call(service.queue, timeout: .seconds(60)) }
                }
                let receive = Task { try await client.receive(timeout: .seconds(60)) }
                var iterator = service.messages.makeAsyncIterator()
                // All of them are under way once the service has seen one of each.
                for _ in 0..<16 { _ = await iterator.next() }
                let began = ContinuousClock.now
                await client.disconnect()
                for call in calls { await expectError(.disconnected) { _ = try await call.value } }
                await expectError(.disconnected) { _ = try await receive.value }
                #expect(ContinuousClock.now - began < .seconds(5))
                await expectError(.disconnected) { _ = try await client.call(service.queue) }
                // And the peer may be connected again.
                try await client.connect()
                await expectError(.noSuchService) { _ = try await client.call(TestBroker.uniqueName()) }
            }
        }
    }

    @Test("A peer that was never connected says so")
    func neverConnected() async throws {
        let peer = Peer("amqp://127.0.0.1:1")
        await expectError(.notConnected) { _ = try await peer.call("x") }
        await expectError(.notConnected) { try await peer.send("x") }
        await expectError(.notConnected) { _ = try await peer.receive() }
        await expectError(.notConnected) { _ = try await peer.listen(on: "x") }
        await peer.disconnect()
    }

    @Test("What cannot be sent is refused before anything is sent", arguments: TestBroker.available)
    func badArguments(broker: TestBroker) async throws {
        try await broker.run { url in
            try await withPair(url) { service, client in
                try await service.listen { _ in "alive" }
                let tooLong = String(repeating: "ü", count: 128)
                await expectError(.invalidArgument) { _ = try await client.call("") }
                await expectError(.invalidArgument) { _ = try await client.call(tooLong) }
                await expectError(.invalidArgument) { try await client.send(tooLong) }
                await expectError(.invalidArgument) { _ = try await client.listen(on: tooLong) }
                await expectError(.invalidArgument) { _ = try await client.listen(on: "") }
                await expectError(.invalidArgument) { _ = try await client.listen() }
                await expectError(.invalidArgument) {
                    _ = try await client.call(service.name, headers: [tooLong: 1])
                }
                await expectError(.invalidArgument) {
                    let large = String(repeating: "x", count: 200_000)
                    _ = try await client.call(service.name, headers: ["large": .string(large)])
                }
                var nested: HeaderValue = 1
                for _ in 0..<70 { nested = .list([nested]) }
                await expectError(.invalidArgument) {
                    _ = try await client.call(service.name, headers: ["nested": nested])
                }
                await expectError(.invalidArgument) {
                    var headers: Headers = [:]
                    try headers.set("large", to: UInt64.max)
                }
                await expectError(.invalidArgument) {
                    _ = try await client.call(service.name, data: [UInt8](repeating: 0, count: (16 << 20) + 1))
                }
                // The connection did not suffer.
                #expect(try await client.call(service.name)?.text == "alive")
            }
        }
    }

    @Test("A confirmed send says whether it arrived", arguments: TestBroker.available)
    func confirmedSend(broker: TestBroker) async throws {
        try await broker.run { url in
            try await withPair(url) { service, client in
                let name = TestBroker.uniqueName("nobody")
                await expectError(.noSuchService) { try await client.send(name, confirm: true) }
                try await service.listen { message in Reply(message.data) }
                try await withThrowingTaskGroup(of: Void.self) { group in
                    for i in 0..<100 {
                        group.addTask {
                            let id = try await client.send(service.name, data: "\(i)", confirm: true)
                            #expect(try await client.receive(id: id)?.text == "\(i)")
                        }
                    }
                    try await group.waitForAll()
                }
                // Without confirmation it comes back, and is counted.
                try await client.send(name)
                try await eventually("the message came back") { client.statistics.returnedMessages == 1 }
            }
        }
    }

    @Test("A deadline is kept to: lateness against a canary", arguments: TestBroker.available)
    func timeoutIsPunctual(broker: TestBroker) async throws {
        try await broker.run { url in
            try await withPair(url) { service, client in
                _ = try await service.listen()
                let timeout = Duration.milliseconds(300)
                var worst = Duration.zero
                for _ in 0..<5 {
                    let (canary, began) = (Canary(), ContinuousClock.now)
                    #expect(try await client.call(service.name, timeout: timeout) == nil)
                    let took = ContinuousClock.now - began
                    #expect(took >= timeout - .milliseconds(2))
                    let lateness = await canary.lateness()
                    print("a call of \(timeout) took \(took), canary late by \(lateness) (\(broker))")
                    worst = max(worst, took - timeout - lateness)
                }
                #expect(worst < .milliseconds(150))
            }
        }
    }
}
