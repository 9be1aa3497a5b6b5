// SPDX-License-Identifier: Apache-2.0
import Foundation
import Testing

/// `Docs/client-conformance.md` says which test shows what: here its rows are held against the sources.
@Suite struct ConformancePageTests {
    private static let root = URL(filePath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
        .deletingLastPathComponent()

    private struct Row {
        var section: String
        var claim: String
        var proof: String
        /// Names such as `AMQPClientTests.ChannelTests/closesThatCrossAreBothAnswered()`.
        var tests: [String] { self.proof.matches(of: /`([A-Za-z]+\.[A-Za-z]+\/[^`]+\(\))`/).map { String($0.1) } }
        var isException: Bool { self.proof.hasPrefix("Exception:") }
    }

    private static func rows() throws -> [Row] {
        let page = try String(contentsOf: Self.root.appending(path: "Docs/client-conformance.md"), encoding: .utf8)
        var section = ""
        var rows: [Row] = []
        for line in page.split(separator: "\n") {
            if line.hasPrefix("## ") { section = String(line.dropFirst(3)) }
            let cells = line.split(separator: "|", omittingEmptySubsequences: false).dropFirst().dropLast()
                .map { $0.trimmingCharacters(in: .whitespaces) }
            guard line.hasPrefix("|"), cells.count == 2, !cells[0].allSatisfy({ $0 == "-" }),
                cells[1] != "shown by"
            else { continue }
            rows.append(Row(section: section, claim: cells[0], proof: cells[1]))
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
