// SPDX-License-Identifier: Apache-2.0
#if canImport(FoundationEssentials)
    public import FoundationEssentials
#else
    public import Foundation
#endif

/// What can be sent as the body of a message: bytes, in whatever type they come.
///
/// ``Bytes``, `String`, `Substring`, `[UInt8]`, `ArraySlice<UInt8>` and `Data` conform. Values that are `Codable` are
/// sent with the `encoding:` variants instead.
public protocol MessageBody: Sendable {
    /// The bytes to send.
    var messageBytes: Bytes { get }
    /// MIME type that goes with the bytes; `nil` to say nothing.
    static var contentType: String? { get }
}

extension MessageBody {
    public static var contentType: String? { nil }
}

extension MessageBody where Self == Bytes {
    /// A body of no bytes.
    public static var empty: Bytes { Bytes() }
}

extension Bytes: MessageBody {
    public var messageBytes: Bytes { self }
}

extension String: MessageBody {
    public var messageBytes: Bytes { Bytes(self) }
    public static var contentType: String? { "text/plain" }
}

extension Substring: MessageBody {
    public var messageBytes: Bytes { Bytes(self) }
    public static var contentType: String? { "text/plain" }
}

extension [UInt8]: MessageBody {
    public var messageBytes: Bytes { Bytes(self) }
}

extension ArraySlice<UInt8>: MessageBody {
    public var messageBytes: Bytes { Bytes(self) }
}

extension Data: MessageBody {
    public var messageBytes: Bytes { Bytes(self) }
}
