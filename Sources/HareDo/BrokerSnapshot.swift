// SPDX-License-Identifier: Apache-2.0
public import AMQPBroker
import AMQPClient
import NIOCore

#if canImport(FoundationEssentials)
    import FoundationEssentials
#else
    import Foundation
#endif

extension AMQPEmbeddedBroker.Snapshot {
    /// Asks a broker that runs as a server, such as `haredo broker`, what its virtual host holds.
    ///
    /// - Parameter configuration: which broker, and how long connecting to it may take.
    /// - Throws: ``HareDoError``, with `brokerRefused` if the broker is RabbitMQ or the user may not ask.
    public static func fetch(from configuration: Peer.Configuration) async throws(HareDoError) -> Self {
        guard var amqp = try configuration.resolved() else {
            throw HareDoError(.invalidArgument, "the embedded broker of this process is asked with snapshot()")
        }
        configuration.apply(to: &amqp)
        amqp.recovery = .disabled
        amqp.connectionName = "haredo status"
        let body: [UInt8]
        do throws(AMQPError) {
            body = try await Self.get(amqp)
        } catch {
            throw HareDoError(error)
        }
        do {
            return try JSONDecoder().decode(Self.self, from: Data(body))
        } catch {
            throw HareDoError(.decodingFailed, "the broker's status cannot be read: \(error)", cause: error)
        }
    }

    private static func get(_ amqp: AMQPConfiguration) async throws(AMQPError) -> [UInt8] {
        let connection = try await AMQPConnection.connect(amqp)
        do throws(AMQPError) {
            let channel = try await connection.openChannel()
            let message = try await channel.get(Self.queueName, acknowledgement: .automatic)
            await connection.close(within: .seconds(1))
            return message.map { Array($0.body.readableBytesView) } ?? []
        } catch {
            await connection.close(within: .seconds(1))
            throw error
        }
    }
}
