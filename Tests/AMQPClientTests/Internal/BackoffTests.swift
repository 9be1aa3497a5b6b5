// SPDX-License-Identifier: Apache-2.0
import NIOCore
import Testing

@_spi(HareDo) @testable import AMQPClient

@Suite struct BackoffTests {
    private func backoff(_ least: Duration, _ most: Duration, stable: Duration = .seconds(10)) -> Backoff {
        var recovery = AMQPRecovery()
        recovery.minimumDelay = least
        recovery.maximumDelay = most
        recovery.stablePeriod = stable
        return Backoff(recovery)
    }

    @Test func pausesAreRandomUpToABoundThatDoubles() {
        var random = SeededGenerator(seed: 1)
        var backoff = self.backoff(.milliseconds(100), .seconds(1))
        var bounds: [Duration] = []
        for _ in 0..<6 {
            let bound = backoff.bound
            bounds.append(bound)
            #expect((.zero...bound).contains(backoff.next(using: &random)))
        }
        #expect(bounds == [100, 200, 400, 800, 1000, 1000].map { .milliseconds($0) })
        #expect(backoff.attempts == 6)
        // Anything between nothing and the bound, and not always the same part of it.
        let pauses = (0..<200).map { _ in backoff.next(using: &random) }
        #expect(pauses.contains { $0 < .milliseconds(200) } && pauses.contains { $0 > .milliseconds(800) })
    }

    @Test func onlyWhatLastsBeginsAnew() {
        var random = SeededGenerator(seed: 2)
        var backoff = self.backoff(.milliseconds(100), .seconds(1))
        let start = NIODeadline.uptimeNanoseconds(0)
        for _ in 0..<3 { _ = backoff.next(using: &random) }
        backoff.succeeded(now: start)
        backoff.failed(now: start + .seconds(9))
        #expect(backoff.attempts == 3)
        backoff.succeeded(now: start + .seconds(20))
        backoff.failed(now: start + .seconds(30))
        #expect(backoff.attempts == 0)
        // A failure that follows a failure says nothing of how long it lasted.
        _ = backoff.next(using: &random)
        backoff.failed(now: start + .seconds(90))
        #expect(backoff.attempts == 1)
    }

    @Test(
        arguments: [
            (.zero, .zero), (.seconds(-5), .seconds(-1)), (.seconds(60), .seconds(1)),
            (.nanoseconds(1), .nanoseconds(1)),
            (.seconds(Int64.max), .seconds(Int64.max)),
        ] as [(Duration, Duration)])
    func oddBoundsAreSurvived(least: Duration, most: Duration) {
        var random = SeededGenerator(seed: 3)
        var backoff = self.backoff(least, most)
        for _ in 0..<200 { #expect(backoff.next(using: &random) >= .zero) }
    }
}
