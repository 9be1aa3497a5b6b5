// SPDX-License-Identifier: Apache-2.0
#if canImport(Glibc)
    import Glibc
#elseif canImport(Musl)
    import Musl
#elseif canImport(Darwin)
    import Darwin
#endif

/// Tells systemd how the daemon is (`man 3 sd_notify`): a datagram to the socket that it names. Where there is no systemd
/// nothing is told.
public struct SystemdNotifier: Sendable {
    private let socket: String?
    /// How often it wants to hear from a daemon that is alive; `nil`: not at all.
    public let watchdog: Duration?

    /// What systemd has put into the environment.
    public init(environment: [String: String]) {
        self.socket = environment["NOTIFY_SOCKET"].flatMap { $0.hasPrefix("/") || $0.hasPrefix("@") ? $0 : nil }
        let isForUs = environment["WATCHDOG_PID"].map { Int32($0) == getpid() } ?? true
        // Twice in the time that it allows.
        self.watchdog = environment["WATCHDOG_USEC"].flatMap { Int64($0) }.flatMap { microseconds in
            isForUs && microseconds > 0 ? .microseconds(microseconds / 2) : nil
        }
    }

    /// It has started, or done what ``reloading()`` began.
    public func ready() { self.tell("READY=1") }
    /// It is ending.
    public func stopping() { self.tell("STOPPING=1") }
    /// To be told in the interval of ``watchdog``.
    public func isAlive() { self.tell("WATCHDOG=1") }

    /// The configuration is being read again; ``ready()`` says that that is done.
    public func reloading() {
        var time = timespec()
        clock_gettime(CLOCK_MONOTONIC, &time)
        self.tell("RELOADING=1\nMONOTONIC_USEC=\(Int64(time.tv_sec) * 1_000_000 + Int64(time.tv_nsec) / 1000)")
    }

    private func tell(_ text: String) {
        guard let path = self.socket else { return }
        var address = sockaddr_un()
        address.sun_family = sa_family_t(AF_UNIX)
        var bytes = Array(path.utf8)
        guard bytes.count < MemoryLayout.size(ofValue: address.sun_path) else { return }
        // An abstract one begins with a zero.
        if bytes[0] == UInt8(ascii: "@") { bytes[0] = 0 }
        withUnsafeMutableBytes(of: &address.sun_path) { $0.copyBytes(from: bytes) }
        let length = socklen_t(MemoryLayout.size(ofValue: address.sun_family) + bytes.count)
        #if canImport(Glibc)
            let kind = Int32(SOCK_DGRAM.rawValue)
        #else
            let kind = SOCK_DGRAM
        #endif
        let descriptor = Self.makeSocket(AF_UNIX, kind)
        guard descriptor >= 0 else { return }
        defer { close(descriptor) }
        let message = Array(text.utf8)
        let dontWait = Int32(MSG_DONTWAIT)
        // Not to wait for a systemd that does not read.
        _ = withUnsafePointer(to: &address) { pointer in
            pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                sendto(descriptor, message, message.count, dontWait, $0, length)
            }
        }
    }

    private static func makeSocket(_ domain: Int32, _ kind: Int32) -> Int32 {
        #if canImport(Glibc)
            Glibc.socket(domain, kind, 0)
        #elseif canImport(Musl)
            Musl.socket(domain, kind, 0)
        #else
            Darwin.socket(domain, kind, 0)
        #endif
    }
}
