// SPDX-License-Identifier: Apache-2.0
import Foundation
import HareDo
import NIOConcurrencyHelpers
import TestSupport
import Testing

/// Services in processes of their own, which are killed or told to end while they are called.
@Suite("Services in several processes", .serialized, .timeLimit(.minutes(2)))
struct InstanceTests {
    /// A process with services: what it says is what it does.
    private final class Instance: Sendable {
        private struct State: Sendable {
            var isReady = false
            var hasEnded = false
            var begun: Set<String> = []
            var replied: Set<String> = []
        }
        private let state = NIOLockedValueBox(State())
        private let child: Child
        private let reading: Task<Void, Never>

        init(_ queue: String, services: Int, milliseconds: Int, _ url: String) throws {
            let folder = try #require(Bundle.main.executableURL?.deletingLastPathComponent())
            let child = try Child(
                folder.appending(path: "ServiceProgram").path, [queue, "\(services)", "\(milliseconds)"],
                environment: ["HAREDO_BROKER": url], input: nil)
            let state = self.state
            self.child = child
            self.reading = Task {
                for await line in child.lines {
                    state.withLockedValue { state in
                        switch line.first {
                        case "+": state.begun.insert(String(line.dropFirst()))
                        case "-": state.replied.insert(String(line.dropFirst()))
                        default:
                            if line == "ready" { state.isReady = true }
                            if line == "ended" { state.hasEnded = true }
                        }
                    }
                }
            }
        }

        var isReady: Bool { self.state.withLockedValue { $0.isReady } }
        var hasEnded: Bool { self.state.withLockedValue { $0.hasEnded } }
        var begun: Set<String> { self.state.withLockedValue { $0.begun } }
        var replied: Set<String> { self.state.withLockedValue { $0.replied } }
        var inHand: Int { self.state.withLockedValue { $0.begun.subtracting($0.replied).count } }

        func signal(_ signal: Int32) { kill(self.child.processID, signal) }

        /// - Returns: its exit status, when everything it said has been read.
        func end() async -> Int32 {
            let status = await self.child.end()
            await self.reading.value
            return status
        }
    }

    private static func withInstances(
        _ count: Int, _ queue: String, services: Int = 1, milliseconds: Int = 5, _ url: String,
        _ body: ([Instance]) async throws -> Void
    ) async throws {
        var instances: [Instance] = []
        for _ in 0..<count {
            instances.append(try Instance(queue, services: services, milliseconds: milliseconds, url))
        }
        do {
            for instance in instances { try await eventually("it is ready") { instance.isReady } }
            try await body(instances)
        } catch {
            for instance in instances { instance.signal(SIGKILL) }
            throw error
        }
        for instance in instances {
            instance.signal(SIGKILL)
            _ = await instance.end()
        }
    }

    /// As many as are promised in `make test-long`, and enough to notice otherwise.
    private static let calls = ProcessInfo.processInfo.environment["HAREDO_LONG"] == "1" ? 10_000 : 2000

    /// What became of calls.
    private struct Outcomes: Sendable, CustomStringConvertible {
        var right = 0
        var wrong = 0
        var timedOut = 0
        var failed: [String: Int] = [:]
        var latest = Duration.seconds(-1000)
        var total: Int { self.right + self.wrong + self.timedOut + self.failed.values.reduce(0, +) }
        var description: String {
            "\(self.right) right, \(self.wrong) wrong, \(self.timedOut) nil, errors \(self.failed), the latest "
                + "\(self.latest) after its deadline"
        }
    }

