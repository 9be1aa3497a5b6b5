// SPDX-License-Identifier: Apache-2.0
import TestSupport
import Testing

@_spi(HareDo) @testable import AMQPClient

/// What a waiter was told, in a form that can be compared.
private enum Told: Equatable {
    case acked(Int)
    case nacked(Int)
    case returned(Int, UInt16)

    init(_ pair: (Int, ConfirmTracker<Int>.Outcome)) {
        self =
            switch pair.1 {
            case .acked: .acked(pair.0)
            case .nacked: .nacked(pair.0)
            case .returned(let reply): .returned(pair.0, reply.code)
            }
    }

    var waiter: Int {
        switch self {
        case .acked(let waiter), .nacked(let waiter), .returned(let waiter, _): waiter
        }
    }
}

extension ConfirmTracker<Int> {
    fileprivate mutating func told(_ tag: UInt64, multiple: Bool = false, acked: Bool = true) -> [Told] {
        self.confirmed(tag: tag, multiple: multiple, acked: acked).map(Told.init)
    }

    fileprivate static func publishing(_ count: Int) -> Self {
        var tracker = Self()
        for waiter in 0..<count { tracker.published(waiter + 1) }
        return tracker
    }
}

@Suite struct ConfirmTrackerTests {
    private let noRoute = AMQPError.Reply(code: 312, text: "NO_ROUTE")

    @Test func tagsCountFromOneInOrder() {
        var tracker = ConfirmTracker<Int>()
        #expect(tracker.nextTag == 1)
        #expect(tracker.published(7) == 1)
        #expect(tracker.published(nil) == 2)
        #expect(tracker.published(8) == 3)
        _ = tracker.told(1)
        #expect(tracker.published(9) == 4)
        #expect(tracker.outstanding == 3)
    }

    @Test func confirmsMayComeOutOfOrder() {
        var tracker = ConfirmTracker.publishing(4)
        #expect(tracker.told(3) == [.acked(3)])
        #expect(tracker.told(1) == [.acked(1)])
        #expect(tracker.told(4, acked: false) == [.nacked(4)])
        #expect(tracker.outstanding == 3)
        #expect(tracker.told(2) == [.acked(2)])
        #expect(tracker.outstanding == 0)
        #expect(tracker.nextTag == 5)
    }

    @Test func multipleConfirmsAllBeforeItAndNobodyTwice() {
        var tracker = ConfirmTracker.publishing(5)
        #expect(tracker.told(2) == [.acked(2)])
        #expect(tracker.told(4, multiple: true, acked: false) == [.nacked(1), .nacked(3), .nacked(4)])
        #expect(tracker.told(4, multiple: true).isEmpty)
        #expect(tracker.told(5) == [.acked(5)])
    }

    @Test func multipleWithTagZeroIsForAll() {
        var tracker = ConfirmTracker.publishing(3)
        #expect(tracker.told(0, multiple: true) == [.acked(1), .acked(2), .acked(3)])
        #expect(tracker.told(0, multiple: true).isEmpty)
        #expect(tracker.nextTag == 4)
    }

    @Test(arguments: [(0, false), (4, false), (.max, false), (1, true)] as [(UInt64, Bool)])
    func unknownAndRepeatedTagsAreIgnored(tag: UInt64, isRepeated: Bool) {
        var tracker = ConfirmTracker.publishing(3)
        if isRepeated { _ = tracker.told(tag) }
        #expect(tracker.told(tag).isEmpty)
        #expect(tracker.failAll() == (isRepeated ? [2, 3] : [1, 2, 3]))
    }

    @Test func aMultipleBeyondTheLastTagIsForAll() {
        var tracker = ConfirmTracker.publishing(2)
        #expect(tracker.told(.max, multiple: true) == [.acked(1), .acked(2)])
        #expect(tracker.published(3) == 3)
    }

