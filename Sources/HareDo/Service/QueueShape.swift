// SPDX-License-Identifier: Apache-2.0
import AMQPWire

/// What kind of queue a service listens on: who may share it, and what survives what.
public struct QueueShape: Sendable, Hashable {
    enum Kind: String, Sendable {
        case exclusive, shared, durable, quorum, transient
    }
    let kind: Kind
    /// Further arguments of the queue, such as `x-max-length`.
    public var arguments: Headers = [:]

    private init(_ kind: Kind) { self.kind = kind }

    /// For this peer alone, and gone with its connection. The default.
    public static let exclusive = QueueShape(.exclusive)
    /// For any number of instances, which share the load. Survives a restart of the broker, and is gone when nobody has
    /// listened for 60 s.
    public static let shared = QueueShape(.shared)
    /// For any number of instances, and there until it is deleted: what is sent while nobody listens waits.
    public static let durable = QueueShape(.durable)
    /// As ``durable``, replicated over the nodes of a RabbitMQ cluster.
    public static let quorum = QueueShape(.quorum)
    /// Gone when the last instance leaves, with what waits in it. Only for sharing a queue with programs that declare it
    /// so; RabbitMQ 4.3 and later refuses it.
    public static let transient = QueueShape(.transient)

    /// The shape with further queue arguments, such as `["x-max-length": 1000]`.
    public func with(_ arguments: Headers) -> QueueShape {
        var shape = self
        for (name, value) in arguments { shape.arguments[name] = value }
        return shape
    }

    /// The shape of this name, for the command line: `exclusive`, `shared`, `durable`, `quorum` or `transient`.
    public init?(name: String) {
        guard let kind = Kind(rawValue: name) else { return nil }
        self.init(kind)
    }

    /// What ``init(name:)`` knows it by.
    public var name: String { self.kind.rawValue }

    /// Milliseconds a shared queue outlives its last instance.
    static let sharedExpiry: Int64 = 60_000
    /// How often a quorum queue delivers a message at most. RabbitMQ 4 would stop at 20, and drop it without a word.
    static let deliveryLimit: Int64 = 100

    var isExclusive: Bool { self.kind == .exclusive }
    var isDurable: Bool { [.shared, .durable, .quorum].contains(self.kind) }
    var isReplicated: Bool { self.kind == .quorum }
    var isAutoDelete: Bool { self.kind == .transient }

    var amqpArguments: AMQPTable {
        var headers: Headers =
            switch self.kind {
            case .exclusive, .durable, .transient: [:]
            case .shared: ["x-expires": .integer(Self.sharedExpiry)]
            case .quorum: ["x-queue-type": "quorum", "x-delivery-limit": .integer(Self.deliveryLimit)]
            }
        for (name, value) in self.arguments { headers[name] = value }
        return headers.amqpTable
    }
}
