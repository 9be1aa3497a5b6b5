// SPDX-License-Identifier: Apache-2.0
public import AMQPBroker

/// What a test waited for did not come.
public struct BrokerWaitTimeout: Error, Sendable, CustomStringConvertible {
    /// What the broker held at the end.
    public let snapshot: AMQPEmbeddedBroker.Snapshot
    /// How long the test had waited.
    public let limit: Duration

    public var description: String {
        let queues = self.snapshot.queues.map {
            "\($0.name): \($0.ready) ready, \($0.unacknowledged) unacknowledged, \($0.consumers) consumers"
        }
        return "the broker did not come to hold what was waited for within \(self.limit); it holds "
            + "\(self.snapshot.connections.count) connections and the queues [\(queues.joined(separator: "; "))]"
    }
}

extension AMQPEmbeddedBroker {
    /// Waits until the broker holds what a test needs: a consumer, a message that came back, a connection that has gone.
    ///
    /// Nothing tells of such changes, so it looks again and again, a few milliseconds apart.
    ///
    /// - Parameters:
    ///   - limit: how long to wait at most.
    ///   - isReached: called with what the broker holds.
    /// - Returns: what it held then.
    /// - Throws: ``BrokerWaitTimeout``, and `CancellationError`.
    @discardableResult
    public func wait(
        within limit: Duration = .seconds(10), until isReached: (Snapshot) -> Bool
    ) async throws -> Snapshot {
        let deadline = ContinuousClock.now + limit
        while true {
            let snapshot = self.snapshot()
            if isReached(snapshot) { return snapshot }
            guard ContinuousClock.now < deadline else { throw BrokerWaitTimeout(snapshot: snapshot, limit: limit) }
            try await Task.sleep(for: .milliseconds(2))
        }
    }
}

extension AMQPEmbeddedBroker.Snapshot {
    /// The queue of a name.
    public func queue(_ name: String, virtualHost: String = "/") -> Queue? {
        self.queues.first { $0.name == name && $0.virtualHost == virtualHost }
    }
}
