// SPDX-License-Identifier: Apache-2.0
import Foundation
import Testing

/// The clients of other makers that the tests need, and whether they are here.
enum ForeignSoftware {
    static let python = "/usr/bin/python3"
    static let ruby = "/usr/bin/ruby"
    /// Debian's packages; `Scripts/test.sh` installs them.
    static let packages = "python3-pika python3-amqp ruby-bunny amqp-tools"
    /// Where the programs are.
    static let peers = URL(filePath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
        .appending(path: "Peers")

    struct Missing: Error, CustomStringConvertible {
        let what: [String]
        var description: String {
            "missing: \(self.what.joined(separator: ", ")); Scripts/install-packages.sh \(ForeignSoftware.packages)"
        }
    }

    /// What is not installed. Looked up once.
    private static let missing = Task {
        var missing: [String] = []
        for (name, executable, arguments) in [
            ("pika for \(Self.python)", Self.python, ["-c", "from pika import BlockingConnection"]),
            ("py-amqp for \(Self.python)", Self.python, ["-c", "from amqp import Connection"]),
            ("Bunny for \(Self.ruby)", Self.ruby, ["-e", "require 'bunny'"]),
            ("amqp-tools", "/usr/bin/amqp-consume", ["--help"]),
        ] where await !Self.works(executable, arguments) {
            missing.append(name)
        }
        guard !missing.isEmpty else { return missing }
        FileHandle.standardError.write(
            Data("\n!!! Not tested with programs in other languages. \(Missing(what: missing)) !!!\n\n".utf8))
        return missing
    }

    private static func works(_ executable: String, _ arguments: [String]) async -> Bool {
        guard let child = try? Child(executable, arguments, environment: [:], input: nil) else { return false }
        let watchdog = Task {
            try await Task.sleep(for: .seconds(20))
            child.kill()
        }
        defer { watchdog.cancel() }
        return await child.end() == 0
    }

    /// In CI they have to be there: there the tests run, and fail without them.
    static var isExpected: Bool {
        get async { await Self.missing.value.isEmpty || ProcessInfo.processInfo.environment["CI"] != nil }
    }

    static func require() async throws {
        let missing = await Self.missing.value
        guard missing.isEmpty else { throw Missing(what: missing) }
    }
}

extension Trait where Self == ConditionTrait {
    /// Skips what needs programs in other languages where they are not installed, but not in CI.
    static var foreignSoftware: Self {
        .enabled("needs the packages \(ForeignSoftware.packages)") { await ForeignSoftware.isExpected }
    }
}

/// The languages in which there is a program for each purpose.
enum Language: String, Sendable, CaseIterable, CustomStringConvertible {
    case python
    case ruby

    var description: String { self.rawValue }

    /// The file of a program in this language.
    func program(_ name: String) -> String { name + (self == .python ? ".py" : ".rb") }
}
