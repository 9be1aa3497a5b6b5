// SPDX-License-Identifier: Apache-2.0
import AMQPWire
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

    @Test func aSecondChallengeGetsTheSameAnswer() {
        var machine = Step.awaitingTune.machine(AMQPConfiguration(user: "u", password: "p"))
        guard case .send(let methods) = machine.received(.connectionSecure(.init(challenge: "?"))) else {
            Issue.record("no answer")
            return
        }
        #expect(methods == [.connectionSecureOk(.init(response: "\0u\0p"))])
        guard case .tuned = machine.received(.tune) else {
            Issue.record("not tuned")
            return
        }
    }

    @Test(arguments: ["", "EXTERNAL", "AMQPLAIN XPLAIN PLAINER"] as [AMQPLongString])
    func aBrokerWithoutPlainIsRefused(mechanisms: AMQPLongString) {
        var machine = Step.awaitingStart.machine()
        let refused = self.fails(
            machine.received(
                .connectionStart(
                    .init(
                        versionMajor: 0, versionMinor: 9, serverProperties: [:], mechanisms: mechanisms,
                        locales: "en_US"))))
        #expect(refused?.error.code == .authenticationFailed)
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

    private static let methods: [AMQPMethod] = [
        .start, .tune, .connectionSecure(.init(challenge: "?")), .connectionOpenOk(.init()), .close,
        .connectionCloseOk(.init()), .connectionBlocked(.init(reason: "memory")), .connectionUnblocked(.init()),
        .connectionUpdateSecretOk(.init()),
        .connectionStartOk(
            .init(clientProperties: [:], mechanism: "", response: "", locale: "")), .channelOpenOk(.init()),
        .basicAck(.init(deliveryTag: 1)),
    ]

    @Test(arguments: Step.allCases, Self.methods)
    private func whatDoesNotBelongIntoAStateEndsTheHandshake(step: Step, method: AMQPMethod) {
        var machine = step.machine()
        let action = machine.received(method)
        switch (step, method) {
        case (.awaitingStart, .connectionStart), (.awaitingTune, .connectionSecure), (.awaitingTune, .connectionTune),
            (.awaitingOpenOk, .connectionOpenOk):
            if case .fail = action { Issue.record("refused") }
        case (_, .connectionClose):
            #expect(self.fails(action)?.farewell == .connectionCloseOk(.init()))
        default:
            let failed = self.fails(action)
            #expect(failed?.error.code == .protocolViolation)
            guard case .connectionClose(let close)? = failed?.farewell else {
                Issue.record("no farewell")
                return
            }
            #expect(close.replyCode == 503)
            #expect(close.failingClassID == method.id.classID)
            #expect(!machine.isDone)
        }
    }
}
