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

/// How long a running daemon may take to answer.
private let patience = Duration.seconds(5)

struct Status: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Shows how the running daemon is, as one JSON object.",
        discussion: """
            Exits with 0 if it runs, 3 if it does not, 4 if it does not answer.

            Examples:
              haredo status
            """)

    @OptionGroup var daemon: DaemonOptions

    func run() async throws {
        let owner = try self.daemon.requireRunning()
        do {
            try StandardStreams.print(try JSONLine.of(try await self.daemon.ask("status", owner, within: patience)))
        } catch let error as DaemonOptions.NoAnswer {
            StandardStreams.complain(error.description)
            throw ExitCode(4)
        }
    }
}

struct Stop: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Has the running daemon finish what it has begun, and end.",
        discussion: """
            Returns when it has ended. If it does not answer it is sent SIGTERM, and that is said. Exits with 3 if none runs.

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
        do {
            _ = try await options.ask("stop", owner, within: patience)
        } catch {
            let reason = (error as? DaemonOptions.NoAnswer)?.reason ?? ToolFailure(error)?.message ?? "\(error)"
            StandardStreams.complain(
                "sending SIGTERM to process \(owner.process), because it was not told to stop: \(reason)")
            guard kill(owner.process, SIGTERM) == 0 else {
                throw ToolFailure("cannot send it: \(String(cString: strerror(errno)))")
            }
        }
        let drain = (try? options.file.read())?.drain ?? .seconds(10)
        guard try await options.waitForEnd(within: drain + .seconds(10)) else {
            throw ToolFailure("the daemon (process \(owner.process)) has not ended \(drain + .seconds(10)) later")
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
        do {
            let lines = try await self.daemon.ask("reload", owner, within: .seconds(60))
            guard case .list(let lines) = lines else { throw ToolFailure("the daemon answered something else") }
            for case .string(let line) in lines { try StandardStreams.print(line) }
        } catch let error as DaemonOptions.NoAnswer {
            throw ToolFailure(error.description)
        }
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
        do {
            let limit = try self.daemon.file.read().drain + patience
            _ = try await self.daemon.ask("drain", owner, within: limit)
            try StandardStreams.print("drained")
        } catch let error as DaemonOptions.NoAnswer {
            throw ToolFailure(error.description)
        }
    }
}
