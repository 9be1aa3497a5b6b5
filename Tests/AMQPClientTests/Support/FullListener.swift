// SPDX-License-Identifier: Apache-2.0
import NIOCore

#if canImport(Glibc)
    import Glibc
#elseif canImport(Musl)
    import Musl
#elseif canImport(Darwin)
    import Darwin
#endif

/// A listening socket that accepts nothing and whose queue is full: a further connection stays half made.
final class FullListener: Sendable {
    struct Failed: Error { let call: String }

    let port: Int
    private let sockets: [CInt]

    init() throws {
        #if os(Linux)
            let type = CInt(SOCK_STREAM.rawValue)
        #else
            let type = SOCK_STREAM
        #endif
        // No member of `sockaddr_in` is touched: which module it belongs to depends on what was imported first.
        let listener = socket(AF_INET, type, 0)
        let isBound = try SocketAddress(ipAddress: "127.0.0.1", port: 0).withSockAddr { address, size in
            bind(listener, address, socklen_t(size)) == 0
        }
        var name = [UInt8](repeating: 0, count: 128)
        let isNamed = name.withUnsafeMutableBytes { bytes in
            var length = socklen_t(bytes.count)
            guard let address = bytes.baseAddress?.assumingMemoryBound(to: sockaddr.self) else { return false }
            return listen(listener, 0) == 0 && getsockname(listener, address, &length) == 0
        }
        guard isBound, isNamed else { throw Failed(call: "listen") }
        // Behind the family, in the order of the network.
        self.port = Int(name[2]) << 8 | Int(name[3])
        let address = try SocketAddress(ipAddress: "127.0.0.1", port: self.port)
        var sockets = [listener]
        // A queue of 0 takes one or two; those beyond are only begun.
        for _ in 0..<4 {
            let client = socket(AF_INET, type, 0)
            _ = fcntl(client, F_SETFL, O_NONBLOCK)
            _ = address.withSockAddr { address, size in connect(client, address, socklen_t(size)) }
            sockets.append(client)
        }
        self.sockets = sockets
    }

    deinit { for socket in self.sockets { close(socket) } }

    /// How many sockets of the system are in the middle of connecting there.
    static func socketsConnecting(to port: Int) -> Int {
        guard let file = fopen("/proc/net/tcp", "r") else { return 0 }
        defer { fclose(file) }
        var line = [CChar](repeating: 0, count: 512)
        var count = 0
        let hex = String(port, radix: 16, uppercase: true)
        let remote = ":" + String(repeating: "0", count: 4 - hex.count) + hex
        while fgets(&line, CInt(line.count), file) != nil {
            let end = line.firstIndex(of: 0) ?? line.endIndex
            let text = String(decoding: line[..<end].map { UInt8(bitPattern: $0) }, as: UTF8.self)
            let fields = text.split(separator: " ")
            // The third field is the other end, the fourth the state: 02 is SYN_SENT.
            if fields.count > 3, fields[2].hasSuffix(remote), fields[3] == "02" { count += 1 }
        }
        return count
    }
}
