// SPDX-License-Identifier: Apache-2.0
import AMQPClient
import NIOConcurrencyHelpers
import TestSupport
import Testing

@testable import HareDo

@Suite("A peer whose connection is lost for good, or never comes about", .timeLimit(.minutes(2)))
struct LossTests {
    @Test("What waits ends at once, and the same peer can connect and listen again", arguments: TestBroker.available)
    func lossAndReconnect(broker: TestBroker) async throws {
        try await broker.run { url in
            let proxy = try TestProxy(to: url)
            try await withPair(proxy.url, configure: { $0.reconnects = false }) { server, client in
                for round in 1...5 {
                    let service = try await Self.whenFree {
                        try await server.listen(options: .init(prefetch: 3))
                    }
                    var iterator = service.messages.makeAsyncIterator()
                    let calls = (0..<20).map { _ in Task { try await client.call(server.name, timeout: .seconds(60)) } }
                    let receive = Task { try await client.receive(timeout: .seconds(60)) }
                    let run = Task { try await service.run() }
                    // Calls that are not under way by then fail in the same way.
                    for _ in 0..<3 { _ = await iterator.next() }
                    let began = ContinuousClock.now
                    proxy.cut()
                    for call in calls { await expectError(.connectionLost) { _ = try await call.value } }
                    await expectError(.connectionLost) { _ = try await receive.value }
                    await expectError(.connectionLost) { try await run.value }
                    #expect(ContinuousClock.now - began < .seconds(5), "round \(round)")
                    await expectError(.connectionLost) { try await client.send(server.name) }
                    try await server.connect()
                    try await client.connect()
                }
                _ = try await Self.whenFree { try await server.listen { _ in "again" } }
                #expect(try await client.call(server.name)?.text == "again")
                let id = try await client.send(server.name)
                #expect(try await client.receive(id: id)?.text == "again")
            }
            proxy.stop()
        }
    }

    /// Listens as soon as the broker has noticed that the connection is gone whose exclusive queue it was.
    private static func whenFree(_ listen: () async throws -> PeerService) async throws -> PeerService {
        var service: PeerService?
        try await eventually("the name is free") {
            do {
                service = try await listen()
                return true
            } catch let error as HareDoError where error.code == .nameTaken { return false }
        }
        return try #require(service)
    }

    @Test(
        "Messages that wait behind a handler go back with the connection: they are not handled twice",
        arguments: TestBroker.available)
    func waitingMessagesAreNotHandled(broker: TestBroker) async throws {
        try await broker.run { url in
            let proxy = try TestProxy(to: url)
            var configuration = Peer.Configuration.url(proxy.url)
            configuration.reconnects = false
            let server = Peer(name: TestBroker.uniqueName("service"), configuration)
            try await server.connect()
            let began = AsyncGate()
            let finish = AsyncGate()
            let handled = NIOLockedValueBox(0)
            let service = try await server.listen(as: .durable, options: .init(concurrency: 1, prefetch: 10)) { _ in
                began.open()
                await finish.wait()
                handled.withLockedValue { $0 += 1 }
                return nil
            }
            for _ in 0..<5 { try await server.send(server.name, wantsReply: false, confirm: true) }
            await began.wait()
            let run = Task { try await service.run() }
            proxy.cut()
            try await eventually("the service has ended") { service.core.failure != nil }
            finish.open()
            await expectError(.connectionLost) { try await run.value }
            await server.disconnect()
            #expect(handled.withLockedValue { $0 } == 1)
            try await eventually("they are back") { try await TestQueues.count(server.name, url) == 5 }
            try await TestQueues.delete(server.name, url)
            proxy.stop()
        }
    }

    @Test(
        "Disconnecting ends the handlers that the loss of the connection left running", arguments: TestBroker.available)
    func handlersOfALostConnection(broker: TestBroker) async throws {
        try await broker.run { url in
            let proxy = try TestProxy(to: url)
            var configuration = Peer.Configuration.url(proxy.url)
            configuration.reconnects = false
            let server = Peer(name: TestBroker.uniqueName("service"), configuration)
            try await server.connect()
            let began = AsyncGate()
            let isRunning = NIOLockedValueBox(true)
            let service = try await server.listen { _ in
                began.open()
                try? await Task.sleep(for: .seconds(60))
                isRunning.withLockedValue { $0 = false }
                return nil
            }
            try await server.send(server.name)
            await began.wait()
            proxy.cut()
            try await eventually("the service has ended") { service.core.failure != nil }
            await server.disconnect(within: .milliseconds(50))
            try await eventually("the handler has ended") { !isRunning.withLockedValue { $0 } }
            proxy.stop()
        }
    }

    @Test("A broker that says nothing any more does not hold up disconnect")
    func silentBroker() async throws {
        try await TestBroker.available.runAtOnce { url in
            let proxy = try TestProxy(to: url)
            let server = Peer(name: TestBroker.uniqueName("service"), .url(proxy.url))
            try await server.connect()
            try await server.listen { _ in nil }
            proxy.stall()
            let began = ContinuousClock.now
            await server.disconnect(within: .milliseconds(100))
            #expect(ContinuousClock.now - began < .seconds(12))
            proxy.stop()
        }
    }

