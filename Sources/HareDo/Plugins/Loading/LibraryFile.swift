// SPDX-License-Identifier: Apache-2.0
#if canImport(Glibc)
    import Glibc
#elseif canImport(Musl)
    import Musl
#elseif canImport(Darwin)
    import Darwin
#endif

/// A library's file, and what is checked before it is loaded: that nobody but the administrator and this program's user
/// could have put it there, and that it is whole.
enum LibraryFile {
    /// What matters of a file or folder.
    struct Facts: Hashable {
        enum Kind { case file, folder, link, other }
        var kind: Kind
        /// The user it belongs to.
        var owner: UInt32
        /// Whether everybody may write to it.
        var isOpenToAll: Bool
        /// Whether only owners may remove what is in it (`/tmp`).
        var isSticky: Bool
        var size: UInt64
    }

    /// - Parameters:
    ///   - path: the file.
    ///   - folders: what holds it, the outermost first. Links are followed only on the way to the first.
    static func check(_ path: String, folders: [String]) throws(PluginRefusal) {
        for (index, folder) in folders.enumerated() {
            guard let facts = self.facts(folder, followsLinks: index == 0) else {
                throw PluginRefusal(.notReadable, folder, "cannot be looked at: \(Self.systemError())")
            }
            try self.check(folder: facts, folder, user: geteuid())
        }
        guard let facts = self.facts(path, followsLinks: false) else {
            throw PluginRefusal(.notReadable, path, "cannot be looked at: \(Self.systemError())")
        }
        try self.check(file: facts, path, user: geteuid())
        let head = try self.head(of: path)
        #if os(Linux)
            if let (reason, text) = LibraryFormat.problem(head, size: facts.size) {
                throw PluginRefusal(reason, path, text)
            }
        #endif
    }

    /// Whether something is there, if only a link that leads nowhere.
    static func exists(_ path: String) -> Bool { self.facts(path, followsLinks: false) != nil }

    static func check(folder facts: Facts, _ path: String, user: UInt32) throws(PluginRefusal) {
        if facts.kind == .link {
            throw PluginRefusal(.symbolicLink, path, "is a symbolic link: name the folder itself")
        }
        // A sticky one protects what is in it, and what is in it is looked at next.
        if facts.isOpenToAll, !facts.isSticky {
            throw PluginRefusal(
                .writableFolder, path, "is a folder that everybody may write to: `chmod o-w` it, or use another")
        }
        try self.check(owner: facts.owner, path, user: user)
    }

    static func check(file facts: Facts, _ path: String, user: UInt32) throws(PluginRefusal) {
        switch facts.kind {
        case .file: break
        case .link: throw PluginRefusal(.symbolicLink, path, "is a symbolic link: put the library itself there")
        case .folder, .other: throw PluginRefusal(.notAFile, path, "is not a file")
        }
        if facts.isOpenToAll {
            throw PluginRefusal(
                .writableFile, path, "may be written to by everybody: `chmod o-w` it, and make sure what it is")
        }
        try self.check(owner: facts.owner, path, user: user)
    }

    private static func check(owner: UInt32, _ path: String, user: UInt32) throws(PluginRefusal) {
        guard owner != 0, owner != user else { return }
        throw PluginRefusal(
            .foreignOwner, path,
            "belongs to the user \(owner), and has to belong to the administrator or to the user \(user), as who this "
                + "program runs")
    }

    private static func facts(_ path: String, followsLinks: Bool) -> Facts? {
        var status = stat()
        guard unsafe (followsLinks ? stat(path, &status) : lstat(path, &status)) == 0 else { return nil }
        let kind: Facts.Kind =
            switch status.st_mode & S_IFMT {
            case S_IFREG: .file
            case S_IFDIR: .folder
            case S_IFLNK: .link
            default: .other
            }
        return Facts(
            kind: kind, owner: status.st_uid, isOpenToAll: status.st_mode & S_IWOTH != 0,
            isSticky: status.st_mode & S_ISVTX != 0, size: UInt64(clamping: status.st_size))
    }

    private static func head(of path: String) throws(PluginRefusal) -> [UInt8] {
        let file = unsafe open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK)
        guard file >= 0 else { throw PluginRefusal(.notReadable, path, "cannot be read: \(Self.systemError())") }
        defer { close(file) }
        var head = [UInt8](repeating: 0, count: LibraryFormat.headSize)
        let count = unsafe head.withUnsafeMutableBytes { unsafe read(file, $0.baseAddress, $0.count) }
        guard count >= 0 else { throw PluginRefusal(.notReadable, path, "cannot be read: \(Self.systemError())") }
        return Array(head.prefix(count))
    }

    private static func systemError() -> String { unsafe String(cString: strerror(errno)) }
}
