// SPDX-License-Identifier: Apache-2.0

extension Message: CustomStringConvertible, CustomDebugStringConvertible {
    /// What the message is, in a line, without what is in it.
    public var description: String {
        var parts = ["Message \(self.id?.rawValue ?? "without id") on '\(self.address)', \(self.data.count) bytes"]
        // Requests carry their own id there, for services in other languages to echo.
        if let correlationID, correlationID != self.id { parts.append("in reply to \(correlationID)") }
        if let replyTo { parts.append("reply to '\(replyTo)'") }
        if self.redelivered { parts.append("redelivered") }
        return parts.joined(separator: ", ")
    }

    /// Everything in the message, a line each, for debugging. Headers whose names sound like secrets are masked; the
    /// body is shown as text, cut after 1000 characters, or as its size.
    public var debugDescription: String {
        var lines = [self.description]
        if let contentType { lines.append("  content type: \(contentType)") }
        if let verifiedSender { lines.append("  verified sender: \(verifiedSender)") }
        if self.attempt > 1 { lines.append("  attempt: \(self.attempt)") }
        for (name, value) in self.headers {
            lines.append("  header \(name): \(Self.isSecret(name) ? "•••" : value.masked)")
        }
        if !self.data.isEmpty {
            let text = self.text.map { $0.count > 1000 ? $0.prefix(1000) + "…" : $0[...] }
            lines.append("  body: \(text.map(String.init) ?? self.data.description)")
        }
        return lines.joined(separator: "\n")
    }

    /// Prints ``debugDescription`` to standard output.
    public func dump() { print(self.debugDescription) }

    static func isSecret(_ name: String) -> Bool {
        let name = name.lowercased()
        return ["password", "passwd", "secret", "token", "authorization", "cookie", "credential", "api-key", "apikey"]
            .contains { name.contains($0) }
    }
}

extension HeaderValue {
    /// The value with secrets inside of maps masked.
    fileprivate var masked: String {
        switch self {
        case .map(let headers):
            "["
                + headers.map { "\($0.name): \(Message.isSecret($0.name) ? "•••" : $0.value.masked)" }
                .joined(separator: ", ") + "]"
        case .list(let values): "[" + values.map(\.masked).joined(separator: ", ") + "]"
        default: self.description
        }
    }
}
