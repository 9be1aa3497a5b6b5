// SPDX-License-Identifier: Apache-2.0
import Foundation
import Subprocess
import Testing

#if canImport(System)
    import System
#else
    import SystemPackage
#endif

@Suite("The README")
struct ReadmeTests {
    /// The root of the repository.
    private static let root = URL(fileURLWithPath: #filePath)
        .deletingLastPathComponent().deletingLastPathComponent().deletingLastPathComponent().deletingLastPathComponent()

    @Test("Its program is what is compiled here, and prints what it says", .timeLimit(.minutes(1)))
    func program() async throws {
        let readme = try String(contentsOf: Self.root.appending(path: "README.md"), encoding: .utf8)
        let program = try #require(readme.firstMatch(of: /```swift\n([\s\S]*?)```/)?.1)
        let source = Self.root.appending(path: "Tool/Sources/ReadmeProgram/main.swift")
        #expect(try String(contentsOf: source, encoding: .utf8) == String(program))

        let executable = FilePath(toolPath).removingLastComponent().appending("ReadmeProgram")
        let result = try await Subprocess.run(.path(executable), output: .string(limit: 10_000), error: .discarded)
        #expect(result.terminationStatus.isSuccess)
        #expect(result.standardOutput == "1 -> 2\n2 -> 3\n3 -> 4\n")
        #expect(readme.contains("It prints `1 -> 2`, `2 -> 3`, `3 -> 4`."))
    }

    @Test("Its commands exist")
    func commands() throws {
        let makefile = try String(contentsOf: Self.root.appending(path: "Makefile"), encoding: .utf8)
        for target in ["demo", "test", "build", "format", "format-check"] {
            #expect(makefile.contains("\n\(target):"), "make \(target)")
        }
        let readme = try String(contentsOf: Self.root.appending(path: "README.md"), encoding: .utf8)
        for file in readme.matches(of: /\]\(([A-Za-z][^):#]*)\)/).map({ String($0.1) }) {
            #expect(FileManager.default.fileExists(atPath: Self.root.appending(path: file).path), "\(file)")
        }
    }
}
