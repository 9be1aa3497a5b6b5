// SPDX-License-Identifier: Apache-2.0
#if canImport(FoundationEssentials)
    import FoundationEssentials
#else
    import Foundation
#endif

/// Where plugins are looked for: for each folder, in `FOLDER/PREFIX/`; the first that is there is taken. With the standard
/// prefix, `echo` is `FOLDER/haredo/plugins/libecho.so`, and `billing/echo` is `FOLDER/haredo/plugins/billing/libecho.so`.
public struct PluginSearchPath: Sendable, Hashable {
    /// `haredo/plugins`.
    public static let standardPrefix = "haredo/plugins"

    /// Absolute paths, in the order in which they are looked at.
    public var folders: [String]
    /// Below each folder. Empty: the folders themselves. Plugins that are part of the program are found only with the
    /// standard one.
    public var prefix: String

    /// A search path.
    public init(folders: [String], prefix: String = PluginSearchPath.standardPrefix) {
        self.folders = folders
        self.prefix = prefix
    }

    /// What `HAREDO_PLUGIN_PATH` in the environment names (folders with `:` between them), then the user's folder
    /// (`~/.local/lib`), then the system's (`/usr/local/lib`, `/usr/lib`).
    public static var environment: PluginSearchPath { .standard(first: []) }

    /// The folders given, then those of ``environment``.
    public static func standard(first: [String], prefix: String = PluginSearchPath.standardPrefix) -> PluginSearchPath {
        let environment = ProcessInfo.processInfo.environment
        var folders = first
        folders += (environment["HAREDO_PLUGIN_PATH"] ?? "").split(separator: ":").map(String.init)
        if let home = environment["HOME"], home.hasPrefix("/") { folders.append(home + "/.local/lib") }
        return PluginSearchPath(folders: folders + ["/usr/local/lib", "/usr/lib"], prefix: prefix)
    }

    /// Whether plugins that are part of the program are found.
    var hasLinked: Bool { self.prefix == Self.standardPrefix }

    /// Where a plugin may be: the folder as it was given, those below it, and the file.
    func places(of name: PluginName) -> [Place] {
        let below = self.prefix.split(separator: "/").map(String.init) + name.folders
        return self.folders.map { Place(folder: $0, below: below, file: name.file) }
    }

    struct Place {
        var folder: String
        var below: [String]
        var file: String

        /// The folders from the first to the one that holds the file.
        var folders: [String] {
            self.below.reduce(into: [self.folder]) { $0.append(Self.join($0[$0.count - 1], $1)) }
        }
        var path: String { Self.join(self.folders.last ?? self.folder, self.file) }

        private static func join(_ folder: String, _ name: String) -> String {
            folder.hasSuffix("/") ? folder + name : folder + "/" + name
        }
    }
}
