// SPDX-License-Identifier: Apache-2.0
import AMQPWire

/// The opening of a connection, from the client's side (specification 2.2.4): start, tune, open.
///
/// Knows no sockets, tasks or clocks. Whoever drives it sends the protocol header first.
struct HandshakeMachine {
    /// What both sides agreed on.
    struct Negotiated: Equatable {
        var channelMax: UInt16
        var frameMax: UInt32
        /// Seconds; 0 for none.
        var heartbeat: UInt16
        var serverProperties: AMQPTable
    }
    enum Action {
        case send([AMQPMethod])
        /// `tune-ok` and `open` go out; from now on frames are as large as negotiated.
        case tuned(Negotiated, send: [AMQPMethod])
        case complete(Negotiated)
        /// The connection has to end; `send` is the farewell the protocol asks for.
        case fail(AMQPError, send: AMQPMethod?)
    }
    private enum State {
        case awaitingStart
        case awaitingTune(serverProperties: AMQPTable)
        case awaitingOpenOk(Negotiated)
        case done
        case failed
    }

    private let configuration: AMQPConfiguration
    private var state = State.awaitingStart

    init(_ configuration: AMQPConfiguration) { self.configuration = configuration }

    var isDone: Bool {
        if case .done = self.state { true } else { false }
    }

    mutating func received(_ method: AMQPMethod) -> Action {
        if case .connectionClose(let close) = method {
            let error = self.refusal(close)
            self.state = .failed
            return .fail(error, send: .connectionCloseOk(.init()))
        }
        switch (self.state, method) {
        case (.awaitingStart, .connectionStart(let start)): return self.start(start)
        case (.awaitingTune, .connectionSecure):
            // PLAIN has no challenge; a broker that sends one gets the same answer again, and decides.
            return .send([.connectionSecureOk(.init(response: self.plainResponse))])
        case (.awaitingTune(let serverProperties), .connectionTune(let tune)):
            return self.tune(tune, serverProperties)
        case (.awaitingOpenOk(let negotiated), .connectionOpenOk):
            self.state = .done
            return .complete(negotiated)
        default:
            self.state = .failed
            let text = "\(method.id) in the middle of the handshake"
            return .fail(
                AMQPError(.protocolViolation, "the broker sent \(text)", origin: .peer),
                send: .connectionClose(
                    .init(
                        replyCode: 503, replyText: text, failingClassID: method.id.classID,
                        failingMethodID: method.id.methodID)))
        }
    }

    /// What it means that the socket closed before the handshake was complete.
    mutating func connectionEnded() -> AMQPError {
        defer { self.state = .failed }
        if case .awaitingTune = self.state {
            // Brokers that do not know `authentication_failure_close` just hang up.
            return AMQPError(
                .authenticationFailed,
                "the broker closed the connection after the login: probably user or password are wrong", origin: .peer)
        }
        return AMQPError(
            .connectFailed, "the broker at \(self.configuration.address) closed the connection during the handshake",
            origin: .peer)
    }

    // MARK: - Steps

    private var plainResponse: AMQPLongString {
        AMQPLongString("\0\(self.configuration.user)\0\(self.configuration.password)")
    }

    private mutating func start(_ start: AMQPMethod.ConnectionStart) -> Action {
        guard start.versionMajor == 0, start.versionMinor == 9 else {
            self.state = .failed
            let version = "\(start.versionMajor)-\(start.versionMinor)"
            return .fail(
                AMQPError(.connectFailed, "the broker speaks AMQP \(version), not 0-9-1", origin: .peer), send: nil)
        }
        // A list separated by spaces, in a long string.
        let mechanisms = start.mechanisms.description.split(separator: " ")
        guard mechanisms.contains("PLAIN") else {
            self.state = .failed
            return .fail(
                AMQPError(
                    .authenticationFailed, "the broker offers only \(start.mechanisms), and this client PLAIN",
                    origin: .peer), send: nil)
        }
        self.state = .awaitingTune(serverProperties: start.serverProperties)
        return .send([
            .connectionStartOk(
                .init(
                    clientProperties: self.clientProperties, mechanism: "PLAIN", response: self.plainResponse,
                    locale: "en_US"))
        ])
    }

    private var clientProperties: AMQPTable {
        var properties: AMQPTable = [
            "product": "HareDo",
            "platform": "Swift",
            "capabilities": [
                "publisher_confirms": true, "exchange_exchange_bindings": true, "basic.nack": true,
                "consumer_cancel_notify": true, "connection.blocked": true, "authentication_failure_close": true,
                "per_consumer_qos": true,
            ],
        ]
        if let name = self.configuration.connectionName {
            properties["connection_name"] = .longString(AMQPLongString(name))
        }
        return properties
    }

    private mutating func tune(_ tune: AMQPMethod.ConnectionTune, _ serverProperties: AMQPTable) -> Action {
        // 0 is "no limit" (RabbitMQ errata 10).
        func smaller<T: FixedWidthInteger>(_ ours: T, _ theirs: T) -> T {
            ours == 0 || theirs == 0 ? max(ours, theirs) : min(ours, theirs)
        }
        let offered = max(self.configuration.frameMax, AMQPFrame.minimumFrameMax)
        let ourHeartbeat = UInt16(clamping: self.configuration.heartbeat.inBounds.components.seconds)
        let channelMax = smaller(self.configuration.channelMax, tune.channelMax)
        let negotiated = Negotiated(
            channelMax: channelMax == 0 ? .max : channelMax,
            frameMax: smaller(offered, tune.frameMax),
            heartbeat: smaller(ourHeartbeat, tune.heartbeat),
            serverProperties: serverProperties)
        // The smallest frame-max of the specification; with less not even a method fits.
        guard negotiated.frameMax >= 4096 else {
            self.state = .failed
            return .fail(
                AMQPError(
                    .protocolViolation,
                    "the broker allows frames of \(negotiated.frameMax) bytes, and AMQP needs 4096", origin: .peer),
                send: nil)
        }
        self.state = .awaitingOpenOk(negotiated)
        return .tuned(
            negotiated,
            send: [
                .connectionTuneOk(
                    .init(channelMax: channelMax, frameMax: negotiated.frameMax, heartbeat: negotiated.heartbeat)),
                .connectionOpen(.init(virtualHost: self.configuration.virtualHost)),
            ])
    }

    /// `connection.close` may come in place of any answer.
    private func refusal(_ close: AMQPMethod.ConnectionClose) -> AMQPError {
        var error = AMQPError(close)
        switch (self.state, close.replyCode) {
        case (.awaitingTune, 403):
            error.code = .authenticationFailed
            error.message = "the broker refused the user '\(self.configuration.user)' or the password"
        case (.awaitingOpenOk, 530), (.awaitingOpenOk, 403), (.awaitingOpenOk, 402):
            error.code = .virtualHostRefused
            error.message =
                "the broker refused the virtual host '\(self.configuration.virtualHost)': \(close.replyText)"
        default: break
        }
        return error
    }
}
