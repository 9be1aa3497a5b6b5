// SPDX-License-Identifier: Apache-2.0
import HareDo
import Testing

@testable import HareDoDaemon

@Suite("What is different between two configurations")
struct PluginChangeTests {
    private static func service(_ prefix: String, _ plugins: [(String, Int64)]) -> ServiceSettings {
        ServiceSettings(
            name: prefix, prefix: prefix,
            plugins: plugins.map { PluginSettings(name: $0.0, configuration: ["n": .integer($0.1)]) })
    }

    @Test("Nothing, if nothing is")
    func same() {
        let services = [Self.service("p", [("a", 1), ("b", 2)])]
        #expect(PluginChange(from: services, to: services) == PluginChange(from: [], to: []))
    }

    @Test("Each plugin once: gone, changed, new, or looked for elsewhere")
    func changes() {
        let change = PluginChange(
            from: [Self.service("p", [("a", 1), ("b", 1), ("c", 1), ("d", 1)])],
            to: [Self.service("p", [("a", 1), ("b", 2), ("e", 1)]), Self.service("q", [("c", 1)])])
        // The latest first.
        #expect(change.removed == ["d", "c"])
        #expect(change.changed.map(\.plugin.name) == ["b"])
        #expect(change.changed.first?.plugin.configuration == ["n": 2])
        #expect(change.added.map(\.plugin.name) == ["e", "c"])
        #expect(change.added.map(\.prefix) == ["p", "q"])
    }
}
