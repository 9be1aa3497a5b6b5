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
    private var lastAcknowledged: UInt64 = 0

    /// Whether publishes wait for their acknowledgement to be sent.
    var hasPending: Bool { self.lastTag > self.lastAcknowledged }

    /// A publish was taken care of, routed or not.
    mutating func published() { self.lastTag += 1 }

    /// One acknowledgement for everything published since the last one.
    mutating func takeAcknowledgement() -> Acknowledgement? {
        guard self.hasPending else { return nil }
        defer { self.lastAcknowledged = self.lastTag }
        return Acknowledgement(deliveryTag: self.lastTag, multiple: self.lastTag - self.lastAcknowledged > 1)
    }
}
