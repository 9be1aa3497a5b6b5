// SPDX-License-Identifier: Apache-2.0
import AMQPWire
@testable import AMQPWireGenerator
import Testing

/// That nothing is missing: a test over golden bytes passes also when there are none.
@Suite("What the golden bytes cover")
struct GoldenCoverageTests {
    private static let declared = Self.methods { _ in true }

    private static func methods(where isIncluded: (AMQPWireGenerator.Method) -> Bool) -> Set<String> {
        Set(
            specification.flatMap { amqpClass in
                amqpClass.methods.filter(isIncluded).map {
                    AMQPMethodID(classID: UInt16(amqpClass.id), methodID: UInt16($0.id)).description
                }
            })
    }

    /// What pika cannot write.
    private static let unknownToPika: Set = ["connection.update-secret", "connection.update-secret-ok"]

    @Test("Every line can be read", arguments: GoldenSample.writers)
    func files(writer: String) throws {
        let samples = try #require(try GoldenSample.files[writer]?.get())
        #expect(samples.count >= (writer == "py-amqp" ? 60 : 500))
        #expect(Set(samples.map(\.name)).count == samples.count)
        #expect(samples.allSatisfy { !$0.bytes.isEmpty })
    }

    @Test("Every method")
    func methods() {
        func names(_ writer: String, _ title: String) -> Set<String> {
            Set(
                GoldenSample.samples(by: writer).filter { $0.kind == .method && $0.name.hasSuffix(", \(title)") }
                    .compactMap(\.methodName))
        }
        #expect(Self.declared.count == 66)
        for (writer, expected) in [
            ("rabbitmq", Self.declared), ("pika", Self.declared.subtracting(Self.unknownToPika)),
        ] {
            let full = names(writer, "every argument")
            let none = names(writer, "no arguments")
            #expect(full.union(none) == expected, "\(writer)")
            #expect(names(writer, "zero and empty") == full, "\(writer)")
        }
        #expect(names("rabbitmq", "reserved arguments set") == Self.methods { $0.fields.contains(where: \.isReserved) })
        #expect(
            names("rabbitmq", "largest")
                == Self.methods { $0.fields.contains { !$0.isReserved && $0.type != .bit } })
    }

    @Test("Every bit alone, where a method has several", arguments: ["pika", "rabbitmq"])
    func bits(writer: String) {
        let expected = specification.flatMap { amqpClass in
            amqpClass.methods.flatMap { method in
                let bits = method.fields.filter { $0.type == .bit && !$0.isReserved }
                let id = AMQPMethodID(classID: UInt16(amqpClass.id), methodID: UInt16(method.id))
                return bits.count < 2 ? [] : bits.map { "\(id), \(Described.specified($0.name)) alone" }
            }
        }
        #expect(expected.count == 28)
        let titles = Set(GoldenSample.samples(by: writer).map(\.name))
        #expect(Set(expected).subtracting(titles) == [])
    }

    @Test("Every type of a field, by whom it can be written")
    func fieldTypes() {
        let all: Set = [
            "boolean", "int8", "uint8", "int16", "uint16", "int32", "uint32", "int64", "float", "double", "decimal",
            "long-string", "byte-array", "array", "timestamp", "table", "void",
        ]
        #expect(self.fieldTypes("rabbitmq") == all)
        #expect(
            self.fieldTypes("pika") == [
                "boolean", "int32", "int64", "decimal", "long-string", "byte-array", "array", "timestamp", "table",
                "void",
            ])
        #expect(
            self.fieldTypes("py-amqp") == [
                "boolean", "int32", "int64", "double", "decimal", "long-string", "array", "timestamp", "table", "void",
            ])
    }

    private func fieldTypes(_ writer: String) -> Set<String> {
        GoldenSample.samples(by: writer).filter { $0.kind == .properties }
            .reduce(into: []) { types, sample in
                if case .list(let entries)? = sample["headers"] { self.collect(entries, into: &types) }
            }
    }

    private func collect(_ entries: [Described], into types: inout Set<String>) {
        for case .list(let pair) in entries {
            guard case .object(let field)? = pair.last, let (kind, value) = field.first else { continue }
            types.insert(kind)
            if kind == "table", case .list(let inner) = value { self.collect(inner, into: &types) }
        }
    }

    @Test("Every set of none, one, two, all but two, all but one, and all properties", arguments: ["pika", "rabbitmq"])
    func properties(writer: String) {
        let names = Set(Mirror(reflecting: AMQPBasicProperties()).children.compactMap(\.label))
        #expect(names.count == 14)
        var sets: Set<Set<String>> = []
        for sample in GoldenSample.samples(by: writer) where sample.kind == .properties {
            if case .object(let members) = sample.value { sets.insert(Set(members.keys)) }
        }
        #expect([0, 1, 2, 12, 13, 14].map { size in sets.count { $0.count == size } } == [1, 14, 91, 91, 14, 1])
    }

    @Test("Every kind of frame")
    func kinds() {
        func count(_ kind: GoldenSample.Kind, _ writer: String) -> Int {
            GoldenSample.samples(by: writer).count { $0.kind == kind }
        }
        #expect(count(.protocolHeader, "pika") == 1)
        #expect(count(.heartbeat, "pika") == 1)
        #expect(count(.heartbeat, "rabbitmq") == 1)
        #expect(count(.header, "pika") == 16)
        #expect(count(.body, "pika") == 6)
        #expect(count(.content, "rabbitmq") == 45)
    }

    @Test("Nothing is left out of writing but for these reasons")
    func differences() {
        var reasons: [String: Int] = [:]
        for sample in GoldenSample.all {
            if let reason = sample.differs { reasons["\(sample.writer): \(reason)", default: 0] += 1 }
        }
        #expect(
            reasons == [
                "pika: an empty body has no frames": 1,
                "pika: what is reserved is skipped in reading, and written as zero": 17,
                "rabbitmq: what is reserved is skipped in reading, and written as zero": 17,
                "py-amqp: L is read as a signed number, and written as l": 2,
            ])
    }
}
