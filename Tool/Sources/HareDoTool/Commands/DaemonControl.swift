// SPDX-License-Identifier: Apache-2.0
import ArgumentParser
import HareDo
import HareDoDaemon

#if canImport(Glibc)
    import Glibc
#elseif canImport(Musl)
    import Musl
#elseif canImport(Darwin)
    import Darwin
#endif

struct Stop: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Has the running daemon finish what it has begun, and end.",
        discussion: """
            Returns when it has ended. If it does not answer it is sent SIGTERM, and that is said. Exits with 3 if none \
            runs, and with 5 if it refuses the command.

            Examples:
              haredo stop
            """)

    @OptionGroup var daemon: DaemonOptions

    func run() async throws {
        let owner = try self.daemon.requireRunning()
        try await Self.stop(owner, self.daemon)
        try StandardStreams.print("stopped")
    }

    static func stop(_ owner: PidFile.Owner, _ options: DaemonOptions) async throws {
        try await Progress.during("the daemon finishes what it has begun") {
            do {
                _ = try await options.ask("stop", of: owner)
            } catch {
                let failure = ToolFailure(error)
                // It is there, and does not want to be told by whoever has another key.
                if failure?.status == ToolFailure.Status.refused.rawValue { throw error }
                StandardStreams.complain(
                    "sending SIGTERM to process \(owner.process), because it was not told to stop: "
                        + (failure?.message ?? "\(error)"))
                guard kill(owner.process, SIGTERM) == 0 else {
                    throw ToolFailure("cannot send it: \(String(cString: strerror(errno)))")
                }
            }
            let limit = ((try? options.file.read())?.drain ?? .seconds(10)) + .seconds(10)
            guard try await options.waitForEnd(within: limit) else {
                throw ToolFailure("the daemon (process \(owner.process)) has not ended \(limit) later", .timedOut)
            }
        }
    }
}

struct Restart: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Stops the daemon, if it runs, and starts it.",
        discussion: """
            With a configuration that is wrong it is not stopped.

            Examples:
              haredo restart
            """)

    @OptionGroup var daemon: DaemonOptions

    func run() async throws {
        _ = try self.daemon.file.read()
        if let owner = self.daemon.running { try await Stop.stop(owner, self.daemon) }
        var start = Start()
        start.foreground = false
        start.daemon = self.daemon
        try await start.startInBackground()
    }
}

struct Reload: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Has the running daemon read its configuration again, and says what it did.",
        discussion: """
            Plugins whose configuration has changed are replaced, new ones loaded, and those that are gone unloaded. What \
            else has changed takes a restart; then nothing is done. Exits with 3 if none runs.

            Examples:
              haredo reload
            """)

    @OptionGroup var daemon: DaemonOptions

    func run() async throws {
        let owner = try self.daemon.requireRunning()
        let daemon = self.daemon
        let lines = try await Progress.during("the daemon reads its configuration again") {
            try await daemon.ask("reload", of: owner, within: .seconds(60))
        }
        guard case .list(let lines) = lines else { throw ToolFailure("the daemon answered something else") }
        for case .string(let line) in lines { try StandardStreams.print(line) }
    }
}

struct Drain: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Has the running daemon take no more messages, and finish what it has begun.",
        discussion: """
            It stays, and answers `haredo status`. Exits with 3 if none runs.

            Examples:
              haredo drain
            """)

    @OptionGroup var daemon: DaemonOptions

    func run() async throws {
        let owner = try self.daemon.requireRunning()
        let limit = try self.daemon.file.read().drain + DaemonOptions.patience
        let daemon = self.daemon
        _ = try await Progress.during("the daemon finishes what it has begun") {
            try await daemon.ask("drain", of: owner, within: limit)
        }
        try StandardStreams.print("drained")
    }
}

struct Control: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Has the running daemon do a command that one of its modules brings.",
        discussion: """
            Which there are, it says itself: `haredo control commands`. What the command returns is printed as JSON.

            Examples:
              haredo control commands
              haredo control rotate -a table=log -a days:=30
            """)

    @Argument(help: "The command's name.")
    var name: String

    @Option(
        name: .shortAndLong,
        help: ArgumentHelp(
            "An argument: name=text, or name:=value for a number, true, false or null. May be repeated.",
            valueName: "name=value"), transform: { try asUsage($0, HeaderArgument.init(_:)) })
    var argument: [HeaderArgument] = []

    @Option(help: ArgumentHelp("How long it may take, in seconds.", valueName: "seconds"))
    var timeout = Seconds(5)

    @OptionGroup var daemon: DaemonOptions

    func run() async throws {
        let owner = try self.daemon.requireRunning()
        let arguments = Dictionary(self.argument.map { ($0.name, $0.configuration) }, uniquingKeysWith: { $1 })
        let (name, timeout, daemon) = (self.name, self.timeout.duration, self.daemon)
        let result = try await Progress.during("the daemon does '\(name)'") {
            try await daemon.ask(name, arguments, of: owner, within: timeout)
        }
        try StandardStreams.print(try JSONLine.of(result))
    }
}

extension HeaderArgument {
    fileprivate var configuration: ConfigurationValue {
        switch self.value {
        case .boolean(let flag): .bool(flag)
        case .integer(let number): .integer(number)
        case .double(let number): .double(number)
        case .string(let text): .string(text)
        default: .null
        }
    }
}
