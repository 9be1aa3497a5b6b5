// SPDX-License-Identifier: Apache-2.0

/// Hands out channel numbers, the least recently used first: a number that was just closed is not taken again at once,
/// so that a straggling frame does not meet a new channel.
struct ChannelNumbers {
    let maximum: UInt16
    private var used: Set<UInt16> = []
    private var last: UInt16 = 0

    init(maximum: UInt16) { self.maximum = maximum }

    mutating func allocate() -> UInt16? {
        guard self.used.count < Int(self.maximum) else { return nil }
        repeat {
            self.last = self.last < self.maximum ? self.last + 1 : 1
        } while self.used.contains(self.last)
        self.used.insert(self.last)
        return self.last
    }

    mutating func release(_ number: UInt16) { self.used.remove(number) }
}
