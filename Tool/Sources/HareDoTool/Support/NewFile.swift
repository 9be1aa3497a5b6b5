// SPDX-License-Identifier: Apache-2.0
#if canImport(FoundationEssentials)
    import FoundationEssentials
#else
    import Foundation
#endif

#if canImport(Glibc)
    import Glibc
#elseif canImport(Musl)
    import Musl
#elseif canImport(Darwin)
    import Darwin
#endif

/// A file with a secret in it: readable by its owner only, from the first byte on.
enum NewFile {
    /// Puts another text in a file's place, in one step and with its permissions.
    static func replace(_ path: String, with text: String) throws(ToolFailure) {
        var status = stat()
        guard stat(path, &status) == 0 else {
            throw ToolFailure("cannot look at '\(path)': \(String(cString: strerror(errno)))")
        }
        let new = path + ".new"
        unlink(new)
        try Self.write(text, to: new)
        guard chmod(new, status.st_mode & 0o7777) == 0, rename(new, path) == 0 else {
            let reason = String(cString: strerror(errno))
            unlink(new)
            throw ToolFailure("cannot write '\(path)': \(reason)")
        }
        // An administrator's change must not take it from its owner.
        _ = chown(path, status.st_uid, status.st_gid)
    }

    /// - Throws: if it is there already, or cannot be written. Folders on the way to it are made.
    static func write(_ text: String, to path: String) throws(ToolFailure) {
        if let slash = path.lastIndex(of: "/"), slash != path.startIndex {
            do {
                try FileManager.default.createDirectory(
                    atPath: String(path[..<slash]), withIntermediateDirectories: true)
            } catch {
                throw ToolFailure("cannot make the folder of '\(path)': \(error)")
            }
        }
        let descriptor = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0o600)
        guard descriptor >= 0 else {
            throw ToolFailure(
                errno == EEXIST
                    ? "'\(path)' is there already" : "cannot write '\(path)': \(String(cString: strerror(errno)))")
        }
        defer { close(descriptor) }
        var rest = Array(text.utf8)[...]
        while !rest.isEmpty {
            let count = rest.withUnsafeBytes { bytes in
                #if canImport(Glibc)
                    Glibc.write(descriptor, bytes.baseAddress, bytes.count)
                #elseif canImport(Musl)
                    Musl.write(descriptor, bytes.baseAddress, bytes.count)
                #else
                    Darwin.write(descriptor, bytes.baseAddress, bytes.count)
                #endif
            }
            guard count > 0 || errno == EINTR else {
                throw ToolFailure("cannot write '\(path)': \(String(cString: strerror(errno)))")
            }
            rest = rest.dropFirst(max(count, 0))
        }
    }
}
