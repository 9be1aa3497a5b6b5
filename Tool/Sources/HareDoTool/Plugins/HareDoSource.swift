// SPDX-License-Identifier: Apache-2.0
#if canImport(FoundationEssentials)
    import FoundationEssentials
#else
    import Foundation
#endif

/// The HareDo that a plugin is built against.
enum HareDoSource: Hashable {
    /// An absolute path.
    case folder(String)
    case git(String)

    init(_ text: String) throws(ToolFailure) {
        guard !text.contains(where: { $0 == "\"" || $0 == "\\" || $0.isNewline }) else {
            throw ToolFailure("'\(text)' is neither a folder nor a URL")
        }
        if text.contains("://") || text.hasPrefix("git@") {
            self = .git(text)
            return
        }
        let path = text.hasPrefix("/") ? text : FileManager.default.currentDirectoryPath + "/" + text
        guard Self.isCheckout(path) else { throw ToolFailure("there is no HareDo in '\(text)'") }
        self = .folder(Self.tidied(path))
    }

    /// The folder that the running program was built in, if it is still there.
    static var ofThisProgram: HareDoSource? {
        guard let program = try? FileManager.default.destinationOfSymbolicLink(atPath: "/proc/self/exe") else {
            return nil
        }
        var parts = program.split(separator: "/")
        while parts.popLast() != nil {
            let folder = "/" + parts.joined(separator: "/")
            if Self.isCheckout(folder) { return .folder(folder) }
        }
        return nil
    }

    private static func isCheckout(_ folder: String) -> Bool {
        ["Package.swift", "Sources/HareDo", "Sources/CHareDoPlugin"].allSatisfy {
            FileManager.default.fileExists(atPath: folder + "/" + $0)
        }
    }

    /// Without `.`, `..` and doubled slashes: packages are known by the last part of their path.
    private static func tidied(_ path: String) -> String {
        "/"
            + path.split(separator: "/").reduce(into: [Substring]()) { parts, part in
                switch part {
                case ".": break
                case "..": _ = parts.popLast()
                default: parts.append(part)
                }
            }.joined(separator: "/")
    }

    /// As a dependency in a package's manifest.
    var dependency: String {
        switch self {
        case .folder(let path): ".package(name: \"HareDo\", path: \"\(path)\")"
        // A plugin has to be built against the version that the program has.
        case .git(let url): ".package(url: \"\(url)\", branch: \"main\")"
        }
    }

    /// What a manifest calls the package.
    var identity: String {
        switch self {
        case .folder: return "HareDo"
        case .git(let url):
            let last = url.split { $0 == "/" || $0 == ":" }.last.map(String.init) ?? url
            return last.hasSuffix(".git") ? String(last.dropLast(4)) : last
        }
    }
}
