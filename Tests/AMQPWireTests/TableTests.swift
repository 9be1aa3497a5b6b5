// SPDX-License-Identifier: Apache-2.0
import AMQPWire
import HostileSupport
import NIOCore
import Testing

/// A value and the bytes of its field, tag included.
struct FieldSample: Sendable, CustomTestStringConvertible {
    var name: String
    var value: AMQPFieldValue
    var wire: [UInt8]

    init(_ name: String, _ value: AMQPFieldValue, _ hex: String) {
        self.name = name
        self.value = value
        self.wire = bytes(hex: hex)
    }

    var testDescription: String { self.name }

    static let all: [FieldSample] = [
        .init("true", .boolean(true), "74 01"),
        .init("false", .boolean(false), "74 00"),
        .init("least int8", .int8(.min), "62 80"),
        .init("largest int8", .int8(.max), "62 7f"),
        .init("largest uint8", .uint8(.max), "42 ff"),
        .init("least int16", .int16(.min), "73 8000"),
        .init("largest uint16", .uint16(.max), "75 ffff"),
        .init("least int32", .int32(.min), "49 80000000"),
        .init("largest uint32", .uint32(.max), "69 ffffffff"),
        .init("least int64", .int64(.min), "6c 8000000000000000"),
        .init("largest int64", .int64(.max), "6c 7fffffffffffffff"),
        .init("float infinity", .float(.infinity), "66 7f800000"),
        .init("double of least magnitude", .double(.leastNonzeroMagnitude), "64 0000000000000001"),
        .init("negative zero", .double(-0.0), "64 8000000000000000"),
        .init("largest decimal", .decimal(scale: 255, value: .max), "44 ff ffffffff"),
        .init("empty string", "", "53 00000000"),
        .init("text", "é✓", "53 00000005 c3a9 e29c93"),
        .init("text with a zero byte", "a\u{0}b", "53 00000003 610062"),
        .init("bytes that are no text", .longString(AMQPLongString(bytes: [0xFF, 0x00, 0xC3])), "53 00000003 ff00c3"),
        .init("empty byte array", .byteArray([]), "78 00000000"),
        .init("byte array", .byteArray([0x61, 0x62]), "78 00000002 6162"),
        .init("empty array", [], "41 00000000"),
        .init(
            "mixed array", [.void, [.void], ["a": .int8(1)]],
            "41 00000010 56 41 00000001 56 46 00000004 01 61 62 01"),
        .init("timestamp zero", .timestamp(0), "54 0000000000000000"),
        .init("timestamp beyond any date", .timestamp(.max), "54 ffffffffffffffff"),
        .init("empty table", .table([:]), "46 00000000"),
        .init("nested tables", ["a": ["": .void]], "46 00000009 01 61 46 00000002 00 56"),
        .init("void", .void, "56"),
    ]
}

@Suite("Tables")
struct TableTests {
    @Test("A value is written and read back", arguments: FieldSample.all)
    func roundTrip(sample: FieldSample) throws {
        // By way of `append`: a dictionary literal would be read as an optional.
        var table = AMQPTable()
        table.append("k", sample.value)
        #expect(try encode(table) == [1, 0x6B] + sample.wire)
        #expect(try decodeValue(sample.wire) == sample.value)
    }

    @Test("A value cut short by any number of bytes is refused", arguments: FieldSample.all)
    func truncated(sample: FieldSample) {
        for length in 0..<sample.wire.count {
            let error = #expect(throws: AMQPWireError.self) { try decodeValue(Array(sample.wire[..<length])) }
            #expect(error?.code == .malformedValue)
        }
    }

    @Test("A boolean is true for any octet but zero", arguments: UInt8.min...UInt8.max)
    func booleans(octet: UInt8) throws {
        #expect(try decodeValue([0x74, octet]) == .boolean(octet != 0))
    }

    @Test("The tag L is read as a signed number and written as l")
    func signedL() throws {
        let value = try #require(try decodeValue(bytes(hex: "4c ffffffffffffffff")))
        #expect(value == .int64(-1))
        #expect(try encode(["k": value]) == [1, 0x6B] + bytes(hex: "6c ffffffffffffffff"))
    }

    @Test("NaN keeps its bits")
    func notANumber() throws {
        let wire = [1, 0x6B] + bytes(hex: "64 7ff8000000000123") + [1, 0x6C] + bytes(hex: "66 7fc00123")
        let table = try #require(try AMQPBasicProperties(decoding: headers(wire)).headers)
        #expect(try encode(table) == wire)
    }

