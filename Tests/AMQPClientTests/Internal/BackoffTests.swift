// SPDX-License-Identifier: Apache-2.0
import NIOCore
import TestSupport
import Testing

@_spi(HareDo) @testable import AMQPClient

@Suite struct BackoffTests {
    private var policy: AMQPRecovery {
        var policy = AMQPRecovery()
        policy.minimumDelay = .milliseconds(100)
        policy.maximumDelay = .seconds(2)
        policy.stablePeriod = .seconds(10)
        return policy
    }

    @Test func boundsDoubleUpToTheMaximum() {
        var backoff = Backoff(self.policy)
        var generator = SeededGenerator(seed: 1)
        var bounds: [Duration] = []
        for _ in 0..<8 {
            bounds.append(backoff.bound)
            _ = backoff.next(using: &generator)
        }
        #expect(bounds.map { $0 / .milliseconds(1) } == [100, 200, 400, 800, 1600, 2000, 2000, 2000])
        for _ in 0..<1000 { _ = backoff.next(using: &generator) }
        #expect(backoff.bound == .seconds(2))
    }

    @Test func pausesAreAnywhereBelowTheirBound() {
        var generator = SeededGenerator(seed: 2)
        var low = 0
        for _ in 0..<1000 {
            var backoff = Backoff(self.policy)
            let pause = backoff.next(using: &generator)
            #expect(pause >= .zero && pause <= .milliseconds(100))
            if pause < .milliseconds(50) { low += 1 }
        }
        #expect((400...600).contains(low))
    }

    @Test func onlyWhatLastedBeginsAnew() {
        var backoff = Backoff(self.policy)
        var generator = SeededGenerator(seed: 3)
        for _ in 0..<3 { _ = backoff.next(using: &generator) }
        let start = NIODeadline.uptimeNanoseconds(1)
        backoff.succeeded(now: start)
        backoff.failed(now: start + .seconds(9))
        #expect(backoff.attempts == 3)
        backoff.succeeded(now: start)
        backoff.failed(now: start + .seconds(10))
        #expect(backoff.attempts == 0)
        backoff.failed(now: start + .hours(1))
        #expect(backoff.attempts == 0)
    }

    @Test(arguments: [Duration.zero, .seconds(-5), .seconds(Int64.max)])
    func oddBoundsAreNoTrap(delay: Duration) {
        var policy = AMQPRecovery()
        policy.minimumDelay = delay
        policy.maximumDelay = delay
        policy.stablePeriod = delay
        var backoff = Backoff(policy)
        var generator = SeededGenerator(seed: 4)
        for _ in 0..<100 { #expect(backoff.next(using: &generator) >= .zero) }
    }
}
