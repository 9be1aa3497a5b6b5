// SPDX-License-Identifier: Apache-2.0
#if canImport(FoundationEssentials)
    import FoundationEssentials
#else
    import Foundation
#endif

/// `Codable` values as JSON bodies.
enum JSONBody {
    static let contentType = "application/json"

    static func encode(_ value: some Encodable) throws(HareDoError) -> Bytes {
        do {
            return Bytes(try JSONEncoder().encode(value))
        } catch {
            throw HareDoError(
                .invalidArgument, "a \(type(of: value)) could not be encoded as JSON: \(Self.describe(error))",
                cause: error)
        }
    }

    static func decode<T: Decodable>(_ type: T.Type, from bytes: Bytes) throws(HareDoError) -> T {
        do {
            return try JSONDecoder().decode(type, from: Data(bytes))
        } catch {
            throw HareDoError(
                .decodingFailed, "the body is not a \(type) in JSON: \(Self.describe(error))", cause: error)
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
