// SPDX-License-Identifier: Apache-2.0
import AMQPWire

/// A value in a message's headers.
public enum HeaderValue: Sendable, Hashable {
    case string(String)
    case integer(Int64)
    case double(Double)
    case boolean(Bool)
    /// Bytes that are not text.
    case bytes([UInt8])
    /// Seconds since 1970 UTC.
    case timestamp(UInt64)
    case list([HeaderValue])
    case map(Headers)
    case null

    /// The text, if it is one.
    public var string: String? {
        guard case .string(let value) = self else { return nil }
        return value
    }

    /// The number, if it is an integer that fits.
    public var int: Int? {
        guard case .integer(let value) = self else { return nil }
        return Int(exactly: value)
    }

    /// The number, of either kind.
    public var double: Double? {
        switch self {
        case .double(let value): value
        case .integer(let value): Double(value)
        default: nil
        }
    }

    /// The truth value, if it is one.
    public var bool: Bool? {
        guard case .boolean(let value) = self else { return nil }
        return value
    }
}

extension HeaderValue: ExpressibleByStringLiteral, ExpressibleByIntegerLiteral, ExpressibleByFloatLiteral,
    ExpressibleByBooleanLiteral, ExpressibleByArrayLiteral, ExpressibleByDictionaryLiteral, ExpressibleByNilLiteral,
    ExpressibleByStringInterpolation
{
    public init(stringLiteral value: String) { self = .string(value) }
    public init(integerLiteral value: Int64) { self = .integer(value) }
    public init(floatLiteral value: Double) { self = .double(value) }
    public init(booleanLiteral value: Bool) { self = .boolean(value) }
    public init(arrayLiteral elements: HeaderValue...) { self = .list(elements) }
    public init(dictionaryLiteral elements: (String, HeaderValue)...) {
        self = .map(Headers(elements.map { ($0.0, $0.1) }))
    }
    public init(nilLiteral: ()) { self = .null }
}

extension HeaderValue: CustomStringConvertible {
    public var description: String {
        switch self {
        case .string(let value): value
        case .integer(let value): "\(value)"
        case .double(let value): "\(value)"
        case .boolean(let value): "\(value)"
        case .bytes(let value): "\(value.count) bytes"
        case .timestamp(let value): "\(value) s since 1970"
        case .list(let values): "[" + values.map(\.description).joined(separator: ", ") + "]"
        case .map(let headers): headers.description
        case .null: "null"
        }
    }
}

/// A message's headers: values by name, in the order they were set.
///
/// Write them as a dictionary literal (`["i": 1, "uuid": "echo"]`), or with ``HeaderValue`` cases for what is computed
/// (`["i": .integer(Int64(i))]`). A name has at most 255 bytes; all headers together have to fit one frame (128 KiB less
/// what the broker takes), or sending throws.
public struct Headers: Sendable, Hashable {
    private var table: AMQPTable

    /// No headers.
    public init() { self.table = AMQPTable() }

    /// Headers in the order given; of two with one name the last counts.
    public init(_ elements: some Sequence<(String, HeaderValue)>) {
        self.init()
        for (name, value) in elements { self[name] = value }
    }

    init(_ table: AMQPTable) { self.table = table }

    var amqpTable: AMQPTable { self.table }

    /// Whether there are none.
    public var isEmpty: Bool { self.table.isEmpty }

    /// Refuses what AMQP could carry, but would cost the sender its channel or its connection, with everything that
    /// waits there.
    func check() throws(HareDoError) {
        // On the values of the wire: this is done for every message, and converting them is not needed for it.
        for entry in self.table.entries where !entry.value.isFinite {
            // RabbitMQ cannot read it, and hangs up with 541.
            throw HareDoError(
                .invalidArgument, "the header '\(entry.key)' is not a finite number, or has one that is not")
        }
        // RabbitMQ sends copies of a message to the addresses listed in these headers, and refuses anything else with
        // 406.
        for name in ["CC", "BCC"] {
            guard let value = self.table[name] else { continue }
            guard case .array(let addresses) = value, addresses.allSatisfy({ $0.string != nil }) else {
                throw HareDoError(
                    .invalidArgument, "the header '\(name)' has to be a list of addresses: the broker routes by it")
            }
        }
    }

