// SPDX-License-Identifier: Apache-2.0

/// A value in a field table: every type that RabbitMQ reads or writes (errata 3).
public enum AMQPFieldValue: Hashable, Sendable {
    /// `t`
    case boolean(Bool)
    /// `b`
    case int8(Int8)
    /// `B`
    case uint8(UInt8)
    /// `s`
    case int16(Int16)
    /// `u`
    case uint16(UInt16)
    /// `I`
    case int32(Int32)
    /// `i`
    case uint32(UInt32)
    /// `l` (`L` is read as the same: RabbitMQ knows no unsigned 64-bit field)
    case int64(Int64)
    /// `f`
    case float(Float)
    /// `d`
    case double(Double)
    /// `D`: `value` divided by ten to the power of `scale`. Whether `value` is signed is disputed, so it stays raw.
    case decimal(scale: UInt8, value: UInt32)
    /// `S`
    case longString(AMQPLongString)
    /// `x`
    case byteArray([UInt8])
    /// `A`
    case array([AMQPFieldValue])
    /// `T`: seconds since 1970 UTC
    case timestamp(UInt64)
    /// `F`
    case table(AMQPTable)
    /// `V`
    case void

    /// A signed 64-bit field.
    ///
    /// - Throws: ``AMQPWireError`` with ``AMQPWireError/Code/valueOutOfRange`` above `Int64.max`: RabbitMQ knows no
    ///   unsigned 64-bit field, and wrapping would turn the number into another.
    public init(_ value: UInt64) throws(AMQPWireError) {
        guard let value = Int64(exactly: value) else {
            throw AMQPWireError(.valueOutOfRange, "\(value) is above Int64.max, the largest integer a table can carry")
        }
        self = .int64(value)
    }

    /// The text of a long string that is UTF-8.
    public var string: String? {
        guard case .longString(let value) = self else { return nil }
        return value.string
    }

    /// The number, of any integer type.
    public var integer: Int64? {
        switch self {
        case .int8(let value): Int64(value)
        case .uint8(let value): Int64(value)
        case .int16(let value): Int64(value)
        case .uint16(let value): Int64(value)
        case .int32(let value): Int64(value)
        case .uint32(let value): Int64(value)
        case .int64(let value): value
        default: nil
        }
    }

    /// The value of a boolean.
    public var boolean: Bool? {
        guard case .boolean(let value) = self else { return nil }
        return value
    }
}

extension AMQPFieldValue: ExpressibleByStringLiteral, ExpressibleByIntegerLiteral, ExpressibleByBooleanLiteral,
    ExpressibleByFloatLiteral, ExpressibleByArrayLiteral, ExpressibleByDictionaryLiteral
{
    public init(stringLiteral value: String) { self = .longString(AMQPLongString(value)) }
    public init(integerLiteral value: Int64) { self = .int64(value) }
    public init(booleanLiteral value: Bool) { self = .boolean(value) }
    public init(floatLiteral value: Double) { self = .double(value) }
    public init(arrayLiteral elements: AMQPFieldValue...) { self = .array(elements) }
    public init(dictionaryLiteral elements: (String, AMQPFieldValue)...) { self = .table(AMQPTable(elements)) }
}
