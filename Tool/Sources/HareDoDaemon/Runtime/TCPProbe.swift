// SPDX-License-Identifier: Apache-2.0
#if canImport(Glibc)
    import Glibc
#elseif canImport(Musl)
    import Musl
#elseif canImport(Darwin)
    import Darwin
#endif

/// Whether somebody listens at a port.
public enum TCPProbe {
    /// Opens a connection and closes it. Blocks the thread.
    ///
    /// - Parameter limit: for each of the host's addresses; how long its name takes, the system decides.
    /// - Throws: why no address could be connected to.
    public static func connect(host: String, port: Int, within limit: Duration) throws(DaemonFailure) {
        var hints = addrinfo()
        hints.ai_socktype = Self.stream
        var found: UnsafeMutablePointer<addrinfo>?
        let status = getaddrinfo(host, "\(port)", &hints, &found)
        guard status == 0 else {
            throw DaemonFailure("'\(host)': \(String(cString: gai_strerror(status)))", .unavailable)
        }
        defer { freeaddrinfo(found) }
        var reason = "it has no address"
        var next = found
        while let address = next {
            guard let failure = Self.connect(address.pointee, within: limit) else { return }
            reason = failure
            next = address.pointee.ai_next
        }
        throw DaemonFailure("\(host):\(port): \(reason)", .unavailable)
    }

    /// - Returns: why not, or `nil`.
    private static func connect(_ address: addrinfo, within limit: Duration) -> String? {
        let descriptor = socket(address.ai_family, address.ai_socktype, address.ai_protocol)
        guard descriptor >= 0 else { return String(cString: strerror(errno)) }
        defer { close(descriptor) }
        _ = fcntl(descriptor, F_SETFL, fcntl(descriptor, F_GETFL) | O_NONBLOCK)
        guard Self.connect(descriptor, address) != 0 else { return nil }
        guard errno == EINPROGRESS else { return String(cString: strerror(errno)) }
        var poller = pollfd(fd: descriptor, events: Int16(POLLOUT), revents: 0)
        guard poll(&poller, 1, Int32(limit / .milliseconds(1))) > 0 else { return "nobody answered within \(limit)" }
        var code: Int32 = 0
        var length = socklen_t(MemoryLayout<Int32>.size)
        guard getsockopt(descriptor, SOL_SOCKET, SO_ERROR, &code, &length) == 0 else {
            return String(cString: strerror(errno))
        }
        return code == 0 ? nil : String(cString: strerror(code))
    }

    private static func connect(_ descriptor: Int32, _ address: addrinfo) -> Int32 {
        #if canImport(Glibc)
            Glibc.connect(descriptor, address.ai_addr, address.ai_addrlen)
        #elseif canImport(Musl)
            Musl.connect(descriptor, address.ai_addr, address.ai_addrlen)
        #else
            Darwin.connect(descriptor, address.ai_addr, address.ai_addrlen)
        #endif
    }

    #if canImport(Glibc)
        private static let stream = Int32(SOCK_STREAM.rawValue)
    #else
        private static let stream = SOCK_STREAM
    #endif
}
