// SPDX-License-Identifier: Apache-2.0
import AMQPWire

/// The server's side of opening a connection (specification 2.2.4): start, tune, open. A value without I/O.
struct Handshake {
    struct Parameters {
        var access: AccessList
        var virtualHosts: Set<String>
        var channelMax: UInt16
        var frameMax: UInt32
        /// Seconds.
        var heartbeat: UInt16
        /// Whether the client's address is this machine's: `guest` may come from nowhere else.
        var isLocal: Bool
    }

    /// What client and server agreed on.
    struct Session: Hashable, Sendable {
        var user = ""
        var virtualHost = ""
        var channelMax: UInt16 = 0
        var frameMax: UInt32 = 0
        /// Seconds; 0 is none.
        var heartbeat: UInt16 = 0
        /// `consumer_cancel_notify` of the client.
        var notifiesCancel = false
        /// `connection.blocked` of the client.
        var notifiesBlocked = false
        /// What the client calls its connection.
        var connectionName: String?
    }

    enum Action {
        case send(AMQPMethod)
        /// Tuned: from here on frames may be as large, and heartbeats as far apart, as the session says.
        case tuned(Session)
        /// Answer with open-ok.
        case opened(Session)
        /// Say why, and close.
        case refuse(BrokerException)
        /// Close without a word: the client would not understand.
        case hangUp
    }

    /// Under the names that RabbitMQ's error texts have for them.
    private enum State: String {
        case awaitingStartOk = "starting"
        case awaitingTuneOk = "tuning"
        case awaitingOpen = "opening"
        case done = "running"
    }

    private let parameters: Parameters
    private var state = State.awaitingStartOk
    private var session = Session()

    init(_ parameters: Parameters) { self.parameters = parameters }

    /// The first method on a connection.
    static var start: AMQPMethod {
        .connectionStart(
            .init(
                versionMajor: 0, versionMinor: 9,
                serverProperties: [
                    "capabilities": [
                        "publisher_confirms": true, "exchange_exchange_bindings": true, "basic.nack": true,
                        "consumer_cancel_notify": true, "connection.blocked": true, "consumer_priorities": true,
                        "authentication_failure_close": true, "per_consumer_qos": true, "direct_reply_to": true,
                    ],
                    "product": "HareDo", "version": "4.3.0", "platform": "Swift",
                    "information": "An embedded broker that behaves like RabbitMQ",
                ],
                mechanisms: AMQPLongString(LoginResponse.Mechanism.allCases.map(\.rawValue).joined(separator: " ")),
                locales: "en_US"))
    }

    mutating func received(_ method: AMQPMethod) -> Action {
        switch (self.state, method) {
        case (.awaitingStartOk, .connectionStartOk(let ok)): return self.authenticate(ok)
        case (.awaitingTuneOk, .connectionTuneOk(let ok)):
            do {
                try self.tune(ok)
            } catch {
                return .refuse(error)
            }
            self.state = .awaitingOpen
            return .tuned(self.session)
        case (.awaitingOpen, .connectionOpen(let open)):
            guard self.parameters.virtualHosts.contains(open.virtualHost) else {
                return .refuse(Self.openRefused("vhost \(open.virtualHost) not found"))
            }
            guard self.parameters.access.permissions(of: self.session.user, in: open.virtualHost) != nil else {
                return .refuse(
                    Self.openRefused(
                        "access to vhost '\(open.virtualHost)' refused for user '\(self.session.user)'"))
            }
            self.session.virtualHost = open.virtualHost
            self.state = .done
            return .opened(self.session)
        default:
            var error = BrokerException.channelError(
                "unexpected method in connection state \(self.state.rawValue)")
            error.method = method.id
            return .refuse(error)
        }
    }

    private static func openRefused(_ explanation: String) -> BrokerException {
        var error = BrokerException.notAllowed(explanation)
        error.method = .connectionOpen
        return error
    }

    // MARK: - Login

    private mutating func authenticate(_ ok: AMQPMethod.ConnectionStartOk) -> Action {
        var capabilities = AMQPTable()
        if case .table(let table) = ok.clientProperties["capabilities"] { capabilities = table }
        self.session.notifiesCancel = capabilities["consumer_cancel_notify"]?.boolean == true
        self.session.notifiesBlocked = capabilities["connection.blocked"]?.boolean == true
        self.session.connectionName = ok.clientProperties["connection_name"]?.string
        guard let mechanism = LoginResponse.Mechanism(rawValue: ok.mechanism) else {
            return .refuse(
                BrokerException(
                    503, "unsupported authentication mechanism '\(ok.mechanism)'", scope: .connection,
                    method: .connectionStartOk))
        }
        guard let user = self.user(mechanism, ok.response) else {
            // Clients that do not know of it take a close here for a protocol error.
            guard capabilities["authentication_failure_close"]?.boolean == true else { return .hangUp }
            return .refuse(
                BrokerException(
                    403,
                    "Login was refused using authentication mechanism \(mechanism.rawValue). "
                        + "For details see the broker logfile.",
                    scope: .connection))
        }
        self.session.user = user
        self.state = .awaitingTuneOk
        return .send(
            .connectionTune(
                .init(
                    channelMax: self.parameters.channelMax, frameMax: self.parameters.frameMax,
                    heartbeat: self.parameters.heartbeat)))
    }

    /// The user who logs in; `nil` if that is nobody.
    private func user(_ mechanism: LoginResponse.Mechanism, _ response: AMQPLongString) -> String? {
        guard let login = LoginResponse(mechanism, response),
            self.parameters.access.authenticates(login.user, password: login.password)
        else { return nil }
        guard login.user != "guest" || self.parameters.isLocal else { return nil }
        return login.user
    }

    // MARK: - Tuning

    private mutating func tune(_ ok: AMQPMethod.ConnectionTuneOk) throws(BrokerException) {
        let frameMax = UInt64(self.parameters.frameMax)
        try Self.check("frame_max", UInt64(ok.frameMax), least: UInt64(AMQPFrame.minimumFrameMax), most: frameMax)
        try Self.check("channel_max", UInt64(ok.channelMax), least: 0, most: UInt64(self.parameters.channelMax))
        self.session.frameMax = ok.frameMax == 0 ? UInt32.max : ok.frameMax
        self.session.channelMax = ok.channelMax == 0 ? UInt16.max : ok.channelMax
        // The client has the last word; 0 turns heartbeats off.
        self.session.heartbeat = ok.heartbeat
    }

    /// 0 is "no limit", on both sides.
    private static func check(
        _ name: String, _ value: UInt64, least: UInt64, most: UInt64
    ) throws(BrokerException) {
        if value != 0, value < least {
            throw BrokerException(
                530, "negotiated \(name) = \(value) is lower than the minimum allowed value (\(least))",
                scope: .connection, method: .connectionTuneOk)
        }
        if most != 0, value == 0 || value > most {
            throw BrokerException(
                530, "negotiated \(name) = \(value) is higher than the maximum allowed value (\(most))",
                scope: .connection, method: .connectionTuneOk)
        }
    }
}
