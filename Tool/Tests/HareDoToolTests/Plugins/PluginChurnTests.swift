// SPDX-License-Identifier: Apache-2.0
import Foundation
import HareDo
import Testing

@Suite("Plugins that come and go under traffic", .enabled(if: isLinux))
struct PluginChurnTests {
    private struct Counts: Sendable {
        var processed = 0
        var dropped = 0
        var errors = 0
        var others: [String] = []
        var sent: Int { self.processed + self.dropped + self.errors + self.others.count }
    }

    /// A minute where time does not matter (`make test-long`), else a few seconds.
    private static let duration: Duration =
        ProcessInfo.processInfo.environment["HAREDO_LONG"] == "1" ? .seconds(60) : .seconds(3)

    @Test(
        "Every message is processed, dropped while nobody is loaded, or an error; and memory does not grow",
        .timeLimit(.minutes(3)))
    func churn() async throws {
        try await PluginFolder.with { folder in
            try folder.install("border", as: "border")
            let server = Peer(.embedded)
            server.plugins.searchPath = folder.searchPath
            try await server.connect()
            let queue = uniqueQueue()
            try await server.listen(on: queue, serving: server.plugins)
            let client = Peer(.embedded)
            try await client.connect()

            let end = ContinuousClock.now + Self.duration
            let cycles = Task {
                var cycles = 0
                var memory: [Int] = []
                while .now < end {
                    try await server.plugins.load("border", configuration: ["greeting": "1"])
                    for _ in 0..<3 {
                        try await Task.sleep(for: .milliseconds(2))
                        try await server.plugins.reload("border", configuration: ["greeting": "2"])
                    }
                    try await server.plugins.unload("border")
                    try await Task.sleep(for: .milliseconds(1))
                    cycles += 1
                    memory.append(try residentMemory())
                }
                return (cycles, memory)
            }
            let counts = try await withThrowingTaskGroup(of: Counts.self) { group in
                for _ in 0..<8 {
                    group.addTask {
                        var counts = Counts()
                        while .now < end {
                            do {
                                let reply = try await client.call(
                                    queue, headers: ["uuid": "border"],
                                    data: counts.sent % 10 == 9 ? "service error" : "greeting", timeout: .seconds(10))
                                switch reply?.text {
                                case "1", "2": counts.processed += 1
                                case let text: counts.others.append(text ?? "nothing in time")
                                }
                            } catch let error as HareDoError {
                                switch error.code {
                                case .noSuchPlugin: counts.dropped += 1
                                case .remoteFailed where error.remote?.code == "from-plugin": counts.errors += 1
                                default: counts.others.append("\(error)")
                                }
                            }
                        }
                        return counts
                    }
                }
                return try await group.reduce(into: Counts()) { all, one in
                    all.processed += one.processed
                    all.dropped += one.dropped
                    all.errors += one.errors
                    all.others += one.others
                }
            }
            let (number, memory) = try await cycles.value
            await client.disconnect()
            await server.disconnect()

            // What was there when a third was over: by then everything has been used once.
            let growth = memory[memory.count - 1] - memory[memory.count / 3]
            print(
                "ledger: \(number) times loaded, replaced thrice and unloaded: sent \(counts.sent), processed "
                    + "\(counts.processed), dropped while unloaded \(counts.dropped), errors \(counts.errors), others "
                    + "\(counts.others.count), memory \(growth / 1024) KiB more than after a third")
            #expect(counts.others.isEmpty, "\(counts.others.prefix(3))")
            #expect(counts.processed > 0)
            #expect(counts.dropped > 0)
            #expect(counts.errors > 0)
            #expect(server.statistics.unservedMessages == counts.dropped)
            #expect(server.statistics.failedAttempts == counts.errors)
            #expect(growth < 4 << 20)
        }
    }
}

/// Bytes of this process that are in memory.
private func residentMemory() throws -> Int {
    let text = try String(contentsOfFile: "/proc/self/statm", encoding: .utf8)
    let pages = try #require(text.split(separator: " ").dropFirst().first.flatMap { Int($0) })
    return pages * Int(sysconf(Int32(_SC_PAGESIZE)))
}
