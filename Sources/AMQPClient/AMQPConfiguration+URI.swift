// SPDX-License-Identifier: Apache-2.0

extension AMQPConfiguration {
    /// Reads an `amqp://user:password@host:port/vhost` URI, as RabbitMQ defines it.
    ///
    /// Everything may be left out: the defaults are `guest`, `guest`, `localhost`, 5672 and `/`; with `amqps`, which is
    /// AMQP over TLS, 5671. User, password and virtual host are percent-decoded; `amqp://host` is the virtual host `/`,
    /// `amqp://host/` the one with an empty name, and `%2f` stands for a slash. Several hosts of one cluster are
    /// separated by commas: `amqp://user:password@a:5672,b,[::1]/vhost`.
    ///
    /// These query parameters are understood, and others ignored:
    /// - `heartbeat` (seconds), `connection_timeout` (milliseconds), `channel_max`
    /// - `auth_mechanism`: `plain`, `amqplain` or `external`, several times for several, the best one first
    /// - only with `amqps`: `cacertfile`, the authorities to trust; `certfile` and `keyfile`, the client's certificate and
    ///   key (one file may hold both); `verify`, which is `verify_peer` unless it is set to `verify_none`;
    ///   `server_name_indication`, another name than the host's to ask for and to check. With `disable` none is sent, and
    ///   then the certificate's name is not checked either.
    ///
    /// `unix:` and a path stand for a broker on a Unix-domain socket.
    ///
    /// - Throws: ``AMQPError`` with ``AMQPError/Code/invalidArgument`` that says which part is wrong.
    public init(uri: String) throws(AMQPError) {
        if uri.hasPrefix("unix:"), uri.count > 5 {
            self.init(address: .unixDomainSocket(path: String(uri.dropFirst(5))))
            return
        }
        guard let schemeEnd = uri.firstRange(of: "://") else { throw Self.wrong("no scheme") }
        let tls: AMQPTLS?
        switch uri[..<schemeEnd.lowerBound].lowercased() {
        case "amqp": tls = nil
        case "amqps": tls = AMQPTLS()
        default: throw Self.wrong("a scheme other than amqp and amqps")
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
            guard !path.contains("/") else { throw Self.wrong("a virtual host with a bare slash (write %2f)") }
            virtualHost = try Self.decoded(path)
            rest = rest[..<slash]
        }
        var user = "guest"
        var password = "guest"
        if let at = rest.lastIndex(of: "@") {
            let parts = rest[..<at].split(separator: ":", maxSplits: 1, omittingEmptySubsequences: false)
            user = try Self.decoded(parts[0])
            if parts.count > 1 { password = try Self.decoded(parts[1]) }
            rest = rest[rest.index(after: at)...]
        }
        let hosts = rest.split(separator: ",", omittingEmptySubsequences: false)
        let defaultPort = tls == nil ? Self.defaultPort : Self.defaultTLSPort
        var addresses: [Address] = []
        for host in hosts {
            guard !host.isEmpty || hosts.count == 1 else { throw Self.wrong("a list of hosts with an empty one") }
            let (name, port) = try Self.hostAndPort(host, default: defaultPort)
            addresses.append(.tcp(host: name, port: port))
        }
        self.init(
            addresses: addresses, credentials: .fixed(user: user, password: password), virtualHost: virtualHost,
            tls: tls)
        try self.apply(query: query ?? "")
    }

    /// Nothing of the URI itself is put in messages: it may hold a password.
    private static func wrong(_ what: String) -> AMQPError {
        AMQPError(.invalidArgument, "\(what) in the broker's URI; expected amqp://user:password@host:port/vhost")
    }

    private static func decoded(_ text: Substring) throws(AMQPError) -> String {
        guard let decoded = Self.percentDecoded(text) else { throw Self.wrong("a bad percent escape") }
        return decoded
    }

