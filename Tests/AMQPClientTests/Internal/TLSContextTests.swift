// SPDX-License-Identifier: Apache-2.0
import Foundation
import NIOSSL
import Testing

@_spi(HareDo) @testable import AMQPClient

/// What is wrong with certificates and keys is found before anything is connected, and said.
@Suite struct TLSContextTests {
    private func refusal(_ settings: AMQPTLS, sourceLocation: SourceLocation = #_sourceLocation) async -> AMQPError? {
        let error = await failure(sourceLocation: sourceLocation) { () async throws(AMQPError) in
            try await TLSContext.make(settings)
        }
        #expect(error?.code == .invalidArgument, sourceLocation: sourceLocation)
        return error
    }

    /// A file with this content, which is gone at the end of `body`.
    private func withFile<R>(_ content: String, _ body: (String) async throws -> R) async throws -> R {
        let file = FileManager.default.temporaryDirectory.appendingPathComponent("haredo-\(UUID()).pem")
        try content.write(to: file, atomically: true, encoding: .utf8)
        defer { try? FileManager.default.removeItem(at: file) }
        return try await body(file.path)
    }

    private static let damaged = "-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n"
    private static let damagedKey = "-----BEGIN PRIVATE KEY-----\nMIIB\n-----END PRIVATE KEY-----\n"

    @Test(arguments: [
        ("", "empty"), ("hello", "no certificate in PEM"), (Self.damaged, "damaged"),
        (Self.damagedKey, "no certificate"),
    ])
    func anAuthoritysCertificateThatIsNone(content: String, part: String) async throws {
        try await self.withFile(content) { path in
            let error = await self.refusal(AMQPTLS(trust: .authorities(.file(path))))
            #expect(error?.message.contains(part) == true, "\(error?.message ?? "")")
            #expect(error?.message.contains(path) == true)
            #expect(error?.message.contains("authorities") == true)
        }
        let error = await self.refusal(AMQPTLS(trust: .authorities(.text(content))))
        #expect(error?.message.contains(part) == true, "\(error?.message ?? "")")
    }

    @Test(arguments: [("/nonexistent/ca.pem", "no such file"), ("/", "folder")])
    func aFileThatCannotBeRead(path: String, part: String) async {
        let error = await self.refusal(AMQPTLS(trust: .authorities(.file(path))))
        #expect(error?.message.contains(part) == true, "\(error?.message ?? "")")
        #expect(error?.message.contains("(\(path))") == true)
    }

    @Test func whatIsEndlessIsNotReadToItsEnd() async {
        let error = await self.refusal(AMQPTLS(trust: .authorities(.file("/dev/zero"))))
        #expect(error?.message.contains("more than") == true, "\(error?.message ?? "")")
    }

    @Test(arguments: [
        ("", "empty"), ("hello", "no private key in PEM"), (Self.damagedKey, "damaged"),
        (Self.damaged, "no private key"),
        (
            "-----BEGIN ENCRYPTED PRIVATE KEY-----\nMIIB\n-----END ENCRYPTED PRIVATE KEY-----\n",
            "it is encrypted"
        ),
    ])
    func aPrivateKeyThatIsNone(content: String, part: String) async throws {
        let certificate = try Certificates.pem("client.pem")
        try await self.withFile(content) { path in
            let error = await self.refusal(
                AMQPTLS(identity: .init(certificateChain: certificate, privateKey: .file(path))))
            #expect(error?.message.contains(part) == true, "\(error?.message ?? "")")
            #expect(error?.message.contains(path) == true)
            #expect(error?.message.contains("private key") == true)
        }
    }

    @Test func aKeyOfAnotherCertificate() async throws {
        let error = await self.refusal(
            AMQPTLS(
                identity: .init(
                    certificateChain: try Certificates.pem("client.pem"),
                    privateKey: try Certificates.pem("server.key"))))
        #expect(error?.message.contains("does not belong") == true, "\(error?.message ?? "")")
        #expect(error?.message.contains("server.key") == true)
        #expect(error?.message.contains("client.pem") == true)
    }

    @Test func certificateAndKeyMayBeInOneText() throws {
        let text = try ["client.pem", "client.key"]
            .map { String(decoding: try FileBytes.read(Certificates.path($0), limit: 100_000), as: UTF8.self) }.joined()
        _ = try TLSContext(AMQPTLS(identity: .init(certificateChain: .text(text), privateKey: .text(text))))
    }