    /// The names, in order.
    public var names: [String] { self.table.entries.map(\.key) }

    /// The value of a name. Setting `nil` removes it; a value of its own is ``HeaderValue/null``.
    public subscript(name: String) -> HeaderValue? {
        get { self.table[name].map(HeaderValue.init) }
        set { self.table[name] = newValue.map(\.amqpValue) }
    }

    /// Sets an integer.
    ///
    /// - Throws: ``HareDoError/Code/invalidArgument`` if it is beyond what AMQP can carry (-2⁶³ to 2⁶³ − 1).
    public mutating func set(_ name: String, to number: some BinaryInteger) throws(HareDoError) {
        guard let value = Int64(exactly: number) else {
            throw HareDoError(.invalidArgument, "the header '\(name)' is beyond the 64-bit signed integers of AMQP")
        }
        self[name] = .integer(value)
    }
}

extension Headers: ExpressibleByDictionaryLiteral {
    public init(dictionaryLiteral elements: (String, HeaderValue)...) { self.init(elements.map { ($0.0, $0.1) }) }
}

extension Headers: Sequence {
    public func makeIterator() -> AnyIterator<(name: String, value: HeaderValue)> {
        var entries = self.table.entries.makeIterator()
        return AnyIterator { entries.next().map { ($0.key, HeaderValue($0.value)) } }
    }
}

extension Headers {
    /// Whether both say the same in the same order. AMQP has many types for one number, and clients in other languages
    /// write other ones than HareDo does; that makes no difference.
    public static func == (one: Headers, other: Headers) -> Bool {
        one.elementsEqual(other) { $0.name == $1.name && $0.value == $1.value }
    }

    public func hash(into hasher: inout Hasher) {
        for (name, value) in self {
            hasher.combine(name)
            hasher.combine(value)
        }
    }
}

extension Headers: CustomStringConvertible {
    public var description: String { "[" + self.map { "\($0.name): \($0.value)" }.joined(separator: ", ") + "]" }
}

extension HeaderValue {
    init(_ value: AMQPFieldValue) {
        switch value {
        case .boolean(let value): self = .boolean(value)
        case .int8(let value): self = .integer(Int64(value))
        case .uint8(let value): self = .integer(Int64(value))
        case .int16(let value): self = .integer(Int64(value))
        case .uint16(let value): self = .integer(Int64(value))
        case .int32(let value): self = .integer(Int64(value))
        case .uint32(let value): self = .integer(Int64(value))
        case .int64(let value): self = .integer(value)
        case .float(let value): self = .double(Double(value))
        case .double(let value): self = .double(value)
        case .decimal(let scale, let value):
            // Signed in practice, whatever the specification says.
            var divisor = 1.0
            for _ in 0..<scale { divisor *= 10 }
            self = .double(Double(Int32(bitPattern: value)) / divisor)
        case .longString(let value): self = value.string.map(HeaderValue.string) ?? .bytes(value.bytes)
        case .byteArray(let bytes): self = .bytes(bytes)
        case .array(let values): self = .list(values.map(HeaderValue.init))
        case .timestamp(let seconds): self = .timestamp(seconds)
        case .table(let table): self = .map(Headers(table))
        case .void: self = .null
        }
    }

    var amqpValue: AMQPFieldValue {
        switch self {
        case .string(let value): .longString(AMQPLongString(value))
        case .integer(let value): .int64(value)
        case .double(let value): .double(value)
        case .boolean(let value): .boolean(value)
        case .bytes(let bytes): .byteArray(bytes)
        case .timestamp(let seconds): .timestamp(seconds)
        case .list(let values): .array(values.map(\.amqpValue))
        case .map(let headers): .table(headers.amqpTable)
        case .null: .void
        }
    }
}

extension AMQPFieldValue {
    /// Whether every number in it is one.
    fileprivate var isFinite: Bool {
        switch self {
        case .float(let value): value.isFinite
        case .double(let value): value.isFinite
        case .array(let values): values.allSatisfy(\.isFinite)
        case .table(let table): table.entries.allSatisfy(\.value.isFinite)
        default: true
        }
    }
}
