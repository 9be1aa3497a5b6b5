// SPDX-License-Identifier: Apache-2.0
import AMQPWire
import Foundation
import HostileSupport
import Testing

/// Bytes that another implementation wrote, with what they mean: a line of `Golden/*.jsonl`.
struct GoldenSample: Sendable, Decodable, CustomTestStringConvertible {
    enum Kind: String, Sendable, Decodable {
        case method, properties, header, body, content, heartbeat
        case protocolHeader = "protocol-header"
    }

    /// Who wrote the bytes: `pika`, `py-amqp` or `rabbitmq`.
    var writer = ""
    var name: String
    var kind: Kind
    var value: Described
    /// Only with content: how large its frames may be.
    var frameMax: UInt32?
    /// Why we write other bytes for the value, if we do.
    var differs: String?
    private var hex: String

    private enum CodingKeys: String, CodingKey {
        case name, kind, value, differs, hex
        case frameMax = "frame-max"
    }

    var bytes: [UInt8] { HostileSupport.bytes(compactHex: self.hex) }

    var testDescription: String { "\(self.writer): \(self.name)" }

    /// A member of the description.
    subscript(name: String) -> Described? {
        guard case .object(let values) = self.value else { return nil }
        return values[name]
    }

    var methodName: String? {
        guard case .text(let name)? = self["method"] else { return nil }
        return name
    }
}

extension GoldenSample {
    static let folder = URL(filePath: #filePath).deletingLastPathComponent().appending(path: "Golden")
    static let writers = ["pika", "py-amqp", "rabbitmq"]

    /// By writer. What cannot be read is an error that the tests of completeness report; the others have nothing then.
    static let files: [String: Result<[GoldenSample], any Error>] = Dictionary(
        uniqueKeysWithValues: Self.writers.map { writer in (writer, Result { try Self.read(writer) }) })

    static let all: [GoldenSample] = Self.writers.flatMap { Self.samples(by: $0) }

    static func samples(by writer: String) -> [GoldenSample] {
        (try? Self.files[writer]?.get()) ?? []
    }

    private static func read(_ writer: String) throws -> [GoldenSample] {
        let decoder = JSONDecoder()
        return try Data(contentsOf: Self.folder.appending(path: writer + ".jsonl"))
            .split(separator: UInt8(ascii: "\n"))
            .map { line in
                var sample = try decoder.decode(GoldenSample.self, from: Data(line))
                sample.writer = writer
                return sample
            }
    }
}

/// A method and the frame that carries it, as RabbitMQ writes it: all methods, without the largest frames.
struct MethodSample: Sendable, CustomTestStringConvertible {
    var name: String
    var channel: UInt16
    var method: AMQPMethod
    var wire: [UInt8]

    var testDescription: String { self.name }

    /// The methods are read from the bytes, which ``GoldenTests`` compares with their descriptions.
    static let all: [MethodSample] = GoldenSample.samples(by: "rabbitmq").compactMap { sample in
        let wire = sample.bytes
        guard sample.kind == .method, sample.differs == nil, wire.count <= 256,
            case .method(let channel, let method)? = try? decode(wire).first
        else { return nil }
        return MethodSample(name: sample.name, channel: channel, method: method, wire: wire)
    }
}
