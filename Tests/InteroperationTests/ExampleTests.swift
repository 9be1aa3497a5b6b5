// SPDX-License-Identifier: Apache-2.0
import Foundation
import HareDo
import TestSupport
import Testing

@Suite("The examples in Docs/interoperability.md")
struct ExampleTests {
    private static let article = ForeignSoftware.peers.appending(path: "../../../Docs/interoperability.md").standardized

    @Test("A service of ours, called from Python and Ruby", .foreignSoftware, arguments: TestBroker.available)
    func service(broker: TestBroker) async throws {
        try await broker.run { url in
            // example: service
            let service = Peer(name: "increment", .url(url))
            try await service.connect()
            try await service.listen { message in
                "\((message.headers["i"]?.int ?? 0) + 1)"
            }
            // end
            for language in Language.allCases {
                let lines = try await ForeignPeer.run(language.program("client"), ["increment"], url)
                #expect(Set(lines) == ["1 -> 2", "2 -> 3", "3 -> 4"])
            }
            await service.disconnect()
        }
    }

    @Test("A peer of ours, calling services in Python and Ruby", .foreignSoftware, arguments: TestBroker.available)
    func client(broker: TestBroker) async throws {
        try await broker.run { url in
            for language in Language.allCases {
                try await ForeignPeer.run(language.program("service"), ["increment"], url) { service in
                    try await service.expect("ready")
                    var lines: [String] = []
                    func print(_ items: Any...) { lines.append(items.map { "\($0)" }.joined(separator: " ")) }
                    // example: client
                    try await Peer.with(.url(url)) { client in
                        for i in 1...3 {
                            let reply = try await client.call(
                                "increment", headers: ["i": .integer(Int64(i))], timeout: .seconds(10))
                            print(i, "->", reply?.text ?? "no reply in time")
                        }
                    }
                    // end
                    #expect(lines == ["1 -> 2", "2 -> 3", "3 -> 4"])
                    try await service.stop()
                }
            }
        }
    }

    @Test("The article shows the programs that the tests run")
    func article() throws {
        let article = try String(contentsOf: Self.article, encoding: .utf8)
        let shown = article.matches(
            of: /\]\(\.\.\/Tests\/InteroperationTests\/Peers\/([a-z.]+)\)[^\n]*\n\n```[a-z]+\n([\s\S]*?)```/)
        #expect(shown.map(\.1).sorted() == ["client.py", "client.rb", "service.py", "service.rb"])
        for program in shown {
            let file = try String(
                contentsOf: ForeignSoftware.peers.appending(path: String(program.1)), encoding: .utf8)
            #expect(file == "# SPDX-License-Identifier: Apache-2.0\n" + program.2, "\(program.1)")
        }

        let source = try String(contentsOf: URL(filePath: #filePath), encoding: .utf8)
        let examples = source.matches(of: /\/\/ example: [a-z]+\n([\s\S]*?)\n *\/\/ end\n/).map { Self.dedented($0.1) }
        let swift = article.matches(of: /```swift\n([\s\S]*?)\n```/).map { String($0.1) }
        #expect(examples.count == 2 && swift == examples.reversed())
    }

    private static func dedented(_ code: Substring) -> String {
        let lines = code.split(separator: "\n", omittingEmptySubsequences: false)
        let indent = lines.map { $0.prefix { $0 == " " }.count }.min() ?? 0
        return lines.map { $0.dropFirst(indent) }.joined(separator: "\n")
    }
}