    @Test(
        arguments: [
            (AMQPTLS.ServerName.host, "broker.example", "broker.example"), (.host, "broker.example.", "broker.example"),
            (.host, "10.0.0.1", nil), (.host, "::1", nil), (.host, "fe80::1%eth0", nil),
            (.notSent, "broker.example", nil),
            (.name("other.example"), "10.0.0.1", "other.example"), (.name("10.0.0.2"), "broker.example", nil),
        ] as [(AMQPTLS.ServerName, String, String?)])
    func theNameThatIsAskedFor(wish: AMQPTLS.ServerName, host: String, name: String?) {
        #expect(TLSContext.serverName(wish, .tcp(host: host, port: 1)) == name)
    }

    @Test(arguments: [
        ("broker.example", "broker.example", true), ("Broker.Example.", "bROKER.eXAMPLE", true),
        ("broker.example", "broker.example.", true), ("*.example.org", "a.example.org", true),
        ("*.Example.org", "A.example.ORG", true), ("localhost", "localhost", true),
        ("broker.example", "other.example", false), ("broker.example", "a.broker.example", false),
        ("*.example.org", "example.org", false), ("*.example.org", "a.b.example.org", false),
        ("*.example.org", ".example.org", false), ("*.org", "example.org", false), ("*", "localhost", false),
        ("a*.example.org", "ab.example.org", false), ("a.*.org", "a.example.org", false),
        ("*.example.org", "*.example.org", true), ("", "", false), ("", "a", false), ("a", "", false),
    ])
    func namesInCertificates(name: String, host: String, isMatch: Bool) {
        #expect(CertificateNames.matches(name, host: host) == isMatch)
    }

    @Test func aSocketInTheFileSystemHasNoName() throws {
        let address = AMQPConfiguration.Address.unixDomainSocket(path: "/tmp/amqp")
        let unnamed = try TLSContext(AMQPTLS(trust: .authorities(Certificates.pem("ca.pem"))))
        #expect(throws: AMQPError.self) { try unnamed.makeHandlers(for: address) }
        let named = try TLSContext(
            AMQPTLS(trust: .authorities(Certificates.pem("ca.pem")), serverName: .name("broker.example")))
        _ = try named.makeHandlers(for: address)
    }

    @Test(arguments: ["10.0.0.2", "::1", "fe80::1%lo"]) func anIPAddressIsNoServerName(name: String) throws {
        var settings = try AMQPTLS(trust: .authorities(Certificates.pem("ca.pem")), serverName: .name(name))
        let error = try #require(throws: AMQPError.self) {
            try TLSContext(settings).makeHandlers(for: .tcp(host: "broker.example", port: 1))
        }
        #expect(error.code == .invalidArgument && error.message.contains("IP address"))
        // Where nothing depends on it, it is not sent, as an address never is.
        settings.verification = .withoutHostName
        _ = try TLSContext(settings).makeHandlers(for: .tcp(host: "broker.example", port: 1))
    }

    @Test func aNameThatCannotBeOne() throws {
        for name in ["", "a\0b", String(repeating: "x", count: 300)] {
            let context = try TLSContext(
                AMQPTLS(trust: .authorities(Certificates.pem("ca.pem")), serverName: .name(name)))
            let error = #expect(throws: AMQPError.self) { try context.makeHandlers(for: .tcp(host: "h", port: 1)) }
            #expect(error?.code == .invalidArgument, "\(name.utf8.count) bytes")
        }
    }

    // MARK: - What cannot be brought about with a server of our own

    @Test func anErrorThatIsNotKnownKeepsItsName() {
        let failure = TLSFailure(address: .tcp(host: "h", port: 1), serverName: "h", settings: AMQPTLS())
        let error = failure.handshakeFailed(NIOSSLError.handshakeFailed(.zeroReturn), validity: nil)
        #expect(error.message.contains("closed the connection during the handshake"))
        #expect(
            TLSFailure.names(
                in: "sslError([Error: 268435581 error:1000007d:SSL routines:OPENSSL_internal:NO_SHARED_CIPHER at x])")
                == "NO_SHARED_CIPHER")
        #expect(TLSFailure.names(in: "nothing") == "unknown")
        #expect(failure.refusedAfterHandshake(NIOSSLError.uncleanShutdown) == nil)
    }
}
