// SPDX-License-Identifier: Apache-2.0
import NIOSSL

/// Whom a certificate is made out to, as far as swift-nio-ssl does not look.
///
/// It takes a certificate that names the IP address of the other end for a match, even if a host was asked for by name.
/// Then whoever answers look-ups with an address of his own, and has a certificate for that, would be the broker.
enum CertificateNames {
    /// Whether a certificate that swift-nio-ssl accepted for `host` names it, and not just an address of it.
    static func accept(_ certificate: NIOSSLCertificate, host: String) -> Bool {
        // Not API, but the only access: if it goes, this does not compile, which is better than to check nothing.
        let names = certificate._subjectAlternativeNames()
        // Without any it was the common name that matched, and that is no address.
        guard !names.isEmpty else { return true }
        return names.contains { name in
            name.nameType == .dnsName && Self.matches(String(decoding: name.contents, as: UTF8.self), host: host)
        }
    }

    /// Whether a name in a certificate stands for `host` (RFC 9525, 6.3). A star stands for one whole label, the first,
    /// and at least two have to follow.
    static func matches(_ name: String, host: String) -> Bool {
        let name = Self.labels(name)
        let host = Self.labels(host)
        guard name.count == host.count, !host.contains("") else { return false }
        guard name.first == "*" else { return name == host }
        return name.count > 2 && name.dropFirst() == host.dropFirst()
    }

    private static func labels(_ name: String) -> [Substring] {
        // A dot at the end only says that the name is complete.
        let name = name.hasSuffix(".") ? name.dropLast() : name[...]
        return Substring(name.lowercased()).split(separator: ".", omittingEmptySubsequences: false)
    }
}
