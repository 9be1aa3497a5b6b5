// SPDX-License-Identifier: Apache-2.0
import TestSupport
import Testing

/// `Docs/client-conformance.md` says which test shows what: here its rows are held against the sources.
@Suite struct ConformancePageTests {
    private static func rows() throws -> [ConformancePage.Row] {
        try ConformancePage("client-conformance.md", columns: 2).rows
    }

    @Test func everyRowNamesTestsThatExist() throws {
        let tests = try ConformancePage.tests()
        #expect(tests.count > 300)
        #expect(tests.contains("AMQPClientTests.ConformancePageTests/everyRowNamesTestsThatExist()"))
        for row in try Self.rows() where !row.isException {
            #expect(!row.tests.isEmpty, "\(row.section): '\(row.claim)' names no test")
            for test in row.tests { #expect(tests.contains(test), "\(row.section): there is no \(test)") }
        }
    }

    @Test func noRowIsMissing() throws {
        let counts = try Dictionary(grouping: Self.rows().filter { !$0.isException }, by: \.section).mapValues(\.count)
        // What a correct client has to do, by the parts of the protocol.
        #expect(
            counts == [
                "Framing": 13, "Types": 14, "Handshake": 15, "Heartbeats": 5, "Channels": 12, "Connection close": 6,
                "Publishing and confirms": 13, "Consuming": 17, "Topology": 8, "Recovery": 9,
            ])
    }

    @Test func nothingElseIsLeftOut() throws {
        let exceptions = try Self.rows().filter(\.isException).map(\.claim)
        #expect(exceptions.count == 4)
        for name in ["immediate", "active=false", "requeue=false", "anonymous"] {
            #expect(exceptions.filter { $0.lowercased().contains(name) }.count == 1, "\(name)")
        }
    }
}
