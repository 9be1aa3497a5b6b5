// SPDX-License-Identifier: Apache-2.0

/// A field table (specification 4.2.5.5): names and values, in the order of the wire.
///
/// A name that arrives twice is kept twice, so that encoding again gives the same bytes; looking it up finds the last.
public struct AMQPTable: Hashable, Sendable, ExpressibleByDictionaryLiteral {
    public struct Entry: Hashable, Sendable {
        public var key: String
        public var value: AMQPFieldValue

        public init(key: String, value: AMQPFieldValue) {
            self.key = key
            self.value = value
        }
    }

    /// How deep tables and arrays may be nested; the table itself is the first level.
    public static let maximumDepth = 64

    static let tooDeep = AMQPWireError(
        .tableTooDeep, "tables and arrays are nested more than \(AMQPTable.maximumDepth) deep")

    public private(set) var entries: [Entry]

    public init() { self.entries = [] }

    public init(_ elements: some Sequence<(String, AMQPFieldValue)>) {
        self.entries = elements.map { Entry(key: $0.0, value: $0.1) }
    }

    public init(dictionaryLiteral elements: (String, AMQPFieldValue)...) { self.init(elements) }

    public var isEmpty: Bool { self.entries.isEmpty }
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

    /// Adds an entry without looking for one of the same name.
    public mutating func append(_ key: String, _ value: AMQPFieldValue) {
        self.entries.append(Entry(key: key, value: value))
    }
}
