// SPDX-License-Identifier: Apache-2.0
import AMQPWire
import TestSupport
import Testing

@_spi(HareDo) @testable import AMQPClient

/// Drives a machine and keeps account of its waiters.
private struct Driver {
    var machine = ChannelMachine<Int>()
    private(set) var accepted: [Int] = []
    private(set) var left: [Int] = []
    private(set) var written: [AMQPMethod] = []
    private var last = 0

    static let error = AMQPError(.connectionClosed, "gone")

    @discardableResult
    mutating func request(_ method: AMQPMethod = .queuePurge(.init(queue: "q"))) -> UInt64 {
        self.last += 1
        switch self.machine.request(id: UInt64(self.last), method, waiter: self.last) {
        case .send(let method):
            self.written.append(method)
            self.accepted.append(self.last)
        case .queued: self.accepted.append(self.last)
        case .refuse: break
        }
        return UInt64(self.last)
    }

    @discardableResult
    mutating func reply(_ id: AMQPMethodID = .queuePurgeOk) -> ChannelMachine<Int>.OnReply {
        let action = self.machine.replied(id)
        if case .matched(let request, let next) = action {
            if let waiter = request.waiter { self.left.append(waiter) }
            if let next { self.written.append(next) }
        }
        return action
    }

    mutating func withdraw(_ id: UInt64) {
        let (waiter, next) = self.machine.withdraw(id: id)
        if let waiter { self.left.append(waiter) }
        if let next { self.written.append(next) }
    }

    mutating func withdrawInFlight() {
        let (waiter, next) = self.machine.withdrawInFlight()
        if let waiter { self.left.append(waiter) }
        if let next { self.written.append(next) }
    }

    mutating func abandon(_ id: UInt64) {
        if let waiter = self.machine.abandon(id: id) { self.left.append(waiter) }
    }

    @discardableResult
    mutating func close(waiting: Bool = true) -> Bool {
        self.last += 1
        switch self.machine.close(waiter: waiting ? self.last : nil) {
        case .send(let failing):
            if waiting { self.accepted.append(self.last) }
            self.left += failing
            return true
        case .done: return false
        }
    }

    mutating func closedOk() {
        if let waiter = self.machine.closedOk() { self.left.append(waiter) }
    }

    @discardableResult
    mutating func peerClosed() -> Bool {
        let (ends, failing) = self.machine.peerClosed(AMQPError(.channelClosed, "404"))
        self.left += failing
        return ends
    }

    mutating func connectionEnded() { self.left += self.machine.connectionEnded(Self.error) }

    /// Everybody who was let in has left exactly once, when the connection has ended.
    func expectAllLeft(_ comment: Comment? = nil, sourceLocation: SourceLocation = #_sourceLocation) {
        #expect(self.left.sorted() == self.accepted, comment, sourceLocation: sourceLocation)
    }
}

private enum Situation: CaseIterable {
    case idle, inFlight, inFlightAndQueued, tombstone, tombstoneAndQueued
    case closing, closingSilently, closedByUs, closedByPeer, connectionEnded

    func prepare() -> Driver {
        var driver = Driver()
        switch self {
        case .idle: break
        case .inFlight: driver.request()
        case .inFlightAndQueued:
            driver.request()
            driver.request()
        case .tombstone: driver.abandon(driver.request())
        case .tombstoneAndQueued:
            let id = driver.request()
            driver.request()
            driver.abandon(id)
        case .closing:
            driver.request()
            driver.close()
        case .closingSilently: driver.close(waiting: false)
        case .closedByUs:
            driver.close()
            driver.closedOk()
        case .closedByPeer:
            driver.request()
            driver.peerClosed()
        case .connectionEnded:
            driver.request()
            driver.connectionEnded()
        }
        return driver
    }

    var isOpen: Bool {
        switch self {
        case .idle, .inFlight, .inFlightAndQueued, .tombstone, .tombstoneAndQueued: true
        case .closing, .closingSilently, .closedByUs, .closedByPeer, .connectionEnded: false
        }
    }
    var isClosing: Bool { self == .closing || self == .closingSilently }
    var awaitsReply: Bool { self.isOpen && self != .idle }
}