    private static func hostAndPort(
        _ authority: Substring, default defaultPort: Int
    ) throws(AMQPError) -> (String, Int) {
        var host = authority
        var port: Substring?
        if host.first == "[" {
            guard let end = host.firstIndex(of: "]") else {
                throw Self.wrong("an IPv6 address without its closing bracket")
            }
            let after = host[host.index(after: end)...]
            guard after.isEmpty || after.first == ":" else { throw Self.wrong("characters after an IPv6 address") }
            port = after.isEmpty ? nil : after.dropFirst()
            host = host[host.index(after: host.startIndex)..<end]
        } else if let colon = host.lastIndex(of: ":") {
            port = host[host.index(after: colon)...]
            host = host[..<colon]
            guard !host.contains(":") else { throw Self.wrong("an IPv6 address without brackets") }
        }
        let name = try Self.decoded(host)
        guard let port, !port.isEmpty else { return (name.isEmpty ? "localhost" : name, defaultPort) }
        // `Int` alone would take a sign.
        guard port.utf8.allSatisfy({ (UInt8(ascii: "0")...UInt8(ascii: "9")).contains($0) }),
            let number = Int(port), (1...65535).contains(number)
        else { throw Self.wrong("a port that is not 1 to 65535") }
        return (name.isEmpty ? "localhost" : name, number)
    }

    private mutating func apply(query: Substring) throws(AMQPError) {
        var tls = TLSParameters()
        var mechanisms: [AMQPSASLMechanism] = []
        for parameter in query.split(separator: "&") {
            let parts = parameter.split(separator: "=", maxSplits: 1, omittingEmptySubsequences: false)
            guard parts.count == 2, let name = Parameter(rawValue: String(parts[0])) else { continue }
            let value = try Self.decoded(parts[1])
            switch name {
            case .heartbeat: self.heartbeat = .seconds(try Self.number(value, name))
            case .connectionTimeout:
                let milliseconds = try Self.number(value, name)
                guard milliseconds > 0 else { throw Self.wrong("a connection_timeout of 0") }
                self.connectTimeout = .milliseconds(milliseconds)
            case .channelMax: self.channelMax = UInt16(clamping: try Self.number(value, name))
            case .authMechanism:
                guard let mechanism = AMQPSASLMechanism(rawValue: value.uppercased()) else {
                    throw Self.wrong("auth_mechanism that is not plain, amqplain or external")
                }
                if !mechanisms.contains(mechanism) { mechanisms.append(mechanism) }
            case .caCertFile, .certFile, .keyFile, .verify, .serverNameIndication:
                // Who asks for TLS and gets none would not notice.
                guard self.tls != nil else { throw Self.wrong("\(name.rawValue), which needs amqps,") }
                guard !value.isEmpty else { throw Self.wrong("an empty \(name.rawValue)") }
                tls[name] = value
            }
        }
        if !mechanisms.isEmpty { self.saslMechanisms = mechanisms }
        // Then the user is whom the certificate names, and not whoever the URI or its defaults name.
        if mechanisms == [.external] { self.credentials = .external }
        if self.tls != nil { self.tls = try tls.settings() }
    }

    private static func number(_ text: String, _ name: Parameter) throws(AMQPError) -> Int {
        // `Int` alone would take a sign.
        guard !text.isEmpty, text.utf8.allSatisfy({ (UInt8(ascii: "0")...UInt8(ascii: "9")).contains($0) }),
            let value = Int(text)
        else { throw Self.wrong("\(name.rawValue) that is not a number") }
        return value
    }

    private enum Parameter: String {
        case heartbeat
        case connectionTimeout = "connection_timeout"
        case channelMax = "channel_max"
        case authMechanism = "auth_mechanism"
        case caCertFile = "cacertfile"
        case certFile = "certfile"
        case keyFile = "keyfile"
        case verify
        case serverNameIndication = "server_name_indication"
    }

    /// They come in any order, and mean something only together.
    private struct TLSParameters {
        private var values: [Parameter: String] = [:]

        subscript(_ name: Parameter) -> String? {
            get { self.values[name] }
            set { self.values[name] = newValue }
        }

        func settings() throws(AMQPError) -> AMQPTLS {
            var tls = AMQPTLS()
            if let file = self[.caCertFile] { tls.trust = .authorities(.file(file)) }
            if let certificate = self[.certFile] {
                tls.identity = .init(
                    certificateChain: .file(certificate), privateKey: .file(self[.keyFile] ?? certificate))
            } else if self[.keyFile] != nil {
                throw AMQPConfiguration.wrong("keyfile without certfile")
            }
            switch self[.serverNameIndication] {
            case nil: break
            case "disable"?:
                tls.serverName = .notSent
                tls.verification = .withoutHostName
            case let name?: tls.serverName = .name(name)
            }
            switch self[.verify] {
            case nil, "verify_peer"?: break
            case "verify_none"?: tls.verification = .none
            default: throw AMQPConfiguration.wrong("verify that is not verify_peer or verify_none")
            }
            return tls
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
