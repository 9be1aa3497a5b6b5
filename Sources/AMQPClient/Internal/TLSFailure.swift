// SPDX-License-Identifier: Apache-2.0
import NIOCore
import NIOSSL

/// What goes wrong with TLS, in words that say what to do.
struct TLSFailure: Sendable {
    let address: AMQPConfiguration.Address
    /// The name the certificate has to be made out to; `nil` for an IP address.
    let serverName: String?
    let settings: AMQPTLS

    /// When a certificate is valid, in seconds since 1970.
    struct Validity {
        let from: Int
        let until: Int
        let now: Int
    }

    /// Why the handshake of TLS did not come to its end.
    ///
    /// - Parameter validity: of the certificate the broker showed, if it came that far.
    func handshakeFailed(_ error: any Error, validity: Validity?) -> AMQPError {
        self.error(self.reason(error, validity), cause: error)
    }

    /// The handshake succeeded, but with somebody else.
    var wrongHost: AMQPError { self.error(self.wrongName) }

    private func error(_ why: String, cause: (any Error)? = nil) -> AMQPError {
        AMQPError(.tlsFailed, "no TLS with the broker at \(self.address): \(why)", origin: .peer, cause: cause)
    }

    /// What the broker found wrong with us after the handshake of TLS, and before it said anything else: with TLS 1.3 it
    /// looks at the client's certificate only then. `nil` if it was not that.
    func refusedAfterHandshake(_ error: any Error) -> AMQPError? {
        guard let error = error as? BoringSSLError, let why = self.alert("\(error)") else { return nil }
        return self.error(why, cause: error)
    }

    private func reason(_ error: any Error, _ validity: Validity?) -> String {
        switch error {
        case is NIOSSLExtraError: return self.wrongName
        case NIOSSLError.unableToValidateCertificate, NIOSSLError.noCertificateToValidate,
            NIOSSLError.cannotFindPeerIP:
            return self.wrongName
        case NIOSSLError.handshakeFailed(let failure):
            // The library gives no codes, only the names of BoringSSL's errors.
            let text = "\(failure)"
            if text.contains("CERTIFICATE_VERIFY_FAILED") { return self.notBelieved(validity) }
            if text.contains("WRONG_VERSION_NUMBER") || text.contains("HTTP_REQUEST") || text.contains("HTTPS_PROXY")
                || text.contains("UNEXPECTED_RECORD") || text.contains("INVALID_OUTER_RECORD_TYPE")
            {
                return "it does not speak TLS there; TLS is usually on port \(AMQPConfiguration.defaultTLSPort), and "
                    + "\(AMQPConfiguration.defaultPort) is for amqp:// without TLS"
            }
            if text.contains("EOF during handshake") || failure == .zeroReturn || failure == .syscallError {
                return "it closed the connection during the handshake; perhaps it does not speak TLS there (TLS is "
                    + "usually on port \(AMQPConfiguration.defaultTLSPort))"
            }
            return self.alert(text) ?? "the handshake failed (\(Self.names(in: text)))"
        default:
            return "the connection broke during the handshake (\(ConnectFailure.describe(error)))"
        }
    }

    private var wrongName: String {
        let wanted =
            if let serverName {
                "'\(serverName)'"
            } else if case .tcp(let host, _) = self.address {
                "the IP address of '\(host)'"
            } else {
                "it"
            }
        return "its certificate is not made out to \(wanted)"
    }

    private func notBelieved(_ validity: Validity?) -> String {
        if let validity {
            if validity.now > validity.until { return "its certificate has expired" }
            if validity.now < validity.from { return "its certificate is not valid yet" }
        }
        return switch self.settings.trust {
        case .systemRoots:
            "its certificate was not signed by an authority that this system trusts; "
                + "if it is one of your own, its certificate has to be given (cacertfile)"
        case .authorities(let authorities):
            "its certificate was not signed by the authority that is trusted (\(authorities))"
        }
    }

    /// What the broker complained about.
    private func alert(_ text: String) -> String? {
        guard text.contains("_ALERT_") else { return nil }
        let shown = self.settings.identity != nil
        for (mark, why) in [
            ("ALERT_CERTIFICATE_REQUIRED", "it requires a certificate of the client"),
            ("ALERT_NO_CERTIFICATE", "it requires a certificate of the client"),
            ("ALERT_UNKNOWN_CA", "it does not know the authority that signed the client's certificate"),
            ("ALERT_CERTIFICATE_EXPIRED", "it finds the client's certificate expired"),
            ("ALERT_CERTIFICATE_REVOKED", "it finds the client's certificate revoked"),
            ("ALERT_BAD_CERTIFICATE", "it does not accept the client's certificate"),
            ("ALERT_UNSUPPORTED_CERTIFICATE", "it does not accept the client's certificate"),
            ("ALERT_CERTIFICATE_UNKNOWN", "it does not accept the client's certificate"),
            ("ALERT_ACCESS_DENIED", "it does not accept the client's certificate"),
            ("ALERT_PROTOCOL_VERSION", "it speaks no version of TLS that is new enough (1.2 or later)"),
            ("ALERT_UNRECOGNIZED_NAME", "it does not know the server name \(self.serverName ?? "")"),
        ] where text.contains(mark) {
            return why
        }
        // Before TLS 1.3 that is how a missing certificate is complained about.
        if text.contains("ALERT_HANDSHAKE_FAILURE"), !shown {
            return "it refused the handshake; it may require a certificate of the client"
        }
        return "it refused the handshake (\(Self.names(in: text)))"
    }

    /// The names of BoringSSL's errors without what is around them.
    static func names(in text: String) -> String {
        let words: [Substring] = text.replacing("OPENSSL_internal", with: "").split { character in
            !(character.isUppercase || character.isNumber || character == "_")
        }
        let names: [String] = words.filter { $0.contains("_") && $0.count > 5 }.map { String($0) }
        return names.isEmpty ? "unknown" : names.joined(separator: ", ")
    }
}