    /// Calls a service from two peers, 64 calls at once each.
    ///
    /// - Parameters:
    ///   - isOver: no more calls are made once it is `true`.
    ///   - onReply: gets the number of right replies so far.
    private static func load(
        _ queues: [String], calls: Int = .max, until isOver: NIOLockedValueBox<Bool> = NIOLockedValueBox(false),
        timeout: Duration, _ url: String, _ onReply: @escaping @Sendable (Int) -> Void
    ) async throws -> Outcomes {
        let outcomes = NIOLockedValueBox(Outcomes())
        let next = NIOLockedValueBox(0)
        try await Peer.with(.url(url)) { first in
            try await Peer.with(.url(url)) { second in
                await withDiscardingTaskGroup { group in
                    for worker in 0..<128 {
                        let peer = worker.isMultiple(of: 2) ? first : second
                        group.addTask {
                            while true {
                                let number = next.withLockedValue { next in
                                    next += 1
                                    return next
                                }
                                guard number <= calls, !isOver.withLockedValue({ $0 }) else { return }
                                let deadline = ContinuousClock.now + timeout
                                let queue = queues[number % queues.count]
                                let result: Result<Message?, HareDoError>
                                do throws(HareDoError) {
                                    result = .success(try await peer.call(queue, data: "\(number)", timeout: timeout))
                                } catch {
                                    result = .failure(error)
                                }
                                let late = ContinuousClock.now - deadline
                                let right = outcomes.withLockedValue { outcomes in
                                    outcomes.latest = max(outcomes.latest, late)
                                    switch result {
                                    case .success(let reply?) where reply.text == "\(number)": outcomes.right += 1
                                    case .success(.some): outcomes.wrong += 1
                                    case .success(nil): outcomes.timedOut += 1
                                    case .failure(let error): outcomes.failed["\(error.code)", default: 0] += 1
                                    }
                                    return outcomes.right
                                }
                                onReply(right)
                            }
                        }
                    }
                }
            }
        }
        return outcomes.withLockedValue { $0 }
    }

    @Test(
        "Three share a queue: one is killed with requests in hand, one told to end, and callers hardly notice",
        arguments: TestBroker.available)
    func shared(broker: TestBroker) async throws {
        try await broker.run { url in
            let queue = TestBroker.uniqueName("instances")
            try await Self.withInstances(3, queue, milliseconds: 20, url) { instances in
                let replies = NIOLockedValueBox(0)
                let load = Task {
                    try await Self.load(["\(queue)-1"], calls: Self.calls, timeout: .seconds(5), url) { right in
                        replies.withLockedValue { $0 = max($0, right) }
                    }
                }
                let (killed, told) = (instances[0], instances[1])
                try await eventually("a third is done", within: .seconds(30)) {
                    replies.withLockedValue { $0 } >= Self.calls * 3 / 10
                }
                // Stopped first, so that it is known what it holds when it dies; and not when it happens to hold little.
                var inHand = 0
                try await eventually("it holds many") {
                    killed.signal(SIGSTOP)
                    // What it said before is being read.
                    try await Task.sleep(for: .milliseconds(50))
                    inHand = killed.inHand
                    if inHand < 10 { killed.signal(SIGCONT) }
                    return inHand >= 10
                }
                killed.signal(SIGKILL)
                try await eventually("two thirds are done", within: .seconds(30)) {
                    replies.withLockedValue { $0 } >= Self.calls * 6 / 10
                }
                told.signal(SIGTERM)
                let status = await told.end()
                let outcomes = try await load.value
                print(
                    "\(broker): \(outcomes); killed with \(inHand) in hand, told to end with \(told.begun.count) begun")
                #expect(outcomes.total == Self.calls)
                #expect(inHand >= 10)
                #expect(outcomes.right >= Self.calls * 99 / 100 && outcomes.wrong == 0)
                #expect(outcomes.latest <= .milliseconds(250))
                #expect(status == 0 && told.hasEnded)
                #expect(told.begun == told.replied && !told.begun.isEmpty)
            }
        }
    }

    @Test(
        "SIGTERM on a group of three services under load: what was begun is answered, once")
    func group() async throws {
        try await TestBroker.available.runAtOnce { url in
            let queue = TestBroker.uniqueName("group")
            let queues = (1...3).map { "\(queue)-\($0)" }
            try await Self.withInstances(1, queue, services: 3, milliseconds: 50, url) { instances in
                let instance = instances[0]
                let isTold = NIOLockedValueBox(false)
                defer { isTold.withLockedValue { $0 = true } }
                let load = Task {
                    // Time enough for what was begun to be answered within it.
                    try await Self.load(queues, until: isTold, timeout: .seconds(4), url) { _ in }
                }
                try await eventually("it is under load") { instance.inHand >= 30 }
                let began = ContinuousClock.now
                instance.signal(SIGTERM)
                isTold.withLockedValue { $0 = true }
                let status = await instance.end()
                let took = ContinuousClock.now - began
                // Those behind have nobody to answer them: they are in the queues, and end at their deadlines.
                let outcomes = try await load.value
                print("\(outcomes); ended in \(took) with status \(status), \(instance.begun.count) begun")
                #expect(status == 0 && instance.hasEnded)
                #expect(took < .seconds(10))
                #expect(instance.begun == instance.replied)
                #expect(outcomes.right == instance.replied.count && outcomes.wrong == 0)
            }
        }
    }
}
