// SPDX-License-Identifier: Apache-2.0
import ArgumentParser
import HareDo

/// How services are asked: where, and for how long.
struct DiscoveryOptions: ParsableArguments {
    @Option(help: ArgumentHelp("How long to wait for answers, in seconds.", valueName: "seconds"))
    var timeout = Seconds(1)

    @Option(help: ArgumentHelp("The namespace of the services, if they have one.", valueName: "name"))
    var namespace = ""

    @OptionGroup var broker: BrokerOptions
    @OptionGroup var common: CommonOptions

    func configuration() throws -> Peer.Configuration {
        self.common.apply()
        var configuration = try self.broker.configuration()
        configuration.namespace = self.namespace
        return configuration
    }

    /// - Throws: if nobody answered.
    func ask(_ selection: ServiceSelection, _ question: ServiceQuestion) async throws -> [ServiceReport] {
        let configuration = try self.configuration()
        let timeout = self.timeout.duration
        let reports = try await Progress.during("waiting for answers") {
            try await Peer.with(configuration) { peer in
                try await peer.services(selection, asking: question, within: timeout)
            }
        }
        guard !reports.isEmpty else { throw ToolFailure("no service answered within \(self.timeout) s") }
        return reports
    }
}
