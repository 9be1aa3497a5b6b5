// SPDX-License-Identifier: Apache-2.0
import ArgumentParser
import HareDo
import HareDoDaemon

#if canImport(FoundationEssentials)
    import FoundationEssentials
#else
    import Foundation
#endif

struct Config: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Writes, checks and shows the daemon's configuration.",
        discussion: """
            The file is the one of --config, or else of the environment variable HAREDO_CONFIG, or else \
            \(DaemonConfiguration.standardPath).

            Examples:
              haredo config init
              haredo config check --config ./haredo.conf
              haredo config show
            """,
        subcommands: [Init.self, Check.self, Show.self, Broker.self, Database.self])

    struct File: ParsableArguments {
        @Option(help: ArgumentHelp("The configuration file.", valueName: "file"))
        var config: String?

        private var environment: [String: String] { ProcessInfo.processInfo.environment }
        var path: String { DaemonConfiguration.path(self.config, environment: self.environment) }

        /// - Throws: all that is wrong, one line for each.
        func read() throws(ConfigurationProblems) -> DaemonConfiguration {
            try DaemonConfiguration(path: self.path, environment: self.environment)
        }
    }

    struct Init: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Writes a file that runs: a broker of the daemon's own, a queue, two plugins, a fresh key.",
            discussion: """
                What is there already is not written over.

                Examples:
                  haredo config init
                  haredo config init --config ./haredo.conf --port 5673
                """)

        @OptionGroup var file: File

        @Option(help: ArgumentHelp("The port of the broker, on loopback.", valueName: "number"))
        var port = 5672

        func validate() throws {
            guard 1...65535 ~= self.port else { throw ValidationError("--port is 1 to 65535") }
        }

        func run() async throws {
            let path = self.file.path
            let text = DaemonConfiguration.template(port: self.port, key: UUID().uuidString.lowercased())
            try NewFile.write(text, to: path)
            try StandardStreams.print("written: \(path)")
        }
    }

    struct Check: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Says what is wrong in the file, all of it, with lines and columns.",
            discussion: """
                Exits with 78 if the daemon would not start with it.

                Examples:
                  haredo config check
                  haredo config check --json
                """)

        @OptionGroup var file: File

        @Flag(help: "Print one JSON object for each mistake and each warning, and nothing else.")
        var json = false

        func run() async throws {
            guard !self.json else { return try self.list() }
            let configuration = try self.file.read()
            for warning in configuration.warnings { StandardStreams.complain("warning: \(warning.description)") }
            try StandardStreams.print("\(configuration.file): all right")
        }

        private func list() throws {
            do {
                for warning in try self.file.read().warnings { try Self.print(warning, isWarning: true) }
            } catch let problems as ConfigurationProblems {
                for problem in problems.all { try Self.print(problem, isWarning: false) }
                throw ExitCode(ToolFailure.Status(problems).rawValue)
            }
        }

        private static func print(_ problem: ConfigurationProblem, isWarning: Bool) throws {
            let line: ConfigurationValue = [
                "severity": isWarning ? "warning" : "error", "file": .string(problem.file),
                "line": .integer(Int64(problem.line)), "column": .integer(Int64(problem.column)),
                "message": .string(problem.message),
            ]
            try StandardStreams.print(try JSONLine.of(line))
        }
    }

    struct Show: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Shows all that holds, defaults included, as one JSON object. Secrets are masked.",
            discussion: """
                Examples:
                  haredo config show
                """)

        @OptionGroup var file: File

        func run() async throws { try StandardStreams.print(try JSONLine.of(try self.file.read().effective)) }
    }
}
