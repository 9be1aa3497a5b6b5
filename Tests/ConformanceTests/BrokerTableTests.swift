// SPDX-License-Identifier: Apache-2.0
import TestSupport
import Testing

/// `Docs/broker-conformance.md` says which test shows what: here its rows are held against the sources.
@Suite struct BrokerTableTests {
    private static func rows() throws -> [ConformancePage.Row] {
        try ConformancePage("broker-conformance.md", columns: 3).rows
    }

    @Test func everyRowNamesTestsThatExist() throws {
        let tests = try ConformancePage.tests()
        #expect(tests.count > 300)
        #expect(tests.contains("ConformanceTests.BrokerTableTests/everyRowNamesTestsThatExist()"))
        for row in try Self.rows() {
            #expect(!row.cells[1].isEmpty, "\(row.section): '\(row.claim)' has no source")
            if row.isException { continue }
            #expect(!row.tests.isEmpty, "\(row.section): '\(row.claim)' names no test")
            for test in row.tests { #expect(tests.contains(test), "\(row.section): there is no \(test)") }
        }
    }

    /// What RabbitMQ was not asked may be wrong: such rows say so.
    @Test func whatRunsOnTheEmbeddedBrokerAloneSaysSo() throws {
        for row in try Self.rows() where !row.isException {
            let isShared = row.tests.contains { $0.hasPrefix("ConformanceTests.") }
            #expect(isShared || row.proof.hasPrefix("Embedded only: "), "\(row.section): '\(row.claim)'")
        }
    }

    @Test func noRowIsMissing() throws {
        let counts = try Dictionary(grouping: Self.rows(), by: \.section).mapValues(\.count)
        // What a broker has to do that behaves as RabbitMQ, by the parts of the protocol.
        #expect(
            counts == [
                "Connections": 9, "Channels": 5, "Exchanges": 13, "Queues": 18, "Publishing": 7, "Consuming": 14,
                "Direct replies": 4, "Everywhere": 4,
            ])
        let exceptions = try Self.rows().filter(\.isException).map(\.claim)
        #expect(exceptions == ["Acknowledgements that take too long"])
    }
}
