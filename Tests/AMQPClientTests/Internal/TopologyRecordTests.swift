// SPDX-License-Identifier: Apache-2.0
import AMQPWire
import NIOCore
import Testing

@_spi(HareDo) @testable import AMQPClient

/// What a connection remembers of the topology it made.
@Suite struct TopologyRecordTests {
    private let start = NIODeadline.uptimeNanoseconds(0)

    private func binding(
        _ destination: String, _ source: String, key: String = "", ofQueue: Bool = true
    ) -> Topology.Binding {
        .init(isOfQueue: ofQueue, destination: destination, source: source, routingKey: key, arguments: [:])
    }

    private func declare(
        _ name: String, in topology: inout Topology, durable: Bool = false, autoDelete: Bool = false,
        expires: AMQPFieldValue? = nil
    ) {
        var arguments = AMQPTable()
        arguments["x-expires"] = expires
        topology.declared(
            AMQPMethod.QueueDeclare(queue: name, durable: durable, autoDelete: autoDelete, arguments: arguments),
            name: name, now: self.start)
    }

    @Test func orderIsThatOfTheFirstDeclaration() {
        var topology = Topology()
        for name in ["b", "a", "c"] { self.declare(name, in: &topology) }
        self.declare("b", in: &topology, durable: true)
        for name in ["y", "x"] { topology.declared(AMQPMethod.ExchangeDeclare(exchange: name, type: "direct")) }
        topology.bound(self.binding("c", "y"))
        topology.bound(self.binding("a", "x"))
        topology.bound(self.binding("c", "y"))
        #expect(topology.queues.map(\.name) == ["b", "a", "c"])
        #expect(topology.queues.first?.declaration.durable == true)
        #expect(topology.exchanges.map(\.declaration.exchange) == ["y", "x"])
        #expect(topology.bindings == [self.binding("c", "y"), self.binding("a", "x")])
    }

    @Test func whatExpiredUnusedIsForgotten() {
        var topology = Topology()
        self.declare("short", in: &topology, expires: .int32(1000))
        self.declare("consumed", in: &topology, expires: .int32(1000))
        self.declare("used", in: &topology, expires: .int64(1000))
        self.declare("long", in: &topology, expires: .int32(100_000))
        self.declare("for ever", in: &topology)
        self.declare("odd", in: &topology, expires: "soon")
        topology.bound(self.binding("short", "amq.fanout"))
        topology.used(queue: "used", now: self.start + .milliseconds(900))
        topology.forgetExpired(consumed: ["consumed"], now: self.start + .milliseconds(1500))
        #expect(topology.queues.map(\.name) == ["consumed", "used", "long", "for ever", "odd"])
        #expect(topology.bindings.isEmpty)
    }

    @Test func autoDeleteGoesWithTheLastConsumerAndItsBindings() {
        var topology = Topology()
        self.declare("q", in: &topology, autoDelete: true)
        self.declare("kept", in: &topology)
        // An exchange that deletes itself, bound to another one that does.
        for name in ["outer", "inner"] {
            topology.declared(AMQPMethod.ExchangeDeclare(exchange: name, type: "fanout", autoDelete: true))
        }
        topology.bound(self.binding("inner", "outer", ofQueue: false))
        topology.bound(self.binding("q", "inner"))
        topology.unsubscribed(queue: "kept", now: self.start)
        #expect(topology.queues.count == 2 && topology.exchanges.count == 2)
        topology.unsubscribed(queue: "q", now: self.start)
        #expect(topology.queues.map(\.name) == ["kept"])
        #expect(topology.exchanges.isEmpty && topology.bindings.isEmpty)
    }

    @Test func aNewNameMovesBindings() {
        var topology = Topology()
        topology.declared(AMQPMethod.QueueDeclare(queue: "", exclusive: true), name: "amq.gen-1", now: self.start)
        topology.bound(self.binding("amq.gen-1", "amq.fanout"))
        topology.bound(self.binding("amq.gen-1", "amq.direct", key: "amq.gen-1"))
        topology.allMissing()
        #expect(topology.isIncomplete)
        topology.isThere(queue: "amq.gen-1", as: "amq.gen-2", now: self.start)
        #expect(topology.queues.map(\.name) == ["amq.gen-2"])
        #expect(topology.queues.first?.isServerNamed == true)
        #expect(
            topology.bindings == [
                self.binding("amq.gen-2", "amq.fanout"), self.binding("amq.gen-2", "amq.direct", key: "amq.gen-2"),
            ])
        // Still to be made: only the queue is there.
        #expect(topology.isIncomplete)
        for binding in topology.bindings { topology.isThere(binding) }
        #expect(!topology.isIncomplete)
    }

    @Test func whatTheBrokerKeepsIsNotRemembered() {
        var topology = Topology()
        for name in ["", "amq.topic"] { topology.declared(AMQPMethod.ExchangeDeclare(exchange: name, type: "topic")) }
        topology.declared(AMQPMethod.ExchangeDeclare(exchange: "looked at", type: "topic", passive: true))
        topology.declared(
            AMQPMethod.QueueDeclare(queue: "looked at", passive: true), name: "looked at", now: self.start)
        #expect(topology.exchanges.isEmpty && topology.queues.isEmpty)
        // A binding of one that we did not make is ours all the same.
        topology.bound(self.binding("theirs", "amq.topic", key: "k"))
        #expect(topology.bindings.count == 1)
    }

    @Test func aQueueThatIsGoneTakesItsBindingsAlong() {
        var topology = Topology()
        self.declare("q", in: &topology)
        self.declare("other", in: &topology)
        topology.bound(self.binding("q", "amq.fanout"))
        topology.bound(self.binding("other", "amq.fanout"))
        topology.missing(queue: "q")
        #expect(topology.isMissing(queue: "q") && !topology.isMissing(queue: "other"))
        #expect(topology.isMissing(self.binding("q", "amq.fanout")))
        #expect(!topology.isMissing(self.binding("other", "amq.fanout")))
        topology.deletedQueue("q")
        #expect(topology.bindings == [self.binding("other", "amq.fanout")])
        #expect(!topology.isIncomplete)
    }
}
