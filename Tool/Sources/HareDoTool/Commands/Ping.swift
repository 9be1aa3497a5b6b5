// SPDX-License-Identifier: Apache-2.0
import ArgumentParser
import HareDo

struct Ping: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Asks a service whether it is there, and says how long its answer took.",
        discussion: """
            The first instance that answers is enough. Exits with 1 if none did.

            Examples:
              haredo ping calculator
            """)

    @Argument(help: "The service's name.")
    var name: String

    @Flag(help: "Print one JSON object.")
    var json = false

    @OptionGroup var discovery: DiscoveryOptions

    func run() async throws {
        let configuration = try self.discovery.configuration()
        let (reports, time) = try await Peer.with(configuration) { peer in
            let began = ContinuousClock.now
            let reports = try await peer.services(
                .named(self.name), asking: .ping, within: self.discovery.timeout.duration, quorum: 1)
            return (reports, ContinuousClock.now - began)
        }
        guard let report = reports.first else {
            throw ToolFailure("no service '\(self.name)' answered within \(self.discovery.timeout) s")
        }
        let milliseconds = (time / .milliseconds(1) * 10).rounded() / 10
        guard self.json else {
            try StandardStreams.print("\(report.name) \(report.instance) answered in \(milliseconds) ms")
            return
        }
        let answer: ConfigurationValue = [
            "name": .string(report.name), "instance": .string(report.instance), "milliseconds": .double(milliseconds),
        ]
        try StandardStreams.print(try JSONLine.of(answer))
    }
}