private enum Event: CaseIterable {
    case request, rightReply, wrongReply, withdraw, withdrawInFlight, abandonFirst, abandonSecond, abandonUnknown
    case close, closeSilently, closedOk, peerClosed, connectionEnded

    func happen(to driver: inout Driver) {
        switch self {
        case .request: driver.request()
        case .rightReply: driver.reply()
        case .wrongReply: driver.reply(.queueDeclareOk)
        case .withdraw: driver.withdraw(1)
        case .withdrawInFlight: driver.withdrawInFlight()
        case .abandonFirst: driver.abandon(1)
        case .abandonSecond: driver.abandon(2)
        case .abandonUnknown: driver.abandon(99)
        case .close: driver.close()
        case .closeSilently: driver.close(waiting: false)
        case .closedOk: driver.closedOk()
        case .peerClosed: driver.peerClosed()
        case .connectionEnded: driver.connectionEnded()
        }
    }
}

@Suite struct ChannelMachineTests {
    @Test(arguments: Situation.allCases, Event.allCases)
    private func everyWaiterLeavesOnce(in situation: Situation, after event: Event) {
        var driver = situation.prepare()
        event.happen(to: &driver)
        driver.connectionEnded()
        driver.expectAllLeft()
        #expect(driver.machine.failure != nil)
        // And once more, for those that would leave twice.
        driver.connectionEnded()
        driver.expectAllLeft()
    }

    @Test(arguments: Situation.allCases, Event.allCases)
    private func everyWaiterLeavesOnceAfterTwoEvents(in situation: Situation, after event: Event) {
        for next in Event.allCases {
            var driver = situation.prepare()
            event.happen(to: &driver)
            next.happen(to: &driver)
            // However it ends: by the broker's answers alone, or with the connection.
            var answered = driver
            for _ in 0..<4 { answered.reply() }
            answered.close(waiting: false)
            answered.closedOk()
            for ended in [driver, answered] {
                var ended = ended
                ended.connectionEnded()
                ended.expectAllLeft("\(situation), \(event), \(next)")
            }
        }
    }

    @Test(arguments: Situation.allCases)
    private func onlyAnOpenChannelTakesRequests(in situation: Situation) {
        var driver = situation.prepare()
        switch driver.machine.request(id: 50, .basicQos(.init(prefetchSize: 0, prefetchCount: 1)), waiter: 50) {
        case .send: #expect(situation == .idle)
        case .queued: #expect(situation.awaitsReply)
        case .refuse: #expect(!situation.isOpen)
        }
    }

    @Test(arguments: Situation.allCases)
    private func repliesAreMatchedAndNothingElse(in situation: Situation) {
        var driver = situation.prepare()
        switch driver.reply() {
        case .matched(let request, let next):
            #expect(situation.awaitsReply)
            #expect(request.id == 1)
            #expect((request.waiter == nil) == (situation == .tombstone || situation == .tombstoneAndQueued))
            #expect((next != nil) == (situation == .inFlightAndQueued || situation == .tombstoneAndQueued))
        case .violation: #expect(situation == .idle)
        case .ignore: #expect(!situation.isOpen)
        }
    }

    @Test(arguments: Situation.allCases)
    private func aReplyToSomethingElseIsAViolation(in situation: Situation) {
        var driver = situation.prepare()
        switch driver.reply(.exchangeDeclareOk) {
        case .matched: Issue.record("matched")
        case .violation(let error):
            #expect(situation.isOpen)
            #expect(error.code == .protocolViolation)
        case .ignore: #expect(!situation.isOpen)
        }
    }

    @Test(arguments: Situation.allCases)
    private func closingIsSentOnceAndOnlyFromOpen(in situation: Situation) {
        var driver = situation.prepare()
        #expect(driver.close() == situation.isOpen)
        #expect(driver.close() == false)
    }

    @Test(arguments: Situation.allCases)
    private func thePeersCloseEndsAnOpenChannelOnly(in situation: Situation) {
        var driver = situation.prepare()
        #expect(driver.peerClosed() == situation.isOpen)
    }

