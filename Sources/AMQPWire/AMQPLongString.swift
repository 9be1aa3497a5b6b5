// SPDX-License-Identifier: Apache-2.0

/// A long string (specification 4.2.5.3): up to 4 GiB of bytes, usually but not necessarily UTF-8 (RabbitMQ errata 16).
public struct AMQPLongString: Hashable, Sendable, ExpressibleByStringLiteral, CustomStringConvertible {
    private enum Storage: Hashable {
        case text(String)
        /// Only bytes that are not UTF-8, so that equal strings are stored alike.
        case bytes([UInt8])
    }
    private let storage: Storage

    /// The UTF-8 of a text.
    public init(_ string: String) { self.storage = .text(string) }

    public init(stringLiteral value: String) { self.init(value) }

    /// Any bytes.
    public init(bytes: some Collection<UInt8>) {
        if let string = String(validating: bytes, as: UTF8.self) {
            self.storage = .text(string)
        } else {
            self.storage = .bytes(Array(bytes))
        }
    }

    /// The text, or `nil` if the bytes are not UTF-8.
    public var string: String? {
        switch self.storage {
        case .text(let string): string
        case .bytes: nil
        }
    }

    /// The bytes, of text its UTF-8.
    public var bytes: [UInt8] {
        switch self.storage {
        case .text(let string): Array(string.utf8)
        case .bytes(let bytes): bytes
        }
    }

    public var description: String { self.string ?? "\(self.bytes.count) bytes" }

    func write(into buffer: inout AMQPWriter) {
        switch self.storage {
        case .text(let string): buffer.writeString(string)
        case .bytes(let bytes): buffer.write(bytes)
        }
    }
}
