// SPDX-License-Identifier: Apache-2.0
import AMQPWire
import NIOCore

#if canImport(FoundationEssentials)
    import FoundationEssentials
#else
    import Foundation
#endif

/// What the broker holds, for clients: `basic.get` on a name that no queue can have answers with a snapshot as JSON.
extension VirtualHostState {
    static let statusName = AMQPEmbeddedBroker.Snapshot.queueName

    /// Answers `basic.get` on ``statusName``: there is always one message, which needs no acknowledgement.
    mutating func getStatus(_ get: AMQPMethod.BasicGet, on channel: ChannelID) throws(BrokerException) {
        guard get.noAck else { throw .preconditionFailed("a status cannot be acknowledged") }
        var snapshot = Snapshot(of: self.settings.memory)
        self.describe(in: &snapshot)
        guard let json = try? JSONEncoder().encode(snapshot), let output = self.channels[channel]?.output,
            let number = self.channels[channel]?.number, let tag = self.channels[channel]?.nextDeliveryTag()
        else { throw .internalError("the status cannot be written") }
        var properties = AMQPBasicProperties()
        properties.contentType = "application/json"
        let method = AMQPMethod.basicGetOk(
            .init(deliveryTag: tag, redelivered: false, exchange: "", routingKey: Self.statusName, messageCount: 0))
        self.append(to: output) { frames throws(AMQPWireError) in
            try frames.append(method, properties: properties, body: ByteBuffer(bytes: json), channel: number)
        }
    }
}
