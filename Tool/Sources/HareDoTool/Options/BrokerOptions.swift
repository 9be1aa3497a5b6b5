// SPDX-License-Identifier: Apache-2.0
import ArgumentParser
import HareDo

#if canImport(FoundationEssentials)
    import FoundationEssentials
#else
    import Foundation
#endif

/// Which broker a command talks through: the one place where that is decided.
struct BrokerOptions: ParsableArguments {
    @Option(
        help: ArgumentHelp(
            """
            The broker: amqp://user:password@host:port/vhost. Default: the environment variable HAREDO_BROKER, or else \
            amqp://guest:guest@localhost:5672.
            """,
            discussion:
                "A password given here can be seen by other users of the machine; HAREDO_BROKER is kept from them.",
            valueName: "url"))
    var broker: String?

    @Option(
        help: ArgumentHelp(
            "How long connecting to the broker may take, in seconds.", valueName: "seconds"))
    var connectTimeout = Seconds(10)

    /// For commands that talk with other processes.
    func configuration() throws -> Peer.Configuration {
        try self.configuration(environment: ProcessInfo.processInfo.environment)
    }

    func configuration(environment: [String: String]) throws -> Peer.Configuration {
        let url = Self.url(option: self.broker, environment: environment)
        guard url != "embedded" else {
            throw ToolFailure(
                "the embedded broker lives in this process, where nobody else can be met; "
                    + "`haredo broker` runs one for all programs of this machine")
        }
        var configuration = Peer.Configuration.url(url)
        configuration.connectTimeout = self.connectTimeout.duration
        return configuration
    }

    /// What was said nearest to the command counts.
    static func url(option: String?, environment: [String: String]) -> String {
        if let option { return option }
        if let url = environment["HAREDO_BROKER"], !url.isEmpty { return url }
        return "amqp://guest:guest@localhost:5672"
    }
}
