// SPDX-License-Identifier: Apache-2.0
import AMQPWire
import NIOCore

/// The bytes of a hexadecimal string; spaces are for the reader.
package func bytes(hex: String) -> [UInt8] {
    let digits = hex.compactMap(\.hexDigitValue)
    return stride(from: 0, to: digits.count - 1, by: 2).map { UInt8(digits[$0] << 4 | digits[$0 + 1]) }
}

/// The bytes of a golden file's hexadecimal, in which `61*65536` stands for so many bytes 0x61.
package func bytes(compactHex: String) -> [UInt8] {
    compactHex.split(separator: " ").flatMap { part in
        let pieces = part.split(separator: "*")
        let run = bytes(hex: pieces.first.map(String.init) ?? "")
        guard pieces.count == 2, let count = Int(pieces[1]), let byte = run.first else { return run }
        return [UInt8](repeating: byte, count: count)
    }
}

/// An integer as it stands on the wire.
package func bigEndian<T: FixedWidthInteger>(_ value: T) -> [UInt8] {
    stride(from: T.bitWidth - 8, through: 0, by: -8).map { UInt8(truncatingIfNeeded: value >> T($0)) }
}

/// Something that must not be, whatever the input.
package struct Finding: Error, CustomStringConvertible {
    package let description: String
    init(_ description: String) { self.description = description }
}

/// The bytes of frames that are valid.
func encoded(
    frameMax: UInt32 = 131_072, _ body: (inout AMQPOutput) throws(AMQPWireError) -> Void
) throws(Finding) -> [UInt8] {
    var output = AMQPOutput(frameMax: frameMax)
    do {
        try body(&output)
    } catch {
        throw Finding("cannot be encoded: \(error)")
    }
    return output.take().flatMap { Array($0.readableBytesView) }
}

/// Where the frames of a stream end, read by their lengths alone; what is no whole frame comes last.
func framewise(_ bytes: [UInt8]) -> [[UInt8]] {
    var pieces: [[UInt8]] = []
    var rest = bytes[...]
    while !rest.isEmpty {
        var length = rest.count
        if rest.starts(with: AMQPProtocolHeader.bytes.prefix(4)) {
            length = min(length, 8)
        } else if rest.count >= 7 {
            let size = rest.dropFirst(3).prefix(4).reduce(0) { $0 << 8 | Int($1) }
            length = min(length, size + AMQPFrame.overhead)
        }
        pieces.append(Array(rest.prefix(length)))
        rest = rest.dropFirst(length)
    }
    return pieces
}

/// Cuts bytes into chunks of random sizes: single bytes, halves of frames, many frames at once.
package func chunked(_ bytes: [UInt8], using random: inout SplitMix64) -> [[UInt8]] {
    // Long streams are not cut into single bytes: that costs much and shows nothing more.
    let most = max([1, 4, 16, 100, 5000].randomElement(using: &random) ?? 1, bytes.count / 200)
    var chunks: [[UInt8]] = []
    var rest = bytes[...]
    while !rest.isEmpty {
        let size = Int.random(in: 1...most, using: &random)
        chunks.append(Array(rest.prefix(size)))
        rest = rest.dropFirst(size)
    }
    return chunks
}
