// SPDX-License-Identifier: Apache-2.0
import AMQPWire
import NIOCore

/// Random streams that are valid.
enum Traffic {
    private static func message(using random: inout SplitMix64) -> (AMQPBasicProperties, ByteBuffer) {
        var properties = AMQPBasicProperties()
        if Bool.random(using: &random) { properties.contentType = "text/plain" }
        if Bool.random(using: &random) {
            properties.headers = ["n": .int64(.random(in: .min ... .max, using: &random))]
        }
        let size = [0, 1, 40, 300, 9000].randomElement(using: &random) ?? 0
        let byte = UInt8.random(in: .min ... .max, using: &random)
        // Large bodies seldom: they cost the most.
        let length = size == 9000 && UInt8.random(in: 0..<8, using: &random) > 0 ? 20 : size
        return (properties, ByteBuffer(repeating: byte, count: length))
    }

    private static func frameMax(using random: inout SplitMix64) -> UInt32 {
        [64, 4096, 131_072].randomElement(using: &random) ?? 4096
    }

    /// A content as a parser sees it.
    static func content(using random: inout SplitMix64) throws(Finding) -> (wire: [UInt8], body: ByteBuffer) {
        let (properties, body) = self.message(using: &random)
        let most = self.frameMax(using: &random)
        let wire = try encoded(frameMax: max(most, 128)) { output throws(AMQPWireError) in
            try output.append(
                .basicPublish(.init(exchange: "x", routingKey: "k")), properties: properties, body: body, channel: 5)
        }
        return (wire, body)
    }

    /// What a broker may say to ``ClientApplication`` at any time.
    static func fromBroker(
        deliveryTag: UInt64, using random: inout SplitMix64
    ) throws(Finding) -> (wire: [UInt8], message: ClientApplication.Received?) {
        let (properties, body) = self.message(using: &random)
        let most = max(self.frameMax(using: &random), 128)
        switch UInt8.random(in: 0..<8, using: &random) {
        case 0:
            return (try encoded { output throws(AMQPWireError) in output.appendHeartbeat() }, nil)
        case 1:
            let wire = try encoded { output throws(AMQPWireError) in
                try output.append(.connectionBlocked(.init(reason: "low on memory")), channel: 0)
                try output.append(.connectionUnblocked(.init()), channel: 0)
                try output.append(.channelFlow(.init(active: true)), channel: 1)
            }
            return (wire, nil)
        case 2, 3:
            let wire = try encoded(frameMax: most) { output throws(AMQPWireError) in
                try output.append(
                    .basicReturn(.init(replyCode: 312, replyText: "NO_ROUTE", exchange: "", routingKey: "k")),
                    properties: properties, body: body, channel: 1)
            }
            return (wire, .init(source: "returned", routingKey: "k", properties: properties, body: body))
        default:
            let wire = try encoded(frameMax: most) { output throws(AMQPWireError) in
                try output.append(
                    .basicDeliver(
                        .init(
                            consumerTag: "c", deliveryTag: deliveryTag, redelivered: deliveryTag.isMultiple(of: 2),
                            exchange: "", routingKey: "q")), properties: properties, body: body, channel: 1)
            }
            return (wire, .init(source: "delivered", routingKey: "q", properties: properties, body: body))
        }
    }

    /// Opens a channel with a queue and a consumer, behind a handshake.
    static var openingOnBroker: [UInt8] {
        get throws(Finding) {
            try encoded { output throws(AMQPWireError) in
                try output.append(.channelOpen(.init()), channel: 9)
                try output.append(.confirmSelect(.init()), channel: 9)
                try output.append(.queueDeclare(.init(queue: "consumed", exclusive: true)), channel: 9)
                try output.append(.queueDeclare(.init(queue: "got", exclusive: true)), channel: 9)
                try output.append(.basicConsume(.init(queue: "consumed", consumerTag: "c", noAck: true)), channel: 9)
            }
        }
    }

    /// What a client may say then, each answered.
    static func fromClient(using random: inout SplitMix64) throws(Finding) -> [UInt8] {
        let (properties, body) = self.message(using: &random)
        let most = max(self.frameMax(using: &random), 128)
        let operation = UInt8.random(in: 0..<7, using: &random)
        return try encoded(frameMax: most) { output throws(AMQPWireError) in
            switch operation {
            case 0:
                try output.append(
                    .basicPublish(.init(exchange: "", routingKey: "consumed")), properties: properties, body: body,
                    channel: 9)
            case 1:
                try output.append(
                    .basicPublish(.init(exchange: "", routingKey: "nowhere", mandatory: true)), properties: properties,
                    body: body, channel: 9)
            case 2:
                try output.append(
                    .basicPublish(.init(exchange: "", routingKey: "got")), properties: properties, body: body,
                    channel: 9)
                try output.append(.basicGet(.init(queue: "got", noAck: false)), channel: 9)
                output.appendAck(channel: 9, deliveryTag: 0, multiple: true)
            case 3: try output.append(.basicGet(.init(queue: "got", noAck: true)), channel: 9)
            case 4: try output.append(.queueDeclare(.init(queue: "got", passive: true)), channel: 9)
            case 5: try output.append(.queuePurge(.init(queue: "got")), channel: 9)
            default:
                output.appendHeartbeat()
                try output.append(.basicQos(.init(prefetchSize: 0, prefetchCount: 3)), channel: 9)
            }
        }
    }
}
