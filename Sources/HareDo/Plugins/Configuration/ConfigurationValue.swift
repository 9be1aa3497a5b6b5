// SPDX-License-Identifier: Apache-2.0

/// A configuration as a tree: what a file of YAML or JSON holds. Whatever decodes `Codable` values reads it, and literals
/// write it: `["host": "db1", "port": 5432, "hosts": ["a", "b"]]`.
public enum ConfigurationValue: Sendable, Hashable {
    case null
    case bool(Bool)
    case integer(Int64)
    case double(Double)
    case string(String)
    case list([ConfigurationValue])
    case map([String: ConfigurationValue])

    /// What it is, for people.
    var kind: String {
        switch self {
        case .null: "empty"
        case .bool: "true or false"
        case .integer: "a whole number"
        case .double: "a number"
        case .string: "text"
        case .list: "a list"
        case .map: "a map"
        }
    }
}

extension ConfigurationValue: ExpressibleByBooleanLiteral, ExpressibleByIntegerLiteral, ExpressibleByFloatLiteral,
    ExpressibleByStringLiteral, ExpressibleByStringInterpolation, ExpressibleByArrayLiteral,
    ExpressibleByDictionaryLiteral, ExpressibleByNilLiteral
{
    public init(nilLiteral: ()) { self = .null }
    public init(booleanLiteral value: Bool) { self = .bool(value) }
    public init(integerLiteral value: Int64) { self = .integer(value) }
    public init(floatLiteral value: Double) { self = .double(value) }
    public init(stringLiteral value: String) { self = .string(value) }
    public init(arrayLiteral elements: ConfigurationValue...) { self = .list(elements) }
    /// Of two values for one key the later one counts.
    public init(dictionaryLiteral elements: (String, ConfigurationValue)...) {
        self = .map(Dictionary(elements) { $1 })
    }
}

extension ConfigurationValue: Codable {
    public init(from decoder: any Decoder) throws {
        let value = try decoder.singleValueContainer()
        // Numbers before text: decoders of formats without types, such as YAML, take one for the other.
        if value.decodeNil() {
            self = .null
        } else if let bool = try? value.decode(Bool.self) {
            self = .bool(bool)
        } else if let integer = try? value.decode(Int64.self) {
            self = .integer(integer)
        } else if let double = try? value.decode(Double.self) {
            self = .double(double)
        } else if let string = try? value.decode(String.self) {
            self = .string(string)
        } else if let list = try? value.decode([ConfigurationValue].self) {
            self = .list(list)
        } else {
            self = .map(try value.decode([String: ConfigurationValue].self))
        }
    }

    public func encode(to encoder: any Encoder) throws {
        var container = encoder.singleValueContainer()
        switch self {
        case .null: try container.encodeNil()
        case .bool(let value): try container.encode(value)
        case .integer(let value): try container.encode(value)
        case .double(let value): try container.encode(value)
        case .string(let value): try container.encode(value)
        case .list(let value): try container.encode(value)
        case .map(let value): try container.encode(value)
        }
    }
}
