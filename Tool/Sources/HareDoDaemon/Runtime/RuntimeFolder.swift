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

/// Where a running daemon leaves what commands need to find it: for its user alone.
public struct RuntimeFolder: Sendable, Hashable {
    /// Its path.
    public let path: String

    /// That of `HAREDO_RUNTIME_DIR`; else for the administrator /run/haredo, and for others below the runtime folder that
    /// the system gives them, or below their home.
    public init(environment: [String: String]) {
        if let path = environment["HAREDO_RUNTIME_DIR"], !path.isEmpty {
            self.path = path
        } else if geteuid() == 0 {
            self.path = "/run/haredo"
        } else if let runtime = environment["XDG_RUNTIME_DIR"], runtime.hasPrefix("/") {
            self.path = runtime + "/haredo"
        } else {
            self.path = (environment["HOME"] ?? "/tmp") + "/.haredo"
        }
    }

    /// What a running daemon holds: ``PidFile``.
    public var pidFile: String { self.path + "/haredo.pid" }
    /// Where a key is kept that was made.
    public var keyFile: String { self.path + "/haredo.key" }
    /// Where a daemon in the background logs.
    public var logFile: String { self.path + "/haredo.log" }

    /// Makes it, if it is not there.
    ///
    /// - Throws: if it cannot be made, or is not its user's alone.
    public func prepare() throws(DaemonFailure) {
        do {
            try FileManager.default.createDirectory(
                atPath: self.path, withIntermediateDirectories: true, attributes: [.posixPermissions: 0o700])
        } catch {
            throw DaemonFailure("cannot make the folder '\(self.path)' (HAREDO_RUNTIME_DIR): \(error)")
        }
        var status = stat()
        guard stat(self.path, &status) == 0, status.st_mode & S_IFMT == S_IFDIR else {
            throw DaemonFailure("'\(self.path)' (HAREDO_RUNTIME_DIR) is no folder")
        }
        guard status.st_uid == geteuid() else {
            throw DaemonFailure(
                "'\(self.path)' (HAREDO_RUNTIME_DIR) belongs to another user: be that user, have the system start the "
                    + "daemon (`systemctl start haredo`), or use another folder")
        }
        guard status.st_mode & 0o022 == 0 else {
            throw DaemonFailure(
                "others may write to '\(self.path)' (HAREDO_RUNTIME_DIR): `chmod go-w` it, or use another")
        }
    }

    /// The key of a daemon whose configuration has none; made when it is first needed.
    public func key() throws(DaemonFailure) -> String {
        if let key = self.existingKey { return key }
        try self.prepare()
        let key = ControlSignature.hexadecimal((0..<32).map { _ in UInt8.random(in: 0...255) })
        let file = open(self.keyFile, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0o600)
        // Another daemon may have been faster.
        guard file >= 0 else {
            if let key = self.existingKey { return key }
            throw DaemonFailure("cannot write '\(self.keyFile)': \(String(cString: strerror(errno)))")
        }
        defer { close(file) }
        let bytes = Array(key.utf8)
        guard write(file, bytes, bytes.count) == bytes.count else {
            throw DaemonFailure("cannot write '\(self.keyFile)': \(String(cString: strerror(errno)))")
        }
        return key
    }

    /// The key that was made, if there is one.
    public var existingKey: String? {
        FileManager.default.contents(atPath: self.keyFile).map { String(decoding: $0, as: UTF8.self) }
            .flatMap { $0.isEmpty ? nil : $0 }
    }
}
