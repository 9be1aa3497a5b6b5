// SPDX-License-Identifier: Apache-2.0
import ArgumentParser
import HareDo

struct Stats: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Shows what each instance of a service has counted since it was started.",
        discussion: """
            Asks the service over the broker, and waits for the answers of all its instances. Exits with 1 if none answered.

            Examples:
              haredo stats calculator
              haredo stats calculator --json
            """)

    @Argument(help: "The service's name.")
    var name: String

    @OptionGroup var discovery: DiscoveryOptions

    @Flag(help: "Print everything there is, one JSON object for each instance.")
    var json = false

    func run() async throws {
        let reports = try await self.discovery.ask(.named(self.name), .statistics)
        let lines = self.json ? try reports.map(JSONLine.of) : Self.table(reports)
        for line in lines { try StandardStreams.print(line) }
    }

    static func table(_ reports: [ServiceReport]) -> [String] {
        Columns.aligned(
            [["instance", "requests", "errors", "in flight", "mean", "last error"]]
                + reports.sorted { $0.instance < $1.instance }.map { report in
                    guard let counts = report.statistics else { return [report.instance] }
                    let mean = counts.requests == 0 ? 0 : counts.seconds / Double(counts.requests) * 1000
                    return [
                        report.instance, "\(counts.requests)", "\(counts.errors)", "\(counts.inFlight)",
                        "\((mean * 1000).rounded() / 1000) ms", counts.lastError ?? "-",
                    ]
                })
    }
}
