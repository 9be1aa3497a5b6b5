// SPDX-License-Identifier: Apache-2.0
import NIOCore
import NIOSSL

/// What TLS needs, read and checked once; every socket gets handlers of its own made from it.
struct TLSContext: Sendable {
    private let context: NIOSSLContext
    private let settings: AMQPTLS
    /// Certificates, and bundles of them, are smaller.
    private static let largestFile = 16 << 20

    /// Reads the files that `settings` name. Blocks, and with the system's authorities takes some milliseconds: not for
    /// an event loop.
    ///
    /// - Throws: ``AMQPError`` with `invalidArgument` that names the file and says what is wrong with it.
    init(_ settings: AMQPTLS) throws(AMQPError) {
        var configuration = TLSConfiguration.makeClientConfiguration()
        configuration.minimumTLSVersion = .tlsv12
        configuration.certificateVerification =
            switch settings.verification {
            case .full: .fullVerification
            case .withoutHostName: .noHostnameVerification
            case .none: .none
            }
        // AMQP says goodbye itself: a peer that does not answer TLS's farewell as well is not waited for.
        configuration.shutdownTimeout = .milliseconds(100)
        if settings.verification != .none, case .authorities(let authorities) = settings.trust {
            configuration.trustRoots = .certificates(
                try Self.certificates(authorities, "the certificates of the authorities"))
        }
        if let identity = settings.identity {
            configuration.certificateChain = try Self.certificates(
                identity.certificateChain, "the client's certificate"
            ).map { .certificate($0) }
            configuration.privateKey = .privateKey(try Self.privateKey(identity.privateKey))
        }
        do {
            self.context = try NIOSSLContext(configuration: configuration)
        } catch NIOSSLError.failedToLoadPrivateKey {
            throw AMQPError(
                .invalidArgument,
                "TLS: the private key \(settings.identity.map { "(\($0.privateKey)) " } ?? "")does not belong to the client's certificate"
                    + "\(settings.identity.map { " (\($0.certificateChain))" } ?? "")")
        } catch {
            guard case .systemRoots = settings.trust else {
                throw AMQPError(.invalidArgument, "TLS cannot be set up with these certificates", cause: error)
            }
            throw AMQPError(
                .invalidArgument,
                "TLS: the authorities that this system trusts cannot be read (is the package ca-certificates there?)",
                cause: error)
        }
        self.settings = settings
    }

    /// The same away from whichever executor the caller is on.
    @concurrent static func make(_ settings: AMQPTLS) async throws(AMQPError) -> TLSContext {
        try TLSContext(settings)
    }

    /// For one socket: TLS, and behind it who says in clear words why it failed. To be added in this order.
    ///
    /// - Throws: ``AMQPError`` with `invalidArgument`: the name to ask for cannot be one.
    func makeHandlers(for address: AMQPConfiguration.Address) throws(AMQPError) -> (
        NIOSSLClientHandler, TLSGuard
    ) {
        let name = Self.serverName(self.settings.serverName, address)
        if name == nil, self.settings.verification == .full, case .name(let wish) = self.settings.serverName {
            // It could only be held against the address of the socket, which is whatever a look-up said.
            throw AMQPError(
                .invalidArgument,
                "TLS: the server name '\(wish.printable())' is an IP address: name the host that the certificate is made "
                    + "out to, or connect to that address itself")
        }
        if name == nil, self.settings.verification == .full, case .unixDomainSocket = address {
            throw AMQPError(
                .invalidArgument,
                "TLS over the socket \(address) needs a server name that the certificate is made out to")
        }
        do {
            let handler = try NIOSSLClientHandler(context: self.context, serverHostname: name)
            return (
                handler,
                TLSGuard(
                    TLSFailure(address: address, serverName: name, settings: self.settings), tls: handler)
            )
        } catch {
            throw AMQPError(
                .invalidArgument, "TLS: '\((name ?? "").printable())' cannot be a server's name", cause: error)
        }
    }

    /// The name to be sent, and that the certificate has to be made out to; `nil` where an IP address takes its place.
    static func serverName(_ wish: AMQPTLS.ServerName, _ address: AMQPConfiguration.Address) -> String? {
        let name: String
        switch (wish, address) {
        case (.notSent, _), (.host, .unixDomainSocket): return nil
        case (.name(let other), _): name = other
        case (.host, .tcp(let host, _)): name = host
        }
        // The zone of a link-local address (`fe80::1%eth0`) is not part of the address.
        let bare = name.firstIndex(of: "%").map { String(name[..<$0]) } ?? name
        if (try? SocketAddress(ipAddress: bare, port: 0)) != nil { return nil }
        // A dot at the end only says that the name is complete.
        return name.hasSuffix(".") ? String(name.dropLast()) : name
    }

    // MARK: - Reading

    private static func certificates(_ pem: AMQPTLS.PEM, _ what: String) throws(AMQPError) -> [NIOSSLCertificate] {
        let bytes = try Self.bytes(pem, what)
        guard let certificates = try? NIOSSLCertificate.fromPEMBytes(bytes), !certificates.isEmpty else {
            let why =
                bytes.isPEM("CERTIFICATE-----") ? "a certificate in it is damaged" : "no certificate in PEM is in it"
            throw AMQPError(.invalidArgument, "TLS: \(what) (\(pem)): \(why)")
        }
        return certificates
    }

    private static func privateKey(_ pem: AMQPTLS.PEM) throws(AMQPError) -> NIOSSLPrivateKey {
        let what = "the client's private key"
        let bytes = try Self.bytes(pem, what)
        do {
            // The passphrase is always empty: nobody may be asked for one on a terminal.
            return try NIOSSLPrivateKey(bytes: bytes, format: .pem) { setPassphrase in setPassphrase([UInt8]()) }
        } catch {
            let why =
                if bytes.isPEM("ENCRYPTED") {
                    "it is encrypted; without a passphrase it can be read (openssl pkey -in OLD -out NEW)"
                } else if bytes.isPEM("PRIVATE KEY-----") {
                    "it is damaged, or of an unknown kind"
                } else {
                    "no private key in PEM is in it"
                }
            throw AMQPError(.invalidArgument, "TLS: \(what) (\(pem)): \(why)")
        }
    }

    private static func bytes(_ pem: AMQPTLS.PEM, _ what: String) throws(AMQPError) -> [UInt8] {
        switch pem.source {
        case .bytes(let bytes):
            guard !bytes.isEmpty else { throw AMQPError(.invalidArgument, "TLS: \(what): it is empty") }
            return bytes
        case .file(let path):
            do throws(FileBytes.Failure) {
                let bytes = try FileBytes.read(path, limit: Self.largestFile)
                guard !bytes.isEmpty else { throw FileBytes.Failure(reason: "the file is empty") }
                return bytes
            } catch {
                throw AMQPError(.invalidArgument, "TLS: \(what) (\(path)): \(error.reason)")
            }
        }
    }
}

extension [UInt8] {
    fileprivate func isPEM(_ mark: String) -> Bool {
        String(decoding: self, as: UTF8.self).contains(mark)
    }
}