    @Test func aReturnedMessageIsReportedWithItsAck() {
        var tracker = ConfirmTracker<Int>()
        tracker.published(1, mandatory: .init("a"))
        tracker.published(2, mandatory: .init("b"))
        tracker.returned(.init("b"), reply: self.noRoute)
        #expect(tracker.told(2, multiple: true) == [.acked(1), .returned(2, 312)])
    }

    @Test func aReturnedMessageThatIsNackedCountsAsNacked() {
        var tracker = ConfirmTracker<Int>()
        tracker.published(1, mandatory: .init("a"))
        tracker.returned(.init("a"), reply: self.noRoute)
        #expect(tracker.told(1, acked: false) == [.nacked(1)])
    }

    @Test(arguments: ["silent", "unknown"]) func aReturnNobodyWaitsForIsIgnored(messageID: String) {
        var tracker = ConfirmTracker<Int>()
        tracker.published(1, mandatory: .init("a"))
        tracker.published(nil, mandatory: .init("silent"))
        tracker.returned(.init(messageID), reply: self.noRoute)
        #expect(tracker.told(0, multiple: true) == [.acked(1)])
    }

    @Test func ofMessagesWithTheSameIDTheOneThatCameBackIsReported() {
        var tracker = ConfirmTracker<Int>()
        tracker.published(1, mandatory: .init("same", routingKey: "somewhere"))
        tracker.published(2, mandatory: .init("same", routingKey: "nowhere"))
        tracker.returned(.init("same", routingKey: "nowhere"), reply: self.noRoute)
        #expect(tracker.told(2) == [.returned(2, 312)])
        #expect(tracker.told(1) == [.acked(1)])
    }

    @Test func theReturnOfAMessageNobodyWaitsForIsNotAnothers() {
        var tracker = ConfirmTracker<Int>()
        tracker.published(nil, mandatory: .init("same"))
        tracker.published(2, mandatory: .init("same"))
        tracker.returned(.init("same"), reply: self.noRoute)
        #expect(tracker.told(0, multiple: true) == [.acked(2)])
    }

    @Test func messagesWithTheSameIDAreReturnedOneByOne() {
        var tracker = ConfirmTracker<Int>()
        tracker.published(1, mandatory: .init("same"))
        tracker.published(2, mandatory: .init("same"))
        tracker.returned(.init("same"), reply: self.noRoute)
        #expect(tracker.told(1) == [.returned(1, 312)])
        tracker.returned(.init("same"), reply: self.noRoute)
        #expect(tracker.told(2) == [.returned(2, 312)])
    }

    @Test func everybodyIsFailedOnceAndCountingStartsAgain() {
        var tracker = ConfirmTracker.publishing(4)
        _ = tracker.told(2)
        #expect(tracker.failAll() == [1, 3, 4])
        #expect(tracker.failAll().isEmpty)
        #expect(tracker.nextTag == 1)
    }

    @Test(arguments: 0..<50) func aRandomWalkTellsEverybodyOnce(seed: UInt64) {
        var random = SeededGenerator(seed: seed)
        var tracker = ConfirmTracker<Int>()
        var accepted: [Int] = []
        var told: [Int] = []
        var expectedTag: UInt64 = 1
        for step in 0..<400 {
            switch UInt8.random(in: 0..<10, using: &random) {
            case 0..<5:
                let isSilent = Bool.random(using: &random)
                let messageID = Bool.random(using: &random) ? "m\(step % 7)" : nil
                #expect(tracker.published(isSilent ? nil : step, mandatory: messageID.map { .init($0) }) == expectedTag)
                if !isSilent { accepted.append(step) }
                expectedTag += 1
            case 5:
                tracker.returned(.init("m\(UInt8.random(in: 0..<9, using: &random))"), reply: self.noRoute)
            default:
                let tag = UInt64.random(in: 0...(expectedTag + 2), using: &random)
                let multiple = UInt8.random(in: 0..<6, using: &random) == 0
                told += tracker.told(tag, multiple: multiple, acked: Bool.random(using: &random)).map(\.waiter)
            }
        }
        told += tracker.failAll()
        #expect(told.sorted() == accepted, "seed \(seed)")
    }
}
