// SPDX-License-Identifier: Apache-2.0
@testable import AMQPWireGenerator
import Foundation
import Testing

@Suite("Generated sources")
struct GeneratorTests {
    private static let folder = URL(filePath: #filePath)
        .deletingLastPathComponent().deletingLastPathComponent().deletingLastPathComponent()
        .appending(path: "Sources/AMQPWire/Generated")

    @Test("Generating again changes nothing", arguments: SourceWriter.files().keys.sorted())
    func unchanged(name: String) throws {
        let text = try String(contentsOf: Self.folder.appending(path: name), encoding: .utf8)
        // Not `text == …`: a failure would print both files whole.
        let isUnchanged = text == SourceWriter.files()[name]
        #expect(isUnchanged, "run `swift run AMQPWireGenerator`")
    }

    @Test("No file stands there that is not generated any more")
    func nothingStale() throws {
        let names = try FileManager.default.contentsOfDirectory(atPath: Self.folder.path(percentEncoded: false))
        #expect(names.sorted() == SourceWriter.files().keys.sorted())
    }

    @Test("Every generated file says that it is", arguments: SourceWriter.files().keys.sorted())
    func marked(name: String) {
        let lines = SourceWriter.files()[name]?.split(separator: "\n") ?? []
        #expect(lines.first == "// SPDX-License-Identifier: Apache-2.0")
        #expect(lines.dropFirst().first?.contains("Do not edit") == true)
        #expect(lines.allSatisfy { $0.count <= 120 })
    }

    @Test("No method has more flags than are written into one octet")
    func flags() {
        for amqpClass in specification {
            for method in amqpClass.methods {
                for group in SourceWriter.grouped(method.fields) where group[0].type == .bit {
                    #expect(group.count <= 6, "\(amqpClass.name).\(method.name)")
                }
            }
        }
    }
}
