// SPDX-License-Identifier: Apache-2.0

extension AMQPConfiguration {
    /// Reads an `amqp://user:password@host:port/vhost` URI, as RabbitMQ defines it.
    ///
    /// Everything may be left out: the defaults are `guest`, `guest`, `localhost`, 5672 and `/`. User, password and
    /// virtual host are percent-decoded; `amqp://host` is the virtual host `/`, `amqp://host/` the one with an empty
    /// name, and `%2f` stands for a slash. Of the query parameters `heartbeat` (seconds), `connection_timeout`
    /// (milliseconds) and `channel_max` are understood.
    ///
    /// `unix:` and a path stand for a broker on a Unix-domain socket.
    ///
    /// - Throws: ``AMQPError`` with ``AMQPError/Code/invalidArgument`` that says which part is wrong.
    public init(uri: String) throws(AMQPError) {
        if uri.hasPrefix("unix:"), uri.count > 5 {
            self.init(address: .unixDomainSocket(path: String(uri.dropFirst(5))))
            return
        }
        // Nothing of the URI itself is put in messages: it may hold a password.
        func wrong(_ what: String) -> AMQPError {
            AMQPError(.invalidArgument, "\(what) in the broker's URI; expected amqp://user:password@host:port/vhost")
        }
        guard let schemeEnd = uri.firstRange(of: "://") else { throw wrong("no scheme") }
        switch uri[..<schemeEnd.lowerBound].lowercased() {
        case "amqp": break
        case "amqps": throw wrong("TLS (amqps) is not supported yet")
        default: throw wrong("a scheme other than amqp")
        }
        var rest = uri[schemeEnd.upperBound...]
        var query: Substring?
        if let mark = rest.firstIndex(of: "?") {
            query = rest[rest.index(after: mark)...]
            rest = rest[..<mark]
        }
        var virtualHost = "/"
        if let slash = rest.firstIndex(of: "/") {
            let path = rest[rest.index(after: slash)...]
            guard !path.contains("/") else { throw wrong("a virtual host with a bare slash (write %2f)") }
            guard let decoded = Self.percentDecoded(path) else { throw wrong("a bad percent escape") }
            virtualHost = decoded
            rest = rest[..<slash]
        }
        var user = "guest"
        var password = "guest"
        if let at = rest.lastIndex(of: "@") {
            let parts = rest[..<at].split(separator: ":", maxSplits: 1, omittingEmptySubsequences: false)
            guard let name = Self.percentDecoded(parts[0]),
                let secret = parts.count > 1 ? Self.percentDecoded(parts[1]) : password
            else { throw wrong("a bad percent escape") }
            (user, password) = (name, secret)
            rest = rest[rest.index(after: at)...]
        }
        let (host, port) = try Self.hostAndPort(rest, default: 5672, wrong)
        self.init(host: host, port: port, user: user, password: password, virtualHost: virtualHost)
        for parameter in (query ?? "").split(separator: "&") {
            try self.apply(parameter: parameter, wrong)
        }
    }

    private static func hostAndPort(
        _ authority: Substring, default defaultPort: Int, _ wrong: (String) -> AMQPError
    ) throws(AMQPError) -> (String, Int) {
        var host = authority
        var port: Substring?
        if host.first == "[" {
            guard let end = host.firstIndex(of: "]") else { throw wrong("an IPv6 address without its closing bracket") }
            let after = host[host.index(after: end)...]
            guard after.isEmpty || after.first == ":" else { throw wrong("characters after an IPv6 address") }
            port = after.isEmpty ? nil : after.dropFirst()
            host = host[host.index(after: host.startIndex)..<end]
        } else if let colon = host.lastIndex(of: ":") {
            port = host[host.index(after: colon)...]
            host = host[..<colon]
            guard !host.contains(":") else { throw wrong("an IPv6 address without brackets") }
        }
        guard let name = Self.percentDecoded(host) else { throw wrong("a bad percent escape") }
        guard let port, !port.isEmpty else { return (name.isEmpty ? "localhost" : name, defaultPort) }
        // `Int` alone would take a sign.
        guard port.utf8.allSatisfy({ (UInt8(ascii: "0")...UInt8(ascii: "9")).contains($0) }),
            let number = Int(port), (1...65535).contains(number)
        else { throw wrong("a port that is not 1 to 65535") }
        return (name.isEmpty ? "localhost" : name, number)
    }

    private mutating func apply(parameter: Substring, _ wrong: (String) -> AMQPError) throws(AMQPError) {
        let parts = parameter.split(separator: "=", maxSplits: 1, omittingEmptySubsequences: false)
        guard parts.count == 2, ["heartbeat", "connection_timeout", "channel_max"].contains(parts[0]) else { return }
        guard let value = UInt16(parts[1]).map(Int.init) ?? Int(parts[1]), value >= 0 else {
            throw wrong("\(parts[0]) that is not a number")
        }
        switch parts[0] {
        case "heartbeat": self.heartbeat = .seconds(value)
        case "connection_timeout": self.connectTimeout = .milliseconds(value)
        default: self.channelMax = UInt16(clamping: value)
        }
    }

    static func percentDecoded(_ text: Substring) -> String? {
        guard text.contains("%") else { return String(text) }
        var bytes: [UInt8] = []
        var rest = text.utf8[...]
        while let byte = rest.popFirst() {
            guard byte == UInt8(ascii: "%") else {
                bytes.append(byte)
                continue
            }
            let digits = rest.prefix(2)
            guard digits.count == 2, digits.allSatisfy({ Character(UnicodeScalar($0)).isHexDigit }),
                let value = UInt8(String(decoding: digits, as: UTF8.self), radix: 16)
            else { return nil }
            bytes.append(value)
            rest = rest.dropFirst(2)
        }
        return String(validating: bytes, as: UTF8.self)
    }
}
