// SPDX-License-Identifier: Apache-2.0
import DequeModule

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
        case waiting(Waiter, messageID: String?)
    }
    enum Outcome {
        case acked
        case nacked
        case returned(AMQPError.Reply)
    }

    private var firstTag: UInt64 = 1
    private var slots: Deque<Slot> = []
    /// Mandatory messages that somebody waits for, by message id: a return carries no tag.
    private var tagsByMessageID: [String: UInt64] = [:]
    /// Further messages with the id of one above: rare, so that the common one costs no array.
    private var laterTags: [String: [UInt64]] = [:]
    private var returned: [UInt64: AMQPError.Reply] = [:]

    /// The tag of the next message.
    var nextTag: UInt64 { self.firstTag + UInt64(self.slots.count) }
    var outstanding: Int { self.slots.count }

    /// Counts a message in. To be called in the same critical section as its bytes are appended.
    ///
    /// - Parameter messageID: given for mandatory messages, whose return has to be recognised.
    @discardableResult
    mutating func published(_ waiter: Waiter?, messageID: String? = nil) -> UInt64 {
        let tag = self.nextTag
        if let waiter {
            self.slots.append(.waiting(waiter, messageID: messageID))
            if let messageID {
                if self.tagsByMessageID[messageID] == nil {
                    self.tagsByMessageID[messageID] = tag
                } else {
                    self.laterTags[messageID, default: []].append(tag)
                }
            }
        } else {
            self.slots.append(.silent)
        }
        return tag
    }

    /// A message came back. Its ack still follows (RabbitMQ sends the return first).
    mutating func returned(messageID: String?, reply: AMQPError.Reply) {
        guard let messageID, let tag = self.tagsByMessageID[messageID] else { return }
        self.returned[tag] = reply
        // With the same id used twice, the broker returns the messages in the order of their publishing.
        self.forget(tag, messageID)
    }

    /// The message with this tag is not looked for by its id any more.
    private mutating func forget(_ tag: UInt64, _ messageID: String) {
        if self.tagsByMessageID[messageID] == tag {
            self.tagsByMessageID[messageID] = self.laterTags[messageID]?.removeFirst()
        } else {
            self.laterTags[messageID]?.removeAll { $0 == tag }
        }
        if self.laterTags[messageID]?.isEmpty == true { self.laterTags[messageID] = nil }
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
            guard case .waiting(let waiter, _) = slot else { return nil }
            return waiter
        }
        self = ConfirmTracker()
        return waiters
    }

    private mutating func resolve(at index: Int, acked: Bool, into resolved: inout [(Waiter, Outcome)]) {
        let tag = self.firstTag + UInt64(index)
        if case .waiting(let waiter, let messageID) = self.slots[index] {
            if let messageID { self.forget(tag, messageID) }
            let reply = self.returned.removeValue(forKey: tag)
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
