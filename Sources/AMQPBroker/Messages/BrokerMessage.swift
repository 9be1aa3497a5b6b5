// SPDX-License-Identifier: Apache-2.0
import AMQPWire
import NIOCore

/// A message as it was published. Immutable, so that every queue it was routed to shares the one copy.
final class BrokerMessage: Sendable {
    let exchange: String
    let routingKey: String
    /// The property list as it stood on the wire.
    let properties: ByteBuffer
    let body: ByteBuffer
    /// How long it may wait in a queue.
    let timeToLive: TimeAmount?
    let isPersistent: Bool

    init(
        exchange: String, routingKey: String, properties: ByteBuffer, body: ByteBuffer,
        timeToLive: TimeAmount? = nil, isPersistent: Bool = false
    ) {
        self.exchange = exchange
        self.routingKey = routingKey
        self.properties = properties
        self.body = body
        self.timeToLive = timeToLive
        self.isPersistent = isPersistent
    }

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
}
