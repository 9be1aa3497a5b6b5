// SPDX-License-Identifier: Apache-2.0
import AMQPClient
import Foundation
import Synchronization
import Testing

@testable import HareDoTool

/// What `--json` prints.
private struct BenchJSON: Decodable {
    struct Latency: Decodable {
        var p50, p90, p99, max: Double
    }
    var operation: String
    var count, size, concurrency, connections: Int
    var executor: String
    var seconds, rate, cpu_us_per_message: Double
    var latency_us: Latency

    static let keys: Set<String> = [
        "operation", "count", "size", "concurrency", "connections", "executor", "seconds", "rate", "cpu_us_per_message",
        "latency_us",
    ]

    /// Checks that it is one object on one line, and that the figures can be true of each other.
    init(_ result: ToolResult) throws {
        #expect(result.status == 0, "\(result.error)")
        #expect(result.error.isEmpty)
        #expect(result.lines.count == 1)
        let data = Data(result.output)
        let object = try #require(try JSONSerialization.jsonObject(with: data) as? [String: Any])
        #expect(Set(object.keys) == Self.keys)
        self = try JSONDecoder().decode(Self.self, from: data)
        self.check()
    }

    private func check() {
        let count = Double(self.count)
        #expect(self.seconds > 0)
        #expect(abs(self.rate - count / self.seconds) < 1 + self.rate / 1000)
        let cores = Double(ProcessInfo.processInfo.activeProcessorCount)
        #expect(self.cpu_us_per_message > 0)
        // Accounting by the system may be a tick of 10 ms off.
        #expect(self.cpu_us_per_message * count / 1e6 <= self.seconds * cores * 1.1 + 0.02)
        let latency = self.latency_us
        #expect(0 < latency.p50)
        #expect(latency.p50 <= latency.p90)
        #expect(latency.p90 <= latency.p99)
        #expect(latency.p99 <= latency.max)
        #expect(latency.max <= self.seconds * 1e6)
        guard self.operation == "rpc" else { return }
        // It goes over sockets four times: no call takes less, on whatever machine.
        #expect(latency.p50 >= 5)
        // All is spent in calls, as many at once as are under way; half of them take at least the median.
        let spent = self.seconds * 1e6 * Double(self.concurrency)
        // Of the time of a single call, its beginning and its end may be the larger part.
        #expect(self.count == 1 || latency.max * count >= spent / 2)
        #expect(latency.p50 * count / 2 <= spent * 1.05)
    }
}

/// Runs a benchmark that is disturbed while it measures. One that is over before gets twice as many messages.
///
/// - Parameter run: runs and disturbs it.
private func disturbed(
    from count: Int, _ run: (_ count: Int) async throws -> ToolResult
) async throws -> ToolResult {
    var count = count
    while true {
        let bench = try await run(count)
        // It ends: more messages than there may be are an error.
        guard bench.status == 0 else { return bench }
        count *= 2
    }
}

extension ToolTests {
    @Test("Every operation is measured on every executor", arguments: TestBroker.available)
    func bench(broker: TestBroker) async throws {
        try await broker.run { url in
            for operation in BenchPlan.Operation.allCases {
                for executor in BenchPlan.Executor.allCases {
                    let json = try BenchJSON(
                        await haredo(
                            "bench", operation.rawValue, "--from", executor.rawValue, "--count", "200", "--json",
                            "--broker", url))
                    #expect(json.operation == operation.rawValue)
                    #expect(json.executor == executor.rawValue)
                    #expect(json.count == 200)
                    #expect(json.size == 16)
                    #expect(json.concurrency == 1)
                    #expect(json.connections == 1)
                }
            }
        }
    }

    @Test("Work is spread over tasks and connections", arguments: TestBroker.available)
    func benchSpread(broker: TestBroker) async throws {
        try await broker.run { url in
            for operation in BenchPlan.Operation.allCases {
                let json = try BenchJSON(
                    await haredo(
                        "bench", operation.rawValue, "--count", "331", "--size", "5000", "--concurrency", "7",
                        "--connections", "3", "--json", "--broker", url))
                #expect(json.count == 331)
                #expect(json.size == 5000)
                #expect(json.concurrency == 7)
                #expect(json.connections == 3)
                #expect(json.executor == "pool")
            }
        }
    }

    @Test("As many messages are published as are asked for", arguments: TestBroker.available)
    func benchPublishes(broker: TestBroker) async throws {
        try await broker.run { url in
            let connection = try await AMQPConnection.connect(AMQPConfiguration(uri: url))
            let channel = try await connection.openChannel()
            // Somebody is there after all, and counts.
            try await channel.declareQueue(BenchPublishSite.nowhere, exclusive: true)
            let json = try BenchJSON(
                await haredo("bench", "publish", "--count", "1234", "--concurrency", "2", "--json", "--broker", url))
            #expect(json.count == 1234)
            let inQueue = try await channel.purgeQueue(BenchPublishSite.nowhere)
            await connection.close()
            // With the warm-up.
            #expect(inQueue == 1234 + 123)
        }
    }

