// SPDX-License-Identifier: Apache-2.0
import Foundation
import Testing

/// `Docs/broker-conformance.md` says which test shows what: here its rows are held against the sources.
@Suite struct BrokerTableTests {
    private static let root = URL(filePath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
        .deletingLastPathComponent()

    private struct Row {
        var section: String
        var claim: String
        var source: String
        var proof: String
        /// Names such as `ConformanceTests.ConsumeRuleTests/requeueing()`.
        var tests: [String] { self.proof.matches(of: /`([A-Za-z]+\.[A-Za-z]+\/[^`]+\(\))`/).map { String($0.1) } }
        var isException: Bool { self.proof.hasPrefix("Exception:") }
    }

    private static func rows() throws -> [Row] {
        let page = try String(contentsOf: Self.root.appending(path: "Docs/broker-conformance.md"), encoding: .utf8)
        var section = ""
        var rows: [Row] = []
        for line in page.split(separator: "\n") {
            if line.hasPrefix("## ") { section = String(line.dropFirst(3)) }
            let cells = line.split(separator: "|", omittingEmptySubsequences: false).dropFirst().dropLast()
                .map { $0.trimmingCharacters(in: .whitespaces) }
            guard line.hasPrefix("|"), cells.count == 3, !cells[0].allSatisfy({ $0 == "-" }),
                cells[2] != "shown by"
            else { continue }
            rows.append(Row(section: section, claim: cells[0], source: cells[1], proof: cells[2]))
        }
        return rows
    }

    /// All tests there are, as `Target.Suite/test()`.
    private static func tests() throws -> Set<String> {
        var tests: Set<String> = []
        let folder = Self.root.appending(path: "Tests")
        let files = FileManager.default.enumerator(at: folder, includingPropertiesForKeys: nil)
        while let file = files?.nextObject() as? URL {
            guard file.pathExtension == "swift" else { continue }
            let target = file.path(percentEncoded: false)
                .dropFirst(folder.path(percentEncoded: false).count).split(separator: "/")[0]
            var suite = ""
            var isTest = false
            for line in try String(contentsOf: file, encoding: .utf8).split(separator: "\n") {
                // Suites stand at the margin; what is nested is no suite here.
                if let match = line.firstMatch(of: /^(?:@Suite.* )?(?:struct|extension) (\w+)/) {
                    suite = String(match.1)
                }
                if line.firstMatch(of: /^ *(?:@MainActor )?@Test/) != nil { isTest = true }
                guard isTest, let match = line.firstMatch(of: /func (\w+)/) else { continue }
                tests.insert("\(target).\(suite)/\(match.1)()")
                isTest = false
            }
        }
        return tests
    }

    @Test func everyRowNamesTestsThatExist() throws {
        let tests = try Self.tests()
        #expect(tests.count > 300)
        #expect(tests.contains("ConformanceTests.BrokerTableTests/everyRowNamesTestsThatExist()"))
        for row in try Self.rows() {
            #expect(!row.source.isEmpty, "\(row.section): '\(row.claim)' has no source")
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
