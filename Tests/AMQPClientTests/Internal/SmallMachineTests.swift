// SPDX-License-Identifier: Apache-2.0
import NIOCore
import TestSupport
import Testing

@_spi(HareDo) @testable import AMQPClient

@Suite struct DeliveryTrackerTests {
    private func tracker(_ tags: UInt64...) -> DeliveryTracker {
        var tracker = DeliveryTracker()
        for tag in tags { tracker.delivered(tag) }
        return tracker
    }

    @Test func aDeliveryIsSettledOnce() {
        var tracker = self.tracker(1, 2, 3)
        #expect(tracker.settle(2, multiple: false) == true)
        #expect(tracker.settle(2, multiple: false) == false)
        #expect(tracker.count == 2)
    }

    @Test(arguments: [0, 4, 9, .max] as [UInt64], [false, true])
    func whatWasNotDeliveredCannotBeSettled(tag: UInt64, multiple: Bool) {
        var tracker = self.tracker(1, 3, 5)
        #expect(tracker.settle(tag, multiple: multiple) == false)
        #expect(tracker.count == 3)
    }

    @Test func multipleSettlesAllBefore() {
        var tracker = self.tracker(1, 3, 5, 7)
        #expect(tracker.settle(5, multiple: true) == true)
        #expect(tracker.count == 1)
        #expect(tracker.settle(1, multiple: false) == false)
        #expect(tracker.settle(7, multiple: true) == true)
        #expect(tracker.count == 0)
    }

    @Test func aTagThatDoesNotGrowIsNotBelieved() {
        var tracker = self.tracker(5, 5, 4)
        #expect(tracker.count == 1)
        #expect(tracker.settle(5, multiple: false) == true)
        #expect(tracker.settle(5, multiple: false) == false)
    }

    @Test func afterRemovingAllNothingCanBeSettled() {
        var tracker = self.tracker(1, 2)
        tracker.removeAll()
        #expect(tracker.settle(1, multiple: true) == false)
        #expect(tracker.count == 0)
    }

    @Test(arguments: 0..<20) func aRandomWalkAgreesWithASet(seed: UInt64) {
        var random = SeededGenerator(seed: seed)
        var tracker = DeliveryTracker()
        var model: Set<UInt64> = []
        var last: UInt64 = 0
        for _ in 0..<500 {
            if Bool.random(using: &random) {
                last += .random(in: 1...3, using: &random)
                tracker.delivered(last)
                model.insert(last)
            } else {
                let tag = UInt64.random(in: 0...(last + 1), using: &random)
                let multiple = UInt8.random(in: 0..<8, using: &random) == 0
                #expect(tracker.settle(tag, multiple: multiple) == model.contains(tag))
                if model.contains(tag) { model = model.filter { multiple ? $0 > tag : $0 != tag } }
            }
            #expect(tracker.count == model.count)
        }
    }
}

@Suite struct ChannelNumbersTests {
    @Test func numbersAreFromOneToTheMaximum() {
        var numbers = ChannelNumbers(maximum: 3)
        #expect([numbers.allocate(), numbers.allocate(), numbers.allocate()] == [1, 2, 3])
        #expect(numbers.allocate() == nil)
        numbers.release(2)
        #expect(numbers.allocate() == 2)
        #expect(numbers.allocate() == nil)
    }

    @Test func aNumberThatWasJustFreedIsNotTakenAgainAtOnce() {
        var numbers = ChannelNumbers(maximum: 3)
        #expect(numbers.allocate() == 1)
        numbers.release(1)
        #expect(numbers.allocate() == 2)
        numbers.release(2)
        #expect(numbers.allocate() == 3)
        numbers.release(3)
        #expect(numbers.allocate() == 1)
    }

    @Test func allNumbersCanBeUsed() {
        var numbers = ChannelNumbers(maximum: .max)
        var seen: Set<UInt16> = []
        while let number = numbers.allocate() { seen.insert(number) }
        #expect(seen.count == 65535)
        #expect(!seen.contains(0))
    }

    @Test func releasingTwiceOrWhatWasNeverGivenIsHarmless() {
        var numbers = ChannelNumbers(maximum: 1)
        numbers.release(1)
        numbers.release(9)
        #expect(numbers.allocate() == 1)
        #expect(numbers.allocate() == nil)
    }

    @Test func withNoNumbersThereIsNone() {
        var numbers = ChannelNumbers(maximum: 0)
        #expect(numbers.allocate() == nil)
    }
}

@Suite struct DeadlineQueueTests {
    private func at(_ nanoseconds: UInt64) -> NIODeadline { .uptimeNanoseconds(nanoseconds) }

    @Test func whatIsDueComesOutInTheOrderOfTime() {
        var queue = DeadlineQueue<String>()
        _ = queue.insert("c", at: self.at(30))
        _ = queue.insert("a", at: self.at(10))
        _ = queue.insert("b", at: self.at(20))
        #expect(queue.nextDeadline() == self.at(10))
        #expect(queue.popExpired(now: self.at(9)).isEmpty)
        #expect(queue.popExpired(now: self.at(20)) == ["a", "b"])
        #expect(queue.popExpired(now: self.at(20)).isEmpty)
        #expect(queue.nextDeadline() == self.at(30))
        #expect(queue.count == 1)
    }

    @Test func equalDeadlinesComeOutInTheOrderOfInsertion() {
        var queue = DeadlineQueue<Int>()
        for number in 0..<100 { _ = queue.insert(number, at: self.at(5)) }
        #expect(queue.popExpired(now: self.at(5)) == Array(0..<100))
    }

    @Test func whatWasRemovedDoesNotComeOut() {
        var queue = DeadlineQueue<String>()
        let first = queue.insert("a", at: self.at(1))
        _ = queue.insert("b", at: self.at(2))
        #expect(queue.remove(first) == "a")
        #expect(queue.remove(first) == nil)
        #expect(queue.nextDeadline() == self.at(2))
        #expect(queue.popExpired(now: self.at(9)) == ["b"])
        #expect(queue.remove(first) == nil)
        #expect(queue.nextDeadline() == nil)
    }

    @Test func whatWasRemovedDoesNotPileUp() {
        var queue = DeadlineQueue<Int>()
        _ = queue.insert(-1, at: self.at(1_000_000))
        for number in 0..<100_000 as Range<UInt64> { queue.remove(queue.insert(Int(number), at: self.at(number))) }
        #expect(queue.count == 1)
        #expect(queue.storedCount <= 70)
    }

    @Test func aHundredThousandAreServedAndHalfOfThemTakenBack() {
        var random = SeededGenerator(seed: 1)
        var queue = DeadlineQueue<UInt64>()
        var live: [UInt64] = []
        for _ in 0..<100_000 {
            let deadline = UInt64.random(in: 0..<1_000_000, using: &random)
            let id = queue.insert(deadline, at: self.at(deadline))
            if Bool.random(using: &random) { queue.remove(id) } else { live.append(deadline) }
        }
        #expect(queue.count == live.count)
        var out: [UInt64] = []
        while let next = queue.nextDeadline() { out += queue.popExpired(now: next) }
        #expect(out == live.sorted())
        #expect(queue.storedCount == 0)
    }
}
