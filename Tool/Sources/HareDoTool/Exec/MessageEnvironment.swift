// SPDX-License-Identifier: Apache-2.0
import HareDo

#if canImport(FoundationEssentials)
    import FoundationEssentials
#else
    import Foundation
#endif

/// What a command finds of a message in its environment.
enum MessageEnvironment {
    private static let headerPrefix = "HAREDO_HEADER_"
    private static let fieldNames: Set<String> = [
        "HAREDO_MESSAGE_ID", "HAREDO_CORRELATION_ID", "HAREDO_REPLY_TO", "HAREDO_QUEUE", "HAREDO_CONTENT_TYPE",
        "HAREDO_SENDER", "HAREDO_ATTEMPT",
    ]

    /// - Throws: `ServiceError` `bad-headers` if the environment cannot carry the message as it is.
    static func variables(for message: Message) throws(ServiceError) -> [String: String] {
        var variables = try Self.variables(for: message.headers)
        variables["HAREDO_MESSAGE_ID"] = message.id?.rawValue
        variables["HAREDO_CORRELATION_ID"] = message.correlationID?.rawValue
        variables["HAREDO_REPLY_TO"] = message.replyTo
        variables["HAREDO_QUEUE"] = message.address
        variables["HAREDO_CONTENT_TYPE"] = message.contentType
        variables["HAREDO_SENDER"] = message.verifiedSender
        variables["HAREDO_ATTEMPT"] = "\(message.attempt)"
        for (name, value) in variables { try Self.check(value, of: name) }
        return variables
    }

    /// Two headers may become one name; then neither is right.
    static func variables(for headers: Headers) throws(ServiceError) -> [String: String] {
        var variables: [String: String] = [:]
        for (name, value) in headers {
            let variable = Self.variable(for: name)
            guard variables.updateValue(Self.text(value), forKey: variable) == nil else {
                throw ServiceError("bad-headers", "two headers become the environment variable \(variable)")
            }
        }
        for (name, value) in variables { try Self.check(value, of: name) }
        return variables
    }

    /// In capitals, with `_` for everything but the letters A to Z and digits.
    static func variable(for header: String) -> String {
        Self.headerPrefix
            + String(
                decoding: header.unicodeScalars.map { scalar -> UInt8 in
                    switch scalar {
                    case "a"..."z": UInt8(scalar.value - 0x20)
                    case "A"..."Z", "0"..."9": UInt8(scalar.value)
                    default: UInt8(ascii: "_")
                    }
                }, as: UTF8.self)
    }

    /// Which of the variables we were started with would look as if they were the message's.
    static func inherited(_ environment: some Sequence<String>) -> [String] {
        environment.filter { $0.hasPrefix(Self.headerPrefix) || Self.fieldNames.contains($0) }
    }

    private static func check(_ value: String, of name: String) throws(ServiceError) {
        guard !value.utf8.contains(0) else {
            throw ServiceError("bad-headers", "the environment variable \(name) would hold a zero byte")
        }
    }

    private static func text(_ value: HeaderValue) -> String {
        switch value {
        case .string(let text): text
        case .integer(let number): "\(number)"
        case .double(let number): "\(number)"
        case .boolean(let value): "\(value)"
        case .timestamp(let seconds): "\(seconds)"
        case .bytes(let bytes): Data(bytes).base64EncodedString()
        case .null: ""
        case .list, .map: Self.json(value)
        }
    }

    private static func json(_ value: HeaderValue) -> String {
        let encoder = JSONEncoder()
        encoder.outputFormatting = [.sortedKeys, .withoutEscapingSlashes]
        // JSON has no infinity.
        encoder.nonConformingFloatEncodingStrategy = .convertToString(
            positiveInfinity: "inf", negativeInfinity: "-inf", nan: "nan")
        guard let data = try? encoder.encode(JSONHeader(value: value)) else { return "" }
        return String(decoding: data, as: UTF8.self)
    }

    private struct JSONHeader: Encodable {
        let value: HeaderValue

        func encode(to encoder: any Encoder) throws {
            var container = encoder.singleValueContainer()
            switch self.value {
            case .string(let text): try container.encode(text)
            case .integer(let number): try container.encode(number)
            case .double(let number): try container.encode(number)
            case .boolean(let value): try container.encode(value)
            case .timestamp(let seconds): try container.encode(seconds)
            case .bytes(let bytes): try container.encode(Data(bytes).base64EncodedString())
            case .null: try container.encodeNil()
            case .list(let values): try container.encode(values.map(JSONHeader.init))
            case .map(let headers):
                // A name that comes twice cannot be kept in JSON; the last one counts, as in most readers of it.
                try container.encode(
                    Dictionary(headers.map { ($0.name, JSONHeader(value: $0.value)) }) { _, last in last })
            }
        }
    }
}
