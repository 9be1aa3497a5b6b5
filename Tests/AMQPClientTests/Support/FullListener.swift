// SPDX-License-Identifier: Apache-2.0
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
        var address = sockaddr_in()
        address.sin_family = sa_family_t(AF_INET)
        address.sin_addr.s_addr = UInt32(0x7f00_0001).bigEndian
        var length = socklen_t(MemoryLayout<sockaddr_in>.size)
        let listener = socket(AF_INET, type, 0)
        func with(_ call: (UnsafeMutablePointer<sockaddr>) -> CInt) -> CInt {
            withUnsafeMutablePointer(to: &address) {
                $0.withMemoryRebound(to: sockaddr.self, capacity: 1) { call($0) }
            }
        }
        guard with({ bind(listener, $0, length) }) == 0, listen(listener, 0) == 0,
            with({ getsockname(listener, $0, &length) }) == 0
        else { throw Failed(call: "listen") }
        self.port = Int(UInt16(bigEndian: address.sin_port))
        var sockets = [listener]
        // A queue of 0 takes one or two; those beyond are only begun.
        for _ in 0..<4 {
            let client = socket(AF_INET, type, 0)
            _ = fcntl(client, F_SETFL, O_NONBLOCK)
            _ = with { connect(client, $0, length) }
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
