// SPDX-License-Identifier: Apache-2.0
import Testing

extension ToolTests {
    private static let tenTrue = (1...10).map { "\($0) -> \($0 + 1) true" }
    private static let tenFalse = (1...10).map { "\($0) -> \($0 + 2) false" }

    private static func checkDemo(_ result: ToolResult) throws {
        #expect(result.status == 0, "\(result.error)")
        #expect(Array(result.lines.prefix(10)) == self.tenTrue)
        let rate = try #require(result.text.firstMatch(of: /(\d+) calls\/s .* 64 in flight/)?.1)
        #expect(Int(rate) ?? 0 > 0)
        #expect(result.text.contains("global concurrent executor"))
        #expect(result.text.contains(/latency: p50 \d+ µs, p90 \d+ µs, p99 \d+ µs, max \d+ µs/))
        #expect(result.text.contains(/< +\d+ µs  #+ +[\d.]+ %/))
    }

    @Test("The demonstration needs nothing installed")
    func demo() async throws {
        try Self.checkDemo(try await haredo("demo", broker: "amqp://127.0.0.1:1"))
    }

    @Test("The demonstration notices a broken service")
    func demoBroken() async throws {
        let result = try await haredo("demo", "--break")
        #expect(result.status == 1)
        #expect(result.lines == Self.tenFalse)
        #expect(result.error == "haredo: 10 of 10 replies were wrong\n")
    }

    @Test("The demonstration runs on any broker", arguments: TestBroker.available)
    func demoOn(broker: TestBroker) async throws {
        try await broker.run { url in
            try Self.checkDemo(try await haredo("demo", "--broker", url))
            #expect(try await haredo("demo", "--break", "--broker", url).status == 1)
        }
    }

    @Test("Two demonstrations share a broker", arguments: TestBroker.available)
    func demoTwice(broker: TestBroker) async throws {
        try await broker.run { url in
            async let first = haredo("demo", "--broker", url)
            async let second = haredo("demo", "--broker", url)
            try Self.checkDemo(try await first)
            try Self.checkDemo(try await second)
        }
    }
}
