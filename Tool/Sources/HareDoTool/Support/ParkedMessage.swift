// SPDX-License-Identifier: Apache-2.0
import HareDo

#if canImport(FoundationEssentials)
    import FoundationEssentials
#else
    import Foundation
#endif

/// A parked message, as it is printed. Bodies are for those who consume them: only their sizes are shown.
struct ParkedMessage: Encodable {
    private struct Attempt: Encodable {
        var attempt: Int
        var time: String
        var error: String
    }
    private let id: String?
    private let sender: String?
    private let bytes: Int
    private let contentType: String?
    private let attempts: [Attempt]

    init(_ message: Message) {
        self.id = message.id?.rawValue
        self.sender = message.verifiedSender
        self.bytes = message.data.count
        self.contentType = message.contentType
        self.attempts = message.history.map { failed in
            let date = Date(timeIntervalSince1970: Double(failed.time))
            return Attempt(
                attempt: failed.attempt, time: date.formatted(.iso8601),
                // What it says may come from anywhere: no line breaks or escapes on a terminal.
                error: String(failed.error.map { $0.isNewline || $0.asciiValue.map { $0 < 32 } == true ? " " : $0 }))
        }
    }

    /// A line for the message, and one for each attempt.
    var text: String {
        let parts = [
            self.id ?? "(no id)", "\(self.bytes) bytes", self.contentType, self.sender.map { "from \($0)" },
        ]
        return
            ([parts.compactMap { $0 }.joined(separator: ", ")]
            + self.attempts.map { "  attempt \($0.attempt), \($0.time): \($0.error)" }).joined(separator: "\n")
    }

    var json: String {
        get throws { try JSONLine.of(self) }
    }
}
