// SPDX-License-Identifier: Apache-2.0
import AMQPBroker
import ArgumentParser
import HareDo

#if canImport(FoundationEssentials)
    import FoundationEssentials
#else
    import Foundation
#endif

struct BrokerStatus: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "status",
        abstract: "Shows what a broker of `haredo broker` holds.",
        discussion: """
            Asks the broker given by --broker or HAREDO_BROKER for its connections, queues and consumers. RabbitMQ has \
            `rabbitmqctl` for this.

            Example:
              haredo broker status --json
            """)

    @Flag(help: "Print everything there is, as JSON.")
    var json = false

    @OptionGroup var broker: BrokerOptions
    @OptionGroup var common: CommonOptions

    func run() async throws {
        self.common.apply()
        let snapshot: AMQPEmbeddedBroker.Snapshot
        do {
            snapshot = try await AMQPEmbeddedBroker.Snapshot.fetch(from: try self.broker.configuration())
        } catch let error as HareDoError where error.code == .brokerRefused {
            throw ToolFailure(
                "this broker does not tell what it holds (\(error.message)); for RabbitMQ there is `rabbitmqctl`")
        }
        try StandardStreams.write(self.json ? try Self.json(snapshot) + "\n" : Self.table(snapshot), to: .output)
    }

    private static func json(_ snapshot: AMQPEmbeddedBroker.Snapshot) throws -> String {
        let encoder = JSONEncoder()
        encoder.outputFormatting = [.sortedKeys, .prettyPrinted, .withoutEscapingSlashes]
        return String(decoding: try encoder.encode(snapshot), as: UTF8.self)
    }

    /// For people: a line for the broker, and one for each connection and queue.
    static func table(_ snapshot: AMQPEmbeddedBroker.Snapshot) -> String {
        var lines = [
            "\(snapshot.connections.count) connections, \(snapshot.channels.count) channels, "
                + "\(snapshot.consumers.count) consumers, \(snapshot.queues.count) queues; messages hold "
                + "\(snapshot.memoryBytes >> 20) of \(snapshot.memoryLimit >> 20) MiB"
                + (snapshot.hasMemoryAlarm ? ", which is too much: publishers are blocked" : "")
        ]
        if !snapshot.connections.isEmpty {
            lines += ["", "connections"]
            lines += Columns.aligned(
                snapshot.connections.map { connection in
                    [
                        "  \(connection.id)", connection.name ?? "-", connection.user, connection.address,
                        "\(connection.channels) channels",
                        (connection.isBlocked ? "blocked" : "") + (connection.isThrottled ? " does not read" : ""),
                    ]
                })
        }
        if !snapshot.queues.isEmpty {
            lines += ["", "queues"]
            lines += Columns.aligned(
                snapshot.queues.map { queue in
                    [
                        "  \(queue.name)", "\(queue.ready) ready", "\(queue.unacknowledged) unacknowledged",
                        "\(queue.consumers) consumers", "\(queue.readyBytes) bytes",
                        "\(queue.publishedPerSecond)/s in", "\(queue.deliveredPerSecond)/s out",
                    ]
                })
        }
        return lines.joined(separator: "\n") + "\n"
    }
}
