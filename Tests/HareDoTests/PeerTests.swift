// SPDX-License-Identifier: Apache-2.0
import AMQPClient
import Foundation
import NIOConcurrencyHelpers
import TestSupport
import Testing

@testable import HareDo

@Suite("Two peers talk")
struct PeerTests {
    @Test("The original's example: ten numbers sent, ten incremented ones received", arguments: TestBroker.available)
    func sendAndReceive(broker: TestBroker) async throws {
        try await broker.run { url in
            try await withPair(url) { service, client in
                try await service.listen { message in
                    Reply("\((message.headers["i"]?.int ?? 0) + 1)")
                }
                for i in 1...10 {
                    let id = try await client.send(service.name, headers: ["i": .integer(Int64(i))])
                    let reply = try #require(try await client.receive(id: id))
                    #expect(reply.text == "\(i + 1)")
                    #expect(reply.correlationID == id)
                }
            }
        }
    }

    @Test("A call returns the reply", arguments: TestBroker.available)
    func call(broker: TestBroker) async throws {
        try await broker.run { url in
            try await withPair(url) { service, client in
                let messages = try await service.listen().messages
                async let served: Void = {
                    for await request in messages {
                        #expect(request.text == "jujifruit")
                        #expect(request.verifiedSender != nil)
                        #expect(request.deadline != nil)
                        #expect(request.address == service.name)
                        try await request.reply("Reply", headers: ["n": 1])
                        break
                    }
                }()
                let reply = try #require(try await client.call(service.name, data: "jujifruit"))
                #expect(reply.text == "Reply")
                #expect(reply.headers["n"]?.int == 1)
                try await served
            }
        }
    }

    @Test("A peer on the main actor calls, and iterates messages", arguments: TestBroker.available)
    @MainActor func fromTheMainActor(broker: TestBroker) async throws {
        try await broker.run { url in
            try await withPair(url) { service, client in
                let messages = try await service.listen().messages
                let server = Task { @MainActor in
                    var served = 0
                    for await request in messages {
                        MainActor.assertIsolated()
                        try await request.reply(request.data)
                        served += 1
                        if served == 300 { break }
                    }
                }
                for i in 0..<300 {
                    let reply = try await client.call(service.name, data: "\(i)")
                    #expect(reply?.text == "\(i)")
                }
                try await server.value
            }
        }
    }

    @Test("A handler on the connection's loop serves", arguments: TestBroker.available)
    func onConnectionLoop(broker: TestBroker) async throws {
        try await broker.run { url in
            try await withPair(url) { service, client in
                try await service.listen(options: .init(execution: .onConnectionLoop)) { message in Reply(message.data)
                }
                for i in 0..<100 {
                    let reply = try await client.call(service.name, data: "\(i)")
                    #expect(reply?.text == "\(i)")
                }
            }
        }
    }

    @Test("A thousand calls at once, answered in another order, get their own replies", arguments: TestBroker.available)
    func shuffledReplies(broker: TestBroker) async throws {
        try await broker.run { url in
            try await withPair(url) { service, client in
                client.timeout = .seconds(30)
                let messages = try await service.listen(options: .init(prefetch: 1000)).messages
                async let served: Void = {
                    var requests: [Message] = []
                    for await request in messages {
                        requests.append(request)
                        if requests.count == 1000 { break }
                    }
                    for request in requests.dropLast().shuffled() { try await request.reply(request.data) }
                    // Leaving the loop put the last one back.
                    for await request in messages {
                        try await request.reply(request.data)
                        break
                    }
                }()
                try await withThrowingTaskGroup(of: Void.self) { group in
                    for i in 0..<1000 {
                        group.addTask {
                            let reply = try await client.call(service.name, data: "\(i)")
                            #expect(reply?.text == "\(i)")
                        }
                    }
                    try await group.waitForAll()
                }
                try await served
                #expect(client.statistics.lateReplies == 0)
            }
        }
    }

    @Test("Replies that come back in reverse order find their calls", arguments: TestBroker.available)
    func reversedReplies(broker: TestBroker) async throws {
        try await broker.run { url in
            try await withPair(url) { service, client in
                client.timeout = .seconds(30)
                // A gate: the handler of call i replies only when call i + 1 has been replied to.
                let count = 200
                let done = (0...count).map { _ in AsyncGate() }
                done[count].open()
                try await service.listen(options: .init(concurrency: count)) { message in
                    let i = message.headers["i"]?.int ?? 0
                    await done[i + 1].wait()
                    try await message.reply("\(i)")
                    done[i].open()
                    return nil
                }
                try await withThrowingTaskGroup(of: Void.self) { group in
                    for i in 0..<count {
                        group.addTask {
                            let reply = try await client.call(service.name, headers: ["i": .integer(Int64(i))])
                            #expect(reply?.text == "\(i)")
                        }
                    }
                    try await group.waitForAll()
                }
            }
        }
    }

