// SPDX-License-Identifier: Apache-2.0
import AMQPBroker
import Foundation
import HareDo
import NIOConcurrencyHelpers
import TestSupport
import Testing

@Suite("A peer and its connection")
struct ConnectionTests {
    @Test("Nobody is there: the error names the address, the reason and what to try")
    func refused() async throws {
        // Port 1 of the loopback interface: nobody listens there.
        let peer = Peer("amqp://127.0.0.1:1")
        do {
            try await peer.connect()
            Issue.record("connected")
        } catch {
            #expect(error.code == .noBroker)
            #expect(error.message.contains("no broker at 127.0.0.1:1 (refused)"))
            #expect(error.message.contains("embedded"))
        }
        await peer.disconnect()
    }

    @Test("Wrong password and unknown virtual host have their own errors", arguments: TestBroker.available)
    func refusedLogin(broker: TestBroker) async throws {
        try await broker.run { url in
            var parts = try #require(URLComponents(string: url))
            parts.password = "hunter2"
            await expectError(.authenticationFailed) { try await Peer(.url(try #require(parts.string))).connect() }
            parts = try #require(URLComponents(string: url))
            parts.path = "/nowhere"
            await expectError(.virtualHostRefused) { try await Peer(.url(try #require(parts.string))).connect() }
        }
    }

    @Test("Peers talk over a Unix-domain socket")
    func unixDomainSocket() async throws {
        let path = FileManager.default.temporaryDirectory.path + "/" + TestBroker.uniqueName("s")
        var configuration = AMQPEmbeddedBroker.Configuration()
        configuration.address = .unixDomainSocket(path: path)
        try await AMQPEmbeddedBroker.with(configuration) { broker in
            #expect(broker.url == "unix:\(path)")
            try await withPair(broker.url) { service, client in
                try await service.listen { message in Reply(message.data) }
                #expect(try await client.call(service.name, data: "x")?.text == "x")
            }
        }
        do {
            try await Peer(.url("unix:\(path)")).connect()
            Issue.record("connected")
        } catch {
            #expect(error.code == .noBroker && error.message.contains("(no such socket)"))
        }
    }

    @Test("Connecting twice is one connection, disconnecting twice one end", arguments: TestBroker.available)
    func twice(broker: TestBroker) async throws {
        try await broker.run { url in
            let peer = Peer(.url(url))
            try await withThrowingTaskGroup(of: Void.self) { group in
                for _ in 0..<5 { group.addTask { try await peer.connect() } }
                try await group.waitForAll()
            }
            try await peer.connect()
            await withTaskGroup(of: Void.self) { group in
                for _ in 0..<5 { group.addTask { await peer.disconnect() } }
            }
            await peer.disconnect()
            await expectError(.disconnected) { try await peer.send("x") }
        }
    }

    @Test("A call made while the peer connects waits for the connection", arguments: TestBroker.available)
    func callWhileConnecting(broker: TestBroker) async throws {
        try await broker.run { url in
            try await withPair(url) { service, _ in
                try await service.listen { _ in "x" }
                let peer = Peer(.url(url))
                peer.timeout = .seconds(10)
                async let connected: Void = peer.connect()
                // Until the connection is begun the peer says that it is not connected; from then on the call waits.
                var reply: Message?
                while reply == nil {
                    do {
                        reply = try await peer.call(service.name)
                    } catch let error as HareDoError where error.code == .notConnected {
                        await Task.yield()
                    }
                }
                #expect(reply?.text == "x")
                try await connected
                await peer.disconnect()
            }
        }
    }

    @Test("A handler that blocks its thread for many heartbeats keeps its connection")
    func blockingHandler() async throws {
        try await TestBroker.available.runAtOnce { url in
            var configuration = Peer.Configuration.url(url)
            configuration.heartbeat = .seconds(2)
            let service = Peer(name: TestBroker.uniqueName(), configuration)
            try await service.connect()
            try await service.listen { _ in
                // What a handler should not do, and sometimes does: for longer than the three intervals after which a
                // broker that hears nothing hangs up.
                blockThread(seconds: 7)
                return "awake"
            }
            let client = Peer(.url(url))
            try await client.connect()
            #expect(try await client.call(service.name, timeout: .seconds(20))?.text == "awake")
            // Still the same connection: its exclusive queue is there, and the handler answers.
            await expectError(.nameTaken) { _ = try await client.listen(on: service.name) }
            await client.disconnect()
            await service.disconnect()
        }
    }

    @Test("Peers that end leave nothing in the broker", arguments: TestBroker.available)
    func nothingIsLeft(broker: TestBroker) async throws {
        try await broker.run { url in
            let peer = Peer(name: TestBroker.uniqueName(), .url(url))
            try await peer.connect()
            try await peer.listen { _ in "x" }
            await peer.disconnect()
            try await Peer.with(.url(url)) { client in
                client.timeout = .seconds(10)
                await expectError(.noSuchService) { _ = try await client.call(peer.name) }
                await expectError(.noSuchService) { _ = try await client.call(peer.address) }
            }
        }
    }

    @Test("A peer that was disconnected is freed")
    func noLeaks() async throws {
        weak var freed: Peer?
        do {
            let peer = Peer(.embedded)
            peer.timeout = .seconds(10)
            freed = peer
            try await peer.connect()
            try await peer.listen(on: "leak") { _ in "x" }
            #expect(try await peer.call("leak")?.text == "x")
            await peer.disconnect()
        }
        try await eventually("the peer is freed") { freed == nil }
    }

    @Test("A printed message shows no secrets, and its body only where asked for", arguments: TestBroker.available)
    func dump(broker: TestBroker) async throws {
        try await broker.run { url in
            try await withPair(url) { service, client in
                let messages = try await service.listen().messages
                var iterator = messages.makeAsyncIterator()
                try await client.send(
                    service.name, headers: ["i": 1, "password": "hunter2", "map": ["api-token": "hunter2"]],
                    data: "the body")
                let message = try #require(await iterator.next())
                #expect(!"\(message)".contains("the body") && "\(message)".contains("8 bytes"))
                #expect(message.debugDescription.contains("the body"))
                #expect(message.debugDescription.contains("header i: 1"))
                #expect(!message.debugDescription.contains("hunter2"))
            }
        }
    }
}

/// Holds the thread: for the test of what happens when user code does that.
private func blockThread(seconds: UInt32) { usleep(seconds * 1_000_000) }
