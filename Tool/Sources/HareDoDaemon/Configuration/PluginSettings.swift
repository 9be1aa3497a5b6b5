// SPDX-License-Identifier: Apache-2.0
public import HareDo

/// A module or plugin that the daemon loads.
public struct PluginSettings: Sendable, Hashable {
    /// What it is loaded as.
    public var name: String
    /// What it is made from.
    public var configuration: ConfigurationValue
    /// Whether the daemon does without it if it cannot be loaded. Of a configuration's own, the key is `required`.
    public var isRequired = false

    /// A list of names, or a map of names, each with its configuration.
    static func read(_ map: MapReader, _ key: String) -> [PluginSettings] {
        guard let tree = map.tree(key) else { return [] }
        switch tree.content {
        case .list(let values):
            return values.compactMap { value in
                guard case .scalar(let name, _) = value.content else {
                    map.error(key, "has in its list what is no name, but \(value.kind)")
                    return nil
                }
                return PluginSettings(name: name, configuration: [:])
            }
        case .map(let entries):
            return entries.map { entry in
                var settings = PluginSettings(name: entry.key, configuration: entry.value.configuration)
                switch settings.configuration {
                case .null: settings.configuration = [:]
                case .map(var values):
                    if case .bool(let isRequired)? = values.removeValue(forKey: "required") {
                        settings.isRequired = isRequired
                        settings.configuration = .map(values)
                    }
                default:
                    map.error(key, "has for '\(entry.key)' a configuration that is no map, but \(entry.value.kind)")
                }
                return settings
            }
        case .scalar, .nothing:
            map.error(key, "has to be a list of names or a map, and is \(tree.kind)")
            return []
        }
    }
}

/// Plugins that are found in one place.
public struct ServiceSettings: Sendable, Hashable {
    /// For people.
    public var name: String
    /// Below each folder of the search path.
    public var prefix: String
    /// In the order of the file.
    public var plugins: [PluginSettings]

    static func read(_ name: String, _ map: MapReader) -> ServiceSettings {
        let prefix = map.text("path_prefix") ?? PluginSearchPath.standardPrefix
        if prefix.split(separator: "/").contains("..") { map.error("path_prefix", "cannot lead out of its folder") }
        let settings = ServiceSettings(name: name, prefix: prefix, plugins: PluginSettings.read(map, "plugins"))
        map.finish()
        return settings
    }
}
