// SPDX-License-Identifier: Apache-2.0
import AMQPWire
import NIOCore
import Testing

/// The bytes of a hexadecimal string; spaces are for the reader.
func bytes(hex: String) -> [UInt8] {
    let digits = hex.compactMap(\.hexDigitValue)
    return stride(from: 0, to: digits.count - 1, by: 2).map { UInt8(digits[$0] << 4 | digits[$0 + 1]) }
}

/// A frame around any payload, right or wrong.
func frame(_ kind: UInt8, channel: UInt16 = 1, _ payload: [UInt8], end: UInt8 = 0xCE) -> [UInt8] {
    [kind] + bigEndian(channel) + bigEndian(UInt32(payload.count)) + payload + [end]
}

func bigEndian<T: FixedWidthInteger>(_ value: T) -> [UInt8] {
    stride(from: T.bitWidth - 8, through: 0, by: -8).map { UInt8(truncatingIfNeeded: value >> T($0)) }
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

/// Repeatable randomness: the same seed, the same test.
struct SplitMix64: RandomNumberGenerator {
    private var state: UInt64

    init(seed: UInt64) { self.state = seed }

    mutating func next() -> UInt64 {
        self.state &+= 0x9E37_79B9_7F4A_7C15
        var z = self.state
        z = (z ^ (z >> 30)) &* 0xBF58_476D_1CE4_E5B9
        z = (z ^ (z >> 27)) &* 0x94D0_49BB_1331_11EB
        return z ^ (z >> 31)
    }
}
