// SPDX-License-Identifier: Apache-2.0

/// What becomes of a connection, in order.
public enum AMQPConnectionEvent: Sendable {
    /// The connection is open. The first event of a subscription made while it is.
    case connected
    /// The connection was lost, for this reason. It is made again, or `closed` follows.
    case lost(AMQPError)
    /// An attempt to connect again, the first, second and so on in a row, after a pause.
    case recovering(attempt: Int, delay: Duration)
    /// The connection is open again. What `failures` names is not as it was, and goes on being tried; another
    /// `recovered` tells when all is.
    case recovered(AMQPRecoveryReport)
    /// The connection is open, and something that should be there has not come back, or was taken away: see `failures`.
    /// It goes on being tried.
    case unhealthy(AMQPRecoveryReport)
    /// The broker takes no messages from this connection (`connection.blocked`), for instance because it is low on
    /// memory. Publishers wait. It does not read from the connection at all meanwhile, acknowledgements included.
    case blocked(reason: String)
    /// The broker takes messages again.
    case unblocked
    /// A channel was closed by the broker because of an error, and is being opened again.
    case channelLost(AMQPError)
    /// It is over, because it was closed or for this reason. The last event.
    case closed(AMQPError)
}

/// What a recovery brought back.
public struct AMQPRecoveryReport: Sendable {
    /// Something that did not come back.
    public struct Failure: Sendable, CustomStringConvertible {
        /// What it is, such as `queue 'orders'`.
        public var entity: String
        /// Why.
        public var error: AMQPError

        public var description: String { "\(self.entity): \(self.error.message)" }
    }
    /// How many channels were opened again.
    public var channels = 0
    /// How many exchanges were declared again.
    public var exchanges = 0
    /// How many queues were declared again.
    public var queues = 0
    /// How many bindings were made again.
    public var bindings = 0
    /// How many consumers were started again.
    public var consumers = 0
    /// How many consumers there should be.
    public var expectedConsumers = 0
    /// Queues that the broker names, by their earlier names. Bindings and consumers moved with them.
    public var renamedQueues: [String: String] = [:]
    /// What did not come back.
    public var failures: [Failure] = []

    init() {}
}

/// The events of a connection: see ``AMQPConnection/events``. When more than 256 wait, the oldest are dropped.
public struct AMQPConnectionEvents: AsyncSequence, Sendable {
    public typealias Failure = Never
    let buffer: DeliveryBuffer<AMQPConnectionEvent>

    /// Serves what is waiting without suspending.
    public struct AsyncIterator: AsyncIteratorProtocol {
        var cursor: DeliveryCursor<AMQPConnectionEvent>

        public mutating func next(isolation actor: isolated (any Actor)?) async -> AMQPConnectionEvent? {
            try? await self.cursor.next()
        }

        public mutating func next() async -> AMQPConnectionEvent? { try? await self.cursor.next() }
    }

    public func makeAsyncIterator() -> AsyncIterator { AsyncIterator(cursor: DeliveryCursor(self.buffer)) }
}
