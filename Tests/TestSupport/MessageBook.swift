// SPDX-License-Identifier: Apache-2.0
import NIOConcurrencyHelpers

/// What became of each message of a test, and how late the waits of its publishers ended.
public final class MessageBook: Sendable {
    private struct State {
        var next = 0
        var isStopped = false
        /// One per message.
        var isConfirmed: [Bool]
        var isUnknown: [Bool]
        var deliveries: [UInt16]

        var confirmed = 0
        var unknown = 0
        var timedOut = 0
        var failed: [String: Int] = [:]
        var outstanding = 0
        var consumed = 0
        var duplicates = 0
        var confirmedNotConsumed = 0
        var waits = 0
        var latestOverrun = Duration.zero
        var canary = Duration.zero
        var events: [String: Int] = [:]
    }

    public let messages: Int
    private let state: NIOLockedValueBox<State>

    /// - Parameter messages: how many there are, numbered from 0.
    public init(messages: Int) {
        self.messages = messages
        self.state = NIOLockedValueBox(
            State(
                isConfirmed: .init(repeating: false, count: messages),
                isUnknown: .init(repeating: false, count: messages),
                deliveries: .init(repeating: 0, count: messages)))
    }

    /// How an attempt to publish ended.
    public enum Outcome: Sendable, Hashable {
        case confirmed, unknown, timedOut
        /// Not taken; it may be tried again.
        case refused(String)
        /// Neither this nor another will be taken.
        case ended(String)
    }

    /// The number of the next message to send; `nil` after the last.
    public func take() -> Int? {
        self.state.withLockedValue { state in
            guard state.next < self.messages, !state.isStopped else { return nil }
            defer { state.next += 1 }
            return state.next
        }
    }

    /// No more messages are taken, however many there are.
    public func stop() { self.state.withLockedValue { $0.isStopped = true } }

    public func began() { self.state.withLockedValue { $0.outstanding += 1 } }

    public func ended(_ message: Int, _ outcome: Outcome) {
        self.state.withLockedValue { state in
            state.outstanding -= 1
            switch outcome {
            case .confirmed:
                guard state.isConfirmed.indices.contains(message), !state.isConfirmed[message] else { return }
                state.isConfirmed[message] = true
                state.confirmed += 1
                if state.deliveries[message] == 0 { state.confirmedNotConsumed += 1 }
            case .unknown:
                state.unknown += 1
                if state.isUnknown.indices.contains(message) { state.isUnknown[message] = true }
            case .timedOut: state.timedOut += 1
            case .refused(let why), .ended(let why): state.failed[why, default: 0] += 1
            }
        }
    }

    public func consumed(_ message: Int) {
        self.state.withLockedValue { state in
            guard state.deliveries.indices.contains(message) else { return }
            if state.deliveries[message] == 0 {
                state.consumed += 1
                if state.isConfirmed[message] { state.confirmedNotConsumed -= 1 }
            } else {
                state.duplicates += 1
            }
            state.deliveries[message] &+= 1
        }
    }

    /// A wait that should have ended at `deadline` ended now.
    public func waitEnded(deadline: ContinuousClock.Instant) {
        let overrun = ContinuousClock.now - deadline
        self.state.withLockedValue { state in
            state.waits += 1
            state.latestOverrun = max(state.latestOverrun, overrun)
        }
    }

    /// A task that did nothing but sleep woke so late: what the machine itself is late by.
    public func canaryWoke(late: Duration) {
        self.state.withLockedValue { $0.canary = max($0.canary, late) }
    }

    public func saw(event: String) { self.state.withLockedValue { $0.events[event, default: 0] += 1 } }

    /// How many messages were taken.
    public var sent: Int { self.state.withLockedValue { $0.next } }
    public var confirmed: Int { self.state.withLockedValue { $0.confirmed } }
    public var unknown: Int { self.state.withLockedValue { $0.unknown } }
    /// Waits for room or a confirm that lasted until their deadline.
    public var timedOut: Int { self.state.withLockedValue { $0.timedOut } }
    /// Publishes that have begun and not ended.
    public var outstanding: Int { self.state.withLockedValue { $0.outstanding } }
    /// Messages that were confirmed and that nobody has received.
    public var missing: Int { self.state.withLockedValue { $0.confirmedNotConsumed } }
    public func count(of event: String) -> Int { self.state.withLockedValue { $0.events[event] ?? 0 } }
    /// How far past its deadline the latest wait ended; zero if all ended before.
    public var latestOverrun: Duration { self.state.withLockedValue { $0.latestOverrun } }

    /// Prints the ledger with a mark by which `Scripts/test-long.sh` finds it.
    public func print(_ title: String) {
        for line in "\(title):\n\(self.summary)".split(separator: "\n") { Swift.print("ledger: \(line)") }
    }

    /// The ledger, for people.
    public var summary: String {
        self.state.withLockedValue { state in
            let failed = state.failed.sorted { $0.key < $1.key }.map { "\($0.value) × \($0.key)" }
            let events = state.events.sorted { $0.key < $1.key }.map { "\($0.value) \($0.key)" }
            return """
                sent \(state.next), confirmed \(state.confirmed), unknown \(state.unknown), consumed \(state.consumed), \
                duplicates \(state.duplicates), confirmed and not consumed \(state.confirmedNotConsumed)
                waits \(state.waits), of them timed out \(state.timedOut), otherwise failed \
                \(failed.isEmpty ? "0" : failed.joined(separator: "; "))
                latest overrun \(milliseconds(state.latestOverrun)) (a sleeping task: \(milliseconds(state.canary)))
                events: \(events.joined(separator: ", "))
                """
        }
    }
}

private func milliseconds(_ duration: Duration) -> String {
    let (seconds, attoseconds) = duration.components
    let tenths = seconds * 10_000 + attoseconds / 100_000_000_000_000
    return "\(tenths / 10).\(tenths % 10) ms"
}
