// SPDX-License-Identifier: Apache-2.0
import TestSupport
import Testing

@_spi(HareDo) @testable import AMQPClient

/// Somebody who waits, and how often it was told.
private final class Counted {
    let name: String
    var told = 0
    init(_ name: String) { self.name = name }
}

private typealias Machine = ConnectionMachine<Counted>

/// The machine with everybody it accepted, told as the connection tells them.
private struct Driver {
    var machine = Machine()
    var accepted: [Counted] = []
    private var lastID: UInt64 = 0

    private mutating func waiter(_ name: String) -> Counted { Counted(name) }

    private func tell(_ waiters: [Counted]) { for waiter in waiters { waiter.told += 1 } }

    /// - Returns: what came of it.
    @discardableResult
    mutating func handle(_ event: Event) -> String {
        switch event {
        case .connect:
            let waiter = Counted("connect")
            switch self.machine.connect(waiter) {
            case .start:
                self.accepted.append(waiter)
                return "start"
            case .refuse: return "refuse"
            }
        case .established:
            switch self.machine.established() {
            case .opened(let waiter):
                self.tell([waiter])
                return "opened"
            case .restore(let waiter):
                self.tell([waiter])
                return "restore"
            case .ignore: return "ignore"
            }
        case .restored:
            guard let waiters = self.machine.restored() else { return "ignore" }
            self.tell(waiters)
            return "open"
        case .lost, .lostForGood:
            let error = AMQPError(.connectionClosed, "lost", origin: .peer)
            switch self.machine.lost(error, recovers: event == .lost) {
            case .ignore: return "ignore"
            case .attemptFailed(let waiter):
                self.tell([waiter])
                return "attempt failed"
            case .recover: return "recover"
            case .interrupted: return "interrupted"
            case .ended(let resolutions):
                self.tell(resolutions.map(\.waiter))
                return "ended"
            }
        case .wait:
            self.lastID += 1
            let waiter = Counted("wait")
            switch self.machine.waitUntilOpen(waiter, id: self.lastID) {
            case .ready: return "ready"
            case .waiting:
                self.accepted.append(waiter)
                return "waiting"
            case .refuse: return "refuse"
            }
        case .giveUp:
            guard let waiter = self.machine.abandon(id: self.lastID) else { return "ignore" }
            self.tell([waiter])
            return "abandoned"
        case .close:
            switch self.machine.close() {
            case .send(let resolutions):
                self.tell(resolutions.map(\.waiter))
                return "send"
            case .wait: return "wait"
            case .ended(let resolutions):
                self.tell(resolutions.map(\.waiter))
                return "ended"
            }
        case .waitForEnd:
            let waiter = Counted("end")
            guard self.machine.waitForEnd(waiter) else { return "over" }
            self.accepted.append(waiter)
            return "waiting"
        case .end:
            guard let resolutions = self.machine.ended(AMQPError(.connectionClosed, "over")) else { return "ignore" }
            self.tell(resolutions.map(\.waiter))
            return "ended"
        }
    }
}

private enum Event: CaseIterable {
    case connect, established, restored, lost, lostForGood, wait, giveUp, close, waitForEnd, end
}

/// Every state, with the events that lead there.
private enum Place: CaseIterable {
    case idle, connecting, open, lost, reconnecting, restoring, closing, closed

    var path: [Event] {
        switch self {
        case .idle: []
        case .connecting: [.connect]
        case .open: [.connect, .established]
        case .lost: [.connect, .established, .lost, .wait]
        case .reconnecting: [.connect, .established, .lost, .wait, .connect, .wait]
        case .restoring: [.connect, .established, .lost, .wait, .connect, .established, .wait]
        case .closing: [.connect, .established, .close, .waitForEnd]
        case .closed: [.connect, .established, .end]
        }
    }

    /// What each event has to lead to, in the order of ``Event``.
    var outcomes: [String] {
        switch self {
        case .idle:
            [
                "start", "ignore", "ignore", "ignore", "ignore", "refuse", "ignore", "ended", "waiting", "ended",
            ]
        case .connecting:
            [
                "refuse", "opened", "ignore", "attempt failed", "attempt failed", "refuse", "ignore", "ended",
                "waiting", "ended",
            ]
        case .open:
            [
                "refuse", "ignore", "ignore", "recover", "ended", "ready", "ignore", "send", "waiting", "ended",
            ]
        case .lost:
            [
                "start", "ignore", "ignore", "ignore", "ignore", "waiting", "abandoned", "ended", "waiting", "ended",
            ]
        case .reconnecting:
            [
                "refuse", "restore", "ignore", "attempt failed", "attempt failed", "waiting", "abandoned", "ended",
                "waiting", "ended",
            ]
        case .restoring:
            [
                "refuse", "ignore", "open", "interrupted", "ended", "waiting", "abandoned", "send", "waiting", "ended",
            ]
        case .closing:
            [
                "refuse", "ignore", "ignore", "ended", "ended", "refuse", "ignore", "wait", "waiting", "ended",
            ]
        case .closed:
            [
                "refuse", "ignore", "ignore", "ignore", "ignore", "refuse", "ignore", "ended", "over", "ignore",
            ]
        }
    }
}

@Suite struct ConnectionMachineTests {
    @Test(arguments: Place.allCases)
    private func everyEventInEveryStateDoesWhatItShould(in place: Place) {
        for (event, expected) in zip(Event.allCases, place.outcomes) {
            var driver = Driver()
            for step in place.path { driver.handle(step) }
            #expect(driver.handle(event) == expected, "\(event) in \(place)")
        }
    }

    @Test(arguments: Place.allCases, Event.allCases)
    private func everybodyIsToldOnce(in place: Place, after event: Event) {
        // Whatever follows, until the end.
        for last in Event.allCases {
            var driver = Driver()
            for step in place.path { driver.handle(step) }
            driver.handle(event)
            driver.handle(last)
            driver.handle(.end)
            #expect(driver.machine.end != nil)
            for waiter in driver.accepted {
                #expect(waiter.told == 1, "\(waiter.name) in \(place) after \(event), \(last)")
            }
        }
    }

    @Test(arguments: 0..<50)
    func aRandomWalkForgetsNobody(seed: UInt64) {
        var generator = SeededGenerator(seed: seed)
        var driver = Driver()
        for _ in 0..<200 {
            // The end comes seldom, or every walk would be short.
            let events = Event.allCases.filter {
                ![.end, .lostForGood, .close].contains($0) || Int.random(in: 0..<40, using: &generator) == 0
            }
            guard let event = events.randomElement(using: &generator) else { continue }
            driver.handle(event)
        }
        driver.handle(.end)
        for waiter in driver.accepted { #expect(waiter.told == 1, "\(waiter.name)") }
    }

    @Test func closingWinsOverARecovery() {
        for place in [Place.lost, .reconnecting] {
            var driver = Driver()
            for step in place.path { driver.handle(step) }
            #expect(driver.handle(.close) == "ended")
            #expect(driver.machine.end?.origin == .local)
            // What was underway finds nobody.
            #expect(driver.handle(.established) == "ignore" && driver.handle(.restored) == "ignore")
        }
    }
}
