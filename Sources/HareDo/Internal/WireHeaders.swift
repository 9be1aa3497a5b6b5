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
    /// Set in a reply in place of a result: the handler failed. For programs.
    static let errorCode = "haredo-error-code"
    /// For people.
    static let errorText = "haredo-error-text"

    /// What a reply says of a handler's failure, if it failed.
    static func failure(in table: AMQPTable?) -> HareDoError.RemoteFailure? {
        guard let code = table?[self.errorCode]?.string else { return nil }
        return HareDoError.RemoteFailure(code: code, text: table?[self.errorText]?.string ?? "")
    }

    static func failure(of error: any Error) -> HareDoError.RemoteFailure {
        switch error {
        case let error as ServiceError: HareDoError.RemoteFailure(code: error.code, text: error.text)
        case let error as HareDoError where error.code == .decodingFailed:
            HareDoError.RemoteFailure(code: "bad-request", text: error.message)
        default: HareDoError.RemoteFailure(code: "handler-failed", text: "the service could not handle the request")
        }
    }
}
