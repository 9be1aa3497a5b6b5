// SPDX-License-Identifier: Apache-2.0
package import NIOCore

/// A message's body: a read-only collection of bytes that shares its storage with what was received.
public struct Bytes: Sendable, Hashable {
    package let buffer: ByteBuffer

    package init(_ buffer: ByteBuffer) { self.buffer = buffer }

    /// No bytes.
    public init() { self.buffer = ByteBuffer() }

    /// The UTF-8 of a text.
    public init(_ text: some StringProtocol) { self.buffer = ByteBuffer(string: String(text)) }

    /// A copy of bytes of any kind, such as `[UInt8]` or `Data`.
    public init(_ bytes: some Sequence<UInt8>) { self.buffer = ByteBuffer(bytes: bytes) }

    /// The bytes as text, or `nil` if they are not UTF-8.
    public var text: String? { String(validating: self.buffer.readableBytesView, as: UTF8.self) }

    /// Calls `body` with the bytes where they lie.
    public func withUnsafeBytes<R>(_ body: (UnsafeRawBufferPointer) throws -> R) rethrows -> R {
        try self.buffer.withUnsafeReadableBytes(body)
    }

    /// The same bytes in storage of their own: a small slice would otherwise keep the whole buffer it was read into.
    func compacted() -> Bytes {
        guard self.count < 4096 else { return self }
        var copy = ByteBufferAllocator().buffer(capacity: self.count)
        copy.writeImmutableBuffer(self.buffer)
        return Bytes(copy)
    }
}

extension Bytes: RandomAccessCollection {
    public var startIndex: Int { 0 }
    public var endIndex: Int { self.buffer.readableBytes }
    public subscript(position: Int) -> UInt8 {
        self.buffer.readableBytesView[self.buffer.readerIndex + position]
    }
    public func withContiguousStorageIfAvailable<R>(_ body: (UnsafeBufferPointer<UInt8>) throws -> R) rethrows -> R? {
        try self.buffer.readableBytesView.withContiguousStorageIfAvailable(body)
    }
}

extension Bytes: ExpressibleByStringLiteral, ExpressibleByArrayLiteral {
    public init(stringLiteral text: String) { self.init(text) }
    public init(arrayLiteral bytes: UInt8...) { self.init(bytes) }
}

extension Bytes: CustomStringConvertible {
    /// The size only: bodies do not belong in logs.
    public var description: String { "\(self.count) bytes" }
}
