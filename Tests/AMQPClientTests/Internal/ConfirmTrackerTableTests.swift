// SPDX-License-Identifier: Apache-2.0
import Testing

@_spi(HareDo) @testable import AMQPClient

/// Counts how often it was told something.
private final class CountingWaiter: Sendable, Equatable {
    let number: Int
    init(_ number: Int) { self.number = number }
    static func == (left: CountingWaiter, right: CountingWaiter) -> Bool { left === right }
}

/// Drives a tracker and keeps account of everybody who was let in.
private struct Ledger {
    var tracker = ConfirmTracker<CountingWaiter>()
    private(set) var accepted: [CountingWaiter] = []
    /// How often each was told, by number.
    private(set) var told: [Int: Int] = [:]
    /// Tags given out since counting began.
    private(set) var published: UInt64 = 0

    mutating func publish(waiting: Bool = true, messageID: String? = nil) {
        var waiter: CountingWaiter?
        if waiting {
            let made = CountingWaiter(self.accepted.count)
            self.accepted.append(made)
            waiter = made
        }
        self.published += 1
        #expect(self.tracker.published(waiter, mandatory: messageID.map { MandatoryMessage($0) }) == self.published)
    }

    mutating func confirm(_ tag: UInt64, multiple: Bool = false, acked: Bool = true) {
        for (waiter, _) in self.tracker.confirmed(tag: tag, multiple: multiple, acked: acked) {
            self.told[waiter.number, default: 0] += 1
        }
    }

    mutating func comeBack(_ messageID: String, routingKey: String = "q") {
        self.tracker.returned(
            MandatoryMessage(messageID, routingKey: routingKey), reply: .init(code: 312, text: "NO_ROUTE"))
    }

    mutating func fail() {
        for waiter in self.tracker.failAll() { self.told[waiter.number, default: 0] += 1 }
        self.published = 0
    }

    /// Nobody was told twice, and the tracker's count agrees with who still waits.
    func expectSound(_ comment: Comment, sourceLocation: SourceLocation = #_sourceLocation) {
        #expect(self.told.values.allSatisfy { $0 == 1 }, comment, sourceLocation: sourceLocation)
        #expect(self.tracker.nextTag == self.published + 1, comment, sourceLocation: sourceLocation)
        #expect(
            self.tracker.outstanding >= self.accepted.count - self.told.count, comment, sourceLocation: sourceLocation)
    }

    func expectAllTold(_ comment: Comment, sourceLocation: SourceLocation = #_sourceLocation) {
        for waiter in self.accepted {
            #expect(self.told[waiter.number] == 1, comment, sourceLocation: sourceLocation)
        }
        #expect(self.told.count == self.accepted.count, comment, sourceLocation: sourceLocation)
        #expect(self.tracker.outstanding == 0, comment, sourceLocation: sourceLocation)
    }
}

extension MandatoryMessage {
    init(_ id: String, routingKey: String = "q") { self.init(id: id, exchange: "", routingKey: routingKey) }
}

/// States that a tracker can be in.
private enum TrackerState: String, CaseIterable {
    case nothingPublished, oneWaits, threeWait, silentOne, silentBetween, secondOfThreeDone, lastOfThreeDone
    case mandatoryWaits, mandatorySilent, mandatoryReturned, sameIDTwice, sameIDTwiceOneReturned
    case mandatoryConfirmedOutOfOrder, allConfirmed, allRefused, failed, failedAndPublishedAgain

    func prepare() -> Ledger {
        var ledger = Ledger()
        switch self {
        case .nothingPublished: break
        case .oneWaits: ledger.publish()
        case .threeWait: for _ in 0..<3 { ledger.publish() }
        case .silentOne: ledger.publish(waiting: false)
        case .silentBetween:
            ledger.publish()
            ledger.publish(waiting: false)
            ledger.publish()
        case .secondOfThreeDone:
            for _ in 0..<3 { ledger.publish() }
            ledger.confirm(2)
        case .lastOfThreeDone:
            for _ in 0..<3 { ledger.publish() }
            ledger.confirm(3, acked: false)
        case .mandatoryWaits: ledger.publish(messageID: "m")
        case .mandatorySilent: ledger.publish(waiting: false, messageID: "m")
        case .mandatoryReturned:
            ledger.publish(messageID: "m")
            ledger.comeBack("m")
        case .sameIDTwice: for _ in 0..<2 { ledger.publish(messageID: "m") }
        case .sameIDTwiceOneReturned:
            for _ in 0..<2 { ledger.publish(messageID: "m") }
            ledger.comeBack("m")
        case .mandatoryConfirmedOutOfOrder:
            ledger.publish()
            ledger.publish(messageID: "m")
            ledger.confirm(2)
        case .allConfirmed:
            for _ in 0..<2 { ledger.publish() }
            ledger.confirm(2, multiple: true)
        case .allRefused:
            for _ in 0..<2 { ledger.publish() }
            ledger.confirm(0, multiple: true, acked: false)
        case .failed:
            for _ in 0..<2 { ledger.publish(messageID: "m") }
            ledger.fail()
        case .failedAndPublishedAgain:
            for _ in 0..<2 { ledger.publish(messageID: "m") }
            ledger.comeBack("m")
            ledger.fail()
            ledger.publish(messageID: "m")
        }
        return ledger
    }
}

