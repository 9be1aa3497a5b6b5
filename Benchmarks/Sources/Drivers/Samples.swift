// SPDX-License-Identifier: Apache-2.0
import AMQPWire
import NIOCore

/// The messages that drivers send.
enum Samples {
    static let routingKey = "benchmarks.queue"

    /// A call has these.
    static var properties: AMQPBasicProperties {
        var properties = AMQPBasicProperties()
        properties.contentType = "text/plain"
        properties.deliveryMode = AMQPBasicProperties.transient
        properties.correlationID = "c00000000000000015d1ec31eb2c5c9fa"
        properties.replyTo = "haredo.inbox.4KQ2ZV8Y1PXW7D0J"
        properties.messageID = "c00000000000000015d1ec31eb2c5c9fa"
        return properties
    }

    /// All fourteen properties, with a table of every type.
    static var richProperties: AMQPBasicProperties {
        var properties = self.properties
        properties.contentEncoding = "identity"
        properties.headers = self.table
        properties.priority = 5
        properties.expiration = "60000"
        properties.timestamp = 1_700_000_000
        properties.type = "order.placed"
        properties.userID = "guest"
        properties.appID = "benchmarks"
        properties.clusterID = "none"
        return properties
    }

    static var table: AMQPTable {
        [
            "boolean": .boolean(true), "int8": .int8(-8), "uint8": .uint8(8), "int16": .int16(-16),
            "uint16": .uint16(16), "int32": .int32(-32), "uint32": .uint32(32), "int64": .int64(-64),
            "float": .float(1.5), "double": .double(2.5), "decimal": .decimal(scale: 2, value: 314),
            "longString": .longString("a string that does not fit into the two words of a small one"),
            "byteArray": .byteArray([1, 2, 3, 4]), "array": .array([.int32(1), .longString("two"), .void]),
            "timestamp": .timestamp(1_700_000_000), "table": .table(["nested": .boolean(false), "more": .int64(1)]),
            "void": .void,
        ]
    }

    static func body(_ size: Int) -> ByteBuffer { ByteBuffer(repeating: 0x2a, count: size) }

    static func output() -> AMQPOutput { AMQPOutput(frameMax: 131_072) }

    /// What was appended, in one piece, as it would be read.
    static func bytes(_ output: inout AMQPOutput) -> ByteBuffer {
        var bytes = ByteBuffer()
        for piece in output.take() { bytes.writeImmutableBuffer(piece) }
        return bytes
    }

    static func appendDeliver(
        _ output: inout AMQPOutput, tag: UInt64, consumer: String = "c1", size: Int, channel: UInt16 = 1,
        properties: AMQPBasicProperties = Samples.properties
    ) throws {
        try output.append(
            .basicDeliver(.init(consumerTag: consumer, deliveryTag: tag, exchange: "", routingKey: self.routingKey)),
            properties: properties, body: self.body(size), channel: channel)
    }

    static func appendPublish(_ output: inout AMQPOutput, size: Int, channel: UInt16 = 1) throws {
        try output.append(
            .basicPublish(.init(exchange: "", routingKey: self.routingKey)), properties: self.properties,
            body: self.body(size), channel: channel)
    }
}
