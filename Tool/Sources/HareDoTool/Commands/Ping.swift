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

    @Option(help: ArgumentHelp("How long to wait for an answer, in seconds.", valueName: "seconds"))
    var timeout = Seconds(1)

    @Option(help: ArgumentHelp("The namespace of the service, if it has one.", valueName: "name"))
    var namespace = ""

    @OptionGroup var broker: BrokerOptions
    @OptionGroup var common: CommonOptions

    func run() async throws {
        self.common.apply()
        var configuration = try self.broker.configuration()
        configuration.namespace = self.namespace
        let (reports, time) = try await Peer.with(configuration) { peer in
            let began = ContinuousClock.now
            let reports = try await peer.services(
                .named(self.name), asking: .ping, within: self.timeout.duration, quorum: 1)
            return (reports, ContinuousClock.now - began)
        }
        guard let report = reports.first else {
            throw ToolFailure("no service '\(self.name)' answered within \(self.timeout) s")
        }
        let milliseconds = (time / .milliseconds(1) * 10).rounded() / 10
        try StandardStreams.print("\(report.name) \(report.instance) answered in \(milliseconds) ms")
    }
}
