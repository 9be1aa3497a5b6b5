// SPDX-License-Identifier: Apache-2.0
import AMQPWire
import HostileSupport
import NIOCore
import Testing

@Suite("Reading frames")
struct FrameDecoderTests {
    /// The error that the bytes lead to, fed byte by byte, and how many bytes it took.
    private func failure(_ wire: [UInt8], maximumFrameSize: UInt32 = 131_072) -> (AMQPWireError, after: Int)? {
        var decoder = AMQPFrameDecoder(maximumFrameSize: maximumFrameSize)
        for (index, byte) in wire.enumerated() {
            decoder.append(ByteBuffer(bytes: [byte]))
            do {
                while try decoder.nextFrame() != nil {}
            } catch {
                return (error, after: index + 1)
            }
        }
        return nil
    }

    // MARK: - Limits

    @Test("A frame above the maximum is refused at its header", arguments: [1, 2, 3, 8] as [UInt8])
    func tooLarge(kind: UInt8) throws {
        let head = [kind, 0, 0] + bigEndian(UInt32(8192 - 7))
        let (error, after) = try #require(self.failure(head, maximumFrameSize: 8192))
        #expect(error.code == .frameTooLarge)
        #expect(error.replyCode == 501)
        #expect(after == 7)
    }

    @Test("The largest announcement is refused, not added up beyond what integers hold")
    func largest() throws {
        let head: [UInt8] = [3, 0, 1, 0xFF, 0xFF, 0xFF, 0xFF]
        let (error, _) = try #require(self.failure(head, maximumFrameSize: .max))
        #expect(error.code == .frameTooLarge)
    }

    @Test(
        "An announcement beyond what buffers hold is refused, though bytes arrive before anybody asks for a frame",
        arguments: [0xFFFF_FFFF, 0xFFFF_FFF8, 0xFFFF_FFF7] as [UInt32])
    func announcedButNeverSent(size: UInt32) {
        var decoder = AMQPFrameDecoder(maximumFrameSize: .max)
        decoder.append(ByteBuffer(bytes: [3, 0, 1] + bigEndian(size)))
        decoder.append(ByteBuffer(bytes: [0]))
        #expect(decoder.bufferedBytes == 8)
        #expect(throws: AMQPWireError.self) { try decoder.nextFrame() }
    }

