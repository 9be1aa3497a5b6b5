// SPDX-License-Identifier: Apache-2.0
import Foundation
import HareDo
import Subprocess
import Testing

@testable import HareDoTool

extension ToolTests {
    @Test("plugin check says what a library is", .enabled(if: isLinux))
    func pluginCheck() async throws {
        let plugin = try await haredo("plugin", "check", PluginFolder.fixture("border").path)
        #expect(plugin.status == 0)
        for (key, value) in [
            ("kind", "plugin"), ("uuid", "border"), ("version", "7"), ("configuration", "greeting"),
            ("abi", "\(PluginLoader.abi)"),
        ] {
            #expect(plugin.lines.contains { $0.hasPrefix(key + " ") && $0.hasSuffix(" " + value) }, "\(plugin.text)")
        }
        let module = try await haredo("plugin", "check", PluginFolder.fixture("module").path, "--json")
        #expect(module.status == 0)
        #expect(module.text.contains(#""kind":"module""#))
    }

    @Test("plugin list shows what would be found where", .enabled(if: isLinux))
    func pluginList() async throws {
        try await PluginFolder.with { first in
            try await PluginFolder.with { second in
                try first.install("descriptor", as: "hello")
                try second.install("descriptor", as: "hello")
                try second.install("descriptor", as: "echo")
                let environment = ["HAREDO_PLUGIN_PATH": second.root, "HOME": "/nowhere"]
                let list = try await haredo("plugin", "list", "--path", first.root, environment: environment)
                #expect(list.status == 0)
                let rows = list.lines.map { $0.split(separator: " ", omittingEmptySubsequences: true).map(String.init) }
                #expect(rows.contains(["hello", first.path("hello")]), "\(list.text)")
                #expect(rows.contains(["hello", second.path("hello"), "hidden", "by", first.path("hello")]))
                #expect(rows.contains(["echo", "linked", "hidden", "by", second.path("echo")]))
                #expect(rows.contains(["log", "linked"]))
                let none = try await haredo("plugin", "list", "--prefix", "nothing/here", environment: environment)
                #expect(none.status == 0)
                #expect(none.output.isEmpty)
                #expect(none.error.contains(second.root + "/nothing/here"))
            }
        }
    }

    @Test(
        "A listener loads plugins by name, and answers with them", .enabled(if: isLinux),
        arguments: TestBroker.available)
    func listenWithPlugins(broker: TestBroker) async throws {
        try await broker.run { url in
            try await PluginFolder.with { folder in
                try folder.install("border", as: "border")
                let queue = uniqueQueue()
                let bad = try await haredo("listen", queue, "--plugin", "border", "--plugin", "nobody", broker: url)
                #expect(bad.status == 1)
                #expect(bad.error.contains("'nobody' was found nowhere"))
                try await withTool(
                    "listen", queue, "--plugin", "border", "--plugin", "echo", "--plugin-path", folder.root, broker: url
                ) { listener in
                    try await listener.wait(for: "listening")
                    for uuid in ["border", "echo"] {
                        let reply = try await haredo(
                            "call", queue, "-H", "uuid=\(uuid)", "-d", "jujifruit", "--timeout", "20", broker: url)
                        #expect(reply.text == "jujifruit\n")
                    }
                    let nobody = try await haredo("call", queue, "-H", "uuid=nobody", broker: url)
                    #expect(nobody.status == 1)
                    #expect(nobody.error.contains("there is no plugin 'nobody'"))
                }
            }
        }
    }
}

@Suite("A new plugin's package")
struct PluginPackageTests {
    @Test("Names become types, and what is none is refused")
    func names() throws {
        for (name, type) in [("hello", "Hello"), ("fortune-teller", "FortuneTeller"), ("a_b2", "AB2"), ("X", "X")] {
            #expect(try PluginPackage(name: name, source: .folder("/x")).type == type)
        }
        for name in ["", "2go", "-x", "a b", "a/b", "é", "a.b", String(repeating: "x", count: 65)] {
            #expect(throws: ToolFailure.self) { try PluginPackage(name: name, source: .folder("/x")) }
        }
    }

    @Test("Where HareDo is")
    func sources() throws {
        #expect(try HareDoSource("https://example.org/x/HareDo.git").identity == "HareDo")
        #expect(try HareDoSource("git@example.org:haredo-swift.git").identity == "haredo-swift")
        guard case .folder(let folder)? = HareDoSource.ofThisProgram else {
            Issue.record("the tests were built in a checkout")
            return
        }
        #expect(try HareDoSource(folder + "/Sources/..") == .folder(folder))
        #expect(throws: ToolFailure.self) { try HareDoSource("/nowhere") }
        #expect(throws: ToolFailure.self) { try HareDoSource("https://x/\"") }
    }

    @Test("What is there already is not written over")
    func existing() async throws {
        // `tmp` is there in the root.
        let result = try await Subprocess.run(
            .name("sh"), arguments: ["-c", "cd / && exec '\(toolPath)' plugin new tmp"],
            output: .discarded, error: .string(limit: 10_000))
        #expect(result.terminationStatus == .exited(1))
        #expect(result.standardError == "haredo: 'tmp' is there already\n")
    }
}
