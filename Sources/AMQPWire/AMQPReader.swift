// SPDX-License-Identifier: Apache-2.0
import NIOCore

/// Reads AMQP's types from one frame's payload. Every read is checked against what is left.
///
/// It reads memory that belongs to a buffer, and is to be used within the call that gave the memory.
@safe struct AMQPReader {
    private let memory: UnsafeRawBufferPointer
    private var offset = 0

    init(_ payload: UnsafeRawBufferPointer) { unsafe self.memory = payload }

    var remaining: Int { unsafe self.memory.count - self.offset }

    private static func truncated(_ what: String) -> AMQPWireError {
        AMQPWireError(.malformedValue, "\(what) reaches beyond the end of its frame or table")
    }

    mutating func readInteger<T: FixedWidthInteger>(as type: T.Type = T.self) throws(AMQPWireError) -> T {
        guard self.remaining >= MemoryLayout<T>.size else { throw Self.truncated("a number") }
        defer { self.offset += MemoryLayout<T>.size }
        return unsafe T(bigEndian: self.memory.loadUnaligned(fromByteOffset: self.offset, as: T.self))
    }

    /// The next bytes, where they lie.
    private mutating func readBytes(_ count: Int, _ what: String) throws(AMQPWireError) -> UnsafeRawBufferPointer {
        guard self.remaining >= count else { throw Self.truncated(what) }
        defer { self.offset += count }
        return unsafe UnsafeRawBufferPointer(rebasing: self.memory[self.offset..<self.offset + count])
    }

    mutating func readMethodID() throws(AMQPWireError) -> AMQPMethodID {
        let number: UInt32 = try self.readInteger()
        return AMQPMethodID(classID: UInt16(number >> 16), methodID: UInt16(truncatingIfNeeded: number))
    }

    /// Specification 4.2.5.3. Bytes that are not UTF-8 are replaced: RabbitMQ does not check them in methods with
    /// content, in properties and in tables, so a peer may send any.
    mutating func readShortString() throws(AMQPWireError) -> String {
        let length: UInt8 = try self.readInteger()
        guard length > 0 else { return "" }
        let string = unsafe String(decoding: try self.readBytes(Int(length), "a short string"), as: UTF8.self)
        // The replacement takes three bytes for one. A name that was read has to fit when it is passed on, or a
        // publisher could send what no consumer can be sent.
        guard string.utf8.count > Int(UInt8.max) else { return string }
        var count = 0
        let kept = string.unicodeScalars.prefix { scalar in
            count += UTF8.width(scalar)
            return count <= Int(UInt8.max)
        }
        return String(kept)
    }

    mutating func readLongString() throws(AMQPWireError) -> AMQPLongString {
        unsafe AMQPLongString(bytes: try self.readSized("a long string"))
    }

    mutating func readByteArray() throws(AMQPWireError) -> [UInt8] {
        unsafe Array(try self.readSized("a byte array"))
    }

    /// Table and array lengths count bytes, not elements (RabbitMQ errata 4).
    mutating func readTable(depth: Int = 0) throws(AMQPWireError) -> AMQPTable {
        guard depth < AMQPTable.maximumDepth else { throw AMQPTable.tooDeep }
        var content = unsafe AMQPReader(try self.readSized("a table"))
        var table = AMQPTable()
        while content.remaining > 0 {
            let key = try content.readShortString()
            table.append(key, try content.readFieldValue(depth: depth))
        }
        return table
    }

    mutating func readFieldValue(depth: Int) throws(AMQPWireError) -> AMQPFieldValue {
        // RabbitMQ's tags, which differ from the specification's (errata 3).
        let tag = try self.readInteger(as: UInt8.self)
        switch UnicodeScalar(tag) {
        case "t": return .boolean(try self.readInteger(as: UInt8.self) != 0)
        case "b": return .int8(try self.readInteger())
        case "B": return .uint8(try self.readInteger())
        case "s": return .int16(try self.readInteger())
        case "u": return .uint16(try self.readInteger())
        case "I": return .int32(try self.readInteger())
        case "i": return .uint32(try self.readInteger())
        case "l", "L": return .int64(try self.readInteger())
        case "f": return .float(Float(bitPattern: try self.readInteger()))
        case "d": return .double(Double(bitPattern: try self.readInteger()))
        case "D": return .decimal(scale: try self.readInteger(), value: try self.readInteger())
        case "S": return .longString(try self.readLongString())
        case "x": return .byteArray(try self.readByteArray())
        case "T": return .timestamp(try self.readInteger())
        case "V": return .void
        case "F": return .table(try self.readTable(depth: depth + 1))
        case "A":
            guard depth + 1 < AMQPTable.maximumDepth else { throw AMQPTable.tooDeep }
            var content = unsafe AMQPReader(try self.readSized("an array"))
            var values: [AMQPFieldValue] = []
            while content.remaining > 0 { values.append(try content.readFieldValue(depth: depth + 1)) }
            return .array(values)
        default:
            throw AMQPWireError(.malformedValue, "unknown field type 0x\(String(tag, radix: 16)) in a table")
        }
    }

    /// Ends the reading of a frame: what is left over was not understood.
    func finish(_ what: @autoclosure () -> String) throws(AMQPWireError) {
        guard self.remaining == 0 else {
            throw AMQPWireError(.malformedValue, "\(self.remaining) bytes left over at the end of \(what())")
        }
    }

    private mutating func readSized(_ what: String) throws(AMQPWireError) -> UnsafeRawBufferPointer {
        let length: UInt32 = try self.readInteger()
        return unsafe try self.readBytes(Int(length), what)
    }
}

extension ByteBuffer {
    /// Reads the next `length` readable bytes, at most all there are, without moving on.
    func read<T>(
        _ length: Int? = nil, from start: Int = 0, _ body: (inout AMQPReader) throws(AMQPWireError) -> T
    ) throws(AMQPWireError) -> T {
        let result = unsafe self.withUnsafeReadableBytes { memory in
            let start = min(start, memory.count)
            let length = min(length ?? .max, memory.count - start)
            var reader = unsafe AMQPReader(UnsafeRawBufferPointer(rebasing: memory[start..<start + length]))
            return Result { () throws(AMQPWireError) -> T in try body(&reader) }
        }
        return try result.get()
    }
}
