// SPDX-License-Identifier: Apache-2.0
#if canImport(FoundationEssentials)
    import FoundationEssentials
#else
    import Foundation
#endif

/// Reads a configuration, or a place in one. What is missing or of another type is an error that says where, and whose
/// configuration it is.
///
/// ```swift
/// let host = try context.configuration["database"]["host"].string
/// let port = try context.configuration["database"]["port"].ifPresent?.integer ?? 5432
/// let settings = try context.configuration.decode(Settings.self)
/// ```
public struct ConfigurationReader: Sendable {
    /// Whose configuration it is, such as `plugin 'echo'`.
    private let owner: String
    private let path: [String]
    /// What is there; `nil` if there is nothing.
    public let value: ConfigurationValue?

    /// Reads a configuration.
    ///
    /// - Parameter owner: whose it is, for errors, such as `plugin 'echo'`.
    public init(_ value: ConfigurationValue, of owner: String) { self.init(value, of: owner, at: []) }

    private init(_ value: ConfigurationValue?, of owner: String, at path: [String]) {
        self.value = value
        self.owner = owner
        self.path = path
    }

    /// The place of a key. Looking is no error: only reading is, where nothing is.
    public subscript(_ key: String) -> ConfigurationReader {
        let found: ConfigurationValue? = if case .map(let map) = self.value { map[key] } else { nil }
        return ConfigurationReader(found, of: self.owner, at: self.path + [key])
    }

    /// The same place, if there is something other than `null`.
    public var ifPresent: ConfigurationReader? {
        switch self.value {
        case nil, .null?: nil
        default: self
        }
    }

    /// Text.
    public var string: String {
        get throws(HareDoError) {
            guard case .string(let value) = try self.present() else { throw self.isNot("text") }
            return value
        }
    }

    /// A whole number, also if it is written `3.0`.
    public var integer: Int {
        get throws(HareDoError) {
            switch try self.present() {
            case .integer(let value): if let value = Int(exactly: value) { return value }
            case .double(let value): if let value = Int(exactly: value) { return value }
            default: break
            }
            throw self.isNot("a whole number")
        }
    }

    /// A number.
    public var double: Double {
        get throws(HareDoError) {
            switch try self.present() {
            case .integer(let value): return Double(value)
            case .double(let value): return value
            default: throw self.isNot("a number")
            }
        }
    }

    /// True or false.
    public var bool: Bool {
        get throws(HareDoError) {
            guard case .bool(let value) = try self.present() else { throw self.isNot("true or false") }
            return value
        }
    }

    /// The places of a list.
    public var list: [ConfigurationReader] {
        get throws(HareDoError) {
            guard case .list(let values) = try self.present() else { throw self.isNot("a list") }
            return values.enumerated().map { index, value in
                ConfigurationReader(value, of: self.owner, at: self.path + ["\(index)"])
            }
        }
    }

    /// The places of a map.
    public var map: [String: ConfigurationReader] {
        get throws(HareDoError) {
            guard case .map(let values) = try self.present() else { throw self.isNot("a map") }
            return values.reduce(into: [:]) { $0[$1.key] = self[$1.key] }
        }
    }

    /// All of it as a type of one's own.
    ///
    /// - Throws: ``HareDoError/Code/invalidConfiguration`` with the key of what is missing or of another type.
    public func decode<Value: Decodable>(_ type: Value.Type) throws(HareDoError) -> Value {
        let value = try self.present()
        do {
            let encoder = JSONEncoder()
            encoder.nonConformingFloatEncodingStrategy = Self.floats
            let decoder = JSONDecoder()
            decoder.nonConformingFloatDecodingStrategy = .convertFromString(
                positiveInfinity: Self.infinity, negativeInfinity: "-" + Self.infinity, nan: "nan")
            return try decoder.decode(type, from: encoder.encode(value))
        } catch {
            throw self.explain(error, type)
        }
    }

    /// Refuses keys that nobody reads: they are misspelt, or meant for another.
    ///
    /// - Throws: ``HareDoError/Code/invalidConfiguration`` with the first of them.
    public func allow(keys: [String]) throws(HareDoError) {
        guard case .map(let map)? = self.value, let unknown = map.keys.filter({ !keys.contains($0) }).min() else {
            return
        }
        throw self.error(
            self.path + [unknown],
            "is unknown: there \(keys.isEmpty ? "are none" : "may be " + keys.sorted().joined(separator: ", "))")
    }

    // MARK: - Errors

    private static let infinity = "inf"
    private static var floats: JSONEncoder.NonConformingFloatEncodingStrategy {
        .convertToString(positiveInfinity: Self.infinity, negativeInfinity: "-" + Self.infinity, nan: "nan")
    }

    private func present() throws(HareDoError) -> ConfigurationValue {
        guard let value else { throw self.error(self.path, "is missing") }
        return value
    }

    private func isNot(_ wanted: String) -> HareDoError {
        self.error(self.path, "is \(self.value?.kind ?? "missing") and has to be \(wanted)")
    }

    /// Never has the value: it may be a password.
    private func error(_ path: [String], _ text: String, cause: (any Error)? = nil) -> HareDoError {
        let place = path.isEmpty ? "the configuration" : "the configuration key '\(path.joined(separator: "."))'"
        return HareDoError(.invalidConfiguration, "\(self.owner): \(place) \(text)", cause: cause)
    }

    private func explain(_ cause: any Error, _ wanted: Any.Type) -> HareDoError {
        let (keys, text): ([any CodingKey], String) =
            switch cause {
            case DecodingError.keyNotFound(let key, let context): (context.codingPath + [key], "is missing")
            case DecodingError.typeMismatch(let type, let context): (context.codingPath, "is not a \(type)")
            case DecodingError.valueNotFound(let type, let context):
                (context.codingPath, "is empty and has to be a \(type)")
            case DecodingError.dataCorrupted(let context): (context.codingPath, "is not what it should be")
            default: ([], "could not be read as \(wanted)")
            }
        return self.error(
            self.path + keys.map { $0.intValue.map(String.init) ?? $0.stringValue }, text, cause: cause)
    }
}
