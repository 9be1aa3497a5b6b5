// SPDX-License-Identifier: Apache-2.0

/// How the connection is encrypted, whom it trusts, and what it shows of itself.
///
/// As it comes, the broker's certificate has to be signed by an authority that this machine trusts, to be valid today,
/// and to be made out to the host that was asked for. At least TLS 1.2 is spoken.
public struct AMQPTLS: Sendable {
    /// Text in PEM: certificates or a private key.
    public struct PEM: Hashable, Sendable {
        enum Source: Hashable, Sendable {
            case file(String)
            case bytes([UInt8])
        }
        let source: Source

        /// The content of a file. It is read when a connection is made.
        public static func file(_ path: String) -> PEM { PEM(source: .file(path)) }
        /// The text itself.
        public static func bytes(_ bytes: some Sequence<UInt8>) -> PEM { PEM(source: .bytes(Array(bytes))) }
        /// The text itself.
        public static func text(_ text: String) -> PEM { .bytes(text.utf8) }
    }

    /// Whose signature makes a broker's certificate believed.
    public enum Trust: Hashable, Sendable {
        /// The authorities that this machine trusts: on Linux those of the package `ca-certificates`.
        case systemRoots
        /// These authorities, one or more certificates, and no others.
        case authorities(PEM)
    }

    /// What is checked of the broker's certificate.
    public enum Verification: Sendable, CaseIterable {
        /// That a trusted authority signed it, that it is valid today, and that it is made out to the host.
        case full
        /// The same without the host: whoever has any certificate of that authority can pose as the broker.
        case withoutHostName
        /// Nothing: whoever is between can read and change everything, the password included. For tests.
        case none
    }

    /// The name that the broker is asked for (SNI), and that its certificate has to be made out to.
    public enum ServerName: Hashable, Sendable {
        /// The host it is connected to. If that is an IP address, none is sent, and the certificate has to name the
        /// address.
        case host
        /// Another name, for instance because the host is reached through a tunnel. Not an IP address.
        case name(String)
        /// None is sent. The certificate then has to name the IP address, unless ``Verification`` asks for less.
        case notSent
    }

    /// What the client shows of itself when the broker asks for a certificate.
    public struct Identity: Hashable, Sendable {
        /// Its certificate first, then those that lead from it to an authority the broker trusts.
        public var certificateChain: PEM
        /// The key that belongs to the certificate, without a passphrase.
        public var privateKey: PEM

        /// - Parameter privateKey: may be the same file as the certificate's, if both are in it.
        public init(certificateChain: PEM, privateKey: PEM) {
            self.certificateChain = certificateChain
            self.privateKey = privateKey
        }
    }

    /// Whose signature is believed. Default: the authorities this machine trusts.
    public var trust: Trust
    /// What is checked of the broker's certificate. Default: everything.
    public var verification: Verification
    /// The client's certificate with its key, if the broker asks for one. Default: none.
    public var identity: Identity?
    /// The name that the broker is asked for. Default: the host.
    public var serverName: ServerName

    /// - Parameters:
    ///   - trust: whose signature is believed.
    ///   - verification: what is checked of the broker's certificate.
    ///   - identity: the client's certificate with its key.
    ///   - serverName: the name that the broker is asked for.
    public init(
        trust: Trust = .systemRoots, verification: Verification = .full, identity: Identity? = nil,
        serverName: ServerName = .host
    ) {
        self.trust = trust
        self.verification = verification
        self.identity = identity
        self.serverName = serverName
    }
}

// A private key is nobody's business, and a certificate's bytes tell a reader nothing.
extension AMQPTLS.PEM: CustomStringConvertible, CustomDebugStringConvertible, CustomReflectable {
    public var description: String {
        switch self.source {
        case .file(let path): path
        case .bytes(let bytes): "\(bytes.count) bytes"
        }
    }
    public var debugDescription: String { self.description }
    public var customMirror: Mirror { Mirror(self, children: ["source": self.description]) }
}
