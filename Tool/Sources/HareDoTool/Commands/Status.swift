// SPDX-License-Identifier: Apache-2.0
import ArgumentParser
import HareDo
import HareDoDaemon

struct Status: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Shows how the running daemon is, as one JSON object.",
        discussion: """
            Exits with 0 if it runs, 3 if it does not, 4 if it does not answer. With --watch it shows a table instead, \
            again and again, until it is interrupted or the daemon has ended.

            Examples:
              haredo status
              haredo status --watch
            """)

    @Flag(help: "Show a table, and refresh it.")
    var watch = false

    @Option(help: ArgumentHelp("With --watch: how often, in seconds.", valueName: "seconds"))
    var interval = Seconds(1)

    @OptionGroup var daemon: DaemonOptions

    func run() async throws {
        guard self.watch else {
            try StandardStreams.print(try JSONLine.of(try await self.ask("status")))
            return
        }
        let paint = Paint(.output)
        let isTerminal = StandardStreams.isTerminal(.output)
        while true {
            let answer = ConfigurationReader(try await self.askOrEnd("stats"), of: "the daemon's answer")
            let table = StatusTable(try answer.decode(DaemonStatistics.self), paint)
            // From the top of an empty screen; into a file or a pipe one below the other.
            let home = isTerminal ? "\u{1B}[H\u{1B}[2J" : ""
            try StandardStreams.write(home + table.lines.joined(separator: "\n") + "\n", to: .output)
            try await Task.sleep(for: self.interval.duration)
        }
    }

    /// - Throws: that it is not running, if it ended while it was asked.
    private func askOrEnd(_ command: String) async throws -> ConfigurationValue {
        do {
            return try await self.ask(command)
        } catch let failure as ToolFailure where failure.status == ToolFailure.Status.noAnswer.rawValue {
            guard try await self.daemon.waitForEnd(within: DaemonOptions.patience) else { throw failure }
            throw ToolFailure("the daemon is not running", .notRunning)
        }
    }

    private func ask(_ command: String) async throws -> ConfigurationValue {
        let owner = try self.daemon.requireRunning()
        let daemon = self.daemon
        return try await Progress.during("the daemon has not answered yet") {
            try await daemon.ask(command, of: owner)
        }
    }
}

/// A daemon and its plugins, for people.
struct StatusTable {
    let lines: [String]

    init(_ statistics: DaemonStatistics, _ paint: Paint) {
        let isWell = statistics.isHealthy && statistics.phase == .running
        let phase = statistics.phase.rawValue + (statistics.isHealthy ? "" : ", not healthy")
        var lines = [
            "\(paint(isWell ? .green : .red, phase))  queue \(statistics.queue)  process \(statistics.process)  "
                + "up \(Duration.seconds(statistics.uptime.rounded()).formatted)  instance \(statistics.instance)",
            "\(statistics.unserved) unserved, \(statistics.expired) expired, \(statistics.parked) parked, "
                + "\(statistics.refusedCommands) commands refused", "",
        ]
        let rows = statistics.plugins.map(LoadedPluginRow.init)
        lines += Columns.aligned([LoadedPluginRow.heading] + rows.map(\.columns))
        self.lines = lines
    }
}

/// A plugin that is loaded, as a row of a table.
struct LoadedPluginRow {
    static let heading = ["plugin", "messages", "errors", "refused", "in flight", "mean", "source"]
    let columns: [String]

    init(_ plugin: PluginInformation) {
        let mean = plugin.messages == 0 ? 0 : plugin.seconds / Double(plugin.messages) * 1000
        self.columns = [
            plugin.name, "\(plugin.messages)", "\(plugin.errors)", "\(plugin.refused)", "\(plugin.inFlight)",
            "\((mean * 1000).rounded() / 1000) ms", plugin.source.description,
        ]
    }
}

extension Duration {
    /// `3d 04:05:06`, for people.
    fileprivate var formatted: String {
        let seconds = self.components.seconds
        let (days, hours, minutes) = (seconds / 86400, seconds / 3600 % 24, seconds / 60 % 60)
        let time = [hours, minutes, seconds % 60].map { $0 < 10 ? "0\($0)" : "\($0)" }.joined(separator: ":")
        return (days > 0 ? "\(days)d " : "") + time
    }
}
