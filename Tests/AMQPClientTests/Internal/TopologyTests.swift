// SPDX-License-Identifier: Apache-2.0
import AMQPWire
import NIOCore
import Testing

@_spi(HareDo) @testable import AMQPClient

@Suite struct TopologyTests {
    private let now = NIODeadline.uptimeNanoseconds(1_000)

    private func queueBinding(_ queue: String, _ exchange: String, _ key: String = "k") -> Topology.Binding {
        .init(isOfQueue: true, destination: queue, source: exchange, routingKey: key, arguments: [:])
    }

    @Test func orderIsThatOfTheFirstDeclaration() {
        var topology = Topology()
        for name in ["b", "a", "c", "a"] {
            topology.declared(.init(queue: name), name: name, now: self.now)
            topology.declared(.init(exchange: name, type: "fanout"))
            topology.bound(self.queueBinding(name, name))
        }
        #expect(topology.queues.map(\.name) == ["b", "a", "c"])
        #expect(topology.exchanges.map(\.declaration.exchange) == ["b", "a", "c"])
        #expect(topology.bindings.map(\.destination) == ["b", "a", "c"])
    }

    @Test func whatTheBrokerKeepsAndWhatWasOnlyLookedAtIsNotRemembered() {
        var topology = Topology()
        topology.declared(.init(exchange: "amq.topic", type: "topic"))
        topology.declared(.init(exchange: "", type: "direct"))
        topology.declared(.init(exchange: "e", type: "direct", passive: true))
        topology.declared(.init(queue: "q", passive: true), name: "q", now: self.now)
        #expect(topology.exchanges.isEmpty && topology.queues.isEmpty && !topology.knows(queue: "q"))
    }

    @Test func whatIsDeletedOrUnboundIsForgottenWithItsBindings() {
        var topology = Topology()
        topology.declared(.init(exchange: "e", type: "fanout"))
        topology.declared(.init(exchange: "f", type: "fanout"))
        for name in ["q", "r"] { topology.declared(.init(queue: name), name: name, now: self.now) }
        topology.bound(self.queueBinding("q", "e"))
        topology.bound(self.queueBinding("r", "e"))
        topology.bound(self.queueBinding("r", "e", "other"))
        topology.bound(.init(isOfQueue: false, destination: "e", source: "f", routingKey: "", arguments: [:]))
        topology.unbound(self.queueBinding("r", "e"))
        #expect(topology.bindings.count == 3)
        topology.deletedQueue("q")
        #expect(topology.bindings.count == 2 && topology.queues.map(\.name) == ["r"])
        topology.deletedExchange("e")
        #expect(topology.bindings.isEmpty && topology.exchanges.map(\.declaration.exchange) == ["f"])
    }

    @Test func anAutoDeleteQueueGoesWithItsLastConsumerAndAnExchangeWithItsLastBinding() {
        var topology = Topology()
        topology.declared(.init(exchange: "e", type: "fanout", autoDelete: true))
        topology.declared(.init(queue: "auto", autoDelete: true), name: "auto", now: self.now)
        topology.declared(.init(queue: "plain"), name: "plain", now: self.now)
        topology.bound(self.queueBinding("auto", "e"))
        topology.bound(self.queueBinding("plain", "e"))
        topology.unsubscribed(queue: "auto", now: self.now)
        topology.unsubscribed(queue: "plain", now: self.now)
        #expect(topology.queues.map(\.name) == ["plain"] && topology.exchanges.count == 1)
        topology.unbound(self.queueBinding("plain", "e"))
        #expect(topology.exchanges.isEmpty)
    }

    @Test func aQueueThatExpiredUnusedIsForgotten() {
        func topology() -> Topology {
            var topology = Topology()
            topology.declared(
                .init(queue: "q", arguments: ["x-expires": .int32(60_000)]), name: "q", now: self.now)
            return topology
        }
        var early = topology()
        early.forgetExpired(consumed: [], now: self.now + .seconds(59))
        #expect(early.knows(queue: "q"))
        var late = topology()
        late.forgetExpired(consumed: [], now: self.now + .seconds(60))
        #expect(!late.knows(queue: "q"))
        // Wanted, however long we were away.
        var consumed = topology()
        consumed.forgetExpired(consumed: ["q"], now: self.now + .hours(1))
        #expect(consumed.knows(queue: "q"))
        var used = topology()
        used.used(queue: "q", now: self.now + .seconds(30))
        used.forgetExpired(consumed: [], now: self.now + .seconds(60))
        #expect(used.knows(queue: "q"))
    }

    @Test func aNewNameMovesWithTheBindings() {
        var topology = Topology()
        topology.declared(.init(queue: ""), name: "amq.gen-1", now: self.now)
        topology.bound(self.queueBinding("amq.gen-1", "e", "amq.gen-1"))
        topology.bound(self.queueBinding("amq.gen-1", "e", "k"))
        topology.allMissing()
        #expect(topology.isIncomplete && topology.queues.first?.isServerNamed == true)
        topology.isThere(queue: "amq.gen-1", as: "amq.gen-2", now: self.now)
        #expect(topology.queues.map(\.name) == ["amq.gen-2"])
        #expect(topology.bindings.map(\.destination) == ["amq.gen-2", "amq.gen-2"])
        #expect(topology.bindings.map(\.routingKey) == ["amq.gen-2", "k"])
        for binding in topology.bindings {
            #expect(topology.isMissing(binding))
            topology.isThere(binding)
        }
        #expect(!topology.isIncomplete)
    }

    @Test func onlyWhatIsMissingIsMissing() {
        var topology = Topology()
        for name in ["q", "r"] {
            topology.declared(.init(queue: name), name: name, now: self.now)
            topology.bound(self.queueBinding(name, "e"))
        }
        topology.missing(queue: "q")
        #expect(topology.isMissing(queue: "q") && !topology.isMissing(queue: "r"))
        #expect(topology.isMissing(self.queueBinding("q", "e")) && !topology.isMissing(self.queueBinding("r", "e")))
        // Declared by somebody, in the meantime.
        topology.declared(.init(queue: "q"), name: "q", now: self.now)
        #expect(!topology.isMissing(queue: "q"))
    }
}
