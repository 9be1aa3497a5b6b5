// SPDX-License-Identifier: Apache-2.0
import AMQPClient
import Foundation
import NIOCore
import NIOSSL

/// The folder that `Scripts/certificates.sh` writes: the one of the whole run, or one made for these tests alone.
enum Certificates {
    struct Failure: Error, CustomStringConvertible {
        let description: String
    }

    private static let folder = Result { () throws -> String in
        if let folder = ProcessInfo.processInfo.environment["HAREDO_TEST_CERTIFICATES"] { return folder }
        let folder = FileManager.default.temporaryDirectory.appendingPathComponent("haredo-certificates-\(UUID())").path
        let script = URL(fileURLWithPath: #filePath).deletingLastPathComponent()
            .appendingPathComponent("../../../Scripts/certificates.sh").standardized
        let process = Process()
        process.executableURL = script
        process.arguments = [folder]
        try process.run()
        process.waitUntilExit()
        guard process.terminationStatus == 0 else { throw Failure(description: "\(script.path) failed") }
        // They are the run's own; a C function cannot capture where they are.
        atexit { try? FileManager.default.removeItem(atPath: Certificates.path("")) }
        return folder
    }

    static func path(_ name: String) throws -> String { try "\(Self.folder.get())/\(name)" }

    static func pem(_ name: String) throws -> AMQPTLS.PEM { .file(try Self.path(name)) }

    /// The certificate `name` with its key, for a client.
    static func identity(_ name: String) throws -> AMQPTLS.Identity {
        .init(certificateChain: try Self.pem("\(name).pem"), privateKey: try Self.pem("\(name).key"))
    }

    /// For a server that shows the certificate `name`.
    static func server(
        _ name: String = "server", from minimum: TLSVersion = .tlsv12, upTo maximum: TLSVersion = .tlsv13,
        requiresClientCertificate: Bool = false, onServerName: (@Sendable (String?) -> Void)? = nil
    ) throws -> NIOSSLContext {
        var configuration = TLSConfiguration.makeServerConfiguration(
            certificateChain: try NIOSSLCertificate.fromPEMFile(Self.path("\(name).pem")).map { .certificate($0) },
            privateKey: .privateKey(try NIOSSLPrivateKey(file: Self.path("\(name).key"), format: .pem)))
        configuration.minimumTLSVersion = minimum
        configuration.maximumTLSVersion = maximum
        if requiresClientCertificate {
            configuration.certificateVerification = .noHostnameVerification
            configuration.trustRoots = .certificates(try NIOSSLCertificate.fromPEMFile(Self.path("ca.pem")))
        }
        if let onServerName {
            configuration.sslContextCallback = { values, promise in
                onServerName(values.serverHostname)
                promise.succeed(NIOSSLContextConfigurationOverride())
            }
        }
        return try NIOSSLContext(configuration: configuration)
    }
}
