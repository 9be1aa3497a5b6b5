// SPDX-License-Identifier: Apache-2.0
import AMQPWire
import NIOCore
import Testing

/// Damaged frames from a repeatable source: whatever arrives, there are frames or an error, and never a trap.
@Suite("Damaged streams")
struct MutationTests {
    private static let frames: [[UInt8]] =
        MethodSample.all.map(\.wire)
        + [
            frame(8, channel: 0, []),
            frame(2, bytes(hex: "003c 0000 0000000000000002") + PropertySample.every),
            frame(2, bytes(hex: "003c 0000 0000000000000002") + Array(headers(table).readableBytesView)),
            frame(3, [1, 2]),
        ]

    private static let table: [UInt8] = FieldSample.all.flatMap { (sample) -> [UInt8] in [1, 0x6B] + sample.wire }

    private func damage(_ wire: inout [UInt8], using random: inout SplitMix64) {
        // The first bytes decide most: types, sizes and class numbers.
        let end = Bool.random(using: &random) ? wire.count : min(wire.count, 16)
        let index = Int.random(in: 0..<max(end, 1), using: &random)
        guard index < wire.count else { return }
        switch UInt8.random(in: 0..<6, using: &random) {
        case 0: wire[index] ^= 1 << UInt8.random(in: 0..<8, using: &random)
        case 1: wire[index] = UInt8.random(in: .min ... .max, using: &random)
        case 2: wire[index] = [0, 1, 0x7F, 0x80, 0xFF].randomElement(using: &random) ?? 0
        case 3: wire.remove(at: index)
        case 4: wire.insert(UInt8.random(in: .min ... .max, using: &random), at: index)
        default: wire.removeLast(Int.random(in: 0...(wire.count - index), using: &random))
        }
        // Most of them with the right length again, so that the damage is found inside.
        if UInt8.random(in: 0..<4, using: &random) > 0, wire.count >= 8 {
            wire.replaceSubrange(3..<7, with: bigEndian(UInt32(wire.count - 8)))
            wire[wire.count - 1] = 0xCE
        }
    }

    @Test("Twenty thousand damaged frames", arguments: [1, 0x4A72_3F11] as [UInt64])
    func damaged(seed: UInt64) throws {
        var random = SplitMix64(seed: seed)
        var read = 0
        var refused = 0
        for round in 0..<10_000 {
            var wire = Self.frames.randomElement(using: &random) ?? []
            for _ in 0..<Int.random(in: 1...3, using: &random) { self.damage(&wire, using: &random) }
            wire += Self.frames.randomElement(using: &random) ?? []
            let split = Int.random(in: 0...wire.count, using: &random)
            var decoder = AMQPFrameDecoder()
            do {
                for chunk in [wire[..<split], wire[split...]] {
                    decoder.append(ByteBuffer(bytes: chunk))
                    while let frame = try decoder.nextFrame() {
                        read += 1
                        try self.use(frame, "seed \(seed), round \(round)")
                    }
                }
            } catch {
                refused += 1
                #expect(!error.description.isEmpty)
            }
        }
        // A test that refuses everything at the first byte, or nothing at all, would test little.
        #expect(read > 2000, "seed \(seed)")
        #expect(refused > 3000, "seed \(seed)")
    }

    /// What was read can be written, and read again as the same.
    private func use(_ frame: AMQPFrame, _ context: String) throws(AMQPWireError) {
        switch frame {
        case .method(let channel, let method):
            let first = try self.write(method, channel: channel)
            guard case .method(_, let again) = try decode(first).first else {
                Issue.record("\(context): \(method.id) was not read back")
                return
            }
            // By their bytes: a table may hold a NaN, which does not equal itself.
            let second = try self.write(again, channel: channel)
            #expect(first == second, "\(context)")
        case .header(_, let header):
            let properties = try header.decodeProperties()
            do {
                var buffer = ByteBuffer()
                try properties.encode(into: &buffer)
                _ = try AMQPBasicProperties(decoding: buffer)
            } catch {
                Issue.record(error, "\(context)")
            }
        case .body, .heartbeat: break
        }
    }

    private func write(_ method: AMQPMethod, channel: UInt16) throws(AMQPWireError) -> [UInt8] {
        var output = AMQPOutput()
        do {
            try output.append(method, channel: channel)
        } catch {
            Issue.record(error, "\(method.id) was read and cannot be written")
            throw error
        }
        return output.takeBytes()
    }

    @Test("Random bytes", arguments: [2, 0x0BAD_CAFE] as [UInt64])
    func noise(seed: UInt64) {
        var random = SplitMix64(seed: seed)
        for _ in 0..<2000 {
            let length = Int.random(in: 0..<64, using: &random)
            let payload = (0..<length).map { _ in UInt8.random(in: .min ... .max, using: &random) }
            for kind in [1, 2, 3] as [UInt8] { _ = try? decode(frame(kind, payload)) }
            _ = try? decode(payload)
            _ = try? AMQPBasicProperties(decoding: ByteBuffer(bytes: payload))
            _ = try? AMQPBasicProperties(decoding: headers(payload))
        }
    }
}
