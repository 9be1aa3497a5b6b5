// SPDX-License-Identifier: Apache-2.0

/// A loop that is run on one of the executors.
struct BenchTask: Sendable {
    /// What ``BenchPlan/Executor/loop`` is for it.
    let eventLoop: any TaskExecutor
    /// Runs where it is called: it is as if the loop were written there.
    let body: @Sendable (BenchProgress) async throws -> Latencies

    init(
        _ eventLoop: any TaskExecutor, _ body: @escaping @Sendable (BenchProgress) async throws -> Latencies
    ) {
        self.eventLoop = eventLoop
        self.body = body
    }

    /// Services do not run on the main actor, whoever talks to them does.
    var isService = false

    @MainActor
    private func runOnMainActor(_ progress: BenchProgress) async throws -> Latencies {
        // Swift 6.3.1 leaves out the change to the main actor where nothing is done on it before the call, as if the callee
        // saw to it; but that runs where it is called. What is said to be measured on the main actor has to be there.
        MainActor.preconditionIsolated()
        return try await self.body(progress)
    }

    func start(
        on executor: BenchPlan.Executor, in group: inout ThrowingTaskGroup<Latencies?, any Error>,
        _ progress: BenchProgress
    ) {
        switch executor {
        case .main where !self.isService: group.addTask { try await self.runOnMainActor(progress) }
        case .main, .pool: group.addTask { @concurrent in try await self.body(progress) }
        case .loop: group.addTask(executorPreference: self.eventLoop) { try await self.body(progress) }
        }
    }
}

/// What is set up for one connection of a benchmark. Its queues belong to its connections, and are gone with them,
/// however that comes about.
protocol BenchSite: Sendable {
    /// Makes ready for as many messages, unmeasured.
    ///
    /// - Parameter shares: how many messages each task gets.
    func prepare(_ shares: [Int]) async throws -> [BenchTask]
    func close() async
}
