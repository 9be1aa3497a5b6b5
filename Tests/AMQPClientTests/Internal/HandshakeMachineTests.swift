// SPDX-License-Identifier: Apache-2.0
import AMQPWire
import NIOCore
import Testing

@_spi(HareDo) @testable import AMQPClient

/// A machine that was led to a state, and what it did last.
private enum Step: CaseIterable {
    case awaitingStart, awaitingTune, awaitingOpenOk, done, failed

    func machine(_ configuration: AMQPConfiguration = .init()) -> HandshakeMachine {
        var machine = HandshakeMachine(configuration)
        switch self {
        case .awaitingStart: break
        case .awaitingTune: _ = machine.received(.start)
        case .awaitingOpenOk:
            _ = machine.received(.start)
            _ = machine.received(.tune)
        case .done:
            _ = machine.received(.start)
            _ = machine.received(.tune)
            _ = machine.received(.connectionOpenOk(.init()))
        case .failed: _ = machine.received(.connectionCloseOk(.init()))
        }
        return machine
    }
}

extension AMQPMethod {
    fileprivate static let start = AMQPMethod.connectionStart(
        .init(
            versionMajor: 0, versionMinor: 9, serverProperties: ["product": "Test"], mechanisms: "AMQPLAIN PLAIN",
            locales: "en_US"))
    fileprivate static let tune = AMQPMethod.connectionTune(.init(channelMax: 100, frameMax: 10_000, heartbeat: 30))
    fileprivate static let close = AMQPMethod.connectionClose(
        .init(replyCode: 320, replyText: "bye", failingClassID: 0, failingMethodID: 0))

    fileprivate static func close(_ code: UInt16, _ text: String = "no") -> AMQPMethod {
        .connectionClose(.init(replyCode: code, replyText: text, failingClassID: 0, failingMethodID: 0))
    }
}

@Suite struct HandshakeMachineTests {
    private func fails(
        _ action: HandshakeMachine.Action, sourceLocation: SourceLocation = #_sourceLocation
    ) -> (error: AMQPError, farewell: AMQPMethod?)? {
        guard case .fail(let error, let farewell) = action else {
            Issue.record("expected it to fail, not \(action)", sourceLocation: sourceLocation)
            return nil
        }
        return (error, farewell)
    }

