// SPDX-License-Identifier: Apache-2.0

/// Numbers the publishes of a channel in confirm mode, and gathers their acknowledgements (RabbitMQ's extension).
struct ConfirmTracker: Hashable, Sendable {
    struct Acknowledgement: Hashable {
        var deliveryTag: UInt64
        /// Whether all lower tags are meant too.
        var multiple: Bool
    }

    /// The number of the last publish.
    private(set) var lastTag: UInt64 = 0
    /// The last one that was taken care of, routed or not.
    private var lastAccepted: UInt64 = 0
    private var lastAcknowledged: UInt64 = 0

    /// Whether publishes wait for their acknowledgement to be sent.
    var hasPending: Bool { self.lastAccepted > self.lastAcknowledged }

    mutating func accepted() {
        self.lastTag += 1
        self.lastAccepted = self.lastTag
    }

    /// A publish was refused.
    ///
    /// - Returns: its number, for `basic.nack`.
    mutating func refused() -> UInt64 {
        self.lastTag += 1
        // Never covered by a later acknowledgement if none before it waits for one.
        if !self.hasPending {
            self.lastAccepted = self.lastTag
            self.lastAcknowledged = self.lastTag
        }
        return self.lastTag
    }

    /// One acknowledgement for everything accepted since the last one, up to `tag`.
    mutating func takeAcknowledgement(through tag: UInt64 = .max) -> Acknowledgement? {
        let last = min(self.lastAccepted, tag)
        guard last > self.lastAcknowledged else { return nil }
        defer { self.lastAcknowledged = last }
        return Acknowledgement(deliveryTag: last, multiple: last - self.lastAcknowledged > 1)
    }
}
