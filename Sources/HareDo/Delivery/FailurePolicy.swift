// SPDX-License-Identifier: Apache-2.0

/// What becomes of a message whose handler throws. Whoever called is told of the error in any case, with the last attempt.
public enum FailurePolicy: Sendable, Hashable {
    /// It is acknowledged, and gone.
    case drop
    /// It is put into the queue `NAME.parked`, where it stays until somebody looks: ``Peer/parked(_:)``, or
    /// `haredo parked`.
    case park
    /// It is handled again after a pause, up to `attempts` times in all, and parked then. Nothing is retried that its
    /// caller would not wait for.
    ///
    /// The pause is spent in a queue of the broker (`NAME.retry.MILLISECONDS`), so that the service handles other
    /// messages and may even end meanwhile; only on a ``QueueShape/exclusive`` service it is spent in the process, in the
    /// place of a handler.
    case retry(attempts: Int = 3, backoff: Backoff = .exponential())

    /// How long the pauses between attempts are.
    public struct Backoff: Sendable, Hashable {
        let first: Duration
        let factor: Double
        let limit: Duration

        /// The same pause every time, from 1 ms to 24 hours.
        public static func constant(_ pause: Duration) -> Backoff { Backoff(first: pause, factor: 1, limit: pause) }

        /// Pauses that grow by a factor up to a limit, from 1 ms to 24 hours.
        public static func exponential(
            from first: Duration = .seconds(1), factor: Double = 2, limit: Duration = .seconds(60)
        ) -> Backoff { Backoff(first: first, factor: factor, limit: limit) }

        /// The pause after the given attempt, counted from 1, in whole milliseconds. At least 1.
        func pause(afterAttempt attempt: Int) -> Int64 {
            let first = self.first / .milliseconds(1)
            let limit = self.limit / .milliseconds(1)
            var pause = first
            for _ in 1..<min(max(attempt, 1), FailurePolicy.mostAttempts) { pause = min(pause * self.factor, limit) }
            return Int64(max(min(pause, limit), 1).rounded())
        }
    }

    /// Most attempts that may be asked for: a quorum queue drops what it delivered more than 100 times.
    static let mostAttempts = 50
    private static let longestPause = Duration.seconds(24 * 3600)

    func check(for queue: String, _ shape: QueueShape) throws(HareDoError) {
        switch self {
        case .drop: return
        case .park: break
        case .retry(let attempts, let backoff):
            try ServiceOptions.require(
                1...Self.mostAttempts ~= attempts,
                "a message can be attempted 1 to \(Self.mostAttempts) times, not \(attempts)")
            try ServiceOptions.require(
                backoff.first >= .milliseconds(1) && backoff.limit <= Self.longestPause
                    && backoff.first <= backoff.limit,
                "the pauses between attempts have to be from 1 ms to 24 hours, and begin below their limit")
            try ServiceOptions.require(
                1...1000 ~= backoff.factor,
                "pauses between attempts grow by a factor from 1 to 1000, not \(backoff.factor)")
        }
        let longest = RetryQueue.longestSuffix
        try ServiceOptions.require(
            queue.utf8.count + longest <= 255,
            "the name '\(queue)' is too long for its queues of messages that failed: they add \(longest) bytes, and AMQP "
                + "allows 255")
    }

    /// What an attempt failed with, as far as it decides what comes next.
    enum FailureKind: Hashable, CaseIterable {
        /// Another attempt may do better.
        case mayPass
        /// It would fail as well, as the message itself is at fault.
        case stays
        /// It is the service's answer.
        case answer

        /// - Parameter couldNotBeDecoded: whether the message is what the handler could not decode.
        init(_ error: any Error, couldNotBeDecoded: Bool) {
            switch error {
            case let error as ServiceError where error.isFinal: self = .answer
            case let error as HareDoError where error.code == .decodingFailed && couldNotBeDecoded: self = .stays
            default: self = .mayPass
            }
        }
    }

    /// What is done with a message after an attempt that failed.
    enum Verdict: Hashable {
        case drop
        case park
        /// Again, after so many milliseconds.
        case retry(after: Int64)
    }

    /// - Parameters:
    ///   - attempt: which one failed, from 1.
    ///   - timeLeft: how long the caller waits, `nil` if none does.
    ///   - kind: what the handler threw.
    func verdict(afterAttempt attempt: Int, timeLeft: Duration?, _ kind: FailureKind) -> Verdict {
        guard kind != .answer else { return .drop }
        switch self {
        case .drop: return .drop
        case .park: return .park
        case .retry(let attempts, let backoff):
            guard attempt < attempts, kind == .mayPass else { return .park }
            let pause = backoff.pause(afterAttempt: attempt)
            if let timeLeft, timeLeft <= .milliseconds(pause) { return .park }
            return .retry(after: pause)
        }
    }
}