/// What can happen to a tracker.
private enum TrackerEvent: String, CaseIterable {
    case publish, publishSilently, publishMandatory, publishMandatorySilently
    case ackFirst, ackSecond, ackThird, ackZero, ackBeyond, ackLargest
    case nackFirst, nackSecond, nackThird
    case ackUpToSecond, ackAll, ackAllBeyond, nackUpToFirst, nackUpToSecond, nackAll
    case returnKnown, returnUnknown, returnFromElsewhere, failAll

    func happen(to ledger: inout Ledger) {
        switch self {
        case .publish: ledger.publish()
        case .publishSilently: ledger.publish(waiting: false)
        case .publishMandatory: ledger.publish(messageID: "m")
        case .publishMandatorySilently: ledger.publish(waiting: false, messageID: "m")
        case .ackFirst: ledger.confirm(1)
        case .ackSecond: ledger.confirm(2)
        case .ackThird: ledger.confirm(3)
        case .ackZero: ledger.confirm(0)
        case .ackBeyond: ledger.confirm(9)
        case .ackLargest: ledger.confirm(.max)
        case .nackFirst: ledger.confirm(1, acked: false)
        case .nackSecond: ledger.confirm(2, acked: false)
        case .nackThird: ledger.confirm(3, acked: false)
        case .ackUpToSecond: ledger.confirm(2, multiple: true)
        case .ackAll: ledger.confirm(0, multiple: true)
        case .ackAllBeyond: ledger.confirm(.max, multiple: true)
        case .nackUpToFirst: ledger.confirm(1, multiple: true, acked: false)
        case .nackUpToSecond: ledger.confirm(2, multiple: true, acked: false)
        case .nackAll: ledger.confirm(0, multiple: true, acked: false)
        case .returnKnown: ledger.comeBack("m")
        case .returnUnknown: ledger.comeBack("other")
        case .returnFromElsewhere: ledger.comeBack("m", routingKey: "elsewhere")
        case .failAll: ledger.fail()
        }
    }
}

/// Every state against every event, and against every pair of events: each waiter let in is told once.
@Suite struct ConfirmTrackerTableTests {
    @Test(arguments: TrackerState.allCases, TrackerEvent.allCases)
    private func everybodyIsToldOnceByTheEnd(in state: TrackerState, after event: TrackerEvent) {
        var ledger = state.prepare()
        event.happen(to: &ledger)
        ledger.expectSound("\(state) \(event)")
        ledger.fail()
        ledger.expectAllTold("\(state) \(event)")
        ledger.fail()
        ledger.expectAllTold("\(state) \(event), failed twice")
    }

    @Test(arguments: TrackerState.allCases, TrackerEvent.allCases)
    private func everybodyIsToldOnceByConfirms(in state: TrackerState, after event: TrackerEvent) {
        for next in TrackerEvent.allCases {
            var ledger = state.prepare()
            event.happen(to: &ledger)
            next.happen(to: &ledger)
            ledger.expectSound("\(state) \(event) \(next)")
            // The broker answers for all, one by one and backwards, and then says so again.
            for tag in (1...max(ledger.published, 1)).reversed() { ledger.confirm(tag) }
            ledger.expectAllTold("\(state) \(event) \(next)")
            for tag in 0...(ledger.published + 1) { ledger.confirm(tag, multiple: true, acked: false) }
            ledger.expectAllTold("\(state) \(event) \(next), confirmed twice")
        }
    }

    @Test(arguments: TrackerState.allCases)
    private func afterAFailureNothingOfBeforeIsLeft(in state: TrackerState) {
        var ledger = state.prepare()
        ledger.fail()
        // A return of before, and a confirm of before, are not for what is published now.
        ledger.comeBack("m")
        ledger.publish(messageID: "m")
        ledger.confirm(2)
        let outcome = ledger.tracker.confirmed(tag: 1, multiple: false, acked: true)
        #expect(outcome.count == 1)
        if case .acked? = outcome.first?.1 {} else { Issue.record("not acked, in \(state)") }
    }
}
