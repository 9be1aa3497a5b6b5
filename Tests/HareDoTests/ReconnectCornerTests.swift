// SPDX-License-Identifier: Apache-2.0
import Logging
import NIOConcurrencyHelpers
import NIOCore
import TestSupport
import Testing

@_spi(HareDo) @testable import AMQPClient
@testable import HareDo

/// Losses at an unlucky moment, and what they must not be taken for.
@Suite("A peer whose connection is lost at an unlucky moment", .timeLimit(.minutes(2)))
struct ReconnectCornerTests {
    private static let lost = AMQPError(.connectionClosed, "lost", origin: .peer)

    private static func quickly(_ configuration: inout Peer.Configuration) {
        configuration.maximumReconnectDelay = .milliseconds(100)
    }

    private func link(_ peer: Peer) throws -> PeerLink { try #require(peer.linkState.state.link) }

    @Test(
        "A call whose connection comes and goes before it is begun keeps its deadline", arguments: TestBroker.available)
    func comesAndGoes(broker: TestBroker) async throws {
        try await broker.run { url in
            let peer = Peer(.url(url))
            try await peer.connect()
            let link = try self.link(peer)
            peer.linkState.set(.recovering(link))
            // One that was held up until its deadline is no use: then another.
            try await eventually("it waited when the connection came and went") {
                let deadline = ContinuousClock.now + .milliseconds(200)
                let call = Task(executorPreference: peer.taskExecutor) {
                    try await peer.call("x", timeout: .milliseconds(200))
                }
                try await eventually("it waits, or no longer") {
                    peer.linkState.waiterCount == 1 || ContinuousClock.now > deadline
                }
                // Before the call's task has its turn on the loop.
                let waited: Bool = try await peer.eventLoop.submit {
                    guard peer.linkState.waiterCount == 1 else { return false }
                    peer.linkState.set(.connected(link))
                    peer.linkState.set(.recovering(link))
                    return true
                }.get()
                try await within(.seconds(10)) { await expectError(.notConnected) { _ = try await call.value } }
                return waited
            }
            peer.linkState.set(.connected(link))
            await peer.disconnect()
        }
    }

    @Test(
        "Of two connections each may be lost alone: calls end at once", arguments: TestBroker.available, [true, false])
    func oneOfTwo(broker: TestBroker, isReading: Bool) async throws {
        try await broker.run { url in
            try await withPair(
                url,
                configure: {
                    Self.quickly(&$0)
                    $0.publishesSeparately = true
                }
            ) { server, client in
                _ = try await server.listen(on: server.name + ".deaf")
                try await server.listen { _ in "here" }
                let link = try self.link(client)
                let call = Task { try await client.call(server.name + ".deaf", timeout: .seconds(60)) }
                try await eventually("the call is under way") { client.calls.pendingCount == 1 }
                let began = ContinuousClock.now
                await (isReading ? link.connection : link.publishing).lost(Self.lost)
                await expectError(.connectionLost) { _ = try await call.value }
                #expect(ContinuousClock.now - began < .seconds(5))
                try await eventually("it is whole again") { await client.isHealthy }
                #expect(try await client.call(server.name, timeout: .seconds(30))?.text == "here")
            }
        }
    }

    @Test("A call that had waited for room is lost with the connection like any other", arguments: TestBroker.available)
    func sentInTheLastMoment(broker: TestBroker) async throws {
        try await broker.run { url in
            try await withPair(url, configure: Self.quickly) { server, client in
                try await server.listen { _ in "here" }
                let connection = try self.link(client).connection
                connection.gate.setBlocked("memory")
                let early = Task { try await client.call(server.name, timeout: .seconds(60)) }
                try await eventually("it waits for room") { connection.gate.suspendedCount == 1 }
                let began = ContinuousClock.now
                // There is room, and then no connection, before its task hears of either.
                try await connection.eventLoop.submit {
                    connection.assumeIsolated { connection in
                        connection.gate.setBlocked(nil)
                        connection.lost(Self.lost)
                    }
                }.get()
                await expectError(.connectionLost) { _ = try await early.value }
                #expect(ContinuousClock.now - began < .seconds(5))
                // One that still waits is not lost.
                try await eventually("it is back") { await client.isHealthy }
                connection.gate.setBlocked("memory")
                let late = Task { try await client.call(server.name, timeout: .seconds(60)) }
                try await eventually("it waits for room") { connection.gate.suspendedCount == 1 }
                await connection.lost(Self.lost)
                #expect(try await late.value?.text == "here")
            }
        }
    }

    @Test("Many that want a confirm at first share one channel", arguments: TestBroker.available)
    func oneConfirmingChannel(broker: TestBroker) async throws {
        try await broker.run { url in
            let peer = Peer(.url(url))
            peer.timeout = .seconds(30)
            try await peer.connect()
            let link = try self.link(peer)
            let before = await link.publishing.channelCount
            try await withThrowingTaskGroup(of: Void.self) { group in
                for _ in 0..<3000 {
                    group.addTask { try await peer.send(peer.address, wantsReply: false, confirm: true) }
                }
                try await group.waitForAll()
            }
            #expect(await link.publishing.channelCount == before + 1)
            // One whose task is cancelled takes nothing from the others.
            let cancelled = Task { try await peer.send(peer.address, wantsReply: false, confirm: true) }
            cancelled.cancel()
            _ = await cancelled.result
            try await peer.send(peer.address, wantsReply: false, confirm: true)
            await peer.disconnect()
        }
    }

    @Test("A broker that fell silent was not disconnected on purpose")
    func silence() async throws {
        try await TestBroker.available.runAtOnce { url in
            let proxy = try TestProxy(to: url)
            var configuration = Peer.Configuration.url(proxy.url)
            configuration.reconnects = false
            configuration.heartbeat = .seconds(1)
            let peer = Peer(name: TestBroker.uniqueName("service"), configuration)
            try await peer.connect()
            let service = try await peer.listen()
            let run = Task { try await service.run() }
            let call = Task { try await peer.call(peer.name, timeout: .seconds(60)) }
            try await eventually("the call is under way") { peer.calls.pendingCount == 1 }
            proxy.stall()
            await expectError(.connectionLost) { _ = try await call.value }
            await expectError(.connectionLost) { try await run.value }
            await peer.disconnect()
            proxy.stop()
        }
    }

    @Test("A reply that cannot be sent is not the handler's failure", arguments: TestBroker.available)
    func unsentReply(broker: TestBroker) async throws {
        try await broker.run { url in
            let log = LogBook()
            try await withPair(url, configure: { $0.logger = log.logger }) { server, client in
                let (began, finish) = (AsyncGate(), AsyncGate())
                let service = try await server.listen { _ in
                    began.open()
                    await finish.wait()
                    return "done"
                }
                try await client.send(server.name)
                await began.wait()
                await service.core.channel.close()
                finish.open()
                try await eventually("it was tried") { log.messages.contains("a reply could not be sent") }
                #expect(!log.messages.contains("a handler failed"))
            }
        }
    }

    @Test(
        "Who connects when another is cancelled who had begun to connects in its place", arguments: TestBroker.available
    )
    func connectsInItsPlace(broker: TestBroker) async throws {
        try await broker.run { url in
            let proxy = try TestProxy(to: url, stallsOn: LossTests.channelOpen)
            let peer = Peer(.url(proxy.url))
            let first = Task { try await peer.connect() }
            try await eventually("connecting is under way") { proxy.isStalled }
            let second = Task { try await peer.connect() }
            try await eventually("the second waits") { peer.linkState.waiterCount == 1 }
            proxy.resume()
            first.cancel()
            _ = await first.result
            try await second.value
            #expect(await peer.isHealthy)
            await peer.disconnect()
            proxy.stop()
        }
    }

    @Test("An error of the broker about one of several calls is named to all of them", arguments: TestBroker.available)
    func namedToAll(broker: TestBroker) async throws {
        try await broker.run { url in
            try await withPair(url, configure: Self.quickly) { server, client in
                _ = try await server.listen(on: server.name + ".deaf")
                let calls = (0..<3).map { _ in
                    Task { try await client.call(server.name + ".deaf", timeout: .seconds(60)) }
                }
                try await eventually("they are under way") { client.calls.pendingCount == 3 }
                let began = ContinuousClock.now
                try await self.link(client).calling.publish(
                    AMQPMessage("x"), exchange: "no.such.exchange", routingKey: "x")
                for call in calls {
                    do {
                        _ = try await call.value
                        Issue.record("answered")
                    } catch let error as HareDoError {
                        #expect(error.code == .connectionLost && error.message.contains("no.such.exchange"), "\(error)")
                        #expect(error.message.contains("3 calls"), "\(error)")
                    }
                }
                #expect(ContinuousClock.now - began < .seconds(5))
            }
        }
    }

    @Test("Calls that wait for room are not among those that a loss ends") func callTable() async throws {
        let calls = CallTable()
        let (sent, waiting) = (CallWaiter(cancelled: .cancelled), CallWaiter(cancelled: .cancelled))
        _ = try calls.begin(sent)
        let id = try calls.begin(waiting).id.rawValue
        calls.failSent(except: [id, "not one of ours"]) { count in
            HareDoError(.connectionLost, "\(count)")
        }
        await expectError(.connectionLost) { _ = try await sent.value() }
        #expect(!waiting.isResolved && calls.pendingCount == 1)
        calls.failSent(except: []) { _ in HareDoError(.connectionLost, "lost") }
        await expectError(.connectionLost) { _ = try await waiting.value() }
        #expect(calls.pendingCount == 0)
    }
}

/// Keeps what is logged.
final class LogBook: Sendable {
    private let box = NIOLockedValueBox<[String]>([])
    var messages: [String] { self.box.withLockedValue { $0 } }
    var logger: Logger { Logger(label: "test") { _ in Handler(book: self) } }

    private struct Handler: LogHandler {
        let book: LogBook
        var metadata: Logger.Metadata = [:]
        var logLevel = Logger.Level.trace

        subscript(metadataKey key: String) -> Logger.Metadata.Value? {
            get { self.metadata[key] }
            set { self.metadata[key] = newValue }
        }

        func log(event: LogEvent) { self.book.box.withLockedValue { $0.append("\(event.message)") } }
    }
}
