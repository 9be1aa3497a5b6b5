// SPDX-License-Identifier: Apache-2.0
import HareDo

/// A value of a configuration file, and where it stands.
struct LocatedValue: Sendable {
    /// A line and a column of the file, from 1; columns count Unicode scalars.
    struct Place: Hashable, Comparable, Sendable {
        var line: Int
        var column: Int

        static func < (one: Place, other: Place) -> Bool { (one.line, one.column) < (other.line, other.column) }
    }

    struct Entry: Sendable {
        var key: String
        var place: Place
        var value: LocatedValue
    }

    enum Content: Sendable {
        case nothing
        /// - isPlain: written without quotes, so that it may be a number, or true or false.
        case scalar(String, isPlain: Bool)
        case list([LocatedValue])
        case map([Entry])
    }

    var content: Content
    var place: Place

    /// What it is, for people.
    var kind: String {
        switch self.content {
        case .nothing: "empty"
        case .scalar: "text"
        case .list: "a list"
        case .map: "a map"
        }
    }

    /// What a plugin sees of it: types as YAML's core schema has them (https://yaml.org/spec/1.2.2/#103-core-schema).
    var configuration: ConfigurationValue {
        switch self.content {
        case .nothing: .null
        case .scalar(let text, isPlain: false): .string(text)
        case .scalar(let text, isPlain: true): Self.resolve(text)
        case .list(let values): .list(values.map(\.configuration))
        case .map(let entries): .map(Dictionary(entries.map { ($0.key, $0.value.configuration) }) { $1 })
        }
    }

    private static func resolve(_ text: String) -> ConfigurationValue {
        switch text {
        case "", "~", "null", "Null", "NULL": return .null
        case "true", "True", "TRUE": return .bool(true)
        case "false", "False", "FALSE": return .bool(false)
        case ".inf", "+.inf": return .double(.infinity)
        case "-.inf": return .double(-.infinity)
        case ".nan": return .double(.nan)
        default: break
        }
        if let integer = Int64(text) { return .integer(integer) }
        // What Swift reads as a number and YAML does not: `nan`, `infinity`, `0x1p3`.
        let isNumber = text.utf8.allSatisfy { "0123456789+-.eE".utf8.contains($0) }
        if isNumber, let double = Double(text) { return .double(double) }
        return .string(text)
    }
}
