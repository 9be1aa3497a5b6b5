// SPDX-License-Identifier: Apache-2.0
import Testing

@testable import HareDoDaemon

@Suite("SHA-256")
struct SHA256Tests {
    private static func hexadecimal(_ bytes: [UInt8]) -> String { ControlSignature.hexadecimal(bytes) }

    /// https://csrc.nist.gov/CSRC/media/Projects/Cryptographic-Standards-and-Guidelines/documents/examples/SHA256.pdf and
    /// the vectors of FIPS 180-4's validation system.
    @Test(
        "NIST's examples",
        arguments: [
            ("", "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"),
            ("abc", "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"),
            (
                "abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq",
                "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1"
            ),
            (
                String(repeating: "a", count: 1_000_000),
                "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0"
            ),
        ])
    func hashes(text: String, expected: String) {
        #expect(Self.hexadecimal(SHA256.hash(Array(text.utf8))) == expected)
    }

    /// RFC 4231, test cases 1, 2, 3 and 6.
    @Test("HMAC's examples")
    func authentication() {
        func check(_ key: [UInt8], _ message: [UInt8], _ expected: String) {
            #expect(Self.hexadecimal(SHA256.authenticate(message, key: key)) == expected)
        }
        check(
            Array(repeating: 0x0b, count: 20), Array("Hi There".utf8),
            "b0344c61d8db38535ca8afceaf0bf12b881dc200c9833da726e9376c2e32cff7")
        check(
            Array("Jefe".utf8), Array("what do ya want for nothing?".utf8),
            "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843")
        check(
            Array(repeating: 0xaa, count: 20), Array(repeating: 0xdd, count: 50),
            "773ea91e36800e46854db8ebd09181a72959098b3ef8c122d9635514ced565fe")
        check(
            Array(repeating: 0xaa, count: 131), Array("Test Using Larger Than Block-Size Key - Hash Key First".utf8),
            "60e431591ee0b67f0d8a26aacbf5b77f8e0bc6213728c5140546040f0ee37f54")
    }

    /// Every length around the ends of blocks: the padding changes there.
    @Test("Lengths")
    func lengths() {
        let hashes = (0...130).map { SHA256.hash([UInt8](repeating: 7, count: $0)) }
        #expect(Set(hashes).count == 131)
        #expect(hashes.allSatisfy { $0.count == 32 })
    }

    @Test("Equality")
    func equality() {
        #expect(SHA256.isEqual([1, 2], [1, 2]))
        #expect(!SHA256.isEqual([1, 2], [1, 3]))
        #expect(!SHA256.isEqual([1, 2], [1]))
        #expect(SHA256.isEqual([], []))
        // One bit anywhere, and all that is left of it.
        let one = SHA256.hash([])
        for index in one.indices {
            for bit in 0..<8 {
                var other = one
                other[index] ^= 1 << bit
                #expect(!SHA256.isEqual(one, other), "bit \(bit) of byte \(index)")
            }
        }
        for number in 0..<10_000 {
            #expect(!SHA256.isEqual(one, SHA256.hash([UInt8(number >> 8), UInt8(number & 255)])))
        }
    }
}
