// SPDX-License-Identifier: Apache-2.0
import NIOCore

/// Writes AMQP's types into memory that belongs to a buffer. What does not fit its type throws.
///
/// Every write is checked against the room there is. Beyond it nothing is stored and only counted, so that whoever gave
/// the memory learns how much is needed, makes room and writes again. To be used within the call that gave the memory.
@safe struct AMQPWriter {
    private let memory: UnsafeMutableRawBufferPointer
    /// Bytes written, or needed.
    private(set) var count = 0

    init(_ memory: UnsafeMutableRawBufferPointer) { unsafe self.memory = memory }

    /// Whether all that was written is in memory.
    var hasFit: Bool { unsafe self.count <= self.memory.count }

    mutating func writeInteger<T: FixedWidthInteger>(_ value: T, as type: T.Type = T.self) {
        self.set(value, at: self.count)
        self.count += MemoryLayout<T>.size
    }

    /// Overwrites what was written at `index`.
    mutating func set<T: FixedWidthInteger>(_ value: T, at index: Int) {
        guard unsafe index + MemoryLayout<T>.size <= self.memory.count else { return }
        unsafe self.memory.storeBytes(of: value.bigEndian, toByteOffset: index, as: T.self)
    }

    mutating func writeString(_ string: String) {
        var string = string
        string.withUTF8 { unsafe self.write(UnsafeRawBufferPointer($0)) }
    }

    mutating func write(_ bytes: ByteBuffer) {
        unsafe bytes.withUnsafeReadableBytes { unsafe self.write($0) }
    }

    private mutating func write(_ bytes: UnsafeRawBufferPointer) {
        let start = self.count
        self.count += bytes.count
        guard self.hasFit, let source = bytes.baseAddress, let target = unsafe self.memory.baseAddress else { return }
        unsafe (target + start).copyMemory(from: source, byteCount: bytes.count)
    }

    mutating func write(_ bytes: [UInt8]) {
        unsafe bytes.withUnsafeBytes { unsafe self.write($0) }
    }

    mutating func write(_ id: AMQPMethodID) {
        self.writeInteger(UInt32(id.classID) << 16 | UInt32(id.methodID))
    }

    /// Packs up to six flags, the most any method has, into one octet, least significant first (specification 4.2.5.2).
    mutating func write(
        bits first: Bool, _ second: Bool = false, _ third: Bool = false, _ fourth: Bool = false, _ fifth: Bool = false,
        _ sixth: Bool = false
    ) {
        // Not variadic: that would allocate an array for every publish and acknowledgement.
        var octet: UInt8 = first ? 1 : 0
        if second { octet |= 2 }
        if third { octet |= 4 }
        if fourth { octet |= 8 }
        if fifth { octet |= 16 }
        if sixth { octet |= 32 }
        self.writeInteger(octet)
    }

    mutating func write(shortString string: String, _ name: StaticString) throws(AMQPWireError) {
        guard let length = UInt8(exactly: string.utf8.count) else {
            throw AMQPWireError(
                .valueTooLong, "the \(name) has \(string.utf8.count) bytes, and a short string holds at most 255")
        }
        self.writeInteger(length)
        self.writeString(string)
    }

    mutating func write(longString string: AMQPLongString, _ name: StaticString) throws(AMQPWireError) {
        try self.writeSized(name) { buffer throws(AMQPWireError) in
            string.write(into: &buffer)
        }
    }

    mutating func write(table: AMQPTable, depth: Int = 0) throws(AMQPWireError) {
        guard depth < AMQPTable.maximumDepth else { throw AMQPTable.tooDeep }
        try self.writeSized("table") { buffer throws(AMQPWireError) in
            for entry in table.entries {
                try buffer.write(shortString: entry.key, "table key")
                try buffer.write(entry.value, depth: depth)
            }
        }
    }

    mutating func write(_ value: AMQPFieldValue, depth: Int) throws(AMQPWireError) {
        switch value {
        case .boolean(let value): self.writeTagged("t", UInt8(value ? 1 : 0))
        case .int8(let value): self.writeTagged("b", value)
        case .uint8(let value): self.writeTagged("B", value)
        case .int16(let value): self.writeTagged("s", value)
        case .uint16(let value): self.writeTagged("u", value)
        case .int32(let value): self.writeTagged("I", value)
        case .uint32(let value): self.writeTagged("i", value)
        case .int64(let value): self.writeTagged("l", value)
        case .float(let value): self.writeTagged("f", value.bitPattern)
        case .double(let value): self.writeTagged("d", value.bitPattern)
        case .decimal(let scale, let value):
            self.writeTagged("D", scale)
            self.writeInteger(value)
        case .timestamp(let seconds): self.writeTagged("T", seconds)
        case .void: self.write(tag: "V")
        case .longString(let string):
            self.write(tag: "S")
            try self.write(longString: string, "table value")
        case .byteArray(let bytes):
            self.write(tag: "x")
            try self.writeSized("byte array") { buffer throws(AMQPWireError) in
                buffer.write(bytes)
            }
        case .table(let table):
            self.write(tag: "F")
            try self.write(table: table, depth: depth + 1)
        case .array(let values):
            guard depth + 1 < AMQPTable.maximumDepth else { throw AMQPTable.tooDeep }
            self.write(tag: "A")
            try self.writeSized("array") { buffer throws(AMQPWireError) in
                for value in values { try buffer.write(value, depth: depth + 1) }
            }
        }
    }

    private mutating func write(tag: UnicodeScalar) {
        self.writeInteger(UInt8(truncatingIfNeeded: tag.value))
    }

    private mutating func writeTagged<T: FixedWidthInteger>(_ tag: UnicodeScalar, _ value: T) {
        self.write(tag: tag)
        self.writeInteger(value)
    }

    /// Writes a 32-bit byte count and what `body` appends.
    private mutating func writeSized(
        _ name: StaticString, _ body: (inout AMQPWriter) throws(AMQPWireError) -> Void
    ) throws(AMQPWireError) {
        let start = self.count
        self.writeInteger(UInt32(0))
        try body(&self)
        guard let length = UInt32(exactly: self.count - start - 4) else {
            throw AMQPWireError(.valueTooLong, "the \(name) is larger than 4 GiB")
        }
        self.set(length, at: start)
    }
}

extension ByteBuffer {
    /// Appends what `body` writes, or nothing if it throws.
    ///
    /// - Parameter body: is called again with more room if what there is does not suffice.
    /// - Returns: how many bytes were written.
    mutating func append(
        _ body: (inout AMQPWriter) throws(AMQPWireError) -> Void
    ) throws(AMQPWireError) -> Int {
        while true {
            let result = unsafe self.withUnsafeMutableWritableBytes { memory in
                var writer = unsafe AMQPWriter(memory)
                return Result { () throws(AMQPWireError) -> AMQPWriter in
                    try body(&writer)
                    return writer
                }.map { (count: $0.count, hasFit: $0.hasFit) }
            }
            let (count, hasFit) = try result.get()
            if hasFit {
                self.moveWriterIndex(forwardBy: count)
                return count
            }
            try self.makeRoom(for: count)
        }
    }

    /// Never inlined: it is seldom needed, and would be in the way of every message.
    @inline(never)
    private mutating func makeRoom(for count: Int) throws(AMQPWireError) {
        // What a `ByteBuffer` is sure to hold; it would trap beyond its own limit.
        guard count <= Int(Int32.max) - self.writerIndex else {
            throw AMQPWireError(.valueTooLong, "a value of \(count) bytes, and at most 2 GiB can be written")
        }
        self.reserveCapacity(minimumWritableBytes: count)
    }
}
