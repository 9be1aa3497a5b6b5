// SPDX-License-Identifier: Apache-2.0

/// Damages valid frames, repeatably.
package struct Mutator: Sendable {
    private let frames: [[UInt8]]

    /// - Parameter frames: valid ones, to damage, to splice and to send out of order.
    package init(_ frames: [[UInt8]]) { self.frames = frames }

    /// A frame with one to three faults; sometimes whole, but none that belongs where it is sent.
    ///
    /// - Parameter channel: where most of them go, unless they belong to the connection.
    package func frame(channel: UInt16, using random: inout SplitMix64) -> [UInt8] {
        var wire = self.pick(&random)
        if wire.count > 10, UInt8.random(in: 0..<8, using: &random) > 0 {
            let isConnections = wire[0] == 8 || (wire[0] == 1 && wire[7] == 0 && wire[8] == 10)
            wire.replaceSubrange(1..<3, with: bigEndian(isConnections ? 0 : channel))
        }
        let faults = Int.random(in: 0...3, using: &random)
        for _ in 0..<faults { self.damage(&wire, using: &random) }
        return wire
    }

    private func pick(_ random: inout SplitMix64) -> [UInt8] { self.frames.randomElement(using: &random) ?? [] }

    private static let extremes: [UInt32] = [0, 1, 7, 0xFF, 0xFFFF, 0x7FFF_FFFF, 0x8000_0000, 0xFFFF_FFF7, 0xFFFF_FFFF]

    private func damage(_ wire: inout [UInt8], using random: inout SplitMix64) {
        // The first bytes decide most: types, sizes and class numbers.
        let end = Bool.random(using: &random) ? wire.count : min(wire.count, 20)
        guard end > 0 else { return }
        let index = Int.random(in: 0..<end, using: &random)
        var isInside = true
        switch UInt8.random(in: 0..<14, using: &random) {
        case 0: wire[index] ^= 1 << UInt8.random(in: 0..<8, using: &random)
        case 1: wire[index] = UInt8.random(in: .min ... .max, using: &random)
        case 2: wire[index] = [0, 1, 0x7F, 0x80, 0xFF].randomElement(using: &random) ?? 0
        case 3: wire.insert(UInt8.random(in: .min ... .max, using: &random), at: index)
        case 4: wire.removeLast(Int.random(in: 0...(wire.count - index), using: &random))
        case 5: wire.insert(contentsOf: wire[index...].prefix(40), at: index)
        case 6: wire += wire
        case 7:
            let other = self.pick(&random)
            wire = Array(wire[..<index] + other.dropFirst(Int.random(in: 0...other.count, using: &random)))
        case 8:
            // A length inside: of a table, a string, a body.
            let length = Self.extremes.randomElement(using: &random) ?? 0
            if index + 4 <= wire.count { wire.replaceSubrange(index..<(index + 4), with: bigEndian(length)) }
        case 9:
            isInside = false
            var length = Self.extremes.randomElement(using: &random) ?? 0
            if Bool.random(using: &random) {
                length = UInt32(max(wire.count + Int.random(in: -12 ... -4, using: &random), 0))
            }
            if wire.count >= 7 { wire.replaceSubrange(3..<7, with: bigEndian(length)) }
        case 10:
            isInside = false
            wire[0] = [0, 1, 2, 3, 4, 8, 9, 0x41, 0xFF].randomElement(using: &random) ?? 0
        case 11:
            isInside = false
            let channel: UInt16 = [0, 1, 2, 3, 0x7FF, 0xFFFF].randomElement(using: &random) ?? 0
            if wire.count >= 3 { wire.replaceSubrange(1..<3, with: bigEndian(channel)) }
        case 12:
            let other = self.pick(&random)
            if wire.count >= 11, other.count >= 11 {
                let count = Bool.random(using: &random) ? 2 : 4
                wire.replaceSubrange(7..<(7 + count), with: other[7..<(7 + count)])
            }
        default:
            isInside = false
            wire[wire.count - 1] = UInt8.random(in: .min ... .max, using: &random)
        }
        // Most of them with the right length again, so that the damage is found inside.
        if isInside, UInt8.random(in: 0..<4, using: &random) > 0, wire.count >= 8 {
            wire.replaceSubrange(3..<7, with: bigEndian(UInt32(wire.count - 8)))
            wire[wire.count - 1] = 0xCE
        }
    }
}
