// SPDX-License-Identifier: Apache-2.0
public import ArgumentParser
import HareDo
import HareDoDaemon

#if canImport(Glibc)
    import Glibc
#elseif canImport(Musl)
    import Musl
#elseif canImport(Darwin)
    import Darwin
#endif

/// The command `haredo`.
public struct HareDoTool: AsyncParsableCommand {
    public static let configuration = CommandConfiguration(
        commandName: "haredo",
        abstract: "Sends messages between programs, and runs what answers them.",
        discussion: """
            Try it with nothing installed:
              haredo demo
            Or in three terminals:
              haredo broker
              haredo listen rpc --echo
              haredo call rpc -d jujifruit

            Commands other than `broker`, `demo` and `bench` use the broker given by --broker, or else by the environment variable \
            HAREDO_BROKER, or else RabbitMQ on this machine (amqp://guest:guest@localhost:5672).

            Exit status: 0 done, 1 failed, 2 timed out, 64 wrong usage; of commands to the daemon also 3 not running, 4 no \
            answer, 5 refused, 6 running already, 7 a module or plugin could not be loaded, 66 no configuration, 69 no \
            broker, 78 wrong configuration. Errors and logs go to standard error.
            """,
        version: Daemon.version,
        subcommands: [
            Demo.self, Broker.self, Call.self, Send.self, Listen.self, Parked.self, Services.self, Ping.self,
            Stats.self,
            PluginCommand.self, Config.self, Start.self, Stop.self, Restart.self, Reload.self, Drain.self, Status.self,
            Control.self, Bench.self,
        ])

    public init() {}

    /// Runs what the process's arguments say, and ends the process.
    public static func main() async {
        StandardStreams.reserve()
        // A reader that went away is an error of the write that noticed it, not the end of the process.
        signal(SIGPIPE, SIG_IGN)
        do {
            var command = try Self.parseAsRoot()
            if var command = command as? any AsyncParsableCommand {
                try await command.run()
            } else {
                try command.run()
            }
        } catch {
            Self.leave(with: error)
        }
    }

    private static func leave(with error: any Error) -> Never {
        if let failure = ToolFailure(error) {
            StandardStreams.complain(failure.message)
            Self.exit(status: failure.status)
        }
        // From the argument parser: help and version, which are no errors, and wrong usage.
        let status = Self.exitCode(for: error).rawValue
        let message = Self.fullMessage(for: error)
        if status == 0 {
            try? StandardStreams.write(message + "\n", to: .output)
        } else if let text = message.wholeMatch(of: /Error: (.*)/.dotMatchesNewlines())?.1 {
            StandardStreams.complain(String(text))
        } else if !message.isEmpty {
            StandardStreams.complain(message)
        }
        Self.exit(status: status)
    }

    private static func exit(status: Int32) -> Never {
        #if canImport(Glibc)
            Glibc.exit(status)
        #elseif canImport(Musl)
            Musl.exit(status)
        #else
            Darwin.exit(status)
        #endif
    }
}
