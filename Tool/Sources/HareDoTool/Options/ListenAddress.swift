// SPDX-License-Identifier: Apache-2.0
import AMQPBroker

/// Where `haredo broker` listens: `HOST:PORT`, `:PORT`, `[IPv6]:PORT` or `unix:PATH`.
struct ListenAddress: Hashable, Sendable, CustomStringConvertible {
    let address: AMQPEmbeddedBroker.Address

    init(host: String, port: Int) { self.address = .tcp(host: host, port: port) }

    init(_ text: String) throws(ToolFailure) {
        if text.hasPrefix("unix:") || text.hasPrefix("/") {
            let path = text.hasPrefix("/") ? text : String(text.dropFirst("unix:".count))
            // What `sockaddr_un` has room for.
            guard (1...107).contains(path.utf8.count) else {
                throw ToolFailure(
                    "the path of a Unix-domain socket has 1 to 107 bytes, and this one \(path.utf8.count)")
            }
            self.address = .unixDomainSocket(path: path)
            return
        }
        guard let colon = text.lastIndex(of: ":") else { throw Self.unreadable(text) }
        var host = text[..<colon]
        let digits = text[text.index(after: colon)...]
        guard !digits.isEmpty, digits.utf8.allSatisfy({ (0x30...0x39).contains($0) }), let port = UInt16(digits) else {
            throw ToolFailure("'\(digits)' is not a port: 0 (any free one) to 65535")
        }
        if host.hasPrefix("["), host.hasSuffix("]") {
            host = host.dropFirst().dropLast()
            guard host.contains(":") else { throw Self.unreadable(text) }
        } else if host.contains(where: { ":[]".contains($0) }) {
            throw ToolFailure("an IPv6 address is written in brackets: [::1]:5672")
        }
        // Whoever wants to be reached from elsewhere has to say so.
        self.address = .tcp(host: host.isEmpty ? "127.0.0.1" : String(host), port: Int(port))
    }

    private static func unreadable(_ text: String) -> ToolFailure {
        ToolFailure("'\(text)' is not an address to listen on: HOST:PORT, :PORT, [IPv6]:PORT or unix:PATH")
    }

    var description: String {
        switch self.address {
        case .tcp(let host, let port): host.contains(":") ? "[\(host)]:\(port)" : "\(host):\(port)"
        case .unixDomainSocket(let path): "unix:\(path)"
        }
    }
}
