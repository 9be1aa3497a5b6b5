// SPDX-License-Identifier: Apache-2.0
import DequeModule
import NIOCore

/// The messages of a queue that nobody holds, ordered by position.
struct ReadyMessages: Sendable {
    private var messages: Deque<QueuedMessage> = []

    var count: Int { self.messages.count }
    var isEmpty: Bool { self.messages.isEmpty }
    var first: QueuedMessage? { self.messages.first }

    /// Adds a new message, whose position is above all others.
    mutating func append(_ message: QueuedMessage) {
        self.messages.append(message)
    }

    mutating func popFirst() -> QueuedMessage? {
        self.messages.popFirst()
    }

    /// Removes the first message if it expired: before `now`, or at `now` too if `including`.
    mutating func popExpired(_ now: NIODeadline, including: Bool) -> QueuedMessage? {
        guard let deadline = self.messages.first?.expiresAt, including ? deadline <= now : deadline < now else {
            return nil
        }
        return self.messages.popFirst()
    }

    mutating func removeAll() -> Int {
        defer { self.messages.removeAll() }
        return self.messages.count
    }

    /// Puts a message that was handed out back to where it came from.
    mutating func insert(_ message: QueuedMessage) {
        guard let first = self.messages.first, first.position < message.position else {
            self.messages.prepend(message)
            return
        }
        var low = 0
        var high = self.messages.count
        while low < high {
            let middle = (low + high) / 2
            if self.messages[middle].position < message.position { low = middle + 1 } else { high = middle }
        }
        self.messages.insert(message, at: low)
    }

    /// Puts many messages back, at the cost of one merge.
    mutating func insert(_ returned: [QueuedMessage]) {
        guard returned.count > 1 else {
            if let message = returned.first { self.insert(message) }
            return
        }
        let returned = returned.sorted { $0.position < $1.position }
        guard let last = returned.last, let first = self.messages.first, first.position < last.position else {
            self.messages.prepend(contentsOf: returned)
            return
        }
        var merged = Deque<QueuedMessage>(minimumCapacity: self.messages.count + returned.count)
        var rest = returned[...]
        for message in self.messages {
            while let next = rest.first, next.position < message.position {
                merged.append(next)
                rest = rest.dropFirst()
            }
            merged.append(message)
        }
        merged.append(contentsOf: rest)
        self.messages = merged
    }
}
