// SPDX-License-Identifier: Apache-2.0
import NIOConcurrencyHelpers
import NIOCore
import NIOPosix
import TestSupport
import Testing

@_spi(HareDo) @testable import AMQPClient

@Suite(.timeLimit(.minutes(1))) struct DeadlineSchedulerTests {
    private let loop: any EventLoop = MultiThreadedEventLoopGroup.singleton.next()

    @Test func actionsRunOnTheLoopInTheOrderOfTheirDeadlines() async throws {
        let scheduler = DeadlineScheduler(eventLoop: self.loop)
        let ran = NIOLockedValueBox<[Int]>([])
        let done = Mailbox<Void>()
        let loop = self.loop
        let hold = LoopHold()
        try await hold.take(loop)
        let start = NIODeadline.now()
        for number in [3, 1, 2] {
            _ = scheduler.schedule(at: start + .milliseconds(Int64(number) * 20)) {
                loop.assertInEventLoop()
                ran.withLockedValue { $0.append(number) }
                if number == 3 { done.put(()) }
            }
        }
        hold.release()
        try await done.next()
        #expect(ran.withLockedValue { $0 } == [1, 2, 3])
        #expect(!scheduler.isTicking)
    }

    @Test func anEarlierDeadlineThatComesLaterIsOnTime() async throws {
        let scheduler = DeadlineScheduler(eventLoop: self.loop)
        let canary = Canary()
        let late = scheduler.schedule(after: .seconds(50)) {}
        let done = Mailbox<Void>()
        let start = ContinuousClock.now
        _ = scheduler.schedule(after: .milliseconds(50)) { done.put(()) }
        #expect(scheduler.isTicking)
        try await done.next()
        await expectTime(
            "deadline", ContinuousClock.now - start, from: .milliseconds(50), to: .milliseconds(60), canary)
        #expect(scheduler.isTicking)
        scheduler.cancel(late)
    }

    @Test func whatIsCancelledDoesNotRun() async throws {
        let scheduler = DeadlineScheduler(eventLoop: self.loop)
        let done = Mailbox<Int>()
        let hold = LoopHold()
        try await hold.take(self.loop)
        let first = scheduler.schedule(after: .milliseconds(10)) { done.put(1) }
        _ = scheduler.schedule(after: .milliseconds(20)) { done.put(2) }
        scheduler.cancel(first)
        scheduler.cancel(first)
        hold.release()
        #expect(try await done.next() == 2)
    }

    @Test func cancellingAllForgetsEverything() async throws {
        final class Held: Sendable {}
        let scheduler = DeadlineScheduler(eventLoop: self.loop)
        weak var held: Held?
        do {
            let object = Held()
            held = object
            _ = scheduler.schedule(after: .seconds(100)) { _ = object }
        }
        #expect(held != nil)
        scheduler.cancelAll()
        #expect(held == nil)
        #expect(!scheduler.isTicking)
        // And it can be used again.
        let done = Mailbox<Void>()
        _ = scheduler.schedule(after: .zero) { done.put(()) }
        try await done.next()
    }

    @Test func anActionMayScheduleAndCancel() async throws {
        let scheduler = DeadlineScheduler(eventLoop: self.loop)
        let done = Mailbox<Void>()
        let other = scheduler.schedule(after: .seconds(100)) {}
        _ = scheduler.schedule(after: .milliseconds(5)) {
            scheduler.cancel(other)
            _ = scheduler.schedule(after: .milliseconds(5)) { done.put(()) }
        }
        try await done.next()
    }

    @Test func aTickThatWasOvertakenDoesNothing() async throws {
        let scheduler = DeadlineScheduler(eventLoop: self.loop)
        let late = scheduler.schedule(after: .seconds(100)) {}
        let early = scheduler.schedule(after: .seconds(50)) {}
        let armed = scheduler.ticksArmed
        #expect(armed == 2)
        // The loop may have begun to run the first tick when the second one took its place.
        scheduler.fire(tick: 1)
        #expect(scheduler.ticksArmed == armed)
        scheduler.cancel(late)
        scheduler.cancel(early)
    }

    @Test func manyDeadlinesFromManyThreadsKeepOneTick() async throws {
        let scheduler = DeadlineScheduler(eventLoop: self.loop)
        let done = Mailbox<Void>()
        let keeper = scheduler.schedule(after: .seconds(100)) {}
        let expected = 4 * 2000
        let ran = NIOLockedValueBox(0)
        await withTaskGroup(of: Void.self) { group in
            for task in 0..<4 {
                group.addTask { @concurrent in
                    var random = SeededGenerator(seed: UInt64(task))
                    for _ in 0..<2000 {
                        // Each a little earlier or later than the one before, many of them due at once.
                        let delay = Duration.microseconds(Int64.random(in: 0..<300, using: &random))
                        _ = scheduler.schedule(after: delay) {
                            if ran.withLockedValue({ count in
                                count += 1; return count == expected
                            }) {
                                done.put(())
                            }
                        }
                    }
                }
            }
        }
        try await done.next(within: .seconds(20))
        #expect(ran.withLockedValue { $0 } == expected)
        // Ticks that were overtaken are gone, or go without arming another.
        try await self.loop.submit {}.get()
        #expect(scheduler.isTicking)
        scheduler.cancel(keeper)
    }
}
