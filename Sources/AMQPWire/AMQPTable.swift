// SPDX-License-Identifier: Apache-2.0
package import NIOCore

/// A field table (specification 4.2.5.5): names and values, in the order of the wire.
///
/// A name that arrives twice is kept twice, so that encoding again gives the same bytes; looking it up finds the last.
public struct AMQPTable: Hashable, Sendable, ExpressibleByDictionaryLiteral {
    /// A name with its value.
    public struct Entry: Hashable, Sendable {
        /// The name, at most 255 bytes.
        public var key: String
        /// The value, of any type.
        public var value: AMQPFieldValue

        /// A name with its value.
        public init(key: String, value: AMQPFieldValue) {
            self.key = key
            self.value = value
        }
    }

    /// How deep tables and arrays may be nested; the table itself is the first level.
    public static let maximumDepth = 64

    static let tooDeep = AMQPWireError(
        .tableTooDeep, "tables and arrays are nested more than \(AMQPTable.maximumDepth) deep")

    /// All entries, in the order of the wire.
    public private(set) var entries: [Entry]

    /// No entries.
    public init() { self.entries = [] }

    /// Entries in the order given.
    public init(_ elements: some Sequence<(String, AMQPFieldValue)>) {
        self.entries = elements.map { Entry(key: $0.0, value: $0.1) }
    }

    public init(dictionaryLiteral elements: (String, AMQPFieldValue)...) { self.init(elements) }

    /// Reads a table as it stands in arguments and properties, its length in front: all of `buffer`.
    ///
    /// - Throws: ``AMQPWireError`` if it is malformed, cut short, or has bytes left over.
    package init(decoding buffer: ByteBuffer) throws(AMQPWireError) {
        self = try buffer.read { reader throws(AMQPWireError) in
            let table = try reader.readTable()
            try reader.finish("a table")
            return table
        }
    }

    /// Whether there are no entries.
    public var isEmpty: Bool { self.entries.isEmpty }
    /// How many entries there are, names that occur twice counted twice.
    public var count: Int { self.entries.count }

    /// The value of a name, the last one if it occurs more than once. Setting replaces all, `nil` removes them.
    public subscript(key: String) -> AMQPFieldValue? {
        get { self.entries.last { $0.key == key }?.value }
        set {
            guard let newValue else {
                self.entries.removeAll { $0.key == key }
                return
            }
            guard let index = self.entries.firstIndex(where: { $0.key == key }) else {
                self.entries.append(Entry(key: key, value: newValue))
                return
            }
            self.entries[index].value = newValue
            var seen = 0
            self.entries.removeAll { entry in
                guard entry.key == key else { return false }
                seen += 1
                return seen > 1
            }
        }
    }

    /// The table with two more entries, or with these two changed. Every request has them, and most have no others.
    package func setting(
        _ first: String, _ firstValue: AMQPFieldValue, _ second: String, _ secondValue: AMQPFieldValue
    ) -> AMQPTable {
        var table = self
        if self.isEmpty {
            table.entries = [Entry(key: first, value: firstValue), Entry(key: second, value: secondValue)]
        } else {
            table[first] = firstValue
            table[second] = secondValue
        }
        return table
    }

    /// Adds an entry without looking for one of the same name.
    public mutating func append(_ key: String, _ value: AMQPFieldValue) {
        self.entries.append(Entry(key: key, value: value))
    }
}
