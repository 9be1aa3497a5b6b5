// SPDX-License-Identifier: Apache-2.0
import NIOCore
import NIOPosix
import TestSupport
import Testing

/// The tool itself: a test that believes a connection was cut should be right about it.
@Suite("The fault proxy")
struct FaultProxyTests {
    @Test("Bytes pass unchanged")
    func passes() async throws {
        try await withEcho { _, send in
            let outcome = try await send(300_000)
            #expect(outcome == .init(bytes: 300_000, isIntact: true, end: .asked))
        }
    }

    @Test("A cut comes after exactly so many bytes, as the end of the stream", arguments: [0, 1, 7, 4096, 70_001])
    func cuts(bytes: Int) async throws {
        try await withEcho(FaultPlan(.init(after: bytes, .toClient, .cut))) { proxy, send in
            let outcome = try await send(100_000)
            #expect(outcome == .init(bytes: bytes, isIntact: true, end: .closed))
            #expect(proxy.faults == [.cut: 1])
        }
    }

    @Test("A reset is an error to the client")
    func resets() async throws {
        try await withEcho(FaultPlan(.init(after: 5000, .toBroker, .reset))) { _, send in
            let outcome = try await send(100_000)
            #expect(outcome.end == .failed)
            #expect(outcome.bytes <= 5000)
        }
    }

    @Test("Half-open: bytes vanish and nobody hangs up", arguments: FaultPlan.Direction.allCases)
    func swallows(direction: FaultPlan.Direction) async throws {
        try await withEcho(FaultPlan(.init(after: 100, direction, .swallow(direction)))) { proxy, send in
            let outcome = try await send(1000, .milliseconds(300))
            #expect(outcome == .init(bytes: 100, isIntact: true, end: .impatient))
        }
    }

    @Test("One byte at a time: all of them, in order")
    func drips() async throws {
        try await withEcho(FaultPlan(.init(after: 10, .toClient, .drip))) { _, send in
            let outcome = try await send(3000)
            #expect(outcome == .init(bytes: 3000, isIntact: true, end: .asked))
        }
    }

    @Test("A delay holds bytes back and keeps their order")
    func delays() async throws {
        try await withEcho(FaultPlan(.init(after: 10, .toClient, .delay(.milliseconds(60))))) { _, send in
            let began = ContinuousClock.now
            let outcome = try await send(3000)
            #expect(outcome == .init(bytes: 3000, isIntact: true, end: .asked))
            #expect(ContinuousClock.now - began >= .milliseconds(60))
        }
    }

    @Test("It refuses connections for a while, and takes them again on the same port")
    func refuses() async throws {
        try await withEcho { proxy, send in
            try await proxy.refuse()
            await #expect(throws: (any Error).self) { _ = try await send(10) }
            try await proxy.accept()
            let outcome = try await send(10)
            #expect(outcome == .init(bytes: 10, isIntact: true, end: .asked))
            #expect(proxy.accepted == 1)
        }
    }

    @Test("What a test does, it does to all connections")
    func applies() async throws {
        try await withEcho { proxy, send in
            async let outcome = send(.max)
            try await eventually("the connection") { proxy.open == 1 }
            await proxy.apply(.cut)
            let end = try await outcome.end
            // To a client that goes on sending, sockets that are closed soon after may look like a failure.
            #expect(end == .closed || end == .failed)
            try await eventually("its end") { proxy.open == 0 }
        }
    }

    @Test("A random plan is the same again for its seed and connection, and another one otherwise")
    func plans() {
        func plan(_ seed: UInt64, _ connection: Int) -> String {
            "\(FaultPlan.random(seed: seed, connection: connection, faults: [.cut, .reset, .drip], bytes: 0...1_000_000))"
        }
        #expect(plan(1, 2) == plan(1, 2))
        #expect(plan(1, 2) != plan(1, 3))
        #expect(plan(1, 2) != plan(2, 2))
    }
}

/// What became of an exchange with the echo.
private struct Outcome: Equatable {
    enum End { case asked, closed, failed, impatient }
    var bytes: Int
    /// The bytes that came are a beginning of those that were sent.
    var isIntact: Bool
    var end: End
}

private final class Echo: ChannelInboundHandler, Sendable {
    typealias InboundIn = ByteBuffer
    func channelRead(context: ChannelHandlerContext, data: NIOAny) { context.writeAndFlush(data, promise: nil) }
    func errorCaught(context: ChannelHandlerContext, error: any Error) { context.close(promise: nil) }
}

/// Runs `body` with a proxy to an echo and something that sends so many bytes, at most 100,000 at once, and waits for as many,
/// or for the end.
private func withEcho(
    _ plan: FaultPlan = .none,
    _ body: @escaping @Sendable (FaultProxy, Sender) async throws -> Void
) async throws {
    let echo = try await ServerBootstrap(group: .singletonMultiThreadedEventLoopGroup)
        .childChannelInitializer { $0.pipeline.addHandler(Echo()) }
        .bind(host: "127.0.0.1", port: 0).get()
    let port = try #require(echo.localAddress?.port)
    try await within {
        try await FaultProxy.with(to: "amqp://127.0.0.1:\(port)", plan: { _ in plan }) { proxy, _ in
            try await body(proxy, Sender(port: proxy.port))
        }
    }
    try await echo.close()
}

private struct Sender: Sendable {
    let port: Int

    func callAsFunction(_ length: Int, _ patience: Duration = .seconds(15)) async throws -> Outcome {
        try await exchange(self.port, length, patience)
    }
}

private func exchange(_ port: Int, _ length: Int, _ patience: Duration) async throws -> Outcome {
    let client = try await ClientBootstrap(group: .singletonMultiThreadedEventLoopGroup)
        .connect(host: "127.0.0.1", port: port) { channel in
            channel.eventLoop.makeCompletedFuture {
                try NIOAsyncChannel<ByteBuffer, ByteBuffer>(wrappingChannelSynchronously: channel)
            }
        }
    let came = Counter()
    let end = try await withThrowingTaskGroup(of: Outcome.End.self) { group in
        group.addTask {
            do {
                return try await client.executeThenClose { inbound, outbound in
                    let pieces = Task {
                        var sent = 0
                        while sent < length {
                            let piece = (sent..<min(length, sent + 100_000)).map { UInt8(truncatingIfNeeded: $0 &* 31) }
                            try await outbound.write(ByteBuffer(bytes: piece))
                            sent += piece.count
                        }
                    }
                    defer { pieces.cancel() }
                    for try await piece in inbound where await came.add(piece) >= length { return .asked }
                    return .closed
                }
            } catch is IOError { return .failed }
        }
        group.addTask {
            // From the last bytes on: the first may have a while to go, if any come. That none come takes time to see.
            try? await eventually("the first bytes") { await came.bytes > 0 }
            var before: Int
            repeat {
                before = await came.bytes
                try await Task.sleep(for: patience)
            } while await came.bytes > before
            return .impatient
        }
        let end = try await group.next()
        group.cancelAll()
        return try #require(end)
    }
    return await Outcome(bytes: came.bytes, isIntact: came.isIntact, end: end)
}

private actor Counter {
    var bytes = 0
    var isIntact = true

    func add(_ piece: ByteBuffer) -> Int {
        for byte in piece.readableBytesView {
            if byte != UInt8(truncatingIfNeeded: self.bytes &* 31) { self.isIntact = false }
            self.bytes += 1
        }
        return self.bytes
    }
}
