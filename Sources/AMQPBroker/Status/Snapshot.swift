// SPDX-License-Identifier: Apache-2.0

extension AMQPEmbeddedBroker {
    /// What the broker holds at this moment. Virtual hosts are looked at one after another.
    public func snapshot() -> Snapshot { self.core.snapshot() }

    /// What a broker holds, as values. Everything is in the order of names or numbers.
    public struct Snapshot: Hashable, Sendable, Codable {
        public var connections: [Connection] = []
        public var channels: [Channel] = []
        public var consumers: [Consumer] = []
        public var exchanges: [Exchange] = []
        public var bindings: [Binding] = []
        public var queues: [Queue] = []
        /// Bytes that messages hold, what they need besides their content included.
        public var memoryBytes = 0
        /// Above it publishers are blocked.
        public var memoryLimit = 0
        /// Whether memory is short, or a test says so.
        public var hasMemoryAlarm = false

        /// `basic.get` on this name, without acknowledgement, answers with a snapshot of the connection's virtual host as
        /// JSON. It needs permission to read what is called so.
        public static let queueName = "amq.haredo.status"

        /// A connection that has finished its handshake.
        public struct Connection: Hashable, Sendable, Codable {
            /// Unique in the broker, and never used again.
            public var id: UInt64
            /// What the client calls itself (`connection_name`).
            public var name: String?
            /// The other end's.
            public var address: String
            public var user: String
            public var virtualHost: String
            public var channels: Int
            /// Whether it published while memory was short, and is not read.
            public var isBlocked: Bool
            /// Whether it does not read what it got, and gets no more until it does.
            public var isThrottled: Bool
        }

        public struct Channel: Hashable, Sendable, Codable {
            /// ``Connection/id``
            public var connection: UInt64
            public var number: UInt16
            public var consumers: Int
            /// Deliveries that wait for an acknowledgement.
            public var unacknowledged: Int
            /// What new consumers get; 0 is no limit.
            public var prefetch: Int
            public var isConfirming: Bool
            public var isTransactional: Bool
        }

        public struct Consumer: Hashable, Sendable, Codable {
            public var tag: String
            public var queue: String
            public var virtualHost: String
            /// ``Connection/id``
            public var connection: UInt64
            public var channel: UInt16
            /// Whether its deliveries have to be acknowledged.
            public var acknowledges: Bool
            /// Most deliveries that may wait for its acknowledgement; 0 is no limit.
            public var prefetch: Int
            public var unacknowledged: Int
            public var priority: Int64
            /// Whether it gets messages: `false` while another one is the single active consumer.
            public var isActive: Bool
            public var isExclusive: Bool
        }

        public struct Exchange: Hashable, Sendable, Codable {
            public var name: String
            public var virtualHost: String
            /// `direct`, `fanout`, `topic` or `headers`.
            public var type: String
            public var isDurable: Bool
            public var isAutoDelete: Bool
            public var isInternal: Bool
            /// Where messages go that find no binding.
            public var alternate: String?
        }

        public struct Binding: Hashable, Sendable, Codable {
            public var virtualHost: String
            /// An exchange.
            public var source: String
            /// A queue, or an exchange if ``isToExchange``.
            public var destination: String
            public var isToExchange: Bool
            public var routingKey: String
        }

        public struct Queue: Hashable, Sendable, Codable {
            public var name: String
            public var virtualHost: String
            /// `classic` or `quorum`.
            public var type: String
            public var isDurable: Bool
            public var isAutoDelete: Bool
            /// The ``Connection/id`` that alone may use it.
            public var owner: UInt64?
            public var ready: Int
            /// Of the bodies of ready messages.
            public var readyBytes: Int
            public var unacknowledged: Int
            public var consumers: Int
            /// Messages since it was declared.
            public var published: UInt64
            /// Deliveries since it was declared, repeated ones included.
            public var delivered: UInt64
            /// Messages in the last whole second.
            public var publishedPerSecond: UInt64
            /// Deliveries in the last whole second.
            public var deliveredPerSecond: UInt64
        }
    }
}
