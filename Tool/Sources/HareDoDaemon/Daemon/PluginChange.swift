// SPDX-License-Identifier: Apache-2.0

/// What is different between two configurations' plugins.
struct PluginChange: Equatable {
    /// In reverse order of loading.
    var removed: [String] = []
    var changed: [Placed] = []
    var added: [Placed] = []

    struct Placed: Equatable {
        var plugin: PluginSettings
        var prefix: String
        init(_ plugin: PluginSettings, _ prefix: String) {
            self.plugin = plugin
            self.prefix = prefix
        }
    }

    init(from old: [ServiceSettings], to new: [ServiceSettings]) {
        let before = Self.all(old)
        let after = Self.all(new)
        let known = Dictionary(before.map { ($0.plugin.name, $0) }) { $1 }
        let kept = Dictionary(after.map { ($0.plugin.name, $0) }) { $1 }
        // One that is looked for elsewhere is another plugin of the same name.
        self.removed = before.reversed().filter { kept[$0.plugin.name]?.prefix != $0.prefix }.map(\.plugin.name)
        for placed in after {
            guard let old = known[placed.plugin.name], old.prefix == placed.prefix else {
                self.added.append(placed)
                continue
            }
            if old.plugin.configuration != placed.plugin.configuration { self.changed.append(placed) }
        }
    }

    private static func all(_ services: [ServiceSettings]) -> [Placed] {
        services.flatMap { service in service.plugins.map { Placed($0, service.prefix) } }
    }
}