    @Test func methodsGoOutOneAtATimeInOrder() {
        var driver = Driver()
        let methods: [AMQPMethod] = [
            .queuePurge(.init(queue: "a")), .queuePurge(.init(queue: "b")), .queuePurge(.init(queue: "c")),
        ]
        for method in methods { driver.request(method) }
        #expect(driver.written == [methods[0]])
        driver.reply()
        #expect(driver.written == Array(methods[...1]))
        driver.reply()
        driver.reply()
        #expect(driver.written == methods)
        #expect(driver.left == [1, 2, 3])
    }

    @Test func theReplyOfATombstoneIsForNobodyAndTheNextCallerGetsItsOwn() {
        var driver = Driver()
        let first = driver.request()
        driver.request()
        driver.abandon(first)
        #expect(driver.written.count == 1)
        #expect(driver.machine.isPending(id: first))
        driver.reply()
        #expect(driver.left == [1])
        #expect(driver.written.count == 2)
        driver.reply()
        #expect(driver.left == [1, 2])
    }

    @Test func whatIsAbandonedInTheQueueIsNeverSent() {
        var driver = Driver()
        driver.request(.queuePurge(.init(queue: "a")))
        let second = driver.request(.queuePurge(.init(queue: "b")))
        driver.request(.queuePurge(.init(queue: "c")))
        driver.abandon(second)
        #expect(!driver.machine.isPending(id: second))
        driver.reply()
        driver.reply()
        #expect(driver.written == [.queuePurge(.init(queue: "a")), .queuePurge(.init(queue: "c"))])
    }

    @Test func withdrawingWhatIsInFlightGivesWayToTheNext() {
        var driver = Driver()
        let first = driver.request(.queuePurge(.init(queue: "a")))
        driver.request(.queuePurge(.init(queue: "b")))
        driver.withdraw(first)
        #expect(driver.written.last == .queuePurge(.init(queue: "b")))
        #expect(driver.left == [1])
        #expect(driver.machine.isPending(id: 2))
    }

    @Test func crossingClosesWaitForTheAnswerToOurs() {
        var driver = Driver()
        driver.close()
        #expect(driver.peerClosed() == false)
        #expect(driver.left.isEmpty)
        driver.closedOk()
        #expect(driver.left == [1])
        #expect(driver.machine.failure?.code == .channelClosed)
    }

    @Test func anUnaskedCloseOkChangesNothing() {
        var driver = Driver()
        driver.request()
        driver.closedOk()
        #expect(driver.machine.failure == nil)
        driver.reply()
        #expect(driver.left == [1])
    }

    @Test func whyAChannelEndedStays() {
        var driver = Driver()
        driver.peerClosed()
        driver.connectionEnded()
        #expect(driver.machine.failure?.message == "404")
    }

    @Test(arguments: 0..<50) func aRandomWalkLosesNobody(seed: UInt64) {
        var random = SeededGenerator(seed: seed)
        var driver = Driver()
        for _ in 0..<200 {
            switch UInt8.random(in: 0..<20, using: &random) {
            case 0..<7: driver.request()
            case 7..<12: driver.reply()
            case 12: driver.reply(.basicQosOk)
            case 13..<16: driver.abandon(.random(in: 0...60, using: &random))
            case 16: driver.withdraw(.random(in: 0...60, using: &random))
            case 17: driver.withdrawInFlight()
            case 18: if Bool.random(using: &random) { driver.closedOk() }
            default:
                switch UInt8.random(in: 0..<30, using: &random) {
                case 0: driver.close()
                case 1: driver.close(waiting: false)
                case 2: driver.peerClosed()
                default: break
                }
            }
        }
        driver.connectionEnded()
        driver.expectAllLeft("seed \(seed)")
    }

    @Test func everySynchronousMethodOfOursHasItsReply() {
        #expect(AMQPMethod.basicGet(.init(queue: "q")).replies == [.basicGetOk, .basicGetEmpty])
        #expect(AMQPMethod.confirmSelect(.init()).replies == [.confirmSelectOk])
        #expect(AMQPMethod.txCommit(.init()).replies == [.txCommitOk])
        #expect(AMQPMethod.basicAck(.init(deliveryTag: 1)).replies.isEmpty)
    }
}
