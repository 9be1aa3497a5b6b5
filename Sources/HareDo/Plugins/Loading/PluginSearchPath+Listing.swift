// SPDX-License-Identifier: Apache-2.0
#if canImport(FoundationEssentials)
    import FoundationEssentials
#else
    import Foundation
#endif

extension PluginSearchPath {
    /// A library that is there.
    public struct Listing: Sendable, Hashable, Codable {
        /// What it is loaded as.
        public var name: String
        /// Its file.
        public var path: String
        /// The file that is loaded instead, because it comes first.
        public var hiddenBy: String?
    }

    /// The libraries that there are, in the order in which they are found; whether they can be loaded is not known.
    ///
    /// Folders more than eight deep are not looked into, nor are links followed.
    public var listing: [Listing] {
        var found: [String: String] = [:]
        return self.folders.flatMap { folder in
            let root = ([folder] + self.prefix.split(separator: "/").map(String.init)).joined(separator: "/")
            return Self.libraries(in: root, below: [], depth: 8).map { name, path in
                let first = found[name]
                if first == nil { found[name] = path }
                return Listing(name: name, path: path, hiddenBy: first)
            }
        }
    }

    private static func libraries(in folder: String, below: [String], depth: Int) -> [(name: String, path: String)] {
        guard depth > 0, let names = try? FileManager.default.contentsOfDirectory(atPath: folder) else { return [] }
        return names.sorted().flatMap { file -> [(name: String, path: String)] in
            let path = folder + "/" + file
            if let library = PluginName.library(of: file),
                let name = try? PluginName((below + [library]).joined(separator: "/"))
            {
                return [(name.text, path)]
            }
            let isFolder = (try? FileManager.default.destinationOfSymbolicLink(atPath: path)) == nil
            return isFolder ? Self.libraries(in: path, below: below + [file], depth: depth - 1) : []
        }
    }
}
