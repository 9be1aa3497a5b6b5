// SPDX-License-Identifier: Apache-2.0
import NIOSSL

/// What connections of the TLS listener share: certificates and keys, read once.
struct BrokerTLS: Sendable {
    private let context: NIOSSLContext

    /// - Throws: ``AMQPBrokerError`` if a file cannot be read or is not what it should be.
    init(_ tls: AMQPEmbeddedBroker.TLS) throws(AMQPBrokerError) {
        let chain = try Self.read(tls.certificateChainFile, "certificates") {
            try NIOSSLCertificate.fromPEMFile($0).map { NIOSSLCertificateSource.certificate($0) }
        }
        let key = try Self.read(tls.privateKeyFile, "a private key") {
            NIOSSLPrivateKeySource.privateKey(try NIOSSLPrivateKey(file: $0, format: .pem))
        }
        var configuration = TLSConfiguration.makeServerConfiguration(certificateChain: chain, privateKey: key)
        configuration.minimumTLSVersion = .tlsv12
        if let file = tls.clientAuthorityFile {
            configuration.trustRoots = .certificates(
                try Self.read(file, "certificates") { try NIOSSLCertificate.fromPEMFile($0) })
            // A client's certificate names no host that could be checked.
            configuration.certificateVerification = .noHostnameVerification
        }
        do {
            self.context = try NIOSSLContext(configuration: configuration)
        } catch {
            throw AMQPBrokerError(.invalidConfiguration, "certificate and key do not go together", cause: error)
        }
    }

    private static func read<Value>(
        _ file: String, _ content: String, _ body: (String) throws -> Value
    ) throws(AMQPBrokerError) -> Value {
        do {
            return try body(file)
        } catch {
            throw AMQPBrokerError(.invalidConfiguration, "\(file) cannot be read as \(content) in PEM", cause: error)
        }
    }

    func makeHandler() -> NIOSSLServerHandler { NIOSSLServerHandler(context: self.context) }
}
