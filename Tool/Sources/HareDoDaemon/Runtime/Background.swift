// SPDX-License-Identifier: Apache-2.0
#if canImport(Glibc)
    import Glibc
#elseif canImport(Musl)
    import Musl
#elseif canImport(Darwin)
    import Darwin
#endif

/// Starts a daemon in the background: the same program again, in a session of its own. No fork without exec: that leaves a
/// program with threads in pieces.
public enum Background {
    /// In the environment of a daemon in the background: where its standard error goes when it is ready.
    public static let logVariable = "HAREDO_DAEMON_LOG"

    /// A program that runs, and the end of a pipe that its standard error comes out of.
    public struct Started: Sendable {
        /// Its process id: a child, to be asked for with ``exitStatus(of:)``.
        public let process: Int32
        /// A descriptor, for whoever reads it to close.
        public let standardError: Int32
    }

    /// - Throws: if the program cannot be started.
    public static func start(
        _ program: String, _ arguments: [String], environment: [String: String]
    ) throws(DaemonFailure) -> Started {
        var ends: [Int32] = [-1, -1]
        guard pipe(&ends) == 0 else { throw Self.failure("pipe", errno) }
        // Whatever else this process starts must not hold it.
        _ = fcntl(ends[0], F_SETFD, FD_CLOEXEC)
        _ = fcntl(ends[1], F_SETFD, FD_CLOEXEC)
        var actions = posix_spawn_file_actions_t()
        posix_spawn_file_actions_init(&actions)
        defer { posix_spawn_file_actions_destroy(&actions) }
        posix_spawn_file_actions_addopen(&actions, 0, "/dev/null", O_RDONLY, 0)
        posix_spawn_file_actions_addopen(&actions, 1, "/dev/null", O_WRONLY, 0)
        posix_spawn_file_actions_adddup2(&actions, ends[1], 2)
        var attributes = posix_spawnattr_t()
        posix_spawnattr_init(&attributes)
        defer { posix_spawnattr_destroy(&attributes) }
        posix_spawnattr_setflags(&attributes, Self.ownSession)
        let words = ([program] + arguments).map { strdup($0) } + [nil]
        let variables = environment.map { strdup("\($0.key)=\($0.value)") } + [nil]
        defer {
            for word in words + variables { free(word) }
        }
        var process: pid_t = 0
        let status = posix_spawn(&process, program, &actions, &attributes, words, variables)
        close(ends[1])
        guard status == 0 else {
            close(ends[0])
            throw Self.failure(program, status)
        }
        return Started(process: process, standardError: ends[0])
    }

    /// The exit status of a child that has ended; `nil` if it runs.
    public static func exitStatus(of process: Int32) -> Int32? {
        var status: Int32 = 0
        guard waitpid(process, &status, WNOHANG) == process else { return nil }
        // As the shell has it: the status, or 128 and the signal.
        return status & 0x7f == 0 ? (status >> 8) & 0xff : 128 + status & 0x7f
    }

    /// Has standard error go to a file from here on, so that whoever started this process hears that it is ready.
    public static func detach(to log: String) {
        var file = open(log, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC | O_NOFOLLOW, 0o600)
        if file < 0 { file = open("/dev/null", O_WRONLY | O_CLOEXEC) }
        guard file >= 0 else { return }
        dup2(file, 2)
        close(file)
    }

    /// `POSIX_SPAWN_SETSID`, which the C library's header shows only to some.
    #if os(Linux)
        private static let ownSession: Int16 = 0x80
    #else
        private static let ownSession: Int16 = 0x400
    #endif

    private static func failure(_ what: String, _ code: Int32) -> DaemonFailure {
        DaemonFailure("cannot start '\(what)': \(String(cString: strerror(code)))")
    }
}
