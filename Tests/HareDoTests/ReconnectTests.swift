// SPDX-License-Identifier: Apache-2.0
@_spi(HareDo) import AMQPClient
import NIOConcurrencyHelpers
import TestSupport
import Testing

@testable import HareDo

@Suite("A peer whose connection is lost and comes back", .timeLimit(.minutes(2)))
struct ReconnectTests {
    private static func quickly(_ configuration: inout Peer.Configuration) {
        configuration.maximumReconnectDelay = .milliseconds(100)
    }

    @Test("Calls end at once, services and loops go on, the address stays", arguments: TestBroker.available)
    func comesBack(broker: TestBroker) async throws {
        try await broker.run { url in
            let proxy = try TestProxy(to: url)
            try await withPair(proxy.url, configure: Self.quickly) { server, client in
                let loop = try await server.listen()
                let rounds = (0..<3).map { _ in (inHand: AsyncGate(), isLost: AsyncGate()) }
                let answering = Task {
                    for await message in loop.messages {
                        guard let round = message.headers["silence"]?.int else {
                            try? await message.reply("loop")
                            continue
                        }
                        // In hand when the connection goes.
                        rounds[round].inHand.open()
                        await rounds[round].isLost.wait()
                    }
                }
                let handled = TestBroker.uniqueName("handled")
                try await server.listen(on: handled, as: .shared) { _ in "handler" }
                let address = client.address
                for (round, gates) in rounds.enumerated() {
                    #expect(try await client.call(server.name)?.text == "loop")
                    #expect(try await client.call(handled)?.text == "handler")
                    let call = Task {
                        try await client.call(
                            server.name, headers: ["silence": .integer(Int64(round))], timeout: .seconds(60))
                    }
                    await gates.inHand.wait()
                    let began = ContinuousClock.now
                    proxy.cut()
                    await expectError(.connectionLost) { _ = try await call.value }
                    print("round \(round): a call ended \(ContinuousClock.now - began) after the loss")
                    gates.isLost.open()
                    // Made while there is no connection: it waits for one, within its deadline.
                    #expect(try await client.call(handled, timeout: .seconds(30))?.text == "handler")
                    #expect(client.address == address)
                    try await untilHealthy(client, server)
                    // The inbox is there again.
                    let id = try await client.send(handled)
                    #expect(try await client.receive(id: id, timeout: .seconds(10))?.text == "handler")
                }
                answering.cancel()
            }
            proxy.stop()
        }
    }

    @Test(
        "A message in hand when the connection goes is delivered again and its acknowledgement refused",
        arguments: TestBroker.available)
    func inHand(broker: TestBroker) async throws {
        try await broker.run { url in
            let proxy = try TestProxy(to: url)
            try await withPair(proxy.url, configure: Self.quickly) { server, _ in
                let service = try await server.listen(as: .durable)
                try await server.send(server.name, data: "once", wantsReply: false, confirm: true)
                var iterator = service.messages.makeAsyncIterator()
                let first = try #require(await iterator.next())
                await cut(proxy, noticedBy: server)
                await expectError(.deliveryExpired) { try first.ack() }
                let again = try #require(await iterator.next())
                #expect(again.redelivered && again.text == "once" && again.id == first.id)
                try again.ack()
                await service.drain()
                #expect(try await TestQueues.count(server.name, url) == 0)
                try await TestQueues.delete(server.name, url)
            }
            proxy.stop()
        }
    }

    @Test("A service whose queue is deleted declares it again and goes on", arguments: TestBroker.available)
    func deletedQueue(broker: TestBroker) async throws {
        try await broker.run { url in
            try await withPair(url, configure: Self.quickly) { server, client in
                try await server.listen(as: .durable) { _ in "here" }
                #expect(try await client.call(server.name)?.text == "here")
                try await TestQueues.delete(server.name, url)
                try await eventually("it is back") {
                    do {
                        return try await client.call(server.name, timeout: .seconds(5))?.text == "here"
                    } catch let error as HareDoError where error.code == .noSuchService {
                        return false
                    }
                }
                try await TestQueues.delete(server.name, url)
            }
        }
    }

    @Test("An error of the broker about a call fails that call, and calls go on", arguments: TestBroker.available)
    func softError(broker: TestBroker) async throws {
        try await broker.run { url in
            try await withPair(url) { server, client in
                try await server.listen { _ in "here" }
                guard case .connected(let link) = client.linkState.state else { return #expect(Bool(false)) }
                // A call cannot be made to be refused by its arguments; a publish of another's on its channel can.
                let unanswered = TestBroker.uniqueName("deaf")
                _ = try await server.listen(on: unanswered)
                let call = Task { try await client.call(unanswered, timeout: .seconds(60)) }
                try await eventually("the call is under way") { client.calls.pendingCount == 1 }
                let canary = try await client.call(server.name)
                #expect(canary?.text == "here")
                try await link.calling.publish(AMQPMessage("x"), exchange: "no.such.exchange", routingKey: "x")
                do {
                    _ = try await call.value
                    Issue.record("answered")
                } catch let error as HareDoError {
                    #expect(error.message.contains("no.such.exchange"), "\(error)")
                }
                #expect(try await client.call(server.name)?.text == "here")
            }
        }
    }

    @Test("Messages go out on a connection of their own if so configured", arguments: TestBroker.available)
    func separatePublishing(broker: TestBroker) async throws {
        try await broker.run { url in
            let proxy = try TestProxy(to: url)
            try await withPair(
                proxy.url,
                configure: {
                    Self.quickly(&$0)
                    $0.publishesSeparately = true
                }
            ) { server, client in
                try await server.listen(as: .shared) { message in Reply(message.text ?? "") }
                for _ in 0..<2 {
                    #expect(try await client.call(server.name, data: "x", timeout: .seconds(30))?.text == "x")
                    let id = try await client.send(server.name, data: "y", confirm: true)
                    #expect(try await client.receive(id: id)?.text == "y")
                    await cut(proxy, noticedBy: server, client)
                    try await untilHealthy(server, client)
                }
                #expect(try await client.call(server.name, data: "z", timeout: .seconds(30))?.text == "z")
            }
            proxy.stop()
        }
    }

    @Test("Disconnecting wins over a recovery", arguments: TestBroker.available)
    func disconnectWhileRecovering(broker: TestBroker) async throws {
        try await broker.run { url in
            let proxy = try TestProxy(to: url)
            let peer = Peer(.url(proxy.url))
            try await peer.connect()
            proxy.stop()
            proxy.cut()
            try await eventually("it noticed") {
                if case .recovering = peer.linkState.state { true } else { false }
            }
            let call = Task { try await peer.call("x", timeout: .seconds(60)) }
            let began = ContinuousClock.now
            await peer.disconnect()
            await expectError(.disconnected) { _ = try await call.value }
            #expect(ContinuousClock.now - began < .seconds(5))
            await expectError(.disconnected) { try await peer.send("x") }
        }
    }
}
