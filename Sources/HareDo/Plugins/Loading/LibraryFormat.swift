// SPDX-License-Identifier: Apache-2.0

/// What the head of a file says, before the system's loader sees it: that one maps what is not there, and the first use of
/// it ends the process.
///
/// ELF, 64 bits, little-endian (System V ABI, "Object Files"; `man 5 elf`). On other systems nothing is checked.
enum LibraryFormat {
    /// How much of a file has to be read: its header, and, in all that linkers write, the table after it.
    static let headSize = 4096

    /// - Parameters:
    ///   - head: the first ``headSize`` bytes, or all if there are fewer.
    ///   - size: of the file.
    /// - Returns: why it cannot be loaded, if so.
    static func problem(_ head: [UInt8], size: UInt64) -> (PluginRefusal.Reason, String)? {
        guard head.starts(with: [0x7f, UInt8(ascii: "E"), UInt8(ascii: "L"), UInt8(ascii: "F")]) else {
            return (.notALibrary, "is not a shared library")
        }
        let truncated = (PluginRefusal.Reason.truncated, "is truncated: copy it again, and rename it into place")
        let reader = Reader(bytes: head)
        // Class and byte order; type; machine.
        guard head.count >= 64, let type = reader.uint16(16), let machine = reader.uint16(18) else { return truncated }
        guard head[4] == 2, head[5] == 1, Int(machine) == Self.machine else {
            return (.otherMachine, "is for another kind of machine (ELF machine \(machine), this is \(Self.machine))")
        }
        guard type == 3 else { return (.notALibrary, "is not a shared library (ELF type \(type))") }
        // The section headers, which linkers write last: nothing that is mapped, but without them the end is missing.
        if let sections = reader.uint64(40), sections != 0 {
            let length = UInt64(reader.uint16(58) ?? 0) * UInt64(reader.uint16(60) ?? 0)
            let (end, isTooFar) = sections.addingReportingOverflow(length)
            if isTooFar || end > size { return truncated }
        }
        // Where the program headers are, how large each is, and how many there are.
        guard let table = reader.uint64(32), let entrySize = reader.uint16(54), let count = reader.uint16(56),
            entrySize >= 56, count > 0
        else { return truncated }
        for index in 0..<UInt64(count) {
            let (offset, isOver) = table.addingReportingOverflow(index * UInt64(entrySize))
            guard !isOver, offset <= UInt64(Self.headSize), let kind = reader.uint32(Int(offset)),
                let start = reader.uint64(Int(offset) + 8), let length = reader.uint64(Int(offset) + 32)
            else { return truncated }
            let (end, isTooFar) = start.addingReportingOverflow(length)
            // PT_LOAD: what is mapped.
            if kind == 1, isTooFar || end > size { return truncated }
        }
        return nil
    }

    #if arch(x86_64)
        static let machine = 62
    #elseif arch(arm64)
        static let machine = 183
    #elseif arch(riscv64)
        static let machine = 243
    #else
        static let machine = -1
    #endif

    private struct Reader {
        let bytes: [UInt8]

        func uint16(_ offset: Int) -> UInt16? { self.number(offset) }
        func uint32(_ offset: Int) -> UInt32? { self.number(offset) }
        func uint64(_ offset: Int) -> UInt64? { self.number(offset) }

        private func number<Number: FixedWidthInteger>(_ offset: Int) -> Number? {
            let size = MemoryLayout<Number>.size
            guard offset >= 0, offset + size <= self.bytes.count else { return nil }
            return self.bytes[offset..<offset + size].reversed().reduce(0) { $0 << 8 | Number($1) }
        }
    }
}
