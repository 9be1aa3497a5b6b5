// SPDX-License-Identifier: Apache-2.0
#if canImport(FoundationEssentials)
    import FoundationEssentials
#else
    import Foundation
#endif

/// How values become bodies and bodies values. JSON is built in; others may be added:
/// ``Peer/Configuration/formats``.
public protocol BodyFormat: Sendable {
    /// MIME type of the bodies, in lower case and without parameters, such as `application/json`.
    var contentType: String { get }

    /// - Throws: whatever it likes; the sender gets ``HareDoError/Code/invalidArgument``.
    func encode(_ value: some Encodable) throws -> Bytes

    /// - Throws: a `DecodingError`, of which field and type are told to the sender; of any other error only its type is.
    func decode<Value: Decodable>(_ type: Value.Type, from body: Bytes) throws -> Value
}

/// JSON (RFC 8259), as Foundation writes and reads it.
public struct JSONFormat: BodyFormat {
    public var contentType: String { "application/json" }

    /// The format.
    public init() {}

    public func encode(_ value: some Encodable) throws -> Bytes { Bytes(try JSONEncoder().encode(value)) }

    public func decode<Value: Decodable>(_ type: Value.Type, from body: Bytes) throws -> Value {
        try JSONDecoder().decode(type, from: Data(body))
    }
}

/// The formats that a peer knows, the preferred one first. There is always one.
struct BodyFormats: Sendable {
    private let formats: [any BodyFormat]

    /// For what is made without a peer.
    static let standard = BodyFormats([])

    init(_ formats: [any BodyFormat]) { self.formats = formats.isEmpty ? [JSONFormat()] : formats }

    /// What values are sent in.
    var preferred: any BodyFormat { self.formats[0] }

    /// The format of a content type; of one that is unknown or missing the preferred one, for those who do not say what
    /// they send.
    func format(of contentType: String?) -> any BodyFormat {
        guard let contentType else { return self.preferred }
        // Without parameters such as the character set, and without the prefix of `application/problem+json`.
        let type = contentType.prefix { $0 != ";" }.filter { $0 != " " }.lowercased()
        let suffix = type.split(separator: "+").last.map { "application/" + $0 }
        return self.formats.first { $0.contentType == type } ?? self.formats.first { $0.contentType == suffix }
            ?? self.preferred
    }
}

extension BodyFormat {
    func body(of value: some Encodable) throws(HareDoError) -> Bytes {
        do {
            return try self.encode(value)
        } catch {
            throw HareDoError(
                .invalidArgument,
                "a \(type(of: value)) could not be encoded as \(self.contentType): \(Self.describe(error))",
                cause: error)
        }
    }

    func value<Value: Decodable>(_ type: Value.Type, of body: Bytes) throws(HareDoError) -> Value {
        do {
            return try self.decode(type, from: body)
        } catch {
            throw HareDoError(
                .decodingFailed, "the body is not a \(type) in \(self.contentType): \(Self.describe(error))",
                cause: error)
        }
    }

    /// Names the field and the type, not the value.
    private static func describe(_ error: any Error) -> String {
        func path(_ context: [any CodingKey]) -> String {
            context.isEmpty ? "the value" : "'" + context.map(\.stringValue).joined(separator: ".") + "'"
        }
        switch error {
        case DecodingError.keyNotFound(let key, let context): return "\(path(context.codingPath + [key])) is missing"
        case DecodingError.typeMismatch(let type, let context): return "\(path(context.codingPath)) is not a \(type)"
        case DecodingError.valueNotFound(let type, let context):
            return "\(path(context.codingPath)) is null and not a \(type)"
        case DecodingError.dataCorrupted(let context): return "\(path(context.codingPath)) is malformed"
        case EncodingError.invalidValue(_, let context): return "\(path(context.codingPath)) cannot be encoded"
        // An error of the type's own making may say anything, and this goes to the other side.
        default: return "\(type(of: error))"
        }
    }
}
