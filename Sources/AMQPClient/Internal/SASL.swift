// SPDX-License-Identifier: Apache-2.0
import AMQPWire

/// What a client answers when it is asked who it is.
struct SASL {
    let mechanism: AMQPSASLMechanism
    private let secret: AMQPCredentials.Secret?

    /// Chooses the first of our mechanisms that the broker takes as well.
    ///
    /// - Parameters:
    ///   - offered: the broker's list, separated by spaces.
    ///   - wanted: ours, the best one first.
    ///   - secret: user and password; `nil` if the certificate says who we are.
    init(
        offered: AMQPLongString, wanted: [AMQPSASLMechanism], secret: AMQPCredentials.Secret?
    ) throws(AMQPError) {
        let wanted = secret == nil ? [.external] : wanted
        let names = offered.description.split(separator: " ")
        guard let mechanism = wanted.first(where: { names.contains(Substring($0.rawValue)) }) else {
            let ours = wanted.map(\.rawValue).joined(separator: " or ")
            throw AMQPError(
                .authenticationFailed,
                "the broker takes only the login mechanisms '\(offered.description.printable())', and this client is set to "
                    + (ours.isEmpty ? "none" : ours), origin: .peer)
        }
        // PLAIN separates user and password by a zero (RFC 4616), so that another user would be logged in.
        if mechanism == .plain, let secret, secret.user.utf8.contains(0) || secret.password.utf8.contains(0) {
            throw AMQPError(.invalidArgument, "user or password contain a zero byte")
        }
        self.mechanism = mechanism
        self.secret = secret
    }

    /// The answer to `connection.start` and to every challenge.
    var response: AMQPLongString {
        guard let secret else { return "" }
        switch self.mechanism {
        case .plain: return AMQPLongString("\0\(secret.user)\0\(secret.password)")
        case .amqplain:
            var bytes: [UInt8] = []
            Self.append("LOGIN", secret.user, to: &bytes)
            Self.append("PASSWORD", secret.password, to: &bytes)
            return AMQPLongString(bytes: bytes)
        // Whom we want to be is what the certificate says.
        case .external: return ""
        }
    }

    /// One entry of a field table with a long string. AMQPLAIN is a table without the length in front of it.
    private static func append(_ name: String, _ value: String, to bytes: inout [UInt8]) {
        let length = UInt32(clamping: value.utf8.count)
        bytes.append(UInt8(clamping: name.utf8.count))
        bytes.append(contentsOf: name.utf8)
        bytes.append(UInt8(ascii: "S"))
        bytes.append(contentsOf: (0..<4).map { UInt8(truncatingIfNeeded: length >> (24 - 8 * $0)) })
        bytes.append(contentsOf: value.utf8)
    }
}
