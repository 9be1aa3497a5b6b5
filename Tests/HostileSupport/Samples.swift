// SPDX-License-Identifier: Apache-2.0
import AMQPWire
import Foundation
import NIOCore

/// Valid frames of every kind, which mutation and fuzzing begin with.
package enum Samples {
    /// Every method with its fields set and not set, and the other kinds of frames.
    package static let frames: [[UInt8]] =
        Self.methods
        + [
            [8, 0, 0, 0, 0, 0, 0, 0xCE],
            Self.frame(2, bytes(hex: "003c 0000 0000000000000002") + Self.properties),
            Self.frame(2, bytes(hex: "003c 0000 0000000000000000 0000")),
            Self.frame(3, [1, 2]),
        ]

    /// The method frames that RabbitMQ wrote for the tests of the codec, without the largest. None if they are not there,
    /// which the test of the corpus notices.
    private static let methods: [[UInt8]] = {
        struct Golden: Decodable {
            var name: String
            var kind: String
            var hex: String
        }
        let file = URL(filePath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
            .appending(path: "AMQPWireTests/Golden/rabbitmq.jsonl")
        let lines = (try? Data(contentsOf: file))?.split(separator: UInt8(ascii: "\n")) ?? []
        return lines.compactMap { line -> [UInt8]? in
            guard let golden = try? JSONDecoder().decode(Golden.self, from: Data(line)), golden.kind == "method",
                !golden.name.contains("largest")
            else { return nil }
            let frame = bytes(compactHex: golden.hex)
            return frame.count <= 256 ? frame : nil
        }
    }()

    /// A property list with everything in it, its table with every type.
    package static let properties: [UInt8] = {
        var properties = AMQPBasicProperties()
        properties.contentType = "text/plain"
        properties.contentEncoding = "gzip"
        properties.headers = Self.table
        properties.deliveryMode = AMQPBasicProperties.persistent
        properties.priority = 5
        properties.correlationID = "correlation"
        properties.replyTo = "amq.rabbitmq.reply-to"
        properties.expiration = "60000"
        properties.messageID = "message"
        properties.timestamp = 1_700_000_000
        properties.type = "type"
        properties.userID = "guest"
        properties.appID = "app"
        properties.clusterID = "cluster"
        return Self.encoded(properties)
    }()

    /// Property lists with one thing each.
    package static let propertyLists: [(name: String, bytes: [UInt8])] = {
        var lists = [("none", [0, 0]), ("every", Self.properties)]
        for entry in Self.table.entries {
            var properties = AMQPBasicProperties()
            properties.headers = [entry.key: entry.value]
            lists.append((entry.key, Self.encoded(properties)))
        }
        var deep = AMQPFieldValue.void
        for level in 0..<62 { deep = level.isMultiple(of: 2) ? .array([deep]) : .table(["": deep]) }
        var properties = AMQPBasicProperties()
        properties.headers = ["CC": ["a", "b"], "BCC": ["c"], "deep": deep, "deep again": 1]
        return lists + [("copies-and-depth", Self.encoded(properties))]
    }()

    private static let table: AMQPTable = [
        "boolean": true, "int8": .int8(-1), "uint8": .uint8(200), "int16": .int16(-2), "uint16": .uint16(65_535),
        "int32": .int32(-3), "uint32": .uint32(.max), "int64": .int64(.min), "float": .float(1.5), "double": 2.5,
        "decimal": .decimal(scale: 2, value: 314), "string": "text ✓",
        "not-utf8": .longString(AMQPLongString(bytes: [0xFF, 0xFE])), "bytes": .byteArray([0, 1, 2]),
        "array": [1, "two", [3]], "timestamp": .timestamp(1_700_000_000), "table": ["inner": ["innermost": .void]],
        "void": .void,
    ]

    private static func encoded(_ properties: AMQPBasicProperties) -> [UInt8] {
        var buffer = ByteBuffer()
        // What could fail is checked by the test that these are read back.
        try? properties.encode(into: &buffer)
        return Array(buffer.readableBytesView)
    }

    static func frame(_ kind: UInt8, channel: UInt16 = 1, _ payload: [UInt8]) -> [UInt8] {
        [kind] + bigEndian(channel) + bigEndian(UInt32(payload.count)) + payload + [0xCE]
    }
}
