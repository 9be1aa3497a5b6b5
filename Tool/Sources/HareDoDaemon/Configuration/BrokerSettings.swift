// SPDX-License-Identifier: Apache-2.0
#if canImport(FoundationEssentials)
    import FoundationEssentials
#else
    import Foundation
#endif

/// Which broker the daemon talks through.
public struct BrokerSettings: Sendable, Hashable {
    /// A broker's TLS, as in the original: certificate and key of the client, and the authority that vouches for the
    /// broker.
    public struct TLS: Sendable, Hashable {
        /// The client's, a file in PEM; `nil`: it shows none.
        public var certificate: String?
        /// The certificate's key, a file in PEM.
        public var key: String?
        /// `nil`: those that the system trusts.
        public var authorities: String?

        /// TLS with files in PEM.
        public init(certificate: String? = nil, key: String? = nil, authorities: String? = nil) {
            self.certificate = certificate
            self.key = key
            self.authorities = authorities
        }
    }

    /// A URL that says everything, or `nil`.
    public var url: String?
    /// The daemon hosts a broker itself, on loopback.
    public var isEmbedded = false
    /// Hosts to try, each with its port if that is another.
    public var hosts: [String] = ["localhost"]
    /// `nil`: 5672, with TLS 5671.
    public var port: Int?
    /// The login name.
    public var user = "guest"
    /// The password.
    public var password = "guest"
    /// The virtual host.
    public var virtualHost = "/"
    /// `nil`: no TLS.
    public var tls: TLS?
    /// How long one attempt to connect may take.
    public var connectTimeout: Duration = .seconds(10)
    /// Whether a daemon that is started while the broker is away waits for it, and does not fail.
    public var waits = true

    /// RabbitMQ on this machine.
    public init() {}

    /// What is used if the file says nothing of a broker.
    static var embedded: BrokerSettings {
        var settings = BrokerSettings()
        settings.isEmbedded = true
        return settings
    }

    static func read(_ map: MapReader) -> BrokerSettings {
        var settings = BrokerSettings()
        settings.url = map.text("url")
        if let url = settings.url, !["amqp://", "amqps://"].contains(where: url.hasPrefix) {
            map.error("url", "has to begin with amqp:// or amqps://")
        }
        settings.isEmbedded = map.flag("embedded") ?? false
        let places = ["host", "hosts", "user", "password", "password_file", "vhost", "ssl"]
        if settings.url != nil {
            // Two truths would be one too many.
            for key in places + ["port", "embedded"] where map.has(key) {
                map.error(key, "cannot be given besides 'url', which says it")
            }
        } else if settings.isEmbedded {
            for key in places where map.has(key) {
                map.error(key, "cannot be given with 'embedded': the daemon's own broker is on this machine")
            }
        }
        Self.readHosts(map, &settings)
        settings.port = map.number("port", in: 1...65535)
        if let user = map.text("user") { settings.user = user }
        if let password = map.password() { settings.password = password }
        if let virtualHost = map.text("vhost") { settings.virtualHost = virtualHost }
        if let ssl = map.map("ssl") { Self.readTLS(ssl, &settings) }
        if let timeout = map.seconds("connect_timeout", in: 0.1...3600) { settings.connectTimeout = timeout }
        if let waits = map.choice("unreachable", [("wait", true), ("fail", false)]) { settings.waits = waits }
        map.finish()
        return settings
    }

    private static func readHosts(_ map: MapReader, _ settings: inout BrokerSettings) {
        let host = map.text("host")
        let hosts = map.texts("hosts")
        if host != nil, hosts != nil { map.error("hosts", "cannot be given besides 'host'") }
        if let host { settings.hosts = [host] }
        if let hosts {
            settings.hosts = hosts.map(\.text)
            if hosts.isEmpty { map.error("hosts", "is empty") }
        }
        for host in settings.hosts { map.checkHost(host, hosts == nil ? "host" : "hosts") }
    }

    private static func readTLS(_ map: MapReader, _ settings: inout BrokerSettings) {
        let isEnabled = map.flag("enable") ?? false
        let port = map.number("port", in: 1...65535)
        let tls = TLS(
            certificate: map.text("tls_cert"), key: map.text("tls_key"), authorities: map.text("tls_ca"))
        map.finish()
        // The original's file has the section also where it is not used.
        guard isEnabled else { return }
        if (tls.certificate == nil) != (tls.key == nil) {
            map.error(tls.key == nil ? "tls_key" : "tls_cert", "is missing: certificate and key go together")
        }
        for (key, file) in [("tls_cert", tls.certificate), ("tls_key", tls.key), ("tls_ca", tls.authorities)] {
            if let file, !FileManager.default.isReadableFile(atPath: file) {
                map.error(key, "names '\(file)', which cannot be read")
            }
        }
        settings.tls = tls
        settings.port = port ?? 5671
    }

    /// What a peer connects to; of a broker that the daemon hosts, where that is.
    public var connectionURL: String {
        if let url { return url }
        if self.isEmbedded { return "amqp://guest:guest@127.0.0.1:\(self.port ?? 5672)" }
        let port = self.port.map { ":\($0)" } ?? ""
        let hosts = self.hosts.map { host in
            // One that has a port, or is an address with colons.
            host.contains("]") || host.count(where: { $0 == ":" }) == 1
                ? host : (host.contains(":") ? "[\(host)]" : host) + port
        }
        var url = self.tls == nil ? "amqp://" : "amqps://"
        url +=
            "\(Self.encoded(self.user)):\(Self.encoded(self.password))@\(hosts.joined(separator: ","))/\(Self.encoded(self.virtualHost))"
        let files = [
            ("cacertfile", self.tls?.authorities), ("certfile", self.tls?.certificate), ("keyfile", self.tls?.key),
        ].compactMap { name, file in file.map { "\(name)=\(Self.encoded($0))" } }
        return files.isEmpty ? url : url + "?" + files.joined(separator: "&")
    }

    /// As in RFC 3986, section 2.1.
    private static func encoded(_ text: String) -> String {
        text.utf8.reduce(into: "") { result, byte in
            let scalar = Unicode.Scalar(byte)
            if Self.unreserved.contains(scalar) {
                result.unicodeScalars.append(scalar)
            } else {
                result += "%" + (byte < 16 ? "0" : "") + String(byte, radix: 16, uppercase: true)
            }
        }
    }
    private static let unreserved = Set(
        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~".unicodeScalars)
}