    @Test("Bodies of every size arrive byte for byte, both ways", arguments: TestBroker.available)
    func bodySizes(broker: TestBroker) async throws {
        try await broker.run { url in
            try await withPair(url) { service, client in
                try await service.listen { message in Reply(message.data) }
                // 131072 is the frame-max both sides agree on: a frame carries 8 bytes less.
                for size in [0, 1, 131_064, 131_065, 1 << 20, 10 << 20] {
                    let bytes = Self.pattern(size)
                    let reply = try await client.call(service.name, data: bytes, timeout: .seconds(30))
                    #expect(reply?.data.count == size)
                    #expect(reply.map { Data($0.data) == bytes } == true)
                }
            }
        }
    }

    /// Bytes of which no two stretches are alike. Whole words at a time: a byte at a time takes seconds in a debug build.
    private static func pattern(_ size: Int) -> Data {
        var state: UInt64 = 0x9e37_79b9_7f4a_7c15
        var data = Data(capacity: size + 8)
        while data.count < size {
            state ^= state << 13
            state ^= state >> 7
            state ^= state << 17
            Swift.withUnsafeBytes(of: state) { data.append(contentsOf: $0) }
        }
        return data.prefix(size)
    }

    @Test("Headers of every kind survive the journey", arguments: TestBroker.available)
    func headers(broker: TestBroker) async throws {
        try await broker.run { url in
            try await withPair(url) { service, client in
                let headers: Headers = [
                    "text": "text", "int": -5, "double": 1.5, "yes": true, "list": [1, "two"],
                    "map": ["inner": 1], "bytes": .bytes([0, 255]), "time": .timestamp(1), "nothing": .null,
                ]
                try await service.listen { message in Reply(headers: message.headers) }
                let reply = try #require(try await client.call(service.name, headers: headers))
                for (name, value) in headers { #expect(reply.headers[name] == value, "\(name)") }
            }
        }
    }

    struct Numbers: Codable, Sendable { var a: Int, b: Int }
    struct Total: Codable, Sendable, Equatable { var total: Int }

    @Test("Codable values travel as JSON, both ways", arguments: TestBroker.available)
    func json(broker: TestBroker) async throws {
        try await broker.run { url in
            try await withPair(url) { service, client in
                try await service.listen { message in
                    let numbers = try message.decode(Numbers.self)
                    return try Reply(encoding: Total(total: numbers.a + numbers.b))
                }
                let total = try await client.call(service.name, encoding: Numbers(a: 2, b: 3), as: Total.self)
                #expect(total == Total(total: 5))
                await expectError(.remoteFailed) {
                    _ = try await client.call(service.name, encoding: ["a": 1], as: Total.self)
                }
                await expectError(.decodingFailed) {
                    _ = try await client.call(service.name, encoding: Numbers(a: 2, b: 3), as: Numbers.self)
                }
            }
        }
    }

    @Test("An event is sent and nobody replies", arguments: TestBroker.available)
    func event(broker: TestBroker) async throws {
        try await broker.run { url in
            try await withPair(url) { service, client in
                let messages = try await service.listen().messages
                try await client.send(service.name, data: "Backup script failed", wantsReply: false)
                for await message in messages {
                    #expect(message.text == "Backup script failed")
                    #expect(message.replyTo == nil)
                    await expectError(.noReplyAddress) { try await message.reply("too kind") }
                    break
                }
                try await client.emit(TestBroker.uniqueName("nobody"))
                // Behind it, in the order of its channel: with this answer a return would have come.
                let link = try #require(client.linkState.state.link)
                try await link.sending.qos(prefetchCount: 10)
                #expect(client.statistics.returnedMessages == 0)
            }
        }
    }

    @Test("What a peer sends to itself is a message, not a reply", arguments: TestBroker.available)
    func toItself(broker: TestBroker) async throws {
        try await broker.run { url in
            try await withPair(url) { _, peer in
                let call = Task { try await peer.call(peer.address, data: "to myself", timeout: .seconds(10)) }
                let request = try #require(try await peer.receive())
                #expect(request.text == "to myself")
                try await request.reply("from myself")
                #expect(try await call.value?.text == "from myself")
                let id = try await peer.send(peer.address, data: "once more")
                let message = try #require(try await peer.receive())
                #expect(message.id == id && message.text == "once more")
                try await message.reply("heard")
                #expect(try await peer.receive(id: id)?.text == "heard")
            }
        }
    }

    @Test("receive() takes the oldest message, receive(id:) the reply with that id", arguments: TestBroker.available)
    func receive(broker: TestBroker) async throws {
        try await broker.run { url in
            try await withPair(url) { service, client in
                try await service.listen { message in Reply(message.data) }
                let first = try await client.send(service.name, data: "1")
                let second = try await client.send(service.name, data: "2")
                #expect(try await client.receive(id: second)?.text == "2")
                #expect(try await client.receive()?.correlationID == first)
                #expect(try await client.receive(timeout: .milliseconds(20)) == nil)
                // Messages to the peer itself, from a peer that is not asked anything.
                try await service.send(client.address, data: "hello")
                let hello = try #require(try await client.receive())
                #expect(hello.text == "hello")
                try await hello.reply("hello yourself")
                #expect(try await service.receive()?.text == "hello yourself")
            }
        }
    }

    @Test("A peer that listens calls others from within a handler", arguments: TestBroker.available)
    func callsWithinHandlers(broker: TestBroker) async throws {
        try await broker.run { url in
            try await withPair(url) { service, client in
                try await client.listen(on: client.name) { message in Reply("inner " + (message.text ?? "")) }
                try await service.listen { message in
                    let inner = try await service.call(client.name, data: message.data)
                    return Reply("outer " + (inner?.text ?? ""))
                }
                #expect(try await client.call(service.name, data: "x")?.text == "outer inner x")
            }
        }
    }

    @Test("Peer.with connects and disconnects, also when its body throws", arguments: TestBroker.available)
    func scope(broker: TestBroker) async throws {
        try await broker.run { url in
            struct Oops: Error {}
            let address = try await Peer.with(.url(url)) { peer in
                let reply = try await peer.call(peer.address, timeout: .milliseconds(50))
                #expect(reply == nil)
                return peer.address
            }
            await #expect(throws: Oops.self) { try await Peer.with(.url(url)) { _ in throw Oops() } }
            try await Peer.with(.url(url)) { peer in
                peer.timeout = .seconds(10)
                await expectError(.noSuchService) { _ = try await peer.call(address) }
            }
        }
    }

    @Test("Peers on the embedded configuration share one broker, which ends with the last of them")
    func embedded() async throws {
        let first = Peer(name: "first", .embedded)
        let second = Peer(.embedded)
        second.timeout = .seconds(10)
        try await first.connect()
        try await first.listen { _ in "1" }
        try await second.connect()
        #expect(try await second.call("first")?.text == "1")
        await first.disconnect()
        await expectError(.noSuchService) { _ = try await second.call("first") }
        await second.disconnect()
        // A new one starts empty.
        try await second.connect()
        await expectError(.noSuchService) { _ = try await second.call("first") }
        await second.disconnect()
    }
}

/// Opened once, waited for by any number. Whoever is cancelled waits no longer.
final class AsyncGate: Sendable {
    private struct State {
        var isOpen = false
        var last = 0
        var waiting: [Int: CheckedContinuation<Void, Never>] = [:]
    }
    private let state = NIOLockedValueBox(State())

    func open() {
        let waiting = self.state.withLockedValue { state in
            state.isOpen = true
            defer { state.waiting = [:] }
            return state.waiting
        }
        for continuation in waiting.values { continuation.resume() }
    }

    func wait() async {
        let id = self.state.withLockedValue { state in
            state.last += 1
            return state.last
        }
        await withTaskCancellationHandler {
            await withCheckedContinuation { continuation in
                let isOver = self.state.withLockedValue { state in
                    // Cancelled before it could be found: asked under the lock that the handler takes.
                    if !state.isOpen, !Task.isCancelled { state.waiting[id] = continuation }
                    return state.waiting[id] == nil
                }
                if isOver { continuation.resume() }
            }
        } onCancel: {
            self.state.withLockedValue { $0.waiting.removeValue(forKey: id) }?.resume()
        }
    }
}
