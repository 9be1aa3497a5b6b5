// SPDX-License-Identifier: Apache-2.0
import Testing

@testable import HareDoTool

@Suite("Plans of benchmarks")
struct BenchPlanTests {
    @Test("Messages are shared out evenly, over connections and then their tasks")
    func shares() throws {
        let plan = try BenchPlan(.publish, count: 23, concurrency: 5, connections: 2)
        #expect(plan.shares(of: 23) == [[5, 5, 4], [5, 4]])
        #expect(plan.shares(of: 2) == [[1, 0, 0], [1, 0]])
        #expect(try BenchPlan(.rpc, connections: 4).concurrency == 4)
    }

    @Test("The warm-up is a tenth, and not for ever")
    func warmUp() throws {
        #expect(try BenchPlan(.rpc, count: 9).warmUp == 0)
        #expect(try BenchPlan(.rpc, count: 500).warmUp == 50)
        #expect(try BenchPlan(.rpc, count: 1_000_000).warmUp == 2000)
    }

    @Test(
        "What makes no sense is refused with what would",
        arguments: [
            (BenchPlan.Operation.publish, 0, 16, 1, 1, "--count is 1 to"), (.rpc, -5, 16, 1, 1, "--count is 1 to"),
            (.publish, 10, -1, 1, 1, "--size is 0 to 16777216"), (.publish, 10, 16_777_217, 1, 1, "16 MiB"),
            (.send, 10, 16, 0, 1, "--concurrency is 1 to 1000"),
            (.send, 9999, 16, 1001, 1, "--concurrency is 1 to 1000"),
            (.send, 10, 16, 1, 0, "--connections is 1 to 100"), (.send, 999, 16, 101, 101, "--connections is 1 to 100"),
            (.rpc, 10, 16, 2, 3, "leaves some of the 3 connections"), (.rpc, 3, 16, 4, 1, "leaves some of the 4 tasks"),
            (.consume, 129, 16 << 20, 1, 1, "--count is 127 at most"),
        ])
    func refused(
        operation: BenchPlan.Operation, count: Int, size: Int, concurrency: Int, connections: Int, mentions: String
    ) {
        let error = #expect(throws: ToolFailure.self) {
            try BenchPlan(operation, count: count, size: size, concurrency: concurrency, connections: connections)
        }
        #expect(error?.message.contains(mentions) == true, "\(error?.message ?? "")")
    }

    @Test("The largest that is said to work is accepted")
    func bounds() throws {
        #expect(try BenchPlan(.consume, count: 127, size: 16 << 20).count == 127)
        #expect(
            try BenchPlan(.publish, count: 1000, size: 16 << 20, concurrency: 1000, connections: 100).size == 16 << 20)
    }
}
