// SPDX-License-Identifier: Apache-2.0
import AMQPClient
import Foundation
import HareDo
import Synchronization
import Testing

@testable import HareDoTool

@Suite("Tasks of benchmarks", .timeLimit(.minutes(1)))
struct BenchTaskTests {
    /// Where something ran.
    private final class Places: Sendable {
        private let names = Mutex<Set<String>>([])
        var all: Set<String> { self.names.withLock { $0 } }

        /// By its thread, or by the main actor: on Linux that has no thread of its own.
        func add(isolation: isolated (any Actor)? = #isolation) {
            let isMain = isolation === MainActor.shared
            if isMain { MainActor.preconditionIsolated() }
            let name = isMain ? "main" : "\(pthread_self())"
            self.names.withLock { _ = $0.insert(name) }
        }
    }

    @Test("They run where they are told to", arguments: BenchPlan.Executor.allCases, [false, true])
    func place(executor: BenchPlan.Executor, isService: Bool) async throws {
        let places = Places()
        let loop = try await BenchBroker.with("embedded") { url in
            let connection = try await AMQPConnection.connect(AMQPConfiguration(uri: url))
            let channel = try await connection.openChannel()
            var task = BenchTask(connection.taskExecutor) { _ in
                for _ in 0..<20 {
                    places.add()
                    // Suspends, and the loop resumes it.
                    try await channel.qos(prefetchCount: 1)
                    places.add()
                }
                return Latencies()
            }
            task.isService = isService
            try await withThrowingTaskGroup(of: Latencies?.self) { group in
                task.start(on: executor, in: &group, BenchProgress(total: 0))
                try await group.waitForAll()
            }
            let loop = await connection.thread()
            await connection.close()
            return loop
        }
        switch executor {
        case .main where !isService: #expect(places.all == ["main"])
        case .main, .pool: #expect(!places.all.isEmpty && places.all.isDisjoint(with: ["main", loop]))
        case .loop: #expect(places.all == [loop])
        }
    }

    @Test("They do as much as they were given", arguments: BenchPlan.Operation.allCases)
    func amount(operation: BenchPlan.Operation) async throws {
        let plan = try BenchPlan(operation, count: 1000)
        let run = BenchRun(plan: plan, isLive: false, logger: Logger(label: "test"))
        let count = try await BenchBroker.with("embedded") { url in
            let site = try await run.makeSite(url, tasks: 3)
            // A second time on the same connections, as after a warm-up.
            var counts: [UInt64] = []
            for shares in [[40, 3, 0], [0, 17, 18]] {
                let tasks = try await site.prepare(shares)
                counts.append(
                    try await withThrowingTaskGroup(of: Latencies?.self) { group in
                        for task in tasks { task.start(on: .pool, in: &group, BenchProgress(total: 43)) }
                        return try await group.reduce(0) { $0 + ($1?.count ?? 0) }
                    })
            }
            await site.close()
            return counts
        }
        // One of 17 is timed, the first always; and every call.
        #expect(count == (operation == .rpc ? [43, 35] : [4, 3]))
    }

    @Test("One that stands still is given up")
    func standstill() async throws {
        let progress = BenchProgress(total: 10, interval: .milliseconds(5), patience: .milliseconds(50))
        progress.add(3)
        let failure = await #expect(throws: ToolFailure.self) { try await progress.watch(isLive: false) }
        #expect(failure?.message.contains("3 of 10 messages") == true)
        #expect(failure?.status == 2)
    }

    @Test("Senders wait for the service that is behind, and not after it has caught up")
    func window() async throws {
        let window = BenchWindow(size: 1 << 20)
        await window.sent(64)
        let sender = Task { await window.sent(1) }
        while window.waitingCount == 0 { await Task.yield() }
        // More than half of what is allowed is still there.
        window.received(32)
        #expect(window.waitingCount == 1)
        window.received(1)
        #expect(window.waitingCount == 0)
        await sender.value
    }

    @Test("A sender that is cancelled does not wait for room")
    func windowCancelled() async {
        let window = BenchWindow(size: 1 << 20)
        let sender = Task { await window.sent(1000) }
        while window.waitingCount == 0 { await Task.yield() }
        sender.cancel()
        await sender.value
    }
}

extension AMQPConnection {
    fileprivate func thread() -> String { "\(pthread_self())" }
}
