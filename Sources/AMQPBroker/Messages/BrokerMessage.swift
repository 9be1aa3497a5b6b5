// SPDX-License-Identifier: Apache-2.0
import AMQPWire
import NIOCore
import Synchronization

/// A message as it was published. Immutable, so that every queue it was routed to shares the one copy.
final class BrokerMessage: Sendable {
    /// What a message may have besides its content.
    struct Traits: Sendable {
        /// How long it may wait in a queue.
        var timeToLive: TimeAmount?
        var isPersistent = false
        var priority: UInt8 = 0
        /// Routing keys that `CC` and `BCC` added.
        var copies: [String] = []
    }

    let exchange: String
    let routingKey: String
    /// The property list as it stood on the wire.
    let properties: ByteBuffer
    let body: ByteBuffer
    let timeToLive: TimeAmount?
    let isPersistent: Bool
    let priority: UInt8
    let copies: [String]
    /// Counts the message for as long as anybody holds it.
    private let memory: MemoryGauge?
    /// Places in queues beyond the first.
    private let furtherPlaces = Atomic<Int>(0)

    init(
        exchange: String, routingKey: String, properties: ByteBuffer, body: ByteBuffer, traits: Traits = .init(),
        memory: MemoryGauge? = nil
    ) {
        self.exchange = exchange
        self.routingKey = routingKey
        self.properties = properties
        self.body = body
        self.timeToLive = traits.timeToLive
        self.isPersistent = traits.isPersistent
        self.priority = traits.priority
        self.copies = traits.copies
        self.memory = memory
        memory?.add(self.byteCount)
    }

    deinit {
        self.memory?.remove(self.byteCount + self.furtherPlaces.load(ordering: .relaxed) * Self.placeSize)
    }

    /// The message goes to so many queues: its content is there once, but a place in each of them takes memory too.
    func spreads(over queues: Int) {
        guard queues > 1, let memory else { return }
        self.furtherPlaces.wrappingAdd(queues - 1, ordering: .relaxed)
        memory.add((queues - 1) * Self.placeSize)
    }

    /// A place in a queue, with what the queue's storage has to spare.
    private static let placeSize = 64

    /// What a message costs besides its bytes: itself, its place in a queue, the storage of its buffers.
    private static let overhead = 320

    private var byteCount: Int { self.properties.readableBytes + self.body.readableBytes + Self.overhead }

    /// Property lists and bodies of at least this many bytes stay slices of the buffer they were read into.
    static let detachThreshold = 4096

    /// Copies what is small out of the read buffer: twenty bytes that wait in a queue must not keep 64 KiB alive.
    static func detach(properties: inout ByteBuffer, body: inout ByteBuffer) {
        let copiesProperties = properties.readableBytes < Self.detachThreshold
        let copiesBody = body.readableBytes < Self.detachThreshold
        guard copiesProperties || copiesBody else { return }
        // One allocation for both.
        let capacity =
            (copiesProperties ? properties.readableBytes : 0) + (copiesBody ? body.readableBytes : 0)
        var shared = ByteBufferAllocator().buffer(capacity: capacity)
        if copiesProperties { shared.writeImmutableBuffer(properties) }
        let middle = shared.writerIndex
        if copiesBody { shared.writeImmutableBuffer(body) }
        if copiesProperties, let copy = shared.getSlice(at: 0, length: middle) { properties = copy }
        if copiesBody, let copy = shared.getSlice(at: middle, length: shared.writerIndex - middle) { body = copy }
    }
}

/// A message in one queue, or handed out from it.
struct QueuedMessage: Sendable {
    let message: BrokerMessage
    /// Where it stands in its queue. Positions only grow, so a requeued message finds its old place.
    let position: UInt64
    /// When it expires; requeuing does not change it.
    let expiresAt: NIODeadline?
    /// Whether it was handed out before.
    var isRedelivered = false
    /// How often it came back, as far as its queue counts that.
    var deliveryCount: UInt32 = 0
}

extension QueuedMessage {
    /// The property list with the header `x-delivery-count`: how often the message came back (RabbitMQ's quorum queues).
    var countedProperties: ByteBuffer {
        let properties = self.message.properties
        return properties.rewritingProperties { properties in
            var headers = properties.headers ?? [:]
            headers["x-delivery-count"] = .int64(Int64(self.deliveryCount))
            properties.headers = headers
        } ?? properties
    }
}

extension ByteBuffer {
    /// An encoded property list with something changed; `nil` if it cannot be read, or written any more.
    func rewritingProperties(_ change: (inout AMQPBasicProperties) -> Void) -> ByteBuffer? {
        guard var properties = try? AMQPBasicProperties(decoding: self) else { return nil }
        change(&properties)
        // Room for the few headers that a broker adds.
        var encoded = ByteBufferAllocator().buffer(capacity: self.readableBytes + 256)
        guard (try? properties.encode(into: &encoded)) != nil else { return nil }
        return encoded
    }
}
