// SPDX-License-Identifier: Apache-2.0
import DequeModule

/// Who may enter a plugin, and who waits for it; until it is closed. Generic over whoever waits.
struct PluginGate<Waiter> {
    enum Entry {
        case entered
        case wait(Waiter)
        /// Too many wait.
        case refused
        /// It was unloaded or replaced: look for another one.
        case closed
    }

    private let limits: PluginLimits
    private var waiting = Deque<Waiter>()
    private var isClosed = false
    private(set) var inFlight = 0
    /// Who waits for the last to leave.
    private var closers: [Waiter] = []

    init(_ limits: PluginLimits) { self.limits = limits }

    /// - Parameters:
    ///   - isStale: of those who wait, whether they have given up.
    ///   - waiter: is made only if it has to wait.
    mutating func enter(isStale: (Waiter) -> Bool, _ waiter: () -> Waiter) -> Entry {
        guard !self.isClosed else { return .closed }
        guard self.inFlight >= self.limits.inFlight else {
            self.inFlight += 1
            return .entered
        }
        if self.waiting.count >= self.limits.waiting { self.waiting.removeAll(where: isStale) }
        guard self.waiting.count < self.limits.waiting else { return .refused }
        let waiter = waiter()
        self.waiting.append(waiter)
        return .wait(waiter)
    }

    /// One that entered leaves.
    ///
    /// - Parameter admit: lets one who waits in; `false` if it has given up.
    /// - Returns: who waits for the end, if this was the last.
    mutating func leave(admit: (Waiter) -> Bool) -> [Waiter] {
        while let next = self.waiting.popFirst() {
            // In place of the one that leaves.
            if admit(next) { return [] }
        }
        self.inFlight -= 1
        guard self.isClosed, self.inFlight == 0 else { return [] }
        let closers = self.closers
        self.closers.removeAll()
        return closers
    }

    /// Nobody enters any more.
    ///
    /// - Returns: those who waited: they have to look for another one.
    mutating func close() -> [Waiter] {
        self.isClosed = true
        let waiting = Array(self.waiting)
        self.waiting.removeAll()
        return waiting
    }

    /// - Returns: a waiter that the last to leave gets, or `nil` if nobody is inside.
    mutating func waitForLast(_ waiter: () -> Waiter) -> Waiter? {
        guard self.inFlight > 0 else { return nil }
        let waiter = waiter()
        self.closers.append(waiter)
        return waiter
    }
}

extension PluginGate: Sendable where Waiter: Sendable {}
