// SPDX-License-Identifier: Apache-2.0
import AMQPWire
import HostileSupport

/// What a value is, in the words of no implementation: what a golden file says that its bytes mean, and what we say
/// that we read from them. `Golden/cases.py` describes the form.
indirect enum Described: Hashable, Sendable {
    case null
    case boolean(Bool)
    case number(Int128)
    /// A float or double, by its bits: NaN does not equal itself, and the zeros do.
    case bits(UInt64)
    /// Text of at most 64 bytes.
    case text(String)
    /// Bytes, among them longer text.
    case octets([UInt8])
    case list([Described])
    case object([String: Described])
}

// MARK: - From a golden file

extension Described: Decodable {
    private struct Key: CodingKey {
        var stringValue: String
        var intValue: Int? { nil }
        init(stringValue: String) { self.stringValue = stringValue }
        init?(intValue: Int) { nil }
    }

    init(from decoder: any Decoder) throws {
        if let container = try? decoder.container(keyedBy: Key.self) {
            let values = try container.allKeys.map {
                ($0.stringValue, try container.decode(Described.self, forKey: $0))
            }
            self = try Self.special(values, decoder) ?? .object(Dictionary(values) { $1 })
        } else if var container = try? decoder.unkeyedContainer() {
            var values: [Described] = []
            while !container.isAtEnd { values.append(try container.decode(Described.self)) }
            self = .list(values)
        } else {
            let container = try decoder.singleValueContainer()
            if container.decodeNil() {
                self = .null
            } else if let value = try? container.decode(Bool.self) {
                self = .boolean(value)
            } else if let value = try? container.decode(Int64.self) {
                self = .number(Int128(value))
            } else if let value = try? container.decode(UInt64.self) {
                self = .number(Int128(value))
            } else {
                self = .text(try container.decode(String.self))
            }
        }
    }

    /// Objects that stand for something else.
    private static func special(_ values: [(String, Described)], _ decoder: any Decoder) throws -> Described? {
        guard values.count == 1, case (let key, .text(let text))? = values.first else { return nil }
        switch key {
        case "hex": return .octets(bytes(compactHex: text))
        case "float":
            if let value = Double(text).flatMap(Float.init(exactly:)) {
                return .object([key: .bits(UInt64(value.bitPattern))])
            }
        case "double":
            if let value = Double(text) { return .object([key: .bits(value.bitPattern)]) }
        default: return nil
        }
        throw DecodingError.dataCorrupted(.init(codingPath: decoder.codingPath, debugDescription: "\(key) \(text)"))
    }
}

// MARK: - From what we read

extension Described {
    init(text: String) {
        self = text.utf8.count <= 64 ? .text(text) : .octets(Array(text.utf8))
    }

    init(_ string: AMQPLongString) {
        if let text = string.string { self.init(text: text) } else { self = .octets(string.bytes) }
    }

    init(_ table: AMQPTable) {
        self = .list(table.entries.map { .list([Described(text: $0.key), Described($0.value)]) })
    }

    init(_ field: AMQPFieldValue) {
        let (kind, value): (String, Described) =
            switch field {
            case .boolean(let value): ("boolean", .boolean(value))
            case .int8(let value): ("int8", .number(Int128(value)))
            case .uint8(let value): ("uint8", .number(Int128(value)))
            case .int16(let value): ("int16", .number(Int128(value)))
            case .uint16(let value): ("uint16", .number(Int128(value)))
            case .int32(let value): ("int32", .number(Int128(value)))
            case .uint32(let value): ("uint32", .number(Int128(value)))
            case .int64(let value): ("int64", .number(Int128(value)))
            case .float(let value): ("float", .bits(UInt64(value.bitPattern)))
            case .double(let value): ("double", .bits(value.bitPattern))
            case .decimal(let scale, let value):
                ("decimal", .object(["scale": .number(Int128(scale)), "value": .number(Int128(value))]))
            case .longString(let value): ("long-string", Described(value))
            case .byteArray(let value): ("byte-array", .octets(value))
            case .array(let values): ("array", .list(values.map { Described($0) }))
            case .timestamp(let value): ("timestamp", .number(Int128(value)))
            case .table(let value): ("table", Described(value))
            case .void: ("void", .null)
            }
        self = .object([kind: value])
    }

    init(_ properties: AMQPBasicProperties) {
        self.init(propertiesOf: properties)
    }

    /// The arguments of a method.
    init(argumentsOf method: AMQPMethod) {
        // The enumeration's payload. By reflection, so that no argument can be left out of the comparison.
        self.init(propertiesOf: Mirror(reflecting: method).children.first?.value ?? method)
        // But for what is no one's business, which mirrors do not show.
        guard case .object(var values) = self else { return }
        switch method {
        case .connectionStartOk(let startOk): values["response"] = Described(startOk.response)
        case .connectionSecureOk(let secureOk): values["response"] = Described(secureOk.response)
        case .connectionUpdateSecret(let update): values["new-secret"] = Described(update.newSecret)
        default: return
        }
        self = .object(values)
    }

    /// The stored properties of a structure by the specification's names, those that are nil left out.
    private init(propertiesOf structure: Any) {
        var values: [String: Described] = [:]
        for (label, value) in Mirror(reflecting: structure).children {
            let name = Self.specified(label ?? "")
            switch value {
            case let value as Bool: values[name] = .boolean(value)
            case let value as any FixedWidthInteger: values[name] = .number(Int128(value))
            case let value as String: values[name] = Described(text: value)
            case let value as AMQPLongString: values[name] = Described(value)
            case let value as AMQPTable: values[name] = Described(value)
            default:
                let mirror = Mirror(reflecting: value)
                guard mirror.displayStyle == .optional, mirror.children.isEmpty else {
                    values[name] = .text("a \(type(of: value)), which nothing describes")
                    continue
                }
            }
        }
        self = .object(values)
    }

    /// `delivery-tag` of `deliveryTag`.
    static func specified(_ label: String) -> String {
        switch label {
        case "failingClassID": "class-id"
        case "failingMethodID": "method-id"
        default:
            label.replacing("ID", with: "Id").reduce(into: "") { name, character in
                name += character.isUppercase ? "-" + character.lowercased() : String(character)
            }
        }
    }
}
