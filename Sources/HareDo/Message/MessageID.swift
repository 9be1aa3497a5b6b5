// SPDX-License-Identifier: Apache-2.0

/// Identifies a message: what ``Peer/send(_:headers:data:wantsReply:confirm:)`` returns and
/// ``Peer/receive(id:timeout:)`` asks for.
public struct MessageID: Hashable, Sendable, CustomStringConvertible, ExpressibleByStringLiteral {
    /// As it stands in the message.
    public let rawValue: String
    /// An id that another peer told.
    public init(_ rawValue: String) { self.rawValue = rawValue }
    public init(stringLiteral value: String) { self.rawValue = value }
    public var description: String { self.rawValue }
}

/// Makes the ids of one peer, and tells them from those of others without remembering any.
///
/// An id is a letter for what made it, a counter, and a keyed hash of both: none can be guessed from another, making one
/// takes no system call, and whether an id is ours follows from the key alone.
struct MessageIDs {
    enum Kind: UInt8 {
        case call = 0x63 // c
        case send = 0x73 // s
    }

    private let hash: SipHash
    private var counter: UInt64 = 0

    init(key: (UInt64, UInt64) = (.random(in: 0 ... .max), .random(in: 0 ... .max))) {
        self.hash = SipHash(key: key)
    }

    /// The next id, and its number among all ids of the peer.
    mutating func next(_ kind: Kind) -> (id: MessageID, number: UInt64) {
        self.counter += 1
        return (self.id(kind, self.counter), self.counter)
    }

    /// What made the id, and its number; `nil` if it was not this peer.
    func origin(of id: String) -> (kind: Kind, number: UInt64)? {
        var id = id
        return id.withUTF8 { bytes in
            guard bytes.count == 33, let kind = Kind(rawValue: bytes[0]), let number = Self.readHex(bytes, at: 1),
                number <= self.counter, let hash = Self.readHex(bytes, at: 17),
                hash == self.hash(UInt64(kind.rawValue), number)
            else { return nil }
            return (kind, number)
        }
    }

    private func id(_ kind: Kind, _ counter: UInt64) -> MessageID {
        let hash = self.hash(UInt64(kind.rawValue), counter)
        return MessageID(
            String(unsafeUninitializedCapacity: 33) { bytes in
                bytes[0] = kind.rawValue
                Self.writeHex(counter, to: bytes, at: 1)
                Self.writeHex(hash, to: bytes, at: 17)
                return 33
            })
    }

    /// Sixteen digits, as they are written below: no capital letters.
    private static func readHex(_ bytes: UnsafeBufferPointer<UInt8>, at start: Int) -> UInt64? {
        var value: UInt64 = 0
        for byte in bytes[start..<start + 16] {
            switch byte {
            case 0x30...0x39: value = value << 4 | UInt64(byte - 0x30)
            case 0x61...0x66: value = value << 4 | UInt64(byte - 0x57)
            default: return nil
            }
        }
        return value
    }

    private static func writeHex(_ value: UInt64, to bytes: UnsafeMutableBufferPointer<UInt8>, at start: Int) {
        for position in 0..<16 {
            let digit = UInt8(truncatingIfNeeded: value >> UInt64(60 - 4 * position)) & 0xf
            bytes[start + position] = digit < 10 ? 0x30 + digit : 0x57 + digit
        }
    }
}
