// SPDX-License-Identifier: Apache-2.0
package import AMQPClient
import AMQPWire
import NIOCore

/// The client without a broker: to its socket and from its socket.
extension Driver {
    static var client: [Driver] { [self.publish, self.deliver, self.deliverAndAcknowledge] }

    /// The publish gate, and the write of every batch.
    private static var publish: Driver {
        Driver("client: publish, 16 B") {
            let pair = try Pair()
            let channel = try pair.run { try await pair.connect().openChannel() }
            pair.isCut = true
            let message = AMQPMessage(Samples.body(16), properties: Samples.properties)
            return { count in
                try pair.run {
                    for index in 1...count {
                        try await channel.publish(message, routingKey: Samples.routingKey)
                        if index % self.batch == 0 { await Task.yield() }
                    }
                }
            }
        }
    }

    /// From the bytes that were read to a `for await`.
    private static var deliver: Driver {
        Driver("client: deliver, 16 B") {
            let (pair, consumer) = try self.consumer(.automatic)
            let bytes = try self.deliveries(to: consumer).bytes
            return { count in
                try pair.run {
                    var missing = count
                    pair.feed(bytes)
                    for try await delivery in consumer.deliveries {
                        missing -= 1
                        try self.check(delivery.body.readableBytes == 16, "a body was lost")
                        if missing <= 0 { break }
                        if (count - missing) % self.batch == 0 { pair.feed(bytes) }
                    }
                }
            }
        }
    }

    /// The same and the acknowledgement, to the bytes that are written.
    private static var deliverAndAcknowledge: Driver {
        Driver("client: deliver and ack, 16 B") {
            let (pair, consumer) = try self.consumer(.manual)
            let (template, stride, offset) = try self.deliveries(to: consumer)
            let last = Counter()
            /// The broker counts its deliveries.
            @Sendable func feed() {
                var bytes = template
                for index in 0..<self.batch {
                    last.value += 1
                    bytes.setInteger(last.value, at: index * stride + offset)
                }
                pair.feed(bytes)
            }
            return { count in
                try pair.run {
                    var missing = (count + self.batch - 1) / self.batch * self.batch
                    feed()
                    for try await delivery in consumer.deliveries {
                        try delivery.ack()
                        missing -= 1
                        if missing <= 0 { break }
                        if missing % self.batch == 0 { feed() }
                    }
                }
            }
        }
    }

    private final class Counter: @unchecked Sendable {
        // Unchecked: all of it happens on one thread.
        var value: UInt64 = 0
    }

    /// A consumer of a client that is cut off from its broker.
    private static func consumer(_ acknowledgement: AMQPChannel.Acknowledgement) throws -> (Pair, AMQPConsumer) {
        let pair = try Pair()
        let consumer = try pair.run {
            let channel = try await pair.connect().openChannel()
            try await channel.declareQueue(Samples.routingKey, exclusive: true)
            return try await channel.consume(Samples.routingKey, acknowledgement: acknowledgement)
        }
        pair.isCut = true
        return (pair, consumer)
    }

    /// A batch of deliveries as it would be read, how long each is, and where in it its tag stands.
    private static func deliveries(to consumer: AMQPConsumer) throws -> (bytes: ByteBuffer, stride: Int, offset: Int) {
        var output = Samples.output()
        for _ in 0..<self.batch {
            try Samples.appendDeliver(&output, tag: 1, consumer: consumer.consumerTag, size: 16)
        }
        let bytes = Samples.bytes(&output)
        // Behind a frame's header of seven bytes, the method's number and the consumer tag.
        return (bytes, bytes.readableBytes / self.batch, 7 + 4 + 1 + consumer.consumerTag.utf8.count)
    }
}

/// For measurements that need a delivery to hand around.
public enum Sample {
    package static func delivery() throws -> AMQPDelivery {
        let pair = try Pair()
        return try pair.run {
            let channel = try await pair.connect().openChannel()
            try await channel.declareQueue(Samples.routingKey, exclusive: true)
            try await channel.publish(
                AMQPMessage(Samples.body(16), properties: Samples.properties), routingKey: Samples.routingKey)
            guard let delivery = try await channel.get(Samples.routingKey) else {
                throw Mistake(description: "the message did not arrive")
            }
            return delivery
        }
    }
}
