// SPDX-License-Identifier: Apache-2.0
import AMQPWire
import NIOCore
import Testing

@testable import AMQPBroker

@Suite("A virtual host, on a clock of the test's own")
struct VirtualHostTests {
    let start = NIODeadline.uptimeNanoseconds(1_000_000_000)

    func makeState() throws -> (VirtualHostState, SlotID<BrokerChannel>) {
        var state = VirtualHostState(
            name: "/", settings: .init(compatibility: .strict, maximumMessageSize: 1000), now: self.start)
        let client = state.addClient(
            BrokerClient(output: ConnectionOutput(channel: nil), user: "guest", notifiesCancel: true))
        let channel = state.openChannel(1, of: client)
        return (state, try #require(channel))
    }

    func declare(
        _ name: String, _ arguments: AMQPTable = [:], in state: inout VirtualHostState,
        on channel: SlotID<BrokerChannel>
    ) throws {
        try state.run(
            .queueDeclare(.init(queue: name, durable: true, noWait: true, arguments: arguments)), on: channel)
    }

    func publish(
        to key: String, expiration: String? = nil, in state: inout VirtualHostState, on channel: SlotID<BrokerChannel>
    ) throws {
        var properties = AMQPBasicProperties()
        properties.expiration = expiration
        var encoded = ByteBuffer()
        try properties.encode(into: &encoded)
        try state.publish(
            Publishing(.init(exchange: "", routingKey: key), properties: encoded, body: ByteBuffer(string: "x")),
            on: channel)
    }

    func ready(_ name: String, _ state: VirtualHostState) -> Int? {
        state.queueIDs[name].flatMap { state.queues[$0]?.ready.count }
    }

    @Test("brings its alarm forward when something falls due earlier, and looks only at what is due")
    func earlierDeadline() throws {
        var (state, channel) = try self.makeState()
        #expect(state.nextDeadline == nil)
        try self.declare("q", ["x-expires": 1000], in: &state, on: channel)
        #expect(state.nextDeadline == self.start + .milliseconds(1000))
        try self.publish(to: "q", expiration: "10", in: &state, on: channel)
        #expect(state.nextDeadline == self.start + .milliseconds(10))
        state.now = self.start + .milliseconds(9)
        state.expire()
        #expect(self.ready("q", state) == 1)
        state.now = self.start + .milliseconds(10)
        state.expire()
        #expect(self.ready("q", state) == 0)
        #expect(state.nextDeadline == self.start + .milliseconds(1000))
        state.now = self.start + .milliseconds(1000)
        state.expire()
        #expect(state.queueIDs["q"] == nil)
        #expect(state.nextDeadline == nil)
    }

    @Test("sets one alarm for any number of messages that expire later")
    func oneDeadline() throws {
        var (state, channel) = try self.makeState()
        try self.declare("q", in: &state, on: channel)
        for number in 0..<1000 { try self.publish(to: "q", expiration: "\(100 + number)", in: &state, on: channel) }
        #expect(state.nextDeadline == self.start + .milliseconds(100))
        state.now = self.start + .milliseconds(599)
        state.expire()
        #expect(self.ready("q", state) == 500)
        #expect(state.nextDeadline == self.start + .milliseconds(600))
    }

    @Test("drops a message with expiration 0 at once when nobody waits for it")
    func expirationZero() throws {
        var (state, channel) = try self.makeState()
        try self.declare("q", in: &state, on: channel)
        try self.publish(to: "q", expiration: "0", in: &state, on: channel)
        #expect(self.ready("q", state) == 0)
    }

    @Test("keeps nothing of a connection that has gone")
    func nothingIsLeft() throws {
        var (state, channel) = try self.makeState()
        let client = try #require(state.channels[channel]?.connection)
        try state.run(.queueDeclare(.init(queue: "mine", exclusive: true)), on: channel)
        try self.declare("q", in: &state, on: channel)
        try state.run(.queueBind(.init(queue: "mine", exchange: "amq.direct", routingKey: "")), on: channel)
        for queue in ["mine", "q", "amq.rabbitmq.reply-to"] {
            try state.run(.basicConsume(.init(queue: queue, consumerTag: queue, noAck: queue.count > 4)), on: channel)
        }
        try self.publish(to: "mine", in: &state, on: channel)
        state.removeClient(client)
        #expect(state.clients.isEmpty && state.channels.isEmpty && state.consumers.isEmpty)
        #expect(state.replyAddresses.isEmpty)
        #expect(Array(state.queueIDs.keys) == ["q"] && state.queues.count == 1)
        #expect(state.routing["amq.direct"]?.isUsed == false)
        // Twice is as good as once.
        state.removeClient(client)
    }
}