    @Test("One message of no bytes is measured as well", arguments: BenchPlan.Operation.allCases)
    func benchOne(operation: BenchPlan.Operation) async throws {
        let json = try BenchJSON(
            await haredo("bench", operation.rawValue, "--count", "1", "--size", "0", "--json"))
        #expect(json.latency_us.p50 == json.latency_us.max)
    }

    @Test("For people there is a table; nothing has to be installed")
    func benchTable() async throws {
        let result = try await haredo("bench", "rpc", "--count", "100", "--from", "main", broker: "amqp://127.0.0.1:1")
        #expect(result.status == 0, "\(result.error)")
        #expect(result.error.isEmpty)
        #expect(
            result.text.contains(
                /^rpc: 100 calls of 16 bytes.*\ntasks +1 on the main actor\nconnections +1\ntime +[\d.]+ s\n/))
        #expect(result.text.contains(/\nrate +\d+ calls\/s\nprocessor +[\d.]+ µs per call, of this process\n/))
        let number = #"([\d.]+) µs"#
        let line = try Regex("\nlatency +p50 \(number), p90 \(number), p99 \(number), max \(number)\n$")
        #expect(result.text.contains(line))
    }

    @Test("On a terminal one sees how far it is", .enabled(if: isLinux))
    func benchLive() async throws {
        // `script` runs a command on a terminal of its own, and copies what it writes.
        let command = "\(toolPath) bench rpc --count 1000000"
        let result = try await withShell("exec script -qefc '\(command)' /dev/null", broker: "") { tool in
            try await tool.wait(for: " of 1000000 (", in: .output)
            try await tool.wait(for: "/s\u{1B}[K", in: .output)
            await tool.terminate()
        }
        #expect(!result.text.contains("latency"))
    }

    @Test("A benchmark that is interrupted leaves nothing behind", arguments: TestBroker.available)
    func benchInterrupted(broker: TestBroker) async throws {
        try await broker.run { url in
            for (operation, count) in [
                ("publish", 9_999_999), ("consume", 50_000), ("send", 9_999_999), ("rpc", 999_999),
            ] {
                let bench = try await disturbed(from: count) { count in
                    try await withTool(
                        "bench", operation, "--count", "\(count)", "--json", "--broker", url, "--verbose"
                    ) { bench in try await bench.wait(for: "measuring", within: .seconds(80)) }
                }
                #expect(bench.status == 130)
                #expect(bench.output.isEmpty)
                #expect(bench.error.contains("haredo: interrupted\n"))
                let queues = bench.error.matches(of: /amqp\.queue=(haredo\.bench\.\w+)/).map { String($0.1) }
                #expect(queues.isEmpty == (operation == "publish"))
                for queue in queues {
                    // A broker may take a moment to remove what belonged to a connection.
                    try await eventually("the queue is gone") {
                        try await haredo("send", queue, broker: url).error.contains("nobody listens")
                    }
                }
            }
        }
    }

    @Test("A benchmark is interrupted while it is set up as well", arguments: TestBroker.available)
    func benchInterruptedEarly(broker: TestBroker) async throws {
        try await broker.run { url in
            let bench = try await withTool(
                "bench", "consume", "--count", "5000000", "--broker", url, "--verbose"
            ) { bench in try await bench.wait(for: "made a queue") }
            #expect(bench.status == 130)
            #expect(!bench.error.contains("measuring"))
        }
    }

    @Test("A benchmark that loses its broker says so", arguments: BenchPlan.Operation.allCases)
    func benchBrokerGone(operation: BenchPlan.Operation) async throws {
        let bench = try await disturbed(from: operation == .consume ? 50_000 : 9_999_999) { count in
            let result = Mutex<ToolResult?>(nil)
            try await withTool("broker", "--listen", "127.0.0.1:0", limit: .seconds(120)) { broker in
                let url = try await broker.firstLine()
                let bench = try await withTool(
                    "bench", operation.rawValue, "--count", "\(count)", "--json", "--broker", url, "--verbose"
                ) { bench in
                    try await bench.wait(for: "measuring", within: .seconds(80))
                    await broker.interrupt()
                    // One that was over already says nothing.
                    _ = try? await bench.wait(for: "haredo: ")
                }
                result.withLock { $0 = bench }
            }
            guard let bench = result.withLock({ $0 }) else { throw ToolTestError("there is no result") }
            return bench
        }
        #expect(bench.status == 1)
        #expect(bench.output.isEmpty)
        let last = try #require(bench.error.split(separator: "\n").last { $0.hasPrefix("haredo: ") })
        #expect(last.contains("connection"), "\(last)")
    }

    @Test("A benchmark without a broker says so", arguments: BenchPlan.Operation.allCases)
    func benchNoBroker(operation: BenchPlan.Operation) async throws {
        let result = try await haredo("bench", operation.rawValue, "--json", "--broker", "amqp://127.0.0.1:1")
        #expect(result.status == 1)
        #expect(result.output.isEmpty)
        #expect(result.error.hasPrefix("haredo: no broker at 127.0.0.1:1 ("))
        #expect(result.error.split(separator: "\n").count == 1)
    }
}
