// SPDX-License-Identifier: Apache-2.0
import AMQPBroker
import AMQPClient
import HareDo
import Measuring
import NIOCore

#if canImport(Glibc)
    import Glibc
#elseif canImport(Musl)
    import Musl
#elseif canImport(Darwin)
    import Darwin
#endif

/// What one process does. It prints its numbers, one to a line, and ends.
enum Probe: String {
    /// The embedded broker, until standard input ends.
    case broker
    /// A service that echoes, until standard input ends.
    case echo
    /// A connected peer that does nothing: bytes.
    case idle
    /// A connected peer and suspended tasks: bytes.
    case tasks
    /// A connected peer and calls that nobody answers: bytes.
    case calls
    /// What a call costs: seconds beside few calls, seconds beside many; the table of calls alone likewise.
    case cost

    static let outstanding = 100_000
    static let echoQueue = "haredo.footprint.echo"
    /// Of this process alone: the one before it may not be quite gone.
    static let silentQueue = "haredo.footprint.silent.\(getpid())"

    func run() async throws {
        switch self {
        case .broker: try await Self.serveBroker()
        case .echo: try await Self.serveEcho()
        case .idle:
            let peer = try await Self.connect()
            // Two round trips, so that it has been used.
            _ = try await Self.echo(peer)
            _ = try await Self.echo(peer)
            print(try Usage.anonymousMemory())
        case .tasks:
            let peer = try await Self.connect()
            _ = try await Self.echo(peer)
            try await Self.suspendTasks()
            print(try Usage.anonymousMemory())
        case .calls:
            let peer = try await Self.connect()
            _ = try await Self.echo(peer)
            try await Self.beginCalls(peer)
            print(try Usage.anonymousMemory())
        case .cost: try await Self.measureCost()
        }
        Usage.exitNow()
    }

    // MARK: - The others

    private static func serveBroker() async throws {
        guard let folder = Environment[Environment.folder] else { throw Failure("\(Environment.folder) is not set") }
        var configuration = AMQPEmbeddedBroker.Configuration()
        configuration.address = .unixDomainSocket(path: folder + "/broker")
        try await AMQPEmbeddedBroker.with(configuration) { _ in Usage.readUntilEnd() }
    }

    private static func serveEcho() async throws {
        let peer = try await self.connect()
        _ = try await peer.listen(on: self.echoQueue) { message in Reply(message.data) }
        Usage.readUntilEnd()
    }

    // MARK: - Parts

    private static func connect() async throws -> Peer {
        guard let url = Environment[Environment.broker] else { throw Failure("\(Environment.broker) is not set") }
        let peer = Peer(.url(url))
        try await peer.connect()
        return peer
    }

    /// Calls the echo, which may just be starting.
    private static func echo(_ peer: Peer) async throws {
        let deadline = ContinuousClock.now + .seconds(20)
        while ContinuousClock.now < deadline {
            do {
                if try await peer.call(self.echoQueue, data: "0123456789abcdef", timeout: .seconds(5)) != nil { return }
            } catch  where error.code == .noSuchService {
                try await Task.sleep(for: .milliseconds(20))
            }
        }
        throw Failure("no echo")
    }

    private static func suspendTasks() async throws {
        let (started, report) = AsyncStream.makeStream(of: Void.self)
        for _ in 0..<self.outstanding {
            Task {
                await withUnsafeContinuation { (_: UnsafeContinuation<Void, Never>) in _ = report.yield() }
            }
        }
        var missing = self.outstanding
        for await _ in started {
            missing -= 1
            if missing == 0 { return }
        }
    }

    /// Makes a queue that nobody listens on, and has all the calls wait for it.
    private static func beginCalls(_ peer: Peer) async throws {
        guard let url = Environment[Environment.broker] else { throw Failure("\(Environment.broker) is not set") }
        let connection = try await AMQPConnection.connect(try AMQPConfiguration(uri: url))
        let channel = try await connection.openChannel()
        try await channel.declareQueue(self.silentQueue, exclusive: true)
        let deadline = ContinuousClock.now + .seconds(120)
        // Not all at once: those for which there is no room in the output wait in another way, with more memory.
        for begun in stride(from: 0, to: self.outstanding, by: 1000) {
            for _ in 0..<1000 {
                Task { try await peer.call(self.silentQueue, data: "0123456789abcdef", timeout: .seconds(3600)) }
            }
            // The broker tells of a queue only when it is asked.
            while try await channel.declareQueue(self.silentQueue, passive: true).messageCount < begun + 1000 {
                guard ContinuousClock.now < deadline else {
                    throw Failure("the calls did not reach the broker in time")
                }
                try await Task.sleep(for: .milliseconds(1))
            }
        }
        self.kept = connection
    }

    /// The queue lives as long as its connection.
    nonisolated(unsafe) private static var kept: AMQPConnection?

    // MARK: - Costs

    /// In turns, so that whatever else the machine does hits both.
    private static func measureCost() async throws {
        let few = try await self.connect()
        let many = try await self.connect()
        try await self.echo(few)
        try await self.echo(many)
        try await self.beginCalls(many)
        var calls: (few: [Double], many: [Double]) = ([], [])
        for _ in 0..<9 {
            calls.few.append(try await self.cost(of: few))
            calls.many.append(try await self.cost(of: many))
        }
        print(calls.few.median)
        print(calls.many.median)

        let fewCalls = try Bookkeeping(outstanding: 1)
        let manyCalls = try Bookkeeping(outstanding: self.outstanding)
        var tables: (few: [Double], many: [Double]) = ([], [])
        for _ in 0..<9 {
            tables.few.append(try fewCalls.cost())
            tables.many.append(try manyCalls.cost())
        }
        print(tables.few.median)
        print(tables.many.median)
    }

    private static func cost(of peer: Peer) async throws -> Double {
        let count = 1000
        let before = Usage.processorTime()
        for _ in 0..<count {
            guard try await peer.call(self.echoQueue, data: "0123456789abcdef", timeout: .seconds(10)) != nil else {
                throw Failure("an echo took more than 10 s")
            }
        }
        return (Usage.processorTime() - before) / Double(count)
    }
}
