// SPDX-License-Identifier: Apache-2.0
import ArgumentParser
import HareDo

struct Services: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Shows the services that run, and what they have done.",
        discussion: """
            Asks all services of HareDo at the broker, or those of one name, and waits for their answers. Exits with 1 if \
            none answered.

            Examples:
              haredo services
              haredo services calculator --json
            """)

    @Argument(help: "Only the instances of the service with this name.")
    var name: String?

    @Option(help: ArgumentHelp("How long to wait for answers, in seconds.", valueName: "seconds"))
    var timeout = Seconds(1)

    @Option(help: ArgumentHelp("The namespace of the services, if they have one.", valueName: "name"))
    var namespace = ""

    @Flag(help: "Print everything there is, one JSON object for each service.")
    var json = false

    @OptionGroup var broker: BrokerOptions
    @OptionGroup var common: CommonOptions

    func run() async throws {
        self.common.apply()
        var configuration = try self.broker.configuration()
        configuration.namespace = self.namespace
        let reports = try await Peer.with(configuration) { peer in
            try await peer.services(
                self.name.map { .named($0) } ?? .all, asking: .statistics, within: self.timeout.duration)
        }
        guard !reports.isEmpty else { throw ToolFailure("no service answered within \(self.timeout) s") }
        for line in self.json ? try reports.map(JSONLine.of) : Self.table(reports) { try StandardStreams.print(line) }
    }

    static func table(_ reports: [ServiceReport]) -> [String] {
        Columns.aligned(
            reports.sorted { ($0.name, $0.instance) < ($1.name, $1.instance) }.map { report in
                [
                    report.name, report.version ?? "-", report.instance,
                    "\(report.statistics?.requests ?? 0) requests", "\(report.statistics?.errors ?? 0) errors",
                    "\(report.statistics?.inFlight ?? 0) in flight",
                    (report.methods ?? []).joined(separator: ","),
                ]
            })
    }
}
