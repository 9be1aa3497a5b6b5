// SPDX-License-Identifier: Apache-2.0
import AMQPClient
import AMQPWire
import NIOCore
import TestSupport
import Testing

@testable import HareDo

@Suite("Programs that are no HareDo peers, or mean no good", .timeLimit(.minutes(1)))
struct ForeignTests {
    /// A client of another making: a channel, and a queue of its own for replies.
    struct Foreigner {
        let channel: AMQPChannel
        let queue: String
        var replies: AMQPDeliveries.AsyncIterator

        init(_ connection: AMQPConnection) async throws {
            self.channel = try await connection.openChannel()
            self.queue = try await self.channel.declareQueue("", exclusive: true).name
            self.replies = try await self.channel.consume(self.queue, acknowledgement: .automatic).deliveries
                .makeAsyncIterator()
        }

        func send(
            _ address: String, _ body: [UInt8] = [], _ change: (inout AMQPBasicProperties) -> Void = { _ in }
        ) async throws {
            var properties = AMQPBasicProperties()
            properties.replyTo = self.queue
            change(&properties)
            try await self.channel.publish(AMQPMessage(body, properties: properties), routingKey: address)
        }
    }

    static func withForeigner(_ url: String, _ body: (inout Foreigner) async throws -> Void) async throws {
        let connection = try await AMQPConnection.connect(AMQPConfiguration(uri: url))
        do {
            var foreigner = try await Foreigner(connection)
            try await body(&foreigner)
            await connection.close()
        } catch {
            await connection.close()
            throw error
        }
    }

