// SPDX-License-Identifier: Apache-2.0
import AMQPWire
import NIOCore
import Testing

/// Reads what pika, py-amqp and RabbitMQ wrote, and writes it as they did. `Golden/make-golden.py` asked them to.
@Suite("Bytes of other implementations")
struct GoldenTests {
    @Test("Are read as what they mean", arguments: GoldenSample.all)
    func read(sample: GoldenSample) throws {
        #expect(try self.described(sample.bytes, sample.kind) == sample.value)
    }

    @Test("Are written alike", arguments: GoldenSample.all.filter { $0.differs == nil })
    func written(sample: GoldenSample) throws {
        for (wire, expected) in try self.rewritten(sample) {
            // Not `wire == expected` in the expectation: a failure would print 64 KiB twice.
            let position = zip(wire, expected).enumerated().first { $0.element.0 != $0.element.1 }?.offset
            #expect(position == nil, "\(Array(wire.prefix(128)))")
            #expect(wire.count == expected.count, "\(Array(wire.prefix(128)))")
        }
    }

    @Test("Where others are written, they mean the same", arguments: GoldenSample.all.filter { $0.differs != nil })
    func writtenOtherwise(sample: GoldenSample) throws {
        for (wire, theirs) in try self.rewritten(sample) {
            #expect(wire != theirs, "it is written alike, and does not differ")
            if sample.kind != .body {
                #expect(try self.described(wire, sample.kind) == sample.value)
            } else {
                #expect(wire.isEmpty)
            }
        }
    }

    // MARK: - Reading

    private struct NotExpected: Error {
        var frames: [AMQPFrame]
    }

    private func described(_ wire: [UInt8], _ kind: GoldenSample.Kind) throws -> Described {
        switch kind {
        case .properties: return Described(try AMQPBasicProperties(decoding: ByteBuffer(bytes: wire)))
        case .protocolHeader:
            // As the answer of a broker that does not want ours; the embedded one compares the bytes.
            let error = #expect(throws: AMQPWireError.self) { try decode(wire) }
            #expect(error?.code == .protocolHeader)
            return .object(["version": .text(error?.message.split(separator: " ").last.map(String.init) ?? "")])
        case .heartbeat:
            let frames = try decode(wire)
            guard frames == [.heartbeat] else { throw NotExpected(frames: frames) }
            return .object([:])
        case .method, .header, .body, .content: break
        }

        var members: [String: Described] = [:]
        let frames = try decode(wire)
        for frame in frames {
            let channel = Described.number(Int128(frame.channel))
            #expect(members["channel"] ?? channel == channel)
            members["channel"] = channel
        }
        switch (kind, frames.first, frames.dropFirst().first) {
        case (.method, .method(_, let method), nil):
            members["method"] = .text(method.id.description)
            members["arguments"] = Described(argumentsOf: method)
        case (.header, .header(_, let header), nil):
            members["class-id"] = .number(Int128(header.classID))
            members["body-size"] = .number(Int128(header.bodySize))
            members["properties"] = Described(try header.decodeProperties())
        case (.body, .body(_, let body), nil):
            members["body"] = .octets(Array(body.readableBytesView))
        case (.content, .method(_, let method), .header(_, let header)):
            members["method"] = .text(method.id.description)
            members["arguments"] = Described(argumentsOf: method)
            members["properties"] = Described(try header.decodeProperties())
            let body = try self.bodies(frames.dropFirst(2)).flatMap { Array($0.readableBytesView) }
            #expect(header.bodySize == UInt64(body.count))
            #expect(header.classID == AMQPContentHeader.basicClassID)
            members["body"] = .octets(body)
        default: throw NotExpected(frames: frames)
        }
        return .object(members)
    }

    private func bodies(_ frames: ArraySlice<AMQPFrame>) throws -> [ByteBuffer] {
        try frames.map { frame in
            guard case .body(_, let body) = frame else { throw NotExpected(frames: Array(frames)) }
            return body
        }
    }

    // MARK: - Writing

    /// What we write, in each of the ways we have, and what the other wrote, for what was read from the other's bytes.
    private func rewritten(_ sample: GoldenSample) throws -> [(ours: [UInt8], theirs: [UInt8])] {
        let theirs = sample.bytes
        var output = AMQPOutput(frameMax: sample.frameMax ?? 131_072)
        switch sample.kind {
        case .protocolHeader:
            output.appendProtocolHeader()
            return [(output.takeBytes(), theirs)]
        case .properties:
            let properties = try AMQPBasicProperties(decoding: ByteBuffer(bytes: theirs))
            return [(try self.written(properties), theirs)]
        case .heartbeat, .method, .header, .body, .content: break
        }

        let frames = try decode(theirs)
        switch (sample.kind, frames.first) {
        case (.heartbeat, .heartbeat):
            output.appendHeartbeat()
            return [(output.takeBytes(), theirs)]
        case (.method, .method(let channel, let method)):
            try output.append(method, channel: channel)
            var ways = [(output.takeBytes(), theirs)]
            if case .basicAck(let ack) = method {
                output.appendAck(channel: channel, deliveryTag: ack.deliveryTag, multiple: ack.multiple)
                ways.append((output.takeBytes(), theirs))
            }
            return ways
        case (.header, .header(let channel, let header)):
            let properties = try header.decodeProperties()
            // The property list: behind type, channel and size, class, weight and body size.
            let list = (try self.written(properties), Array(theirs.dropFirst(7 + 12).dropLast()))
            // A whole header is only written with the body that it announces.
            guard header.bodySize <= 65_536 else { return [list] }
            let body = ByteBuffer(repeating: 0, count: Int(header.bodySize))
            try output.append(Self.publish, properties: properties, body: body, channel: channel)
            return [list, (self.frames(output.takeBytes()).dropFirst().first ?? [], theirs)]
        case (.body, .body(let channel, let body)):
            try output.append(Self.publish, properties: AMQPBasicProperties(), body: body, channel: channel)
            return [(self.frames(output.takeBytes()).dropFirst(2).flatMap { $0 }, theirs)]
        case (.content, .method(let channel, let method)):
            guard case .header(_, let header)? = frames.dropFirst().first else { throw NotExpected(frames: frames) }
            var body = ByteBuffer()
            for fragment in try self.bodies(frames.dropFirst(2)) { body.writeImmutableBuffer(fragment) }
            try output.append(method, properties: header.decodeProperties(), body: body, channel: channel)
            let decoded = output.takeBytes()
            // As a broker passes on what it did not read.
            try output.append(method, properties: header.properties, body: body, channel: channel)
            return [(decoded, theirs), (output.takeBytes(), theirs)]
        default: throw NotExpected(frames: frames)
        }
    }

    private static let publish = AMQPMethod.basicPublish(.init(exchange: "", routingKey: ""))

    private func written(_ properties: AMQPBasicProperties) throws -> [UInt8] {
        var buffer = ByteBuffer()
        try properties.encode(into: &buffer)
        return Array(buffer.readableBytesView)
    }

    /// The single frames, cut by the size that stands in them.
    private func frames(_ wire: [UInt8]) -> [[UInt8]] {
        var frames: [[UInt8]] = []
        var rest = wire[...]
        while rest.count >= AMQPFrame.overhead {
            let size = rest.dropFirst(3).prefix(4).reduce(0) { $0 << 8 | Int($1) }
            frames.append(Array(rest.prefix(size + AMQPFrame.overhead)))
            rest = rest.dropFirst(size + AMQPFrame.overhead)
        }
        return frames
    }
}
