// SPDX-License-Identifier: Apache-2.0
import AMQPWire
import NIOCore

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
        /// What came first, as far as it tells what else than AMQP 0-9-1 it could be.
        case awaitingStart(firstBytes: [UInt8])
        case awaitingTune(serverProperties: AMQPTable, SASL, challenges: Int)
        case awaitingOpenOk(Negotiated)
        case done
        case failed
    }

    /// Mechanisms that ask more than a few times do not exist, but servers that never stop asking could.
    static let maximumChallenges = 8

    private let configuration: AMQPConfiguration
    private let address: AMQPConfiguration.Address
    /// What was logged in with.
    let secret: AMQPCredentials.Secret?
    private var state = State.awaitingStart(firstBytes: [])

    /// - Parameters:
    ///   - address: the one of the configuration's that was connected to.
    ///   - secret: what the credentials gave for this attempt; `nil` if the certificate says who we are.
    init(
        _ configuration: AMQPConfiguration, address: AMQPConfiguration.Address, secret: AMQPCredentials.Secret?
    ) {
        self.configuration = configuration
        self.address = address
        self.secret = secret
    }

    /// For credentials that are fixed, and the first address.
    init(_ configuration: AMQPConfiguration) {
        self.init(configuration, address: configuration.address, secret: configuration.credentials.fixedSecret)
    }

    var isDone: Bool {
        if case .done = self.state { true } else { false }
    }

    /// After it failed or is done, nothing happens any more: whoever waited has been told, once.
    mutating func received(_ method: AMQPMethod) -> Action {
        switch (self.state, method) {
        case (.failed, _), (.done, _): return .send([])
        case (_, .connectionClose(let close)):
            return self.fail(self.refusal(close), send: .connectionCloseOk(.init()))
        case (.awaitingStart, .connectionStart(let start)): return self.start(start)
        case (.awaitingTune(let serverProperties, let sasl, let challenges), .connectionSecure):
            guard challenges < Self.maximumChallenges else {
                return self.fail(
                    AMQPError(
                        .authenticationFailed,
                        "the broker at \(self.address) asked more than \(Self.maximumChallenges) times who we are",
                        origin: .peer))
            }
            // None of our mechanisms has a challenge; a broker that sends one gets the same answer again, and decides.
            self.state = .awaitingTune(serverProperties: serverProperties, sasl, challenges: challenges + 1)
            return .send([.connectionSecureOk(.init(response: sasl.response))])
        case (.awaitingTune(let serverProperties, _, _), .connectionTune(let tune)):
            return self.tune(tune, serverProperties)
        case (.awaitingOpenOk(let negotiated), .connectionOpenOk):
            self.state = .done
            return .complete(negotiated)
        default:
            let text = "\(method.id) in the middle of the handshake"
            return self.fail(
                AMQPError(.protocolViolation, "the broker sent \(text)", origin: .peer),
                send: .connectionClose(
                    .init(
                        replyCode: 503, replyText: text, failingClassID: method.id.classID,
                        failingMethodID: method.id.methodID)))
        }
    }

    /// Takes notice of bytes before they are decoded, so that it can be said what they were if they are not AMQP.
    mutating func received(bytes: ByteBuffer) {
        guard case .awaitingStart(let first) = self.state, first.count < 8 else { return }
        self.state = .awaitingStart(firstBytes: first + bytes.readableBytesView.prefix(8 - first.count))
    }

    /// What it means that what came could not be decoded.
    mutating func undecodable(_ error: AMQPWireError) -> AMQPError {
        defer { self.state = .failed }
        guard case .awaitingStart(let first) = self.state else { return AMQPError(decoding: error) }
        if first.starts(with: AMQPProtocolHeader.bytes.prefix(4)), first.count == 8 {
            return AMQPError(
                .connectFailed,
                "the broker at \(self.address) speaks \(Self.version(first[4...])), and not AMQP 0-9-1", origin: .peer,
                cause: error)
        }
        // A record of TLS with an alert: content type 21, and 3 for every version there is.
        if first.first == 0x15, first.count < 2 || first[1] == 3 {
            return AMQPError(
                .tlsFailed,
                "the broker at \(self.address) speaks TLS there: amqps:// is for that; "
                    + "AMQP without TLS is usually on port \(AMQPConfiguration.defaultPort)", origin: .peer,
                cause: error)
        }
        return AMQPError(decoding: error)
    }

    /// The last four bytes of a protocol header. The first of them names the layer: 0 is AMQP, 2 TLS, 3 SASL.
    private static func version(_ bytes: ArraySlice<UInt8>) -> String {
        let version = bytes.dropFirst().map { "\($0)" }.joined(separator: "-")
        return switch bytes.first {
        case 2: "AMQP \(version) (with TLS)"
        case 3: "AMQP \(version) (with SASL)"
        default: "AMQP \(version)"
        }
    }

    /// What it means that the socket closed before the handshake was complete.
    ///
    /// - Parameter cause: the error it closed with, if any. One of TLS's says it all.
    mutating func connectionEnded(_ cause: (any Error)? = nil) -> AMQPError {
        defer { self.state = .failed }
        if let error = cause.flatMap(ConnectFailure.own) { return error }
        switch self.state {
        case .awaitingTune(_, let sasl, _):
            // Brokers that do not know `authentication_failure_close` just hang up.
            let what =
                sasl.mechanism == .external ? "the certificate names no user of it" : "user or password are wrong"
            return AMQPError(
                .authenticationFailed, "the broker closed the connection after the login: probably \(what)",
                origin: .peer, cause: cause)
        case .awaitingStart(let first) where first.isEmpty:
            let hint =
                switch self.configuration.tls {
                case nil: "perhaps TLS is spoken there (amqps://)"
                case let tls? where tls.identity == nil: "perhaps it requires a certificate of the client"
                case .some: "perhaps it does not accept the client's certificate"
                }
            return AMQPError(
                .connectFailed, "the broker at \(self.address) closed the connection without a word: \(hint)",
                origin: .peer, cause: cause)
        default:
            let why = cause.map { " (\(ConnectFailure.describe($0)))" } ?? ""
            return AMQPError(
                .connectFailed, "the broker at \(self.address) closed the connection during the handshake\(why)",
                origin: .peer, cause: cause)
        }
    }

    private mutating func fail(_ error: AMQPError, send farewell: AMQPMethod? = nil) -> Action {
        self.state = .failed
        return .fail(error, send: farewell)
    }

    // MARK: - Steps

    private mutating func start(_ start: AMQPMethod.ConnectionStart) -> Action {
        guard start.versionMajor == 0, start.versionMinor == 9 else {
            let version = "\(start.versionMajor)-\(start.versionMinor)"
            return self.fail(
                AMQPError(
                    .connectFailed, "the broker at \(self.address) speaks AMQP \(version), and not 0-9-1", origin: .peer
                ))
        }
        let sasl: SASL
        do throws(AMQPError) {
            sasl = try SASL(
                offered: start.mechanisms, wanted: self.configuration.saslMechanisms, secret: self.secret)
        } catch {
            return self.fail(error)
        }
        self.state = .awaitingTune(serverProperties: start.serverProperties, sasl, challenges: 0)
        return .send([
            .connectionStartOk(
                .init(
                    clientProperties: self.clientProperties, mechanism: sasl.mechanism.rawValue,
                    response: sasl.response, locale: "en_US"))
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
            return self.fail(
                AMQPError(
                    .protocolViolation,
                    "the broker allows frames of \(negotiated.frameMax) bytes, and AMQP needs 4096", origin: .peer))
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
        case (.awaitingTune(_, let sasl, _), 403):
            error.code = .authenticationFailed
            error.message =
                if sasl.mechanism == .external {
                    "the broker refused the login with the client's certificate"
                } else {
                    "the broker refused the user '\((self.secret?.user ?? "").printable())' or the password"
                }
        case (.awaitingOpenOk, 530), (.awaitingOpenOk, 403), (.awaitingOpenOk, 402):
            error.code = .virtualHostRefused
            error.message =
                "the broker refused the virtual host '\(self.configuration.virtualHost.printable())': "
                + close.replyText.printable()
        default: break
        }
        return error
    }
}