    @Test("Calls keep their deadlines when nothing can be written any more", arguments: TestBroker.available)
    func fullOutput(broker: TestBroker) async throws {
        try await broker.run { url in
            let proxy = try TestProxy(to: url)
            let peer = Peer(.url(proxy.url))
            try await peer.connect()
            proxy.stall()
            let body = [UInt8](repeating: 0, count: 4 << 20)
            let began = ContinuousClock.now
            let calls = (0..<10).map { _ in
                Task { try await peer.call(peer.address, data: body, timeout: .milliseconds(300)) }
            }
            let cancelled = Task { try await peer.call(peer.address, data: body, timeout: .seconds(60)) }
            for call in calls { #expect(try await call.value?.id == nil) }
            cancelled.cancel()
            await expectError(.cancelled) { _ = try await cancelled.value }
            #expect(ContinuousClock.now - began < .seconds(5))
            proxy.stop()
            await peer.disconnect()
        }
    }

    /// `channel.open`: what a client says first when the handshake is over.
    static let channelOpen: [UInt8] = [0, 20, 0, 10, 0, 0xce]

    @Test("The connect timeout covers everything that connecting does", arguments: TestBroker.available)
    func silenceAfterTheHandshake(broker: TestBroker) async throws {
        try await broker.run { url in
            let proxy = try TestProxy(to: url, stallsOn: Self.channelOpen)
            var configuration = Peer.Configuration.url(proxy.url)
            configuration.connectTimeout = .milliseconds(500)
            let peer = Peer(configuration)
            let (canary, began) = (Canary(), ContinuousClock.now)
            await expectError(.noBroker) { try await peer.connect() }
            let took = ContinuousClock.now - began
            #expect(await canary.finds("silence after the handshake", took: took, to: .seconds(1)))
            await expectError(.noBroker) { try await peer.send("x") }
            await peer.disconnect()
            proxy.stop()
        }
    }

    @Test("Disconnecting ends a connect that is under way, for good", arguments: TestBroker.available)
    func disconnectWhileConnecting(broker: TestBroker) async throws {
        try await broker.run { url in
            let proxy = try TestProxy(to: url, stallsOn: Self.channelOpen)
            let peer = Peer(.url(proxy.url))
            let connect = Task { try await peer.connect() }
            let call = Task {
                while true {
                    do {
                        return try await peer.call("x", timeout: .seconds(60))
                    } catch let error as HareDoError where error.message == LinkState.notConnected.message {
                        await Task.yield()
                    }
                }
            }
            try await eventually("connecting is under way") { proxy.isStalled }
            let began = ContinuousClock.now
            await peer.disconnect()
            await expectError(.disconnected) { try await connect.value }
            await expectError(.disconnected) { _ = try await call.value }
            #expect(ContinuousClock.now - began < .seconds(5))
            await expectError(.disconnected) { try await peer.send("x") }
            proxy.stop()
        }
    }

    @Test("A cancelled disconnect leaves no connection behind it", arguments: TestBroker.available)
    func cancelledDisconnectWhileConnecting(broker: TestBroker) async throws {
        try await broker.run { url in
            for delay in 0..<10 {
                let peer = Peer(.url(url))
                let connect = Task { try await peer.connect() }
                try await Task.sleep(for: .microseconds(delay * 300))
                let disconnect = Task { await peer.disconnect() }
                disconnect.cancel()
                await disconnect.value
                _ = await connect.result
                // Had the attempt not begun by then, it has succeeded by now, and that is fine; a second disconnect
                // ends it.
                await peer.disconnect()
                await expectError(.disconnected) { try await peer.send("x") }
            }
        }
    }

    @Test("A connect that was cancelled does not make later callers believe that they were")
    func cancelledConnect() async throws {
        let peer = Peer(.embedded)
        let connect = Task { try await peer.connect() }
        connect.cancel()
        do {
            try await connect.value
        } catch let error as HareDoError {
            #expect(error.code == .cancelled)
            await expectError(.notConnected) { try await peer.send("x") }
        }
        try await peer.connect()
        await peer.disconnect()
    }

    @Test("The embedded broker ends with its last peer, also if that one lost its connection in between")
    func embeddedBrokerIsReleased() async throws {
        let name = TestBroker.uniqueName("durable")
        let peer = Peer(name: name, .embedded)
        peer.timeout = .seconds(10)
        try await peer.connect()
        try await peer.listen(as: .durable) { _ in "x" }
        guard case .connected(let link) = peer.linkState.state else { return #expect(Bool(false)) }
        await link.connection.abandon(AMQPError(.connectionClosed, "lost", origin: .peer))
        await expectError(.connectionLost) { try await peer.send(name) }
        try await peer.connect()
        // It is the same broker as before.
        #expect(try await peer.call(name, timeout: .milliseconds(50)) == nil)
        await peer.disconnect()
        try await peer.connect()
        await expectError(.noSuchService) { _ = try await peer.call(name) }
        await peer.disconnect()
    }

    @Test("A peer that failed to connect is freed, and so is one that lost its connection")
    func noLeaks() async throws {
        weak var failed: Peer?
        weak var lost: Peer?
        do {
            let peer = Peer("amqp://127.0.0.1:1")
            failed = peer
            await expectError(.noBroker) { try await peer.connect() }
        }
        do {
            let peer = Peer(.embedded)
            peer.timeout = .seconds(10)
            lost = peer
            try await peer.connect()
            try await peer.listen(on: "leak") { _ in "x" }
            #expect(try await peer.call("leak")?.text == "x")
            guard case .connected(let link) = peer.linkState.state else { return #expect(Bool(false)) }
            await link.connection.abandon(AMQPError(.connectionClosed, "lost", origin: .peer))
            await peer.disconnect()
        }
        try await eventually("both are freed") { failed == nil && lost == nil }
    }
}
