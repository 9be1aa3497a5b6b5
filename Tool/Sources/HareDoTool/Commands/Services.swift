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

    @OptionGroup var discovery: DiscoveryOptions

    @Flag(help: "Print everything there is, one JSON object for each service.")
    var json = false

    func run() async throws {
        let reports = try await self.discovery.ask(self.name.map { .named($0) } ?? .all, .statistics)
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
