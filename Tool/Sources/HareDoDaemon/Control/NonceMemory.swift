// SPDX-License-Identifier: Apache-2.0

/// Remembers what was seen for as long as it could be sent again.
struct NonceMemory {
    /// How long a command is good for, before and after the time it carries, in seconds.
    static let window: Int64 = 60
    /// Only who has the key gets this far; but even that one does not fill the memory.
    static let maximumCount = 10_000

    private var seen: Set<String> = []
    private var order: [(nonce: String, time: Int64)] = []

    enum Verdict { case fresh, replayed, tooOld, tooMany }

    /// - Parameters:
    ///   - time: that the command carries, in seconds since 1970.
    ///   - now: in seconds since 1970.
    mutating func see(_ nonce: String, time: Int64, now: Int64) -> Verdict {
        let expired = self.order.prefix { $0.time < now - 2 * Self.window }
        for (nonce, _) in expired { self.seen.remove(nonce) }
        self.order.removeFirst(expired.count)
        guard time >= now - Self.window, time <= now + Self.window else { return .tooOld }
        guard !self.seen.contains(nonce) else { return .replayed }
        guard self.order.count < Self.maximumCount else { return .tooMany }
        self.seen.insert(nonce)
        self.order.append((nonce, now))
        return .fresh
    }
}
