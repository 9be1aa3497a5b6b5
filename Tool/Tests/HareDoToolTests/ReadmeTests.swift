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

    /// A command of a block marked `console`, and what is printed below it.
    private struct Shown {
        var words: [String]
        var output: [String] = []
    }

    private static func commands(after heading: String, in text: String) throws -> [Shown] {
        let after = try #require(text.firstRange(of: heading)?.upperBound)
        let block = try #require(text[after...].firstMatch(of: /```console\n([\s\S]*?)```/)?.1)
        return block.split(separator: "\n").reduce(into: []) { commands, line in
            if line.hasPrefix("$ ") {
                let command = line.dropFirst(2).split(separator: "#", maxSplits: 1)[0]
                commands.append(Shown(words: command.split(separator: " ").map(String.init)))
            } else if !commands.isEmpty {
                commands[commands.count - 1].output.append(String(line))
            }
        }
    }

    @Test(
        "The daemon's commands do what they say, in the README and in its document",
        arguments: [("README.md", "**A service online in one file.**"), ("Docs/daemon.md", "# The daemon")])
    func daemon(file: String, heading: String) async throws {
        let text = try String(contentsOf: Self.root.appending(path: file), encoding: .utf8)
        let commands = try Self.commands(after: heading, in: text)
        #expect(commands.count >= 5)
        try await DaemonPlace.with { place in
            let port = try freePort()
            var environment = place.environment
            environment["HAREDO_BROKER"] = "amqp://guest:guest@127.0.0.1:\(port)"
            for command in commands {
                try #require(command.words.first == "haredo")
                let words = Array(command.words.dropFirst())
                // Only the port is another, and a call may take longer.
                var more: [String] = []
                if words.starts(with: ["config", "init"]) { more = ["--port", "\(port)"] }
                if words.first == "call" { more = ["--timeout", "30"] }
                let result = try await haredo(words + more, environment: environment)
                print("ledger: \(command.words.joined(separator: " ")) took \(result.duration)")
                #expect(result.status == 0, "\(command.words): \(result.error)")
                let printed = (result.error + result.text).replacing(/process \d+/, with: "process N")
                for line in command.output {
                    let line = line.replacing(/process \d+/, with: "process N")
                    #expect(printed.split(separator: "\n").contains(Substring(line)), "\(command.words): \(printed)")
                }
            }
        }
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
