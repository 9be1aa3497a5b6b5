// SPDX-License-Identifier: Apache-2.0
import AMQPWire
import NIOCore

/// The codec: values to bytes and back.
extension Driver {
    static var wire: [Driver] {
        [("16 B", 16), ("1 KiB", 1024), ("64 KiB", 65_536)].flatMap { name, size in
            [self.encodePublish(name, size), self.decodeDeliver(name, size)]
        } + [
            Driver("wire: encode rich properties") { { try Self.encodeProperties(Samples.richProperties, $0) } },
            Driver("wire: decode rich properties") { try Self.decodeProperties(Samples.richProperties) },
            Driver("wire: decode table") {
                var properties = AMQPBasicProperties()
                properties.headers = Samples.table
                return try Self.decodeProperties(properties)
            },
            Driver("wire: encode and decode ack") { { try Self.acks($0) } },
            Driver("wire: decode in random chunks") { try Self.decodeChunks() },
        ]
    }

    private static func encodePublish(_ name: String, _ size: Int) -> Driver {
        Driver("wire: encode publish, \(name)") {
            let (body, properties) = (Samples.body(size), Samples.properties)
            return { count in
                var output = Samples.output()
                for index in 1...count {
                    try output.append(
                        .basicPublish(.init(exchange: "", routingKey: Samples.routingKey)), properties: properties,
                        body: body, channel: 1)
                    if index % self.batch == 0 { try self.check(!output.take().isEmpty, "nothing was encoded") }
                }
            }
        }
    }

    private static func decodeDeliver(_ name: String, _ size: Int) -> Driver {
        Driver("wire: decode deliver, \(name)") {
            let perRead = min(self.batch, max(65_536 / size, 1))
            var output = Samples.output()
            for index in 1...perRead { try Samples.appendDeliver(&output, tag: UInt64(index), size: size) }
            let bytes = Samples.bytes(&output)
            return { count in
                var decoder = AMQPFrameDecoder()
                var assembler = AMQPContentAssembler(maximumBodySize: 1 << 24)
                var missing = count
                while missing > 0 {
                    decoder.append(bytes)
                    missing -= try self.drain(&decoder, &assembler)
                }
            }
        }
    }

    /// - Returns: how many whole messages there were.
    private static func drain(_ decoder: inout AMQPFrameDecoder, _ assembler: inout AMQPContentAssembler) throws -> Int
    {
        var count = 0
        while let frame = try decoder.nextFrame() {
            let outcome =
                switch frame {
                case .method(_, let method): try assembler.received(method)
                case .header(_, let header): try assembler.received(header)
                case .body(_, let body): try assembler.received(body: body)
                case .heartbeat: AMQPContentAssembler.Outcome.incomplete
                }
            guard case .content(let content) = outcome else { continue }
            try self.check(try content.header.decodeProperties().messageID != nil, "a property was lost")
            count += 1
        }
        return count
    }

    private static func encodeProperties(_ properties: AMQPBasicProperties, _ count: Int) throws {
        var buffer = ByteBufferAllocator().buffer(capacity: 4096)
        for _ in 0..<count {
            buffer.clear()
            try properties.encode(into: &buffer)
        }
        try self.check(buffer.readableBytes > 2, "nothing was encoded")
    }

    private static func decodeProperties(_ properties: AMQPBasicProperties) throws -> (Int) throws -> Void {
        var bytes = ByteBuffer()
        try properties.encode(into: &bytes)
        return { count in
            for _ in 0..<count {
                let decoded = try AMQPBasicProperties(decoding: bytes)
                try self.check(decoded.headers?.count == properties.headers?.count, "a header was lost")
            }
        }
    }

    private static func acks(_ count: Int) throws {
        var output = Samples.output()
        var decoder = AMQPFrameDecoder()
        var tag: UInt64 = 0
        while tag < count {
            for _ in 0..<self.batch {
                tag += 1
                output.appendAck(channel: 1, deliveryTag: tag, multiple: false)
            }
            for piece in output.take() { decoder.append(piece) }
            var last: UInt64 = 0
            while case .method(_, .basicAck(let ack))? = try decoder.nextFrame() { last = ack.deliveryTag }
            try self.check(last == tag, "an ack was lost")
        }
    }

    /// The same stream of small and large messages, cut into the same pieces of 1 to 2048 bytes every time.
    private static func decodeChunks() throws -> (Int) throws -> Void {
        var output = Samples.output()
        for index in 1...self.batch {
            try Samples.appendDeliver(&output, tag: UInt64(index), size: index % 8 == 0 ? 3000 : 16 * index)
        }
        var bytes = Samples.bytes(&output)
        var chunks: [ByteBuffer] = []
        var state: UInt64 = 0x9e37_79b9_7f4a_7c15
        while bytes.readableBytes > 0 {
            // xorshift64 (Marsaglia, 2003)
            state ^= state << 13
            state ^= state >> 7
            state ^= state << 17
            let length = min(bytes.readableBytes, 1 + Int(state % 2048))
            if let chunk = bytes.readSlice(length: length) { chunks.append(chunk) }
        }
        let pieces = chunks
        return { count in
            var decoder = AMQPFrameDecoder()
            var assembler = AMQPContentAssembler(maximumBodySize: 1 << 24)
            var missing = count
            while missing > 0 {
                for piece in pieces {
                    decoder.append(piece)
                    missing -= try self.drain(&decoder, &assembler)
                }
            }
        }
    }
}
