// SPDX-License-Identifier: Apache-2.0
import AMQPBroker
import ArgumentParser
import HareDo

struct Broker: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Runs a broker in memory, for development without RabbitMQ.",
        discussion: """
            Prints its URL when it is ready, and serves until it is interrupted (SIGINT or SIGTERM; a second one ends it \
            at once). Any AMQP 0-9-1 client may use it; what it holds is gone when it ends. The login is guest with the \
            password guest, which works from this machine only.

            Example:
              haredo broker --listen 127.0.0.1:0
              haredo broker status
            """,
        subcommands: [BrokerStatus.self])

    @Option(
        help: ArgumentHelp(
            """
            Where to listen: HOST:PORT, :PORT (on 127.0.0.1), [IPv6]:PORT, or unix:PATH for a Unix-domain socket. \
            Port 0 is any free one.
            """, valueName: "address"),
        transform: { try asUsage($0, ListenAddress.init(_:)) })
    var listen = ListenAddress(host: "127.0.0.1", port: 5672)

    @Option(
        help: """
            Which RabbitMQ to behave as: 'lenient' is 3.10, 'strict' is 4.3, which refuses more (queues that are neither \
            durable nor exclusive, for one).
            """)
    var compat = Compatibility.lenient

    /// As spelled on the command line.
    enum Compatibility: String, ExpressibleByArgument, CaseIterable {
        case lenient, strict

        var setting: AMQPEmbeddedBroker.Compatibility { self == .strict ? .strict : .lenient }
    }

    @OptionGroup var common: CommonOptions

    func run() async throws {
        self.common.apply()
        var configuration = AMQPEmbeddedBroker.Configuration()
        configuration.address = self.listen.address
        configuration.compatibility = self.compat.setting
        let interruption = await Interruption()
        let broker = try await AMQPEmbeddedBroker.start(configuration, logger: Logger(label: "haredo.broker"))
        try await interruption.run {
            try StandardStreams.print(broker.url)
            // Until it is cancelled; the broker never ends by itself.
            while !Task.isCancelled { try? await Task.sleep(for: .seconds(86_400)) }
        } end: {
            await broker.stop()
        }
    }
}
