// SPDX-License-Identifier: Apache-2.0
import AMQPClient
import AMQPWire
import NIOCore

/// A client and the embedded broker together.
extension Driver {
    static var whole: [Driver] {
        [
            Driver("whole: publish, deliver, ack, 16 B") {
                let (pair, channel) = try self.pair()
                let consumer = try pair.run { try await channel.consume(Samples.routingKey) }
                let message = AMQPMessage(Samples.body(16), properties: Samples.properties)
                return { count in
                    try pair.run {
                        var missing = (count + self.batch - 1) / self.batch * self.batch
                        var deliveries = consumer.deliveries.makeAsyncIterator()
                        while missing > 0 {
                            for _ in 0..<self.batch {
                                try await channel.publish(message, routingKey: Samples.routingKey)
                            }
                            for _ in 0..<self.batch {
                                try await deliveries.next()?.ack()
                                missing -= 1
                            }
                        }
                    }
                }
            },
            // The publish tags of the client and of the broker.
            Driver("whole: confirmed publish, 16 B", count: 512) {
                let (pair, channel) = try self.pair()
                try pair.run { try await channel.confirmSelect() }
                let message = AMQPMessage(Samples.body(16), properties: Samples.properties)
                return { count in
                    try pair.run {
                        for _ in 0..<count {
                            // To no queue: it is confirmed all the same.
                            try await channel.publishConfirmed(message, routingKey: "nobody")
                        }
                    }
                }
            },
            // The machine of a channel: request, reply, deadline.
            Driver("whole: request and reply", count: 512) {
                let (pair, channel) = try self.pair()
                return { count in
                    try pair.run {
                        for _ in 0..<count { try await channel.declareQueue(Samples.routingKey, passive: true) }
                    }
                }
            },
        ]
    }

    private static func pair() throws -> (Pair, AMQPChannel) {
        let pair = try Pair()
        let channel = try pair.run {
            let channel = try await pair.connect().openChannel()
            try await channel.declareQueue(Samples.routingKey, exclusive: true)
            return channel
        }
        return (pair, channel)
    }
}
