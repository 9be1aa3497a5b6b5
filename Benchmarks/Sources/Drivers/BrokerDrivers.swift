// SPDX-License-Identifier: Apache-2.0
import AMQPBroker
import AMQPWire
import NIOCore
import NIOEmbedded

/// The embedded broker without a client: bytes in, bytes out.
extension Driver {
    static var broker: [Driver] {
        [
            Driver("broker: publish, route, deliver, ack, 16 B") {
                let channel = try self.openBroker()
                var output = Samples.output()
                for _ in 0..<self.batch { try Samples.appendPublish(&output, size: 16) }
                let publishes = Samples.bytes(&output)
                var delivered: UInt64 = 0
                return { count in
                    var missing = count
                    while missing > 0 {
                        try channel.writeInbound(publishes)
                        try self.check(try self.readAll(channel) > 64 * 16, "nothing was delivered")
                        for _ in 0..<self.batch {
                            delivered += 1
                            output.appendAck(channel: 1, deliveryTag: delivered, multiple: false)
                        }
                        for piece in output.take() { try channel.writeInbound(piece) }
                        missing -= self.batch
                    }
                }
            }
        ]
    }

    /// A broker with one connection, and on it a queue with a consumer.
    private static func openBroker() throws -> EmbeddedChannel {
        let channel = EmbeddedChannel()
        try BrokerCore(.init(), on: channel.eventLoop).serve(channel)
        channel.connect(to: try SocketAddress(ipAddress: "127.0.0.1", port: 5672), promise: nil)
        var output = Samples.output()
        output.appendProtocolHeader()
        try output.append(
            .connectionStartOk(
                .init(clientProperties: [:], mechanism: "PLAIN", response: "\0guest\0guest", locale: "en_US")),
            channel: 0)
        try output.append(.connectionTuneOk(.init(channelMax: 2047, frameMax: 131_072, heartbeat: 0)), channel: 0)
        try output.append(.connectionOpen(.init(virtualHost: "/")), channel: 0)
        try output.append(.channelOpen(.init()), channel: 1)
        try output.append(.queueDeclare(.init(queue: Samples.routingKey, exclusive: true)), channel: 1)
        try output.append(.basicConsume(.init(queue: Samples.routingKey, consumerTag: "c1")), channel: 1)
        for piece in output.take() {
            try channel.writeInbound(piece)
            channel.embeddedEventLoop.run()
        }
        try self.check(try self.readAll(channel) > 0 && channel.isActive, "the broker did not open")
        return channel
    }

    /// - Returns: how many bytes the broker wrote.
    private static func readAll(_ channel: EmbeddedChannel) throws -> Int {
        var count = 0
        while let bytes = try channel.readOutbound(as: ByteBuffer.self) { count += bytes.readableBytes }
        return count
    }
}
