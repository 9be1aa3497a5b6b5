// SPDX-License-Identifier: Apache-2.0
import Testing

@_spi(HareDo) @testable import AMQPClient

@Suite struct SecretRenewalTests {
    private let start = ContinuousClock.now

    private func secret(expiresIn life: Duration?) -> AMQPCredentials.Secret {
        .init(user: "u", password: "p", expiresAt: life.map { self.start + $0 })
    }

    /// Asked to wake up, and woken up then.
    private func asking(_ life: Duration = .seconds(100)) -> (SecretRenewal, attempt: UInt64) {
        var renewal = SecretRenewal()
        guard case .wake(let at) = renewal.connected(with: self.secret(expiresIn: life), now: self.start),
            case .ask(let attempt) = renewal.due(now: at)
        else {
            Issue.record("nothing is asked for")
            return (renewal, 0)
        }
        return (renewal, attempt)
    }

    @Test(arguments: [
        // A fifth of its life, but at most a minute.
        (Duration.seconds(100), Duration.seconds(80)), (.seconds(300), .seconds(240)), (.seconds(3600), .seconds(3540)),
        // Not in a loop, whatever the provider gives.
        (.seconds(1), .seconds(1)), (.zero, .seconds(1)), (.seconds(-500), .seconds(1)),
    ])
    func itIsAskedForBeforeItExpires(life: Duration, after: Duration) {
        var renewal = SecretRenewal()
        #expect(
            renewal.connected(with: self.secret(expiresIn: life), now: self.start) == .wake(at: self.start + after))
        #expect(renewal.due(now: self.start + after - .milliseconds(1)) == .wake(at: self.start + after))
        #expect(renewal.due(now: self.start + after) == .ask(attempt: 1))
        #expect(renewal.due(now: self.start + after) == .wait, "one at a time")
    }

    @Test func whatNeverExpiresIsNotAskedForAgain() {
        var renewal = SecretRenewal()
        #expect(renewal.connected(with: self.secret(expiresIn: nil), now: self.start) == .wait)
        #expect(renewal.connected(with: nil, now: self.start) == .wait)
        #expect(renewal.due(now: self.start + .seconds(100_000)) == .wait)
    }

    @Test func aRenewalGoesOnAsLongAsSecretsExpire() {
        var (renewal, attempt) = self.asking()
        let second = self.secret(expiresIn: .seconds(200))
        #expect(
            renewal.provided(second, attempt: attempt, now: self.start + .seconds(81))
                == .update(second, attempt: attempt))
        #expect(renewal.due(now: self.start + .seconds(199)) == .wait, "while the broker is asked")
        // A fifth of the 100 s it still has.
        #expect(
            renewal.updated(now: self.start + .seconds(100))
                == .wake(at: self.start + .seconds(180)))
        #expect(renewal.due(now: self.start + .seconds(180)) == .ask(attempt: attempt + 1))
    }

    @Test func aProviderThatFailsIsAskedAgainAndAgain() {
        var (renewal, attempt) = self.asking()
        var now = self.start + .seconds(80)
        for seconds in [1, 2, 4, 8, 16, 30, 30, 30] {
            guard case .wake(let at) = renewal.failed(attempt: attempt, now: now) else {
                Issue.record("not asked again")
                return
            }
            #expect(at == now + .seconds(seconds))
            now = at
            guard case .ask(let next) = renewal.due(now: now) else {
                Issue.record("not asked again")
                return
            }
            attempt = next
        }
        let fresh = self.secret(expiresIn: .seconds(1000))
        _ = renewal.provided(fresh, attempt: attempt, now: now)
        _ = renewal.updated(now: now)
        // What failed before does not count any more.
        guard case .wake(let at) = renewal.failedNext(at: now) else {
            Issue.record("not asked again")
            return
        }
        #expect(at == now + .seconds(10_001))
    }

    @Test func aBrokerThatDoesNotAnswerGetsNoSecondSecretBeforeItHas() {
        var (renewal, attempt) = self.asking()
        _ = renewal.provided(self.secret(expiresIn: .seconds(200)), attempt: attempt, now: self.start)
        renewal.unanswered(attempt: attempt)
        #expect(renewal.due(now: self.start + .seconds(500)) == .wait)
        #expect(renewal.failed(attempt: attempt, now: self.start) == .wait)
        // Late, but it is an answer.
        #expect(renewal.updated(now: self.start + .seconds(100)) == .wake(at: self.start + .seconds(180)))
        #expect(renewal.updated(now: self.start + .seconds(100)) == nil, "a second answer to one question")
    }

    @Test func aSecretThatCouldNotBeSentWaitsForNoAnswer() {
        var (renewal, attempt) = self.asking()
        let secret = self.secret(expiresIn: .seconds(200))
        _ = renewal.provided(secret, attempt: attempt, now: self.start)
        #expect(renewal.failed(attempt: attempt, now: self.start) == .wake(at: self.start + .seconds(1)))
        guard case .ask(let next) = renewal.due(now: self.start + .seconds(1)) else {
            Issue.record("nothing is asked for")
            return
        }
        _ = renewal.provided(secret, attempt: next, now: self.start)
        #expect(renewal.updated(now: self.start + .seconds(100)) == .wake(at: self.start + .seconds(180)))
    }

    @Test func answersOfAnEarlierConnectionAreNotMeant() {
        var (renewal, attempt) = self.asking()
        renewal.disconnected()
        let secret = self.secret(expiresIn: .seconds(1000))
        #expect(renewal.provided(secret, attempt: attempt, now: self.start) == .wait)
        #expect(renewal.failed(attempt: attempt, now: self.start) == .wait)
        #expect(renewal.due(now: self.start + .seconds(5000)) == .wait)
        _ = renewal.connected(with: secret, now: self.start)
        guard case .ask(let next) = renewal.due(now: self.start + .seconds(940)) else {
            Issue.record("nothing is asked for")
            return
        }
        #expect(next != attempt)
        #expect(renewal.provided(secret, attempt: attempt, now: self.start) == .wait, "the old attempt's")
        _ = renewal.provided(secret, attempt: next, now: self.start)
        #expect(renewal.failed(attempt: attempt, now: self.start) == .wait, "the old attempt's")
    }

    /// A state that it can be led to.
    private enum Step: CaseIterable { case idle, scheduled, asking, updating, unanswered }
    private enum Event: CaseIterable { case connected, disconnected, due, provided, updated, unanswered, failed }

    @Test(arguments: Step.allCases, Event.allCases)
    private func everyEventInEveryState(step: Step, event: Event) {
        let secret = self.secret(expiresIn: .seconds(100))
        var renewal = SecretRenewal()
        var attempt: UInt64 = 0
        if step != .idle { _ = renewal.connected(with: secret, now: self.start) }
        if [.asking, .updating, .unanswered].contains(step),
            case .ask(let asked) = renewal.due(now: self.start + .seconds(80))
        {
            attempt = asked
        }
        if [.updating, .unanswered].contains(step) { _ = renewal.provided(secret, attempt: attempt, now: self.start) }
        if step == .unanswered { renewal.unanswered(attempt: attempt) }
        let action: SecretRenewal.Action?
        switch event {
        case .connected: action = renewal.connected(with: secret, now: self.start)
        case .disconnected:
            renewal.disconnected()
            action = renewal.due(now: self.start + .seconds(1000))
        case .due: action = renewal.due(now: self.start + .seconds(1000))
        case .provided: action = renewal.provided(secret, attempt: attempt, now: self.start)
        case .updated: action = renewal.updated(now: self.start)
        case .unanswered:
            renewal.unanswered(attempt: attempt)
            action = renewal.failed(attempt: attempt, now: self.start)
        case .failed: action = renewal.failed(attempt: attempt, now: self.start)
        }
        let expected: SecretRenewal.Action? =
            switch (step, event) {
            case (_, .connected): .wake(at: self.start + .seconds(80))
            case (.scheduled, .due): .ask(attempt: 1)
            case (.asking, .provided): .update(secret, attempt: attempt)
            case (.updating, .updated), (.unanswered, .updated): .wake(at: self.start + .seconds(80))
            case (_, .updated): nil
            case (.asking, .failed), (.asking, .unanswered), (.updating, .failed): .wake(at: self.start + .seconds(1))
            default: .wait
            }
        #expect(action == expected)
    }
}

extension SecretRenewal {
    /// Asks when it is time to, and fails; the time is far off.
    fileprivate mutating func failedNext(at now: ContinuousClock.Instant) -> Action {
        let later = now + .seconds(10_000)
        guard case .ask(let attempt) = self.due(now: later) else { return .wait }
        return self.failed(attempt: attempt, now: later)
    }
}
