// SPDX-License-Identifier: Apache-2.0
import ArgumentParser

/// What a benchmark does, checked, and how it is shared out.
struct BenchPlan: Sendable {
    enum Operation: String, CaseIterable, ExpressibleByArgument, Sendable {
        case publish, consume, send, rpc
    }

    /// Where measured loops run.
    enum Executor: String, CaseIterable, ExpressibleByArgument, Sendable {
        case main, pool, loop
    }

    /// Of so many messages one is timed, and after so many a task looks around. It has no factor in common with the
    /// sizes of batches, so that every place in a batch has its turn.
    static let stride = 17
    static let maximumWarmUp = 2000
    private static let maximumCount = 1_000_000_000
    private static let maximumConcurrency = 1000
    private static let maximumConnections = 100
    /// What may wait in the queues that `consume` begins with.
    private static let maximumStored = 2 << 30
    /// What a message takes in a broker beside its body, at least.
    private static let storedOverhead = 256

    let operation: Operation
    let count: Int
    let size: Int
    let concurrency: Int
    let connections: Int
    let executor: Executor

    init(
        _ operation: Operation, count: Int? = nil, size: Int = 16, concurrency: Int? = nil, connections: Int = 1,
        executor: Executor = .pool
    ) throws(ToolFailure) {
        self.operation = operation
        self.count = count ?? (operation == .rpc ? 20_000 : 200_000)
        self.size = size
        self.connections = connections
        self.concurrency = concurrency ?? connections
        self.executor = executor
        try self.check()
    }

    private func check() throws(ToolFailure) {
        func require(_ condition: Bool, _ message: String) throws(ToolFailure) {
            if !condition { throw ToolFailure(message) }
        }
        try require(
            (1...Self.maximumCount).contains(self.count),
            "--count is 1 to \(Self.maximumCount), and not \(self.count)")
        try require(
            (0...MessageOptions.maximumSize).contains(self.size),
            "--size is 0 to \(MessageOptions.maximumSize) (16 MiB, the most a message may have), "
                + "and not \(self.size)")
        try require(
            (1...Self.maximumConnections).contains(self.connections),
            "--connections is 1 to \(Self.maximumConnections), and not \(self.connections)")
        try require(
            (1...Self.maximumConcurrency).contains(self.concurrency),
            "--concurrency is 1 to \(Self.maximumConcurrency), and not \(self.concurrency)")
        try require(
            self.concurrency >= self.connections,
            "--concurrency \(self.concurrency) leaves some of the \(self.connections) connections without a task: it "
                + "counts those of all connections together")
        try require(
            self.count >= self.concurrency,
            "--count \(self.count) leaves some of the \(self.concurrency) tasks of --concurrency without a message")
        if self.operation == .consume {
            let limit = Self.maximumStored / (self.size + Self.storedOverhead)
            try require(
                self.count <= limit,
                "consume begins with all messages in a queue, and \(self.count) of \(self.size) bytes are too much for "
                    + "that: with this size, --count is \(limit) at most")
        }
    }

    var warmUp: Int { min(self.count / 10, Self.maximumWarmUp) }

    /// How many messages each task of each connection gets of so many.
    func shares(of count: Int) -> [[Int]] {
        var shares = [[Int]](repeating: [], count: self.connections)
        for task in 0..<self.concurrency {
            shares[task % self.connections].append(
                count / self.concurrency + (task < count % self.concurrency ? 1 : 0))
        }
        return shares
    }
}
