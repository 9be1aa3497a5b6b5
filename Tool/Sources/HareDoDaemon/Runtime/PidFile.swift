// SPDX-License-Identifier: Apache-2.0
#if canImport(Glibc)
    import Glibc
#elseif canImport(Musl)
    import Musl
#elseif canImport(Darwin)
    import Darwin
#endif

/// A file that a running daemon holds a lock on. The lock says whether it runs, and goes with its process however that
/// ends; what is written is who it is.
public struct PidFile: ~Copyable {
    /// Who runs.
    public struct Owner: Sendable, Hashable {
        /// Its process id.
        public var process: Int32
        /// What its control queue is named after.
        public var instance: String
    }

    /// What a look at a file found.
    public enum State: Sendable, Hashable {
        case notRunning
        case running(Owner)
        /// It is locked, and nothing is written yet.
        case starting
    }

    private let descriptor: Int32

    /// Takes the file for this process. A file of a process that is gone is no obstacle.
    ///
    /// - Throws: if another daemon has it, or it cannot be written.
    public init(_ path: String, instance: String) throws(DaemonFailure) {
        let descriptor = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0o644)
        guard descriptor >= 0 else {
            throw DaemonFailure("cannot open the pid file '\(path)': \(String(cString: strerror(errno)))")
        }
        guard flock(descriptor, LOCK_EX | LOCK_NB) == 0 else {
            let owner = Self.owner(descriptor)
            close(descriptor)
            throw Self.isTaken(path, by: owner)
        }
        let bytes = Array("\(getpid())\n\(instance)\n".utf8)
        guard ftruncate(descriptor, 0) == 0, pwrite(descriptor, bytes, bytes.count, 0) == bytes.count else {
            let reason = String(cString: strerror(errno))
            close(descriptor)
            throw DaemonFailure("cannot write the pid file '\(path)': \(reason)")
        }
        self.descriptor = descriptor
    }

    deinit {
        // Emptied and left: to remove it could take one that another process has just locked.
        ftruncate(self.descriptor, 0)
        close(self.descriptor)
    }

    /// What a second daemon on the same file is told.
    public static func isTaken(_ path: String, by owner: Owner?) -> DaemonFailure {
        let process = owner.map { " (process \($0.process))" } ?? ""
        return DaemonFailure("a daemon runs already\(process): it has the pid file '\(path)'", .runsAlready)
    }

    /// Whether a daemon runs, and which.
    public static func state(_ path: String) -> State {
        let descriptor = open(path, O_RDONLY | O_CLOEXEC)
        guard descriptor >= 0 else { return .notRunning }
        defer { close(descriptor) }
        guard flock(descriptor, LOCK_SH | LOCK_NB) != 0 else { return .notRunning }
        return Self.owner(descriptor).map { .running($0) } ?? .starting
    }

    private static func owner(_ descriptor: Int32) -> Owner? {
        var bytes = [UInt8](repeating: 0, count: 256)
        let count = pread(descriptor, &bytes, bytes.count, 0)
        guard count > 0 else { return nil }
        let lines = String(decoding: bytes.prefix(count), as: UTF8.self).split(separator: "\n").map(String.init)
        guard lines.count == 2, let process = Int32(lines[0]), process > 0 else { return nil }
        return Owner(process: process, instance: lines[1])
    }
}
