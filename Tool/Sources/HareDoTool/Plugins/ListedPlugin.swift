// SPDX-License-Identifier: Apache-2.0
import HareDo

/// A plugin that would be found.
struct ListedPlugin: Encodable {
    var name: String
    /// A file, or that it is part of the program.
    var source: String
    /// What is loaded in its place.
    var hiddenBy: String?

    /// The libraries, and what is part of every program and not hidden by one.
    static func all(_ searchPath: PluginSearchPath) -> [ListedPlugin] {
        let listing = searchPath.listing
        let files = listing.map { ListedPlugin(name: $0.name, source: $0.path, hiddenBy: $0.hiddenBy) }
        guard searchPath.prefix == PluginSearchPath.standardPrefix else { return files }
        return files
            + Plugins.builtIn.map { plugin in
                ListedPlugin(
                    name: plugin.uuid, source: "linked", hiddenBy: listing.first { $0.name == plugin.uuid }?.path)
            }
    }

    var columns: [String] { [self.name, self.source, self.hiddenBy.map { "hidden by \($0)" } ?? ""] }
}
