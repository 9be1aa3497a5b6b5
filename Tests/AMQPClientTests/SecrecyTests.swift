// SPDX-License-Identifier: Apache-2.0
import AMQPWire
import Testing

@_spi(HareDo) @testable import AMQPClient

/// Passwords and keys are in nothing that ends up in a log.
@Suite struct SecrecyTests {
    private static let password = "hush-hush"

    private func expectSecret(_ value: some Any, sourceLocation: SourceLocation = #_sourceLocation) {
        var dumped = ""
        dump(value, to: &dumped)
        for text in ["\(value)", String(describing: value), String(reflecting: value), dumped] {
            #expect(!text.contains("hush"), "\(text)", sourceLocation: sourceLocation)
            // Bytes as numbers.
            #expect(!text.contains("104, 117, 115, 104"), "\(text)", sourceLocation: sourceLocation)
        }
        // As deep as mirrors go.
        var rest: [Any] = [value]
        while let next = rest.popLast() {
            if let text = next as? String { #expect(!text.contains("hush"), sourceLocation: sourceLocation) }
            rest.append(contentsOf: Mirror(reflecting: next).children.map(\.value))
        }
    }

    @Test func ofConfigurations() throws {
        self.expectSecret(AMQPConfiguration(user: "u", password: Self.password))
        self.expectSecret(try AMQPConfiguration(uri: "amqps://u:\(Self.password)@a,b/v?certfile=a"))
        self.expectSecret(Optional(AMQPConfiguration(user: "u", password: Self.password)) as Any)
        self.expectSecret([AMQPConfiguration(user: "u", password: Self.password)])
    }

    @Test func ofCredentials() {
        self.expectSecret(AMQPCredentials.fixed(user: "u", password: Self.password))
        self.expectSecret(AMQPCredentials.Secret(user: "u", password: Self.password))
        let password = Self.password
        self.expectSecret(AMQPCredentials.provider { .init(user: "u", password: password) })
        #expect("\(AMQPCredentials.fixed(user: "alice", password: password))".contains("alice"))
    }

    @Test func ofKeys() {
        let pem = AMQPTLS.PEM.text(Self.password)
        self.expectSecret(pem)
        self.expectSecret(
            AMQPConfiguration(tls: AMQPTLS(identity: .init(certificateChain: .file("a"), privateKey: pem))))
    }

    @Test func ofMachinesThatHoldThem() {
        let configuration = AMQPConfiguration(user: "u", password: Self.password)
        var machine = HandshakeMachine(configuration)
        self.expectSecret(machine)
        _ = machine.received(
            .connectionStart(
                .init(versionMajor: 0, versionMinor: 9, serverProperties: [:], mechanisms: "PLAIN", locales: "")))
        self.expectSecret(machine)
    }

    @Test func ofMethodsThatCarryThem() {
        let secret = AMQPLongString("\0u\0\(Self.password)")
        self.expectSecret(
            AMQPMethod.connectionStartOk(
                .init(clientProperties: [:], mechanism: "PLAIN", response: secret, locale: "en_US")))
        self.expectSecret(AMQPMethod.connectionSecureOk(.init(response: secret)))
        self.expectSecret(AMQPMethod.connectionUpdateSecret(.init(newSecret: secret, reason: "expires")))
        #expect("\(AMQPMethod.connectionUpdateSecret(.init(newSecret: secret, reason: "expires")))".contains("expires"))
    }

    struct VaultSealed: Error {}

    @Test func ofAProviderThatFails() async {
        let credentials = AMQPCredentials.provider { throw VaultSealed() }
        let error = await failure { () async throws(AMQPError) in try await credentials.secret() }
        #expect(error?.code == .connectFailed)
        #expect(error?.message.contains("VaultSealed") == true)
        #expect(error?.cause is VaultSealed)
    }

    @Test func aProviderIsAskedAndTheOthersAreNot() async throws {
        let expiry = ContinuousClock.now + .seconds(60)
        let provider = AMQPCredentials.provider { .init(user: "u", password: "p", expiresAt: expiry) }
        #expect(try await provider.secret() == .init(user: "u", password: "p", expiresAt: expiry))
        #expect(provider.fixedSecret == nil)
        #expect(try await AMQPCredentials.fixed(user: "a", password: "b").secret() == .init(user: "a", password: "b"))
        #expect(try await AMQPCredentials.external.secret() == nil)
    }

    @Test func whatIsNotPrintableIsReplacedAndWhatIsTooLongIsCut() {
        #expect("plain ünï ✓".printable() == "plain ünï ✓")
        #expect("a\u{1B}[2J\r\nb\u{0}\u{85}\u{202E}\u{2028}".printable() == "a�[2J��b����")
        #expect(String(repeating: "ä", count: 200).printable() == String(repeating: "ä", count: 127) + "…")
        #expect("abc".printable(limit: 3) == "abc")
        #expect("abcd".printable(limit: 3) == "abc…")
        #expect("".printable() == "")
    }
}
