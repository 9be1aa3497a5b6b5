// SPDX-License-Identifier: Apache-2.0
import AMQPClient
import HareDo

/// Publishes to nobody.
struct BenchPublishSite: BenchSite {
    /// The default exchange knows queues only, and nobody makes one of this name.
    static let nowhere = "haredo.bench.nowhere"
    private let connection: AMQPConnection
    private let channels: [AMQPChannel]
    private let message: AMQPMessage

    init(_ url: String, tasks: Int, size: Int, _ logger: Logger) async throws {
        self.connection = try await AMQPConnection.forBench(url, logger)
        self.channels = try await self.connection.openChannels(tasks)
        self.message = AMQPMessage([UInt8](repeating: 0x78, count: size))
    }

    func prepare(_ shares: [Int]) -> [BenchTask] {
        zip(self.channels, shares).map { channel, count in
            BenchTask(self.connection.taskExecutor) { progress in
                try await Self.publish(self.message, count, on: channel, progress)
            }
        }
    }

    private static func publish(
        _ message: AMQPMessage, _ count: Int, on channel: AMQPChannel, _ progress: BenchProgress
    ) async throws -> Latencies {
        var latencies = Latencies()
        var left = count
        while left > 0 {
            try Task.checkCancellation()
            let stride = min(left, BenchPlan.stride)
            let start = Moment.now
            try await channel.publish(message, routingKey: Self.nowhere)
            latencies.record(since: start)
            for _ in 1..<stride { try await channel.publish(message, routingKey: Self.nowhere) }
            left -= stride
            progress.add(stride)
        }
        // A channel's methods are processed in order: with the answer to this one the broker has taken all before it.
        try await channel.qos(prefetchCount: 0)
        return latencies
    }

    func close() async { await self.connection.close() }
}

/// Consumes from queues that are filled beforehand.
struct BenchConsumeSite: BenchSite {
    private static let prefetch: UInt16 = 500
    private static let acknowledgedAtOnce = 100
    private let connection: AMQPConnection
    private let channels: [AMQPChannel]
    private let message: AMQPMessage
    private let logger: Logger

    init(_ url: String, tasks: Int, size: Int, _ logger: Logger) async throws {
        self.connection = try await AMQPConnection.forBench(url, logger)
        self.channels = try await self.connection.openChannels(tasks)
        self.message = AMQPMessage([UInt8](repeating: 0x78, count: size))
        self.logger = logger
    }

    func prepare(_ shares: [Int]) async throws -> [BenchTask] {
        var tasks: [BenchTask] = []
        for (channel, count) in zip(self.channels, shares) {
            // Exclusive: nobody else gets at it, and it goes with the connection.
            let queue = BenchName.make()
            try await channel.declareQueue(queue, exclusive: true)
            self.logger.debug("made a queue", metadata: ["amqp.queue": "\(queue)"])
            try await self.fill(queue, count)
            try await channel.qos(prefetchCount: Self.prefetch)
            tasks.append(
                BenchTask(self.connection.taskExecutor) { progress in
                    try await Self.consume(queue, count, on: channel, progress)
                })
        }
        return tasks
    }

    @concurrent
    private func fill(_ queue: String, _ count: Int) async throws {
        guard count > 0 else { return }
        let channel = try await self.connection.openChannel()
        try await channel.confirmSelect()
        for number in 1..<max(count, 1) {
            if number % BenchPlan.stride == 0 { try Task.checkCancellation() }
            try await channel.publish(self.message, routingKey: queue)
        }
        // Confirmed when it is in the queue, and with it all before: no other answer of a broker says that.
        try await channel.publishConfirmed(self.message, routingKey: queue)
        await channel.close()
    }

    private static func consume(
        _ queue: String, _ count: Int, on channel: AMQPChannel, _ progress: BenchProgress
    ) async throws -> Latencies {
        var latencies = Latencies()
        guard count > 0 else { return latencies }
        var before = Moment.now
        let consumer = try await channel.consume(queue)
        var done = 0
        for try await delivery in consumer.deliveries {
            if done % BenchPlan.stride == 0 { latencies.record(since: before) }
            done += 1
            if done % BenchPlan.stride == 0 { before = .now }
            if done % Self.acknowledgedAtOnce == 0 || done == count {
                try delivery.ack(multiple: true)
                progress.add((done - 1) % Self.acknowledgedAtOnce + 1)
            }
            if done == count { break }
        }
        guard done == count else { throw CancellationError() }
        // A channel's methods are processed in order: with the answer to this one the broker has taken the last ack.
        try await consumer.cancel()
        let left = try await channel.deleteQueue(queue)
        guard left == 0 else { throw ToolFailure("\(left) messages too many were in the queue") }
        return latencies
    }

    func close() async { await self.connection.close() }
}

/// Names that no other benchmark uses, also not on a broker that several share.
enum BenchName {
    static func make() -> String { "haredo.bench." + String(UInt64.random(in: 0 ... .max), radix: 36) }
}

extension AMQPConnection {
    /// Closes the connection if it cannot open them all.
    fileprivate func openChannels(_ count: Int) async throws(AMQPError) -> [AMQPChannel] {
        do throws(AMQPError) {
            var channels: [AMQPChannel] = []
            while channels.count < count { channels.append(try await self.openChannel()) }
            return channels
        } catch {
            await self.close()
            throw error
        }
    }
}

extension AMQPConnection {
    /// A connection that is not made again: what was measured over a loss would say nothing.
    fileprivate static func forBench(_ url: String, _ logger: Logger) async throws -> AMQPConnection {
        var configuration = try AMQPConfiguration(uri: url)
        configuration.recovery = .disabled
        return try await Self.connect(configuration, logger: logger)
    }
}
