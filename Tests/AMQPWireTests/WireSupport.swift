// SPDX-License-Identifier: Apache-2.0
import AMQPWire
import HostileSupport
import NIOCore
import Testing

/// A frame around any payload, right or wrong.
func frame(_ kind: UInt8, channel: UInt16 = 1, _ payload: [UInt8], end: UInt8 = 0xCE) -> [UInt8] {
    [kind] + bigEndian(channel) + bigEndian(UInt32(payload.count)) + payload + [end]
}

/// Feeds the chunks one after another and asks for frames after each, as a connection does.
func decode(_ chunks: [[UInt8]], maximumFrameSize: UInt32 = 131_072) throws(AMQPWireError) -> [AMQPFrame] {
    var decoder = AMQPFrameDecoder(maximumFrameSize: maximumFrameSize)
    var frames: [AMQPFrame] = []
    for chunk in chunks {
        decoder.append(ByteBuffer(bytes: chunk))
        while let frame = try decoder.nextFrame() { frames.append(frame) }
    }
    return frames
}

func decode(_ bytes: [UInt8], maximumFrameSize: UInt32 = 131_072) throws(AMQPWireError) -> [AMQPFrame] {
    try decode([bytes], maximumFrameSize: maximumFrameSize)
}

extension AMQPOutput {
    /// What ``take()`` gives, as one run of bytes.
    mutating func takeBytes() -> [UInt8] {
        self.take().flatMap { Array($0.readableBytesView) }
    }
}

extension ByteBuffer {
    /// Where the readable bytes stand in memory, to see whether they were copied.
    var address: UInt { self.withUnsafeReadableBytes { UInt(bitPattern: $0.baseAddress) } }
}

/// A property list that holds nothing but the table `content`, given without its length.
func headers(_ content: [UInt8]) -> ByteBuffer {
    ByteBuffer(bytes: [0x20, 0x00] + bigEndian(UInt32(content.count)) + content)
}

/// Reads a table of one entry `k` whose value, tag included, is `value`.
func decodeValue(_ value: [UInt8]) throws(AMQPWireError) -> AMQPFieldValue? {
    try AMQPBasicProperties(decoding: headers([1, 0x6B] + value)).headers?["k"]
}

/// The content of a table as it is written, without its length.
func encode(_ table: AMQPTable) throws(AMQPWireError) -> [UInt8] {
    var properties = AMQPBasicProperties()
    properties.headers = table
    var buffer = ByteBuffer()
    try properties.encode(into: &buffer)
    return Array(buffer.readableBytesView.dropFirst(6))
}