    @Test(
        "A request is answered by its message id, or by its correlation id, or by neither",
        arguments: TestBroker.available)
    func ids(broker: TestBroker) async throws {
        try await broker.run { url in
            try await withPair(url) { service, _ in
                try await service.listen { message in Reply(message.data) }
                try await Self.withForeigner(url) { foreigner in
                    let cases: [(String?, String?, String?)] = [
                        ("m", nil, "m"), (nil, "c", "c"), ("m", "c", "m"), (nil, nil, nil), ("", "c", "c"),
                        ("", "", nil),
                    ]
                    for (messageID, correlationID, expected) in cases {
                        try await foreigner.send(service.name, [1]) {
                            $0.messageID = messageID
                            $0.correlationID = correlationID
                        }
                        let reply = try #require(try await foreigner.replies.next())
                        #expect(
                            reply.properties.correlationID == expected, "\(messageID ?? "-") \(correlationID ?? "-")")
                        #expect(reply.properties.messageID == expected)
                    }
                }
            }
        }
    }

    @Test("Odd and hostile properties harm nobody", arguments: TestBroker.available)
    func hostile(broker: TestBroker) async throws {
        try await broker.run { url in
            try await withPair(url) { service, client in
                try await service.listen { message in
                    // Everything is looked at: none of it may trap.
                    _ = (message.deadline, message.attempt, message.text, message.debugDescription, message.id)
                    _ = message.deadline.map { ContinuousClock.now.duration(to: $0) }
                    return Reply("\(message.attempt)", headers: message.headers)
                }
                try await Self.withForeigner(url) { foreigner in
                    let integers: [AMQPFieldValue] = [
                        .int64(.max), .int64(.min), .int64(-1), .int64(0), .uint32(.max), .double(1e300), "soon",
                        .void, .timestamp(.max), .decimal(scale: 255, value: .max),
                        .longString(AMQPLongString(bytes: [0xff, 0])),
                    ]
                    for value in integers {
                        try await foreigner.send(service.name, [0xff, 0xfe]) {
                            $0.headers = [
                                "haredo-remaining-ms": value, "haredo-deadline-ms": value, "haredo-attempt": value,
                                "": value,
                            ]
                        }
                        // What is no number is rejected, and a caller that says it has no time left has no answer.
                        guard let left = value.integer, left > 0 else { continue }
                        let reply = try #require(try await foreigner.replies.next())
                        #expect(reply.properties.headers?[""] != nil, "\(value)")
                    }
                    // Wants no reply, whatever it says: an empty address is none.
                    try await foreigner.send(service.name) { $0.replyTo = "" }
                    // Wants one at places that are not there.
                    for nowhere in ["nobody", "amq.rabbitmq.reply-to.nonsense", String(repeating: "x", count: 255)] {
                        try await foreigner.send(service.name) { $0.replyTo = nowhere }
                    }
                }
                #expect(try await client.call(service.name)?.text == "1")
            }
        }
    }

    @Test(
        "What comes to an inbox with an id of the peer's is a reply only without a request in it",
        arguments: TestBroker.available)
    func inbox(broker: TestBroker) async throws {
        try await broker.run { url in
            try await withPair(url) { service, client in
                _ = try await service.listen()
                let id = try await client.send(service.name)
                try await Self.withForeigner(url) { foreigner in
                    // No ids at all; an id of somebody else's; an id that was never given out; a reply; and a second
                    // one.
                    try await foreigner.send(client.address, Array("1".utf8))
                    try await foreigner.send(client.address, Array("2".utf8)) { $0.correlationID = "c" }
                    try await foreigner.send(client.address, Array("3".utf8)) {
                        $0.correlationID = "s" + String(repeating: "f", count: 32)
                    }
                    for text in ["4", "5"] {
                        try await foreigner.send(client.address, Array(text.utf8)) {
                            $0.correlationID = id.rawValue
                            $0.replyTo = nil
                        }
                    }
                    #expect(try await client.receive(id: id)?.text == "4")
                    #expect(try await client.receive()?.text == "1")
                    #expect(try await client.receive()?.text == "2")
                    #expect(try await client.receive()?.text == "3")
                    #expect(try await client.receive(id: id)?.text == "5")
                }
                #expect(client.statistics == .init())
            }
        }
    }

    @Test("Large headers count for the bound of the inbox as bodies do", arguments: TestBroker.available)
    func inboxOfHeaders(broker: TestBroker) async throws {
        try await broker.run { url in
            var configuration = Peer.Configuration.url(url)
            configuration.inboxBytes = 200_000
            let peer = Peer(configuration)
            try await peer.connect()
            let text = HeaderValue.string(String(repeating: "x", count: 25_000))
            for _ in 0..<10 {
                try await peer.send(
                    peer.address, headers: ["a": text, "b": [text], "c": ["d": text]], wantsReply: false, confirm: true)
            }
            try await eventually("the bound holds") { peer.statistics.droppedMessages == 8 }
            await peer.disconnect()
        }
    }

    @Test("A foreign service that echoes the correlation id answers calls and sends", arguments: TestBroker.available)
    func foreignService(broker: TestBroker) async throws {
        try await broker.run { url in
            try await withPair(url) { _, client in
                try await Self.withForeigner(url) { foreigner in
                    let (channel, queue) = (foreigner.channel, foreigner.queue)
                    async let call = client.call(queue, data: "call")
                    let request = try #require(try await foreigner.replies.next())
                    #expect(request.properties.expiration != nil)
                    var properties = AMQPBasicProperties()
                    properties.correlationID = request.properties.correlationID
                    try await channel.publish(
                        AMQPMessage("result", properties: properties), routingKey: request.properties.replyTo ?? "")
                    #expect(try await call?.text == "result")

                    let id = try await client.send(queue, data: "send")
                    let sent = try #require(try await foreigner.replies.next())
                    #expect(sent.properties.replyTo == client.address)
                    properties.correlationID = sent.properties.correlationID
                    try await channel.publish(
                        AMQPMessage("found", properties: properties), routingKey: sent.properties.replyTo ?? "")
                    #expect(try await client.receive(id: id)?.text == "found")
                }
            }
        }
    }
}
