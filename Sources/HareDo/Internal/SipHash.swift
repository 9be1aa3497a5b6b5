// SPDX-License-Identifier: Apache-2.0

/// SipHash-2-4 (Aumasson and Bernstein, 2012): a keyed hash whose values cannot be guessed without the key.
struct SipHash {
    let key: (UInt64, UInt64)

    func callAsFunction(_ words: UInt64...) -> UInt64 {
        var v0 = 0x736f_6d65_7073_6575 ^ self.key.0
        var v1 = 0x646f_7261_6e64_6f6d ^ self.key.1
        var v2 = 0x6c79_6765_6e65_7261 ^ self.key.0
        var v3 = 0x7465_6462_7974_6573 ^ self.key.1

        func rotate(_ value: UInt64, _ bits: UInt64) -> UInt64 { (value << bits) | (value >> (64 - bits)) }
        func round() {
            v0 = v0 &+ v1
            v1 = rotate(v1, 13) ^ v0
            v0 = rotate(v0, 32)
            v2 = v2 &+ v3
            v3 = rotate(v3, 16) ^ v2
            v0 = v0 &+ v3
            v3 = rotate(v3, 21) ^ v0
            v2 = v2 &+ v1
            v1 = rotate(v1, 17) ^ v2
            v2 = rotate(v2, 32)
        }
        func absorb(_ word: UInt64) {
            v3 ^= word
            round()
            round()
            v0 ^= word
        }
        for word in words { absorb(word) }
        // The last word holds the length in its top byte; whole words leave no other rest.
        absorb(UInt64(truncatingIfNeeded: words.count * 8) << 56)
        v2 ^= 0xff
        for _ in 0..<4 { round() }
        return v0 ^ v1 ^ v2 ^ v3
    }
}
