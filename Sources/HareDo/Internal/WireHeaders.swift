// SPDX-License-Identifier: Apache-2.0
import AMQPWire

/// The headers that HareDo adds to messages. Peers that do not know them are unaffected.
enum WireHeaders {
    /// Milliseconds the caller still waits, counted from when the request was sent.
    static let remaining = "haredo-remaining-ms"
    /// When the caller gives up, in milliseconds since 1970 by its own clock.
    static let deadline = "haredo-deadline-ms"
    /// Which attempt at handling the message this is, from 1.
    static let attempt = "haredo-attempt"
    /// The attempts that failed, oldest first: a list of tables of `attempt`, `time` and `error`.
    static let history = "haredo-history"
    /// In a parked message: the queue whose service parked it.
    static let parkedFrom = "haredo-parked-from"
    /// In a message that a service published again: the verified sender of the original.
    static let sender = "haredo-sender"
    /// In a message that was an event and was published again: its topic.
    static let topic = "haredo-topic"
    /// Which method of a service is called.
    static let method = "haredo-method"
    /// Set in a reply in place of a result: the handler failed. For programs.
    static let errorCode = "haredo-error-code"
    /// For people.
    static let errorText = "haredo-error-text"

    /// What is wrong with HareDo's own headers in a message, if anything is: they are numbers and texts.
    static func defect(in table: AMQPTable) -> String? {
        for entry in table.entries {
            switch entry.key {
            case self.remaining, self.deadline, self.attempt:
                if entry.value.integer == nil { return "its header \(entry.key) is not an integer" }
            case self.method:
                if entry.value.string == nil { return "its header \(entry.key) is not a text" }
            default: break
            }
        }
        return nil
    }

    /// What a reply says of a handler's failure, if it failed.
    static func failure(in table: AMQPTable?) -> HareDoError.RemoteFailure? {
        guard let code = table?[self.errorCode]?.string else { return nil }
        return HareDoError.RemoteFailure(code: code, text: table?[self.errorText]?.string ?? "")
    }

    /// What the caller is told of a handler's failure.
    ///
    /// - Parameter badRequest: whether it was the caller's own message that could not be decoded. A reply to the
    ///   handler from somewhere else that could not is no fault of the caller's.
    static func failure(of error: any Error, badRequest: Bool) -> HareDoError.RemoteFailure {
        switch error {
        case let error as ServiceError: HareDoError.RemoteFailure(code: error.code, text: error.text)
        case let error as HareDoError where error.code == .decodingFailed && badRequest:
            HareDoError.RemoteFailure(code: HareDoError.RemoteFailure.badRequest, text: error.message)
        default:
            HareDoError.RemoteFailure(
                code: HareDoError.RemoteFailure.handlerFailed, text: "the service could not handle the request")
        }
    }

    /// At most so many bytes of a text, at the border of a character.
    static func cut(_ text: String, to limit: Int) -> String {
        guard text.utf8.count > limit else { return text }
        var bytes = text.utf8.prefix(limit)
        while !bytes.isEmpty {
            if let cut = String(validating: bytes, as: UTF8.self) { return cut }
            bytes.removeLast()
        }
        return ""
    }
}