    @Test func theHappyPath() throws {
        var configuration = AMQPConfiguration(user: "alice", password: "secret", virtualHost: "/v")
        configuration.connectionName = "test"
        var machine = HandshakeMachine(configuration)
        guard case .send(let startOk) = machine.received(.start), case .connectionStartOk(let ok)? = startOk.first
        else {
            Issue.record("no start-ok")
            return
        }
        #expect(ok.mechanism == "PLAIN")
        #expect(ok.response == "\0alice\0secret")
        #expect(ok.locale == "en_US")
        #expect(ok.clientProperties["connection_name"]?.string == "test")
        guard case .table(let capabilities)? = ok.clientProperties["capabilities"] else {
            Issue.record("no capabilities")
            return
        }
        for name in [
            "publisher_confirms", "exchange_exchange_bindings", "basic.nack", "consumer_cancel_notify",
            "connection.blocked", "authentication_failure_close", "per_consumer_qos",
        ] {
            #expect(capabilities[name]?.boolean == true, "\(name)")
        }
        guard case .tuned(let negotiated, let methods) = machine.received(.tune) else {
            Issue.record("not tuned")
            return
        }
        #expect(negotiated.channelMax == 100)
        #expect(negotiated.frameMax == 10_000)
        #expect(negotiated.heartbeat == 30)
        #expect(negotiated.serverProperties["product"]?.string == "Test")
        #expect(
            methods == [
                .connectionTuneOk(.init(channelMax: 100, frameMax: 10_000, heartbeat: 30)),
                .connectionOpen(.init(virtualHost: "/v")),
            ])
        #expect(!machine.isDone)
        guard case .complete(let last) = machine.received(.connectionOpenOk(.init())) else {
            Issue.record("not complete")
            return
        }
        #expect(last == negotiated)
        #expect(machine.isDone)
    }

    struct Tuning: Sendable, CustomTestStringConvertible {
        var ours: (UInt16, UInt32, Int64)
        var theirs: (UInt16, UInt32, UInt16)
        var agreed: (UInt16, UInt32, UInt16)
        /// What goes out as channel-max.
        var channelMaxSent: UInt16
        var testDescription: String { "\(self.ours) and \(self.theirs)" }
    }

    @Test(arguments: [
        Tuning(ours: (10, 9000, 5), theirs: (20, 10_000, 10), agreed: (10, 9000, 5), channelMaxSent: 10),
        Tuning(ours: (20, 10_000, 10), theirs: (10, 9000, 5), agreed: (10, 9000, 5), channelMaxSent: 10),
        // 0 is "no limit", and for heartbeats "not I".
        Tuning(ours: (20, 10_000, 10), theirs: (0, 0, 0), agreed: (20, 10_000, 10), channelMaxSent: 20),
        Tuning(ours: (0, 10_000, 0), theirs: (10, 9000, 5), agreed: (10, 9000, 5), channelMaxSent: 10),
        Tuning(ours: (0, 10_000, 0), theirs: (0, 0, 0), agreed: (.max, 10_000, 0), channelMaxSent: 0),
        // Too small a frame-max of ours is raised to what RabbitMQ accepts; a smaller one of theirs counts.
        Tuning(ours: (1, 0, 1), theirs: (1, 131_072, 1), agreed: (1, 8192, 1), channelMaxSent: 1),
        Tuning(ours: (1, 8192, 1), theirs: (1, 4096, 1), agreed: (1, 4096, 1), channelMaxSent: 1),
        // More than fits is as much as fits; less than nothing is none.
        Tuning(ours: (1, 8192, 100_000), theirs: (1, 8192, 0), agreed: (1, 8192, .max), channelMaxSent: 1),
        Tuning(ours: (1, 8192, -3), theirs: (1, 8192, 0), agreed: (1, 8192, 0), channelMaxSent: 1),
    ])
    func tuning(_ tuning: Tuning) {
        var configuration = AMQPConfiguration()
        configuration.channelMax = tuning.ours.0
        configuration.frameMax = tuning.ours.1
        configuration.heartbeat = .seconds(tuning.ours.2)
        var machine = Step.awaitingTune.machine(configuration)
        let tune = AMQPMethod.connectionTune(
            .init(channelMax: tuning.theirs.0, frameMax: tuning.theirs.1, heartbeat: tuning.theirs.2))
        guard case .tuned(let agreed, let methods) = machine.received(tune) else {
            Issue.record("not tuned")
            return
        }
        #expect((agreed.channelMax, agreed.frameMax, agreed.heartbeat) == tuning.agreed)
        #expect(
            methods.first
                == .connectionTuneOk(
                    .init(
                        channelMax: tuning.channelMaxSent, frameMax: tuning.agreed.1, heartbeat: tuning.agreed.2)))
    }

    @Test func framesTooSmallForAMethodAreRefused() {
        var machine = Step.awaitingTune.machine()
        let refused = self.fails(
            machine.received(.connectionTune(.init(channelMax: 0, frameMax: 4095, heartbeat: 0))))
        #expect(refused?.error.code == .protocolViolation)
    }

    @Test func everyChallengeGetsTheSameAnswerUpToALimit() {
        var machine = Step.awaitingTune.machine(AMQPConfiguration(user: "u", password: "p"))
        for _ in 0..<HandshakeMachine.maximumChallenges {
            guard case .send(let methods) = machine.received(.connectionSecure(.init(challenge: "?"))) else {
                Issue.record("no answer")
                return
            }
            #expect(methods == [.connectionSecureOk(.init(response: "\0u\0p"))])
        }
        let refused = self.fails(machine.received(.connectionSecure(.init(challenge: "?"))))
        #expect(refused?.error.code == .authenticationFailed)
    }

    @Test func afterAChallengeItGoesOn() {
        var machine = Step.awaitingTune.machine()
        _ = machine.received(.connectionSecure(.init(challenge: "?")))
        guard case .tuned = machine.received(.tune) else {
            Issue.record("not tuned")
            return
        }
    }

    private static func start(_ mechanisms: AMQPLongString) -> AMQPMethod {
        .connectionStart(
            .init(
                versionMajor: 0, versionMinor: 9, serverProperties: [:], mechanisms: mechanisms, locales: "en_US"))
    }

    struct Login: Sendable, CustomTestStringConvertible {
        var offered: AMQPLongString
        var wanted: [AMQPSASLMechanism] = [.plain, .amqplain]
        var isExternal = false
        /// What is used, and what is answered; `nil` if it is refused.
        var mechanism: String?
        var response: AMQPLongString = ""
        var testDescription: String { "\(self.offered) for \(self.wanted)\(self.isExternal ? ", external" : "")" }
    }
    private static let amqplain = AMQPLongString(
        bytes: [5] + Array("LOGINS".utf8) + [0, 0, 0, 1] + Array("u".utf8) + [8] + Array("PASSWORDS".utf8)
            + [0, 0, 0, 4] + Array("hush".utf8))

    @Test(arguments: [
        Login(offered: "AMQPLAIN PLAIN", mechanism: "PLAIN", response: "\0u\0hush"),
        Login(offered: "AMQPLAIN", mechanism: "AMQPLAIN", response: Self.amqplain),
        Login(
            offered: "PLAIN AMQPLAIN", wanted: [.amqplain, .plain], mechanism: "AMQPLAIN", response: Self.amqplain),
        Login(offered: "PLAIN EXTERNAL", wanted: [.external, .plain], mechanism: "EXTERNAL"),
        Login(offered: "PLAIN", wanted: [.external, .plain], mechanism: "PLAIN", response: "\0u\0hush"),
        Login(offered: "PLAIN EXTERNAL", isExternal: true, mechanism: "EXTERNAL"),
        Login(offered: "PLAIN AMQPLAIN", isExternal: true),
        Login(offered: "PLAIN AMQPLAIN", wanted: [.external]),
        Login(offered: "PLAIN AMQPLAIN", wanted: []),
        Login(offered: ""), Login(offered: "EXTERNAL"), Login(offered: "XPLAIN PLAINER plain"),
        Login(offered: AMQPLongString(bytes: [0xff, 0x20, 0xfe])),
    ])
    func theFirstMechanismThatBothTakeIsUsed(login: Login) {
        var configuration = AMQPConfiguration(user: "u", password: "hush")
        if login.isExternal { configuration.credentials = .external }
        configuration.saslMechanisms = login.wanted
        var machine = HandshakeMachine(configuration)
        let action = machine.received(Self.start(login.offered))
        guard let mechanism = login.mechanism else {
            let refused = self.fails(action)
            #expect(refused?.error.code == .authenticationFailed)
            #expect(refused?.error.message.contains("hush") == false)
            return
        }
        guard case .send(let methods) = action, case .connectionStartOk(let ok)? = methods.first else {
            Issue.record("no start-ok")
            return
        }
        #expect(ok.mechanism == mechanism)
        #expect(ok.response == login.response)
    }

    // Not as arguments of the test, which would end its lines in the output.
    @Test(arguments: [true, false]) func plainTakesNoZeroBytes(inUser: Bool) {
        let (user, password) = inUser ? ("u\0v", "p") : ("u", "p\0q")
        var machine = HandshakeMachine(AMQPConfiguration(user: user, password: password))
        #expect(self.fails(machine.received(Self.start("PLAIN")))?.error.code == .invalidArgument)
    }

    @Test func aHostileListOfMechanismsDoesNotReachTheTerminal() {
        var machine = Step.awaitingStart.machine()
        let list = "\u{1B}[2J\r\n\u{202E}" + String(repeating: "X", count: 100_000)
        let message = self.fails(machine.received(Self.start(AMQPLongString(list))))?.error.message ?? ""
        #expect(message.utf8.count < 500)
        #expect(message.unicodeScalars.allSatisfy { $0.value >= 0x20 && $0.value != 0x202E })
    }

    @Test func anotherVersionIsRefused() {
        var machine = Step.awaitingStart.machine()
        let refused = self.fails(
            machine.received(
                .connectionStart(
                    .init(
                        versionMajor: 0, versionMinor: 8, serverProperties: [:], mechanisms: "PLAIN", locales: "en_US"))
            ))
        #expect(refused?.error.code == .connectFailed)
        #expect(refused?.error.message.contains("0-8") == true)
    }

    private struct Refusal: Sendable {
        var step: Step
        var code: UInt16
        var expected: AMQPError.Code
    }

    @Test(arguments: [
        Refusal(step: .awaitingTune, code: 403, expected: .authenticationFailed),
        Refusal(step: .awaitingOpenOk, code: 530, expected: .virtualHostRefused),
        Refusal(step: .awaitingOpenOk, code: 403, expected: .virtualHostRefused),
        Refusal(step: .awaitingOpenOk, code: 402, expected: .virtualHostRefused),
        Refusal(step: .awaitingStart, code: 403, expected: .connectionClosed),
        Refusal(step: .awaitingStart, code: 320, expected: .connectionClosed),
        Refusal(step: .awaitingTune, code: 320, expected: .connectionClosed),
        Refusal(step: .awaitingOpenOk, code: 320, expected: .connectionClosed),
    ])
    private func aCloseInPlaceOfTheAnswerIsAnsweredAndExplained(refusal: Refusal) {
        var machine = refusal.step.machine(AMQPConfiguration(user: "u", password: "hush", virtualHost: "v"))
        let failed = self.fails(machine.received(.close(refusal.code)))
        #expect(failed?.error.code == refusal.expected)
        #expect(failed?.error.reply?.code == refusal.code)
        #expect(failed?.error.reply?.text == "no")
        #expect(failed?.error.origin == .peer)
        #expect(failed?.error.message.contains("hush") == false)
        #expect(failed?.farewell == .connectionCloseOk(.init()))
    }

    @Test(arguments: Step.allCases)
    private func anEndOfTheSocketIsExplained(step: Step) {
        var machine = step.machine()
        let error = machine.connectionEnded()
        #expect(error.code == (step == .awaitingTune ? .authenticationFailed : .connectFailed))
        #expect(!machine.isDone)
    }

    @Test func anEndBeforeTheFirstWordSaysWhatItMayBe() {
        var plain = HandshakeMachine(AMQPConfiguration())
        #expect(plain.connectionEnded().message.contains("amqps"))
        var tls = HandshakeMachine(AMQPConfiguration(tls: AMQPTLS()))
        #expect(tls.connectionEnded().message.contains("requires a certificate"))
        let identity = AMQPTLS.Identity(certificateChain: .text(""), privateKey: .text(""))
        var identified = HandshakeMachine(AMQPConfiguration(tls: AMQPTLS(identity: identity)))
        #expect(identified.connectionEnded().message.contains("does not accept the client's certificate"))
        var begun = HandshakeMachine(AMQPConfiguration())
        begun.received(bytes: ByteBuffer(bytes: [1]))
        #expect(!begun.connectionEnded().message.contains("amqps"))
        var external = AMQPConfiguration()
        external.credentials = .external
        var login = HandshakeMachine(external)
        _ = login.received(Self.start("EXTERNAL"))
        #expect(login.connectionEnded().message.contains("certificate"))
    }

    @Test func anErrorOfTLSIsHandedOn() {
        var machine = Step.awaitingStart.machine()
        #expect(machine.connectionEnded(AMQPError(.tlsFailed, "expired")).message == "expired")
    }

    struct Garbage: Sendable, CustomTestStringConvertible {
        var bytes: [UInt8]
        var code: AMQPError.Code
        var part: String
        var testDescription: String { "\(self.bytes)" }
    }

    @Test(arguments: [
        Garbage(bytes: Array("AMQP".utf8) + [3, 1, 0, 0], code: .connectFailed, part: "AMQP 1-0-0 (with SASL)"),
        Garbage(bytes: Array("AMQP".utf8) + [0, 1, 0, 0], code: .connectFailed, part: "AMQP 1-0-0,"),
        Garbage(bytes: Array("AMQP".utf8) + [2, 1, 0, 0, 9, 9], code: .connectFailed, part: "AMQP 1-0-0 (with TLS)"),
        Garbage(bytes: Array("AMQP".utf8) + [1, 1, 0, 10], code: .connectFailed, part: "AMQP 1-0-10,"),
        Garbage(bytes: [0x15, 3, 1, 0, 2, 2, 70], code: .tlsFailed, part: "amqps"),
        Garbage(bytes: [0x15], code: .tlsFailed, part: "amqps"),
        Garbage(bytes: [0x15, 4], code: .protocolViolation, part: "not AMQP"),
        Garbage(bytes: Array("HTTP/1.1 400".utf8), code: .protocolViolation, part: "not AMQP"),
    ])
    func whatCannotBeDecodedIsRecognised(garbage: Garbage) {
        // All at once, and byte by byte.
        for chunks in [[garbage.bytes], garbage.bytes.map { [$0] }] {
            var machine = Step.awaitingStart.machine()
            for chunk in chunks { machine.received(bytes: ByteBuffer(bytes: chunk)) }
            let error = machine.undecodable(AMQPWireError(.malformedFrame, "?"))
            #expect(error.code == garbage.code)
            #expect(error.message.contains(garbage.part), "\(error.message)")
        }
    }

    // MARK: - Every state, every event

    /// Everything that can happen to a handshake.
    enum Event: CaseIterable {
        case start, startOfAnotherVersion, startWithoutMechanism, secure, tune, tuneWithTinyFrames, openOk
        case close, closeOk, blocked, unblocked, updateSecretOk, startOk, channelMethod, ended, endedByTLS, undecodable
    }
    enum Outcome: Equatable {
        case answered, tuned, completed, failed(AMQPError.Code), nothing
    }

    private func outcome(of event: Event, on machine: inout HandshakeMachine) -> Outcome {
        let method: AMQPMethod
        switch event {
        case .start: method = .start
        case .startOfAnotherVersion:
            method = .connectionStart(
                .init(
                    versionMajor: 1, versionMinor: 0, serverProperties: [:], mechanisms: "PLAIN", locales: "en_US"))
        case .startWithoutMechanism: method = Self.start("GSSAPI")
        case .secure: method = .connectionSecure(.init(challenge: "?"))
        case .tune: method = .tune
        case .tuneWithTinyFrames: method = .connectionTune(.init(channelMax: 0, frameMax: 100, heartbeat: 0))
        case .openOk: method = .connectionOpenOk(.init())
        case .close: method = .close
        case .closeOk: method = .connectionCloseOk(.init())
        case .blocked: method = .connectionBlocked(.init(reason: "memory"))
        case .unblocked: method = .connectionUnblocked(.init())
        case .updateSecretOk: method = .connectionUpdateSecretOk(.init())
        case .startOk:
            method = .connectionStartOk(.init(clientProperties: [:], mechanism: "", response: "", locale: ""))
        case .channelMethod: method = .channelOpenOk(.init())
        case .ended: return .failed(machine.connectionEnded().code)
        case .endedByTLS: return .failed(machine.connectionEnded(AMQPError(.tlsFailed, "")).code)
        case .undecodable: return .failed(machine.undecodable(AMQPWireError(.malformedFrame, "")).code)
        }
        switch machine.received(method) {
        case .send(let methods): return methods.isEmpty ? .nothing : .answered
        case .tuned: return .tuned
        case .complete: return .completed
        case .fail(let error, let farewell):
            if case .connectionClose(let close)? = farewell {
                #expect(close.replyCode == 503)
                #expect(close.failingClassID == method.id.classID)
                #expect(close.failingMethodID == method.id.methodID)
            }
            return .failed(error.code)
        }
    }

    private func expected(_ event: Event, in step: Step) -> Outcome {
        switch (step, event) {
        case (_, .endedByTLS): .failed(.tlsFailed)
        case (.awaitingTune, .ended): .failed(.authenticationFailed)
        case (_, .ended): .failed(.connectFailed)
        case (_, .undecodable): .failed(.protocolViolation)
        // It has been said how it ended.
        case (.done, _), (.failed, _): .nothing
        case (_, .close): .failed(.connectionClosed)
        case (.awaitingStart, .start), (.awaitingTune, .secure): .answered
        case (.awaitingStart, .startOfAnotherVersion): .failed(.connectFailed)
        case (.awaitingStart, .startWithoutMechanism): .failed(.authenticationFailed)
        case (.awaitingTune, .tune): .tuned
        case (.awaitingOpenOk, .openOk): .completed
        default: .failed(.protocolViolation)
        }
    }

    @Test(arguments: Step.allCases, Event.allCases)
    private func everyEventInEveryState(step: Step, event: Event) {
        var machine = step.machine()
        #expect(self.outcome(of: event, on: &machine) == self.expected(event, in: step))
    }

    /// Whoever waits for the connection is told by `completed` or `failed`, and has to be told once.
    @Test(arguments: Step.allCases, Event.allCases)
    private func whoWaitsIsToldOnce(step: Step, event: Event) {
        for next in Event.allCases {
            var machine = step.machine()
            var told = step == .done || step == .failed ? 1 : 0
            for event in [event, next] + Event.allCases {
                let isOver = told > 0
                switch self.outcome(of: event, on: &machine) {
                case .completed: told += 1
                // Both are asked only by a connection that still waits.
                case .failed where [.ended, .endedByTLS, .undecodable].contains(event) && isOver: break
                case .failed: told += 1
                case .answered, .tuned: #expect(!isOver, "an answer after the end")
                case .nothing: #expect(isOver)
                }
            }
            #expect(told == 1, "\(step), \(event), \(next)")
        }
    }
}
