// SPDX-License-Identifier: Apache-2.0
import AMQPWire
import Testing

@testable import HareDo

@Suite("What becomes of a message after an attempt that failed")
struct FailurePolicyTests {
    private typealias Kind = FailurePolicy.FailureKind
    private typealias Verdict = FailurePolicy.Verdict
    private static let retry = FailurePolicy.retry(attempts: 3, backoff: .constant(.milliseconds(100)))

    @Test("is decided by policy, attempt, time left and the kind of error", arguments: 0..<FailureCases.verdicts.count)
    func verdicts(index: Int) {
        let one = FailureCases.verdicts[index]
        func verdict(_ policy: FailurePolicy) -> Verdict {
            policy.verdict(afterAttempt: one.attempt, timeLeft: one.timeLeft, one.kind)
        }
        #expect(verdict(.drop) == one.dropped)
        #expect(verdict(.park) == one.parked)
        #expect(verdict(Self.retry) == one.retried)
    }

    @Test("Errors are of the kind they say")
    func kinds() {
        #expect(Kind(ServiceError("a", "b"), couldNotBeDecoded: false) == .mayPass)
        #expect(Kind(ServiceError("a", "b", isFinal: true), couldNotBeDecoded: false) == .answer)
        let undecodable = HareDoError(.decodingFailed, "")
        #expect(Kind(undecodable, couldNotBeDecoded: true) == .stays)
        // Somebody else's reply to the handler.
        #expect(Kind(undecodable, couldNotBeDecoded: false) == .mayPass)
        #expect(Kind(CancellationError(), couldNotBeDecoded: true) == .mayPass)
    }

    @Test("Pauses grow, up to their limit")
    func pauses() {
        let backoff = FailurePolicy.Backoff.exponential(from: .milliseconds(100), factor: 3, limit: .seconds(2))
        #expect((1...5).map { backoff.pause(afterAttempt: $0) } == [100, 300, 900, 2000, 2000])
        #expect(backoff.pause(afterAttempt: .max) == 2000)
        #expect(backoff.pause(afterAttempt: .min) == 100)
        let constant = FailurePolicy.Backoff.constant(.seconds(5))
        #expect([1, 2, 50].map { constant.pause(afterAttempt: $0) } == [5000, 5000, 5000])
    }

    @Test("Options that cannot be meant are refused where they are given", arguments: 0..<FailureCases.mistakes.count)
    func mistakes(index: Int) {
        let (options, queue, mentions) = FailureCases.mistakes[index]
        let error = #expect(throws: HareDoError.self) { try options.check(for: queue, .shared) }
        #expect(error?.code == .invalidArgument)
        #expect(error?.message.contains(mentions) == true, "\(error?.message ?? "")")
    }

    @Test("A history keeps the latest attempts, and takes anything for what came before")
    func history() throws {
        var value: AMQPFieldValue? = nil
        for attempt in 1...20 {
            value = FailedAttempt(attempt: attempt, time: 7, error: String(repeating: "ä", count: 1000)).appended(
                to: value)
        }
        let history = FailedAttempt.history(value)
        #expect(history.map(\.attempt) == Array(13...20))
        #expect(history.allSatisfy { $0.time == 7 && $0.error == String(repeating: "ä", count: 128) })
        for odd: AMQPFieldValue in ["x", 1, .array(["x", .table([:]), .void]), .table(["attempt": 1])] {
            #expect(FailedAttempt.history(odd).isEmpty)
            #expect(FailedAttempt.history(FailedAttempt(attempt: 1, time: 0, error: "").appended(to: odd)).count == 1)
        }
    }
}

/// Apart from the suite, whose attributes mention them.
private enum FailureCases {
    struct Case: Sendable {
        var attempt = 1
        var timeLeft: Duration?
        var kind = FailurePolicy.FailureKind.mayPass
        var dropped = FailurePolicy.Verdict.drop, parked = FailurePolicy.Verdict.park, retried: FailurePolicy.Verdict
    }
    static let verdicts: [Case] = [
        Case(retried: .retry(after: 100)),
        Case(attempt: 2, retried: .retry(after: 100)),
        Case(attempt: 3, retried: .park),
        Case(attempt: .max, retried: .park),
        // The pause has to end before the caller gives up.
        Case(timeLeft: .milliseconds(101), retried: .retry(after: 100)),
        Case(timeLeft: .milliseconds(100), retried: .park),
        Case(timeLeft: .zero, retried: .park),
        Case(timeLeft: .seconds(-1), retried: .park),
        Case(attempt: 3, timeLeft: .seconds(60), retried: .park),
        // A message that is at fault itself is not tried again; an answer is one.
        Case(kind: .stays, retried: .park),
        Case(timeLeft: .seconds(60), kind: .stays, retried: .park),
        Case(kind: .answer, parked: .drop, retried: .drop),
        Case(attempt: 3, timeLeft: .zero, kind: .answer, parked: .drop, retried: .drop),
    ]

    static let mistakes: [(ServiceOptions, String, mentions: String)] = [
        (.init(concurrency: 0), "q", "concurrency"),
        (.init(prefetch: 0), "q", "prefetch"),
        (.init(prefetch: 65_536), "q", "prefetch"),
        (.init(maximumDeliveries: 0), "q", "maximumDeliveries"),
        (.init(onFailure: .retry(attempts: 0)), "q", "0"),
        (.init(onFailure: .retry(attempts: 51)), "q", "51"),
        (.init(onFailure: .retry(backoff: .constant(.zero))), "q", "pauses"),
        (.init(onFailure: .retry(backoff: .constant(.seconds(90_000)))), "q", "pauses"),
        (.init(onFailure: .retry(backoff: .exponential(from: .seconds(2), limit: .seconds(1)))), "q", "pauses"),
        (.init(onFailure: .retry(backoff: .exponential(factor: 0.5))), "q", "factor"),
        (.init(onFailure: .retry(backoff: .exponential(factor: .nan))), "q", "factor"),
        (.init(onFailure: .park), String(repeating: "q", count: 250), "too long"),
    ]
}
