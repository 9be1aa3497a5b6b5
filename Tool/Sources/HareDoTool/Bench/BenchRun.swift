// SPDX-License-Identifier: Apache-2.0
import HareDo

/// Sets a benchmark up, warms it up, measures it and leaves nothing behind.
struct BenchRun: Sendable {
    let plan: BenchPlan
    /// Whether somebody looks on.
    let isLive: Bool
    let logger: Logger

    /// - Throws: whatever went wrong first, or that the task was cancelled; nothing is left at the broker then either.
    func run(_ url: String) async throws -> BenchReport {
        var sites: [any BenchSite] = []
        do {
            for shares in self.plan.shares(of: self.plan.count) {
                sites.append(try await self.makeSite(url, tasks: shares.count))
            }
            let report = try await self.measure(sites)
            await Self.close(sites)
            return report
        } catch {
            await Self.close(sites)
            throw error
        }
    }

    func makeSite(_ url: String, tasks: Int) async throws -> any BenchSite {
        let size = self.plan.size
        switch self.plan.operation {
        case .publish: return try await BenchPublishSite(url, tasks: tasks, size: size, self.logger)
        case .consume: return try await BenchConsumeSite(url, tasks: tasks, size: size, self.logger)
        case .send: return try await BenchSendSite(url, size: size, self.logger)
        case .rpc:
            return try await BenchCallSite(
                url, tasks: tasks, size: size,
                execution: self.plan.executor == .loop ? .onConnectionLoop : .concurrent, self.logger)
        }
    }

    private static func close(_ sites: [any BenchSite]) async {
        await withTaskGroup(of: Void.self) { group in
            for site in sites { group.addTask { await site.close() } }
        }
    }

    private func measure(_ sites: [any BenchSite]) async throws -> BenchReport {
        if self.plan.warmUp > 0 {
            _ = try await self.pass(try await self.tasks(sites, self.plan.warmUp), self.plan.warmUp)
        }
        let tasks = try await self.tasks(sites, self.plan.count)
        self.logger.debug("measuring")
        let processorTime = ProcessorTime.microseconds
        let start = Moment.now
        let latencies = try await self.pass(tasks, self.plan.count)
        let seconds = start.secondsSince
        return BenchReport(
            self.plan, seconds: seconds, processorTime: ProcessorTime.microseconds - processorTime, latencies)
    }

    private func tasks(_ sites: [any BenchSite], _ count: Int) async throws -> [BenchTask] {
        var tasks: [BenchTask] = []
        for (site, shares) in zip(sites, self.plan.shares(of: count)) { tasks += try await site.prepare(shares) }
        return tasks
    }

    /// Runs the tasks, all at once, to their ends.
    @concurrent
    private func pass(_ tasks: [BenchTask], _ count: Int) async throws -> Latencies {
        let progress = BenchProgress(total: count)
        return try await withThrowingTaskGroup(of: Latencies?.self) { group in
            group.addTask {
                try await progress.watch(isLive: self.isLive)
                return nil
            }
            for task in tasks { task.start(on: self.plan.executor, in: &group, progress) }
            var all = Latencies()
            var ended = 0
            while ended < tasks.count, let latencies = try await group.next() {
                if let latencies { all.add(latencies) }
                ended += 1
            }
            group.cancelAll()
            return all
        }
    }
}