    @Test("A frame of exactly the maximum is read")
    func exactlyTheMaximum() throws {
        let body = [UInt8](repeating: 7, count: 8192 - 8)
        #expect(
            try decode(frame(3, body), maximumFrameSize: 8192) == [.body(channel: 1, ByteBuffer(bytes: body))])
    }

    @Test("A larger maximum holds from the next frame on")
    func negotiated() throws {
        var decoder = AMQPFrameDecoder(maximumFrameSize: 16)
        decoder.append(ByteBuffer(bytes: frame(3, [UInt8](repeating: 1, count: 8))))
        #expect(try decoder.nextFrame() != nil)
        decoder.maximumFrameSize = 17
        decoder.append(ByteBuffer(bytes: frame(3, [UInt8](repeating: 1, count: 9))))
        #expect(try decoder.nextFrame() != nil)
    }

    // MARK: - Malformed frames

    @Test(
        "An unknown frame type is refused at its first byte",
        arguments: (UInt8.min...UInt8.max).filter { ![1, 2, 3, 8, 0x41].contains($0) })
    func unknownType(kind: UInt8) throws {
        let (error, after) = try #require(self.failure([kind] + [UInt8](repeating: 0, count: 20)))
        #expect(error.code == .malformedFrame)
        #expect(error.replyCode == 501)
        #expect(error.message.contains("\(kind)"))
        #expect(after == 1)
    }

    @Test("A frame that ends with another octet is refused", arguments: [0x00, 0xCD, 0xCF, 0x01] as [UInt8])
    func badEnd(octet: UInt8) throws {
        let (error, after) = try #require(self.failure(frame(3, [1, 2], end: octet)))
        #expect(error.code == .malformedFrame)
        #expect(error.replyCode == 501)
        #expect(error.message.contains("0x\(String(octet, radix: 16)) "))
        #expect(after == 10)
    }

    @Test("A heartbeat with a payload is refused at its header")
    func heartbeatWithPayload() throws {
        let (error, after) = try #require(self.failure(frame(8, channel: 0, [0])))
        #expect(error.code == .malformedFrame)
        #expect(after == 7)
    }

    @Test("A heartbeat on a channel is refused")
    func heartbeatOnChannel() throws {
        let (error, _) = try #require(self.failure(frame(8, channel: 1, [])))
        #expect(error.code == .unexpectedFrame)
        #expect(error.replyCode == 505)
    }

    @Test(
        "A protocol header is recognised as the answer of a peer of another version",
        arguments: [[0, 0, 9, 1], [0, 1, 0, 0], [3, 1, 0, 0], [1, 1, 0, 9]] as [[UInt8]])
    func protocolHeader(version: [UInt8]) throws {
        let (error, after) = try #require(self.failure(Array("AMQP".utf8) + version + [1, 2, 3]))
        #expect(error.code == .protocolHeader)
        #expect(error.message.contains(version.dropFirst().map(String.init).joined(separator: "-")))
        #expect(after == 8)
    }

    @Test("What only begins like a protocol header is refused where it differs", arguments: ["AMQX", "AXXX", "AMXX"])
    func almostProtocolHeader(text: String) throws {
        let (error, after) = try #require(self.failure(Array(text.utf8)))
        #expect(error.code == .malformedFrame)
        #expect(after == text.utf8.prefix { "AMQP".utf8.contains($0) }.count + 1)
    }

    @Test("Nothing is read after an error, and the error stays")
    func sticky() {
        var decoder = AMQPFrameDecoder()
        decoder.append(ByteBuffer(bytes: frame(1, [0, 60])))
        let first = #expect(throws: AMQPWireError.self) { try decoder.nextFrame() }
        #expect(decoder.bufferedBytes == 0)
        decoder.append(ByteBuffer(bytes: frame(8, channel: 0, [])))
        #expect(decoder.bufferedBytes == 0)
        let second = #expect(throws: AMQPWireError.self) { try decoder.nextFrame() }
        #expect(first == second)
    }

    @Test("Frames before a bad one are read")
    func framesBeforeTheError() throws {
        var decoder = AMQPFrameDecoder()
        decoder.append(ByteBuffer(bytes: frame(8, channel: 0, []) + [9]))
        #expect(try decoder.nextFrame() == .heartbeat)
        #expect(throws: AMQPWireError.self) { try decoder.nextFrame() }
    }

    // MARK: - Payloads that are too short

    @Test("A header frame is refused when it is too short for its fields", arguments: 0..<14)
    func undersizedHeader(length: Int) {
        let error = #expect(throws: AMQPWireError.self) {
            try decode(frame(2, [UInt8](repeating: 0, count: length)))
        }
        #expect(error?.code == .malformedValue)
    }

    @Test("A header frame with flags and nothing else is read")
    func smallestHeader() throws {
        let payload = bytes(hex: "003c 0000 ffffffffffffffff 0000")
        let header = AMQPContentHeader(bodySize: .max, properties: ByteBuffer(bytes: [0, 0]))
        let frames = try decode(frame(2, payload))
        #expect(frames == [.header(channel: 1, header)])
        #expect(frames.first?.channel == 1)
        #expect(try header.decodeProperties() == AMQPBasicProperties())
    }

    @Test("A header frame with a weight is refused")
    func weight() {
        let error = #expect(throws: AMQPWireError.self) {
            try decode(frame(2, bytes(hex: "003c 0001 0000000000000000 0000")))
        }
        #expect(error?.code == .malformedValue)
    }

    @Test(
        "A method frame of any class and length never traps", arguments: [10, 20, 30, 40, 50, 60, 85, 90] as [UInt16])
    func undersizedMethods(classID: UInt16) {
        for methodID in UInt16(0)...130 {
            for length in 0..<24 {
                for filler in [UInt8(0), 1, 0xFF] {
                    let arguments = [UInt8](repeating: filler, count: length)
                    _ = try? decode(frame(1, bigEndian(classID) + bigEndian(methodID) + arguments))
                }
            }
        }
    }

    @Test("An empty body frame is a frame")
    func emptyBody() throws {
        #expect(try decode(frame(3, [])) == [.body(channel: 1, ByteBuffer())])
    }

    @Test("Nothing appended is nothing read")
    func nothing() throws {
        var decoder = AMQPFrameDecoder()
        #expect(try decoder.nextFrame() == nil)
        decoder.append(ByteBuffer())
        #expect(try decoder.nextFrame() == nil)
        #expect(decoder.bufferedBytes == 0)
    }

    // MARK: - Memory

    @Test("A body that arrived in one piece is a slice of what was read")
    func bodiesAreNotCopied() throws {
        let wire = ByteBuffer(bytes: frame(3, [UInt8](repeating: 5, count: 1000)))
        var decoder = AMQPFrameDecoder()
        decoder.append(wire)
        guard case .body(_, let body) = try decoder.nextFrame() else {
            Issue.record("expected a body")
            return
        }
        #expect(body.address == wire.address + 7)
        #expect(decoder.bufferedBytes == 0)
    }

    @Test("A long body in chunks never leaves more than one frame waiting", arguments: [1000, 4096, 65_536, 300_000])
    func bounded(chunkSize: Int) throws {
        let frameMax: UInt32 = 131_072
        let body = ByteBuffer(bytes: (0..<4_000_000).map { UInt8(truncatingIfNeeded: $0 &* 31 >> 3) })
        var output = AMQPOutput(frameMax: frameMax)
        try output.append(
            .basicPublish(.init(exchange: "", routingKey: "q")), properties: AMQPBasicProperties(), body: body,
            channel: 1)
        let wire = ByteBuffer(bytes: output.takeBytes())
        var decoder = AMQPFrameDecoder(maximumFrameSize: frameMax)
        var received = ByteBuffer()
        var rest = wire
        while let chunk = rest.readSlice(length: min(chunkSize, rest.readableBytes)), chunk.readableBytes > 0 {
            decoder.append(chunk)
            while let frame = try decoder.nextFrame() {
                if case .body(_, var fragment) = frame { received.writeBuffer(&fragment) }
            }
            #expect(decoder.bufferedBytes < Int(frameMax))
        }
        #expect(received == body)
        #expect(decoder.bufferedBytes == 0)
    }

    @Test("Bodies handed out stay as they are while more is read behind them", arguments: [1, 5, 17, 40])
    func handedOutBodiesAreStable(chunkSize: Int) throws {
        let bodies = (0..<60).map { [UInt8](repeating: UInt8($0), count: $0) }
        let wire = bodies.flatMap { frame(3, $0) }
        let chunks = stride(from: 0, to: wire.count, by: chunkSize).map {
            Array(wire[$0..<min($0 + chunkSize, wire.count)])
        }
        #expect(try decode(chunks) == bodies.map { .body(channel: 1, ByteBuffer(bytes: $0)) })
    }

    @Test("What the caller still holds of its own buffer is left alone")
    func callersBuffer() throws {
        let wire = frame(3, [1, 2, 3])
        let mine = ByteBuffer(bytes: wire.prefix(5))
        var decoder = AMQPFrameDecoder()
        decoder.append(mine)
        decoder.append(ByteBuffer(bytes: wire.dropFirst(5)))
        #expect(try decoder.nextFrame() == .body(channel: 1, ByteBuffer(bytes: [1, 2, 3])))
        #expect(mine == ByteBuffer(bytes: wire.prefix(5)))
    }

    @Test("A copy of a decoder goes its own way")
    func copies() throws {
        var one = AMQPFrameDecoder()
        let wire = frame(3, [1, 2, 3])
        one.append(ByteBuffer(bytes: wire.prefix(4)))
        one.append(ByteBuffer(bytes: wire[4..<8]))
        var other = one
        one.append(ByteBuffer(bytes: wire[8...]))
        other.append(ByteBuffer(bytes: [9, 9, 0xCE]))
        #expect(try one.nextFrame() == .body(channel: 1, ByteBuffer(bytes: [1, 2, 3])))
        #expect(try other.nextFrame() == .body(channel: 1, ByteBuffer(bytes: [1, 9, 9])))
    }
}
