// SPDX-License-Identifier: Apache-2.0
import DequeModule
import NIOCore

/// The messages of a queue that nobody holds: highest priority first, and in one priority ordered by position.
struct ReadyMessages: Sendable {
    /// By priority.
    private var levels: [Deque<QueuedMessage>]
    /// No level above this one holds anything.
    private var highest = 0
    private(set) var count = 0
    /// Of their bodies, as RabbitMQ counts for `x-max-length-bytes`.
    private(set) var byteCount = 0

    /// - Parameter maximumPriority: higher priorities count as this one.
    init(maximumPriority: UInt8 = 0) {
        self.levels = Array(repeating: [], count: Int(maximumPriority) + 1)
    }

    var isEmpty: Bool { self.count == 0 }

    var first: QueuedMessage? {
        var level = self.highest
        while level > 0, self.levels[level].isEmpty { level -= 1 }
        return self.levels[level].first
    }

    private func level(of message: QueuedMessage) -> Int {
        min(Int(message.message.priority), self.levels.count - 1)
    }

    private mutating func add(_ message: QueuedMessage, at level: Int) {
        self.highest = max(self.highest, level)
        self.count += 1
        self.byteCount += message.message.body.readableBytes
    }

    /// Adds a new message, whose position is above all others.
    mutating func append(_ message: QueuedMessage) {
        let level = self.level(of: message)
        self.levels[level].append(message)
        self.add(message, at: level)
    }

    mutating func popFirst() -> QueuedMessage? {
        while self.highest > 0, self.levels[self.highest].isEmpty { self.highest -= 1 }
        guard let message = self.levels[self.highest].popFirst() else { return nil }
        self.count -= 1
        self.byteCount -= message.message.body.readableBytes
        return message
    }

    /// Removes the first message if it expired: before `now`, or at `now` too if `including`.
    mutating func popExpired(_ now: NIODeadline, including: Bool) -> QueuedMessage? {
        guard let deadline = self.first?.expiresAt, including ? deadline <= now : deadline < now else {
            return nil
        }
        return self.popFirst()
    }

    mutating func removeAll() -> Int {
        defer { self = ReadyMessages(maximumPriority: UInt8(clamping: self.levels.count - 1)) }
        return self.count
    }

    /// Puts messages that were handed out back to where they came from, at the cost of one merge per level.
    mutating func insert(_ returned: [QueuedMessage]) {
        guard returned.count > 1 else {
            if let message = returned.first { self.insert(message) }
            return
        }
        guard self.levels.count > 1 else { return self.merge(returned, into: 0) }
        for (level, messages) in Dictionary(grouping: returned, by: { self.level(of: $0) }) {
            self.merge(messages, into: level)
        }
    }

    private mutating func insert(_ message: QueuedMessage) {
        let level = self.level(of: message)
        self.add(message, at: level)
        guard let first = self.levels[level].first, first.position < message.position else {
            self.levels[level].prepend(message)
            return
        }
        var low = 0
        var high = self.levels[level].count
        while low < high {
            let middle = (low + high) / 2
            if self.levels[level][middle].position < message.position { low = middle + 1 } else { high = middle }
        }
        self.levels[level].insert(message, at: low)
    }

    private mutating func merge(_ returned: [QueuedMessage], into level: Int) {
        for message in returned { self.add(message, at: level) }
        let returned = returned.sorted { $0.position < $1.position }
        guard let last = returned.last, let first = self.levels[level].first, first.position < last.position else {
            self.levels[level].prepend(contentsOf: returned)
            return
        }
        var merged = Deque<QueuedMessage>(minimumCapacity: self.levels[level].count + returned.count)
        var rest = returned[...]
        for message in self.levels[level] {
            while let next = rest.first, next.position < message.position {
                merged.append(next)
                rest = rest.dropFirst()
            }
            merged.append(message)
        }
        merged.append(contentsOf: rest)
        self.levels[level] = merged
    }
}
