// SPDX-License-Identifier: Apache-2.0
import HareDo

#if canImport(FoundationEssentials)
    import FoundationEssentials
#else
    import Foundation
#endif

/// What an operator asks of a daemon.
struct ControlRequest: Codable, Hashable, Sendable {
    var command: String
    var arguments: [String: ConfigurationValue] = [:]
}

/// What the daemon answers.
struct ControlResponse: Codable, Hashable, Sendable {
    /// What was asked for.
    var result: ConfigurationValue?
    /// Why it was not done.
    var error: String?
}

/// Signs commands to a daemon and its answers with a key that both know and neither sends: HMAC-SHA256 over body, time and
/// nonce. An answer is signed with the nonce of its command.
struct ControlSignature: Sendable {
    static let timeHeader = "haredo-control-time"
    static let nonceHeader = "haredo-control-nonce"
    static let macHeader = "haredo-control-mac"

    private let key: [UInt8]

    init(key: String) { self.key = Array(key.utf8) }

    func mac(request body: [UInt8], time: Int64, nonce: String) -> String {
        self.mac(Array("request\n\(time)\n\(nonce)\n".utf8) + body)
    }

    func mac(response body: [UInt8], nonce: String) -> String { self.mac(Array("response\n\(nonce)\n".utf8) + body) }

    private func mac(_ bytes: [UInt8]) -> String { Self.hexadecimal(SHA256.authenticate(bytes, key: self.key)) }

    static func isEqual(_ one: String, _ other: String) -> Bool { SHA256.isEqual(Array(one.utf8), Array(other.utf8)) }

    /// 128 bits that nobody can guess.
    static func makeNonce() -> String {
        var generator = SystemRandomNumberGenerator()
        return Self.hexadecimal((0..<16).map { _ in UInt8.random(in: 0...255, using: &generator) })
    }

    static func hexadecimal(_ bytes: [UInt8]) -> String {
        bytes.map { ($0 < 16 ? "0" : "") + String($0, radix: 16) }.joined()
    }
}
