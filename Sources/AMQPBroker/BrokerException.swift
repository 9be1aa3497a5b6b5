// SPDX-License-Identifier: Apache-2.0
import AMQPWire

/// An error that ends a channel or a connection, with RabbitMQ's code and text (specification 1.2).
struct BrokerException: Error, Hashable, Sendable {
    enum Scope: Hashable {
        case channel
        case connection
    }

    let code: UInt16
    /// `NAME - explanation`, at most 255 bytes.
    let text: String
    let scope: Scope
    /// The method at fault; whoever dispatched it fills it in.
    var method: AMQPMethodID?

    init(_ code: UInt16, _ explanation: String, scope: Scope, method: AMQPMethodID? = nil) {
        self.code = code
        self.text = Self.truncated("\(Self.name(of: code)) - \(explanation)")
        self.scope = scope
        self.method = method
    }

    /// With a text of somebody else's.
    init(code: UInt16, text: String, scope: Scope) {
        self.code = code
        self.text = Self.truncated(text)
        self.scope = scope
        self.method = nil
    }

    /// What the codec refused; the stream cannot be followed any further.
    init(_ error: AMQPWireError) {
        self.init(error.replyCode, error.message, scope: .connection, method: error.method)
    }

    // MARK: - Channel errors

    static func accessRefused(_ explanation: String) -> Self { Self(403, explanation, scope: .channel) }
    static func notFound(_ explanation: String) -> Self { Self(404, explanation, scope: .channel) }
    static func resourceLocked(_ explanation: String) -> Self { Self(405, explanation, scope: .channel) }
    static func preconditionFailed(_ explanation: String) -> Self { Self(406, explanation, scope: .channel) }

    // MARK: - Connection errors

    static func connectionForced(_ explanation: String) -> Self { Self(320, explanation, scope: .connection) }
    static func commandInvalid(_ explanation: String) -> Self { Self(503, explanation, scope: .connection) }
    static func channelError(_ explanation: String) -> Self { Self(504, explanation, scope: .connection) }
    static func unexpectedFrame(_ explanation: String) -> Self { Self(505, explanation, scope: .connection) }
    static func notAllowed(_ explanation: String) -> Self { Self(530, explanation, scope: .connection) }
    static func notImplemented(_ explanation: String) -> Self { Self(540, explanation, scope: .connection) }
    static func internalError(_ explanation: String) -> Self { Self(541, explanation, scope: .connection) }

    private static func name(of code: UInt16) -> String {
        switch code {
        case 312: "NO_ROUTE"
        case 320: "CONNECTION_FORCED"
        case 403: "ACCESS_REFUSED"
        case 404: "NOT_FOUND"
        case 405: "RESOURCE_LOCKED"
        case 406: "PRECONDITION_FAILED"
        case 501: "FRAME_ERROR"
        case 502: "SYNTAX_ERROR"
        case 503: "COMMAND_INVALID"
        case 504: "CHANNEL_ERROR"
        case 505: "UNEXPECTED_FRAME"
        case 506: "RESOURCE_ERROR"
        case 530: "NOT_ALLOWED"
        case 540: "NOT_IMPLEMENTED"
        default: "INTERNAL_ERROR"
        }
    }

    /// A reply text is a short string: 255 bytes, cut between characters.
    private static func truncated(_ text: String) -> String {
        guard text.utf8.count > 255 else { return text }
        var text = Substring(text)
        while text.utf8.count > 252 { text.removeLast() }
        return text + "..."
    }
}
