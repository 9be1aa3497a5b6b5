// SPDX-License-Identifier: Apache-2.0
import DequeModule

/// What a mandatory message is recognised by when it comes back: `basic.return` carries no delivery tag.
struct MandatoryMessage: Hashable, Sendable {
    /// Its `message-id`.
    var id: String
    var exchange: String
    var routingKey: String
}

/// Matches `basic.ack`, `basic.nack` and `basic.return` to the messages published on one channel in confirm mode.
///
/// Knows no sockets, tasks or clocks; generic over whoever waits. Tags start at 1 and grow by one per publish, in the
/// order of the wire, so a message's place follows from its tag.
struct ConfirmTracker<Waiter: Sendable>: Sendable {
    private enum Slot: Sendable {
        /// Confirmed already, out of order.
        case done
        /// Nobody waits for it.
        case silent
        case waiting(Waiter)
    }
    enum Outcome {
        case acked
        case nacked
        case returned(AMQPError.Reply)
    }

    private var firstTag: UInt64 = 1
    private var slots: Deque<Slot> = []
    /// Mandatory messages: a return carries no tag, and is recognised by what it repeats of the message.
    private var mandatory: [UInt64: MandatoryMessage] = [:]
    private var firstTags: [MandatoryMessage: UInt64] = [:]
    /// Further messages that look like one above: rare, so that the common one costs no array.
    private var laterTags: [MandatoryMessage: [UInt64]] = [:]
    private var returned: [UInt64: AMQPError.Reply] = [:]

    /// The tag of the next message.
    var nextTag: UInt64 { self.firstTag + UInt64(self.slots.count) }
    var outstanding: Int { self.slots.count }

    /// Counts a message in. To be called in the same critical section as its bytes are appended.
    ///
    /// - Parameter mandatory: given for mandatory messages, whose return has to be recognised.
    @discardableResult
    mutating func published(_ waiter: Waiter?, mandatory: MandatoryMessage? = nil) -> UInt64 {
        let tag = self.nextTag
        self.slots.append(waiter.map(Slot.waiting) ?? .silent)
        // Also where nobody waits: its return must not be taken for that of another message.
        if let mandatory {
            self.mandatory[tag] = mandatory
            if self.firstTags[mandatory] == nil {
                self.firstTags[mandatory] = tag
            } else {
                self.laterTags[mandatory, default: []].append(tag)
            }
        }
        return tag
    }

    /// A message came back. Its ack still follows (RabbitMQ sends the return first).
    mutating func returned(_ message: MandatoryMessage, reply: AMQPError.Reply) {
        // Of messages that look the same the broker returns the first one first.
        guard let tag = self.firstTags[message] else { return }
        self.returned[tag] = reply
        self.forget(tag)
    }

    /// The message with this tag cannot be returned any more.
    private mutating func forget(_ tag: UInt64) {
        guard let message = self.mandatory.removeValue(forKey: tag) else { return }
        if self.firstTags[message] == tag {
            self.firstTags[message] = self.laterTags[message]?.removeFirst()
        } else {
            self.laterTags[message]?.removeAll { $0 == tag }
        }
        if self.laterTags[message]?.isEmpty == true { self.laterTags[message] = nil }
    }

    /// An ack or nack arrived.
    ///
    /// - Parameter multiple: for all up to and including `tag`; with `tag` 0 for all.
    /// - Returns: whoever waited, in order, with what to tell them. Unknown and repeated tags are ignored.
    mutating func confirmed(tag: UInt64, multiple: Bool, acked: Bool) -> [(Waiter, Outcome)] {
        var resolved: [(Waiter, Outcome)] = []
        if multiple {
            let last = tag == 0 ? self.nextTag - 1 : min(tag, self.nextTag - 1)
            while self.firstTag <= last, !self.slots.isEmpty { self.resolve(at: 0, acked: acked, into: &resolved) }
        } else if tag >= self.firstTag, tag < self.nextTag {
            self.resolve(at: Int(tag - self.firstTag), acked: acked, into: &resolved)
        }
        return resolved
    }

    /// Takes out everybody who waits: the channel or connection ended.
    mutating func failAll() -> [Waiter] {
        let waiters = self.slots.compactMap { slot -> Waiter? in
            guard case .waiting(let waiter) = slot else { return nil }
            return waiter
        }
        self = ConfirmTracker()
        return waiters
    }

    private mutating func resolve(at index: Int, acked: Bool, into resolved: inout [(Waiter, Outcome)]) {
        let tag = self.firstTag + UInt64(index)
        if !self.mandatory.isEmpty { self.forget(tag) }
        let reply = self.returned.isEmpty ? nil : self.returned.removeValue(forKey: tag)
        if case .waiting(let waiter) = self.slots[index] {
            resolved.append((waiter, acked ? reply.map(Outcome.returned) ?? .acked : .nacked))
        }
        guard index == 0 else {
            self.slots[index] = .done
            return
        }
        self.slots.removeFirst()
        self.firstTag += 1
        while case .done? = self.slots.first {
            self.slots.removeFirst()
            self.firstTag += 1
        }
    }
}
