// SPDX-License-Identifier: Apache-2.0
import Foundation

/// A page of `Docs` that says in tables which test shows what, and the tests that there are.
public struct ConformancePage {
    public struct Row {
        public var section: String
        /// What is promised, what else the table says of it, and the proof.
        public var cells: [String]

        public var claim: String { self.cells.first ?? "" }
        public var proof: String { self.cells.last ?? "" }
        /// Names such as `AMQPClientTests.ChannelTests/closesThatCrossAreBothAnswered()`.
        public var tests: [String] {
            self.proof.matches(of: /`([A-Za-z]+\.[A-Za-z]+\/[^`]+\(\))`/).map { String($0.1) }
        }
        public var isException: Bool { self.proof.hasPrefix("Exception:") }
    }

    private static let root = URL(filePath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
        .deletingLastPathComponent()

    public let rows: [Row]

    /// - Parameters:
    ///   - name: of the file in `Docs`.
    ///   - columns: of the tables that count; the last one is headed `shown by`.
    public init(_ name: String, columns: Int) throws {
        let page = try String(contentsOf: Self.root.appending(path: "Docs/\(name)"), encoding: .utf8)
        var section = ""
        var rows: [Row] = []
        for line in page.split(separator: "\n") {
            if line.hasPrefix("## ") { section = String(line.dropFirst(3)) }
            let cells = line.split(separator: "|", omittingEmptySubsequences: false).dropFirst().dropLast()
                .map { $0.trimmingCharacters(in: .whitespaces) }
            guard line.hasPrefix("|"), cells.count == columns, !cells[0].allSatisfy({ $0 == "-" }),
                cells.last != "shown by"
            else { continue }
            rows.append(Row(section: section, cells: cells))
        }
        self.rows = rows
    }

    /// All tests there are, as `Target.Suite/test()`.
    public static func tests() throws -> Set<String> {
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
                // Suites stand at the margin; what is nested is no suite here. Most lines begin with none of these, and
                // to say so an expression that is not optimised takes ten times as long.
                let first = line.utf8.first
                if first == UInt8(ascii: "@") || first == UInt8(ascii: "s") || first == UInt8(ascii: "e"),
                    let match = line.firstMatch(of: /^(?:@Suite.* )?(?:struct|extension) (\w+)/)
                {
                    suite = String(match.1)
                }
                if line.contains("@Test"), line.firstMatch(of: /^ *(?:@MainActor )?@Test/) != nil { isTest = true }
                guard isTest, let match = line.firstMatch(of: /func (\w+)/) else { continue }
                tests.insert("\(target).\(suite)/\(match.1)()")
                isTest = false
            }
        }
        return tests
    }
}
