// SPDX-License-Identifier: Apache-2.0
import HareDo

/// Two peers, one that asks and one that listens.
private struct BenchPair: Sendable {
    let asking: Peer
    let listening: Peer
    let queue = BenchName.make()

    init(_ url: String, _ logger: Logger) async throws {
        var configuration = Peer.Configuration.url(url)
        configuration.logger = logger
        // What was measured over a loss would say nothing.
        configuration.reconnects = false
        self.asking = Peer(configuration)
        self.listening = Peer(configuration)
        do {
            try await self.listening.connect()
            try await self.asking.connect()
        } catch {
            await self.close()
            throw error
        }
    }

    /// - Parameter listen: makes the service. If it cannot, the peers are disconnected.
    func service(
        _ logger: Logger, _ listen: (Peer, String) async throws -> PeerService
    ) async throws -> PeerService {
        do {
            let service = try await listen(self.listening, self.queue)
            logger.debug("made a queue", metadata: ["amqp.queue": "\(self.queue)"])
            return service
        } catch {
            await self.close()
            throw error
        }
    }

    func close() async {
        await self.asking.disconnect(within: .zero)
        await self.listening.disconnect(within: .zero)
    }
}

/// Sends to a service that only counts.
struct BenchSendSite: BenchSite {
    private static let prefetch = 500
    private let pair: BenchPair
    private let service: PeerService
    private let data: Bytes

    init(_ url: String, size: Int, _ logger: Logger) async throws {
        self.pair = try await BenchPair(url, logger)
        self.service = try await self.pair.service(logger) { peer, queue in
            try await peer.listen(on: queue, options: .init(prefetch: Self.prefetch))
        }
        self.data = Bytes(repeatElement(0x78, count: size))
    }

    func prepare(_ shares: [Int]) -> [BenchTask] {
        let window = BenchWindow(size: self.data.count)
        var tasks = shares.map { count in
            BenchTask(self.pair.asking.taskExecutor) { _ in try await self.send(count, window) }
        }
        let count = shares.reduce(0, +)
        var receiver = BenchTask(self.pair.listening.taskExecutor) { progress in
            try await self.receive(count, window, progress)
            return Latencies()
        }
        receiver.isService = true
        tasks.append(receiver)
        return tasks
    }

    private func send(_ count: Int, _ window: BenchWindow) async throws -> Latencies {
        let (peer, queue, data) = (self.pair.asking, self.pair.queue, self.data)
        var latencies = Latencies()
        var left = count
        while left > 0 {
            try Task.checkCancellation()
            let stride = min(left, BenchPlan.stride)
            let start = Moment.now
            try await peer.send(queue, data: data, wantsReply: false)
            latencies.record(since: start)
            for _ in 1..<stride { try await peer.send(queue, data: data, wantsReply: false) }
            left -= stride
            await window.sent(stride)
        }
        return latencies
    }

    private func receive(_ count: Int, _ window: BenchWindow, _ progress: BenchProgress) async throws {
        guard count > 0 else { return }
        var done = 0
        for await message in self.service.messages {
            done += 1
            if done % BenchPlan.stride == 0 || done == count {
                let new = (done - 1) % BenchPlan.stride + 1
                window.received(new)
                progress.add(new)
            }
            if done == count {
                // Leaving the loop would put it back.
                try message.ack()
                return
            }
        }
        try Task.checkCancellation()
        // Throws what became of the service.
        try await self.service.run()
        throw ToolFailure("the service ended after \(done) of \(count) messages")
    }

    func close() async { await self.pair.close() }
}

/// Calls a service that replies with what it got.
struct BenchCallSite: BenchSite {
    private static let timeout = Duration.seconds(20)
    private let pair: BenchPair
    private let service: PeerService
    private let data: Bytes

    /// - Parameter tasks: how many calls will be under way at once.
    init(_ url: String, tasks: Int, size: Int, execution: HandlerExecution, _ logger: Logger) async throws {
        self.pair = try await BenchPair(url, logger)
        self.data = Bytes(repeatElement(0x78, count: size))
        self.service = try await self.pair.service(logger) { peer, queue in
            try await peer.listen(on: queue, options: .init(concurrency: tasks, execution: execution)) {
                Reply($0.data)
            }
        }
    }

    func prepare(_ shares: [Int]) -> [BenchTask] {
        shares.map { count in
            BenchTask(self.pair.asking.taskExecutor) { progress in try await self.call(count, progress) }
        }
    }

    private func call(_ count: Int, _ progress: BenchProgress) async throws -> Latencies {
        let (peer, queue, data) = (self.pair.asking, self.pair.queue, self.data)
        var latencies = Latencies()
        for _ in 0..<count {
            let start = Moment.now
            let reply: Message?
            do throws(HareDoError) {
                reply = try await peer.call(queue, data: data, timeout: Self.timeout)
            } catch {
                // Of a service that lost its connection one would like to know why.
                if error.code == .noSuchService { try await withDeadline(.seconds(5)) { try await self.service.run() } }
                throw error
            }
            guard let reply else { throw ToolFailure("a call got no reply within \(Self.timeout)", .timedOut) }
            latencies.record(since: start)
            guard reply.data == data else { throw ToolFailure("a call got a reply to something else") }
            progress.add(1)
        }
        return latencies
    }

    func close() async { await self.pair.close() }
}