    @Test(
        "An unknown tag is refused and named",
        arguments: (UInt8.min...UInt8.max).filter { !"tbBsuIilLfdDSxATFV".utf8.contains($0) })
    func unknownTag(tag: UInt8) {
        let error = #expect(throws: AMQPWireError.self) {
            try decodeValue([tag] + [UInt8](repeating: 0, count: 16))
        }
        #expect(error?.code == .malformedValue)
        #expect(error?.message.contains("0x\(String(tag, radix: 16)) ") == true)
    }

    @Test(
        "An element that reaches beyond its table or array is refused, though the frame has more",
        arguments: [
            "53 00000005 6162", "53 ffffffff", "78 80000000 00", "46 00000003 01", "41 00000002 56",
            // The inner length is right for the frame, and too long for the outer array.
            "41 00000006 53 00000002 61 62", "46 00000004 01 61 73 00 01",
            // A length that ends in the middle of the element.
            "41 00000001 73 0001",
        ])
    func overrun(hex: String) {
        let value = bytes(hex: hex)
        let padding: [UInt8] = [1, 0x7A, 0x56]
        // The table itself ends where the value does; behind it stand further properties.
        let table = [1, 0x6B] + value
        let list = [0x20, 0x80] + bigEndian(UInt32(table.count)) + table + [3] + padding
        let error = #expect(throws: AMQPWireError.self) {
            try AMQPBasicProperties(decoding: ByteBuffer(bytes: list))
        }
        #expect(error?.code == .malformedValue)
    }

    @Test("A table longer than its frame is refused", arguments: [1, 2, 0xFFFF_FFFF] as [UInt32])
    func tableOverrun(length: UInt32) {
        let error = #expect(throws: AMQPWireError.self) {
            try AMQPBasicProperties(decoding: ByteBuffer(bytes: [0x20, 0x00] + bigEndian(length)))
        }
        #expect(error?.code == .malformedValue)
    }

    // MARK: - Depth

    /// `levels` tables or arrays inside each other inside a table, which counts as the first level.
    private func nested(_ kind: AMQPFieldValue, levels: Int) -> (table: AMQPTable, wire: [UInt8]) {
        var value = kind
        var wire: [UInt8] = []
        let isArray = if case .array = kind { true } else { false }
        for level in 1..<levels {
            if level > 1 { value = isArray ? .array([value]) : .table(["": value]) }
            wire = isArray || level == 1 ? wire : [0] + wire
            wire = [isArray ? 0x41 : 0x46] + bigEndian(UInt32(wire.count)) + wire
        }
        return (["": value], [0] + wire)
    }

    @Test("Sixty-four levels are written and read", arguments: [[], [:]] as [AMQPFieldValue])
    func deepest(kind: AMQPFieldValue) throws {
        let (table, wire) = self.nested(kind, levels: AMQPTable.maximumDepth)
        #expect(AMQPTable.maximumDepth == 64)
        #expect(try encode(table) == wire)
        #expect(try AMQPBasicProperties(decoding: headers(wire)).headers == table)
    }

    @Test("One level more is refused in both directions", arguments: [[], [:]] as [AMQPFieldValue])
    func tooDeep(kind: AMQPFieldValue) {
        let (table, wire) = self.nested(kind, levels: AMQPTable.maximumDepth + 1)
        let reading = #expect(throws: AMQPWireError.self) { try AMQPBasicProperties(decoding: headers(wire)) }
        #expect(reading?.code == .tableTooDeep)
        let writing = #expect(throws: AMQPWireError.self) { try encode(table) }
        #expect(writing?.code == .tableTooDeep)
    }

    @Test("Ten thousand levels do not exhaust the stack", arguments: [[], [:]] as [AMQPFieldValue])
    func hostileDepth(kind: AMQPFieldValue) {
        // Only the bytes: a value as deep could not even be destroyed. The lengths are all the largest that fits.
        let isArray = if case .array = kind { true } else { false }
        let level: [UInt8] = isArray ? [0x41] : [0x00, 0x46]
        let step = level.count + 4
        var wire: [UInt8] = isArray ? [0] : []
        for index in 0..<10_000 { wire += level + bigEndian(UInt32((9_999 - index) * step)) }
        let error = #expect(throws: AMQPWireError.self) { try AMQPBasicProperties(decoding: headers(wire)) }
        #expect(error?.code == .tableTooDeep)
    }

    // MARK: - Names

    @Test("Order and repeated names are kept, and the last of them is found")
    func duplicates() throws {
        let wire = bytes(hex: "01 62 62 01  01 61 62 02  01 62 62 03")
        let table = try #require(try AMQPBasicProperties(decoding: headers(wire)).headers)
        #expect(table.count == 3)
        #expect(table.entries.map(\.key) == ["b", "a", "b"])
        #expect(table["b"] == .int8(3))
        #expect(table["a"] == .int8(2))
        #expect(table["c"] == nil)
        #expect(try encode(table) == wire)
    }

    @Test("Setting a name replaces all its values where the first stood")
    func set() {
        var table: AMQPTable = ["b": 1, "a": 2, "b": 3, "c": 4, "b": 5]
        table["b"] = "new"
        #expect(table == ["b": "new", "a": 2, "c": 4])
        table["d"] = true
        #expect(table == ["b": "new", "a": 2, "c": 4, "d": true])
    }

    @Test("Setting a name to nil removes all its values")
    func remove() {
        var table: AMQPTable = ["b": 1, "a": 2, "b": 3]
        table["b"] = nil
        #expect(table == ["a": 2])
        table["b"] = nil
        table["a"] = nil
        #expect(table.isEmpty)
    }

    @Test("Tables are made of pairs, literals and appended entries alike")
    func making() {
        var appended = AMQPTable()
        appended.append("a", 1)
        appended.append("a", 2)
        #expect(appended == ["a": 1, "a": 2])
        #expect(AMQPTable([("a", 1), ("a", 2)]) == appended)
        #expect(appended.entries == [.init(key: "a", value: 1), .init(key: "a", value: 2)])
    }

    @Test("A name holds 255 bytes and not one more")
    func keyLength() throws {
        let longest = String(repeating: "é", count: 127) + "k"
        #expect(try encode(AMQPTable([(longest, .void)])).count == 257)
        let error = #expect(throws: AMQPWireError.self) { try encode(AMQPTable([(longest + "k", .void)])) }
        #expect(error?.code == .valueTooLong)
        #expect(error?.message.contains("256 bytes") == true)
    }

    // MARK: - Values

    @Test("An unsigned number above Int64.max is refused, not wrapped")
    func unsigned() throws {
        #expect(try AMQPFieldValue(UInt64(Int64.max)) == .int64(.max))
        let error = #expect(throws: AMQPWireError.self) { try AMQPFieldValue(UInt64(Int64.max) + 1) }
        #expect(error?.code == .valueOutOfRange)
    }

    @Test(
        "A number is found whatever its width",
        arguments: [.int8(7), .uint8(7), .int16(7), .uint16(7), .int32(7), .uint32(7), .int64(7)] as [AMQPFieldValue])
    func integers(value: AMQPFieldValue) {
        #expect(value.integer == 7)
        #expect(value.string == nil)
        #expect(value.boolean == nil)
    }

    @Test("Values that are no numbers, texts or booleans are none")
    func otherValues() {
        #expect(AMQPFieldValue.timestamp(7).integer == nil)
        #expect(AMQPFieldValue.double(7).integer == nil)
        #expect(AMQPFieldValue("7").integer == nil)
        #expect(AMQPFieldValue("7").string == "7")
        #expect(AMQPFieldValue.byteArray([0x37]).string == nil)
        #expect(AMQPFieldValue(true).boolean == true)
        #expect(AMQPFieldValue(1).boolean == nil)
        #expect((1.5 as AMQPFieldValue) == .double(1.5))
    }

    @Test("A long string that is no text keeps its bytes and shows only their number")
    func bytesAreNotText() {
        let bytes: [UInt8] = [0x61, 0xFF, 0xC3]
        let string = AMQPLongString(bytes: bytes)
        #expect(string.bytes == bytes)
        #expect(string.string == nil)
        #expect(string.description == "3 bytes")
        #expect(string != AMQPLongString(String(decoding: bytes, as: UTF8.self)))
    }

    @Test("Equal long strings are equal however they were made")
    func textOfBytes() {
        #expect(AMQPLongString(bytes: Array("hé".utf8)) == "hé")
        #expect(AMQPLongString(bytes: Array("hé".utf8)).hashValue == AMQPLongString("hé").hashValue)
        #expect(AMQPLongString("hé").bytes == Array("hé".utf8))
        #expect(AMQPLongString("hé").description == "hé")
    }
}
