// SPDX-License-Identifier: Apache-2.0
import AMQPWire
import NIOCore
import Testing

@_spi(HareDo) @testable import AMQPClient

/// Which frames may stand between which (specification 4.2.6 and 4.3).
@Suite(.timeLimit(.minutes(1))) struct FrameOrderTests {
    /// The frames of a delivery, one by one.
    private func frames(_ text: String, tag: UInt64, to consumer: String, on channel: UInt16) throws -> [ByteBuffer] {
        var frames: [ByteBuffer] = []
        var whole = AMQPOutput()
        // With the smallest frames there are, a text has several bodies.
        whole.frameMax = UInt32(AMQPFrame.overhead) + 64
        try whole.deliver(text, to: consumer, tag: tag, on: channel)
        var bytes = ByteBuffer()
        for piece in whole.take() { bytes.writeImmutableBuffer(piece) }
        while let size: UInt32 = bytes.getInteger(at: bytes.readerIndex + 3),
            let frame = bytes.readSlice(length: Int(size) + AMQPFrame.overhead)
        {
            frames.append(frame)
        }
        return frames
    }

    @Test func contentsOfSeveralChannelsMayInterleave() async throws {
        try await withScriptedBroker { scripted in
            let first = try await scripted.channel(1)
            let second = try await scripted.channel(2)
            let ofFirst = try await scripted.consumer(on: first, 1)
            let ofSecond = try await scripted.consumer(on: second, 2)
            let texts = [String(repeating: "a", count: 300), String(repeating: "b", count: 200)]
            var one = try self.frames(texts[0], tag: 1, to: ofFirst.consumerTag, on: 1)[...]
            var two = try self.frames(texts[1], tag: 1, to: ofSecond.consumerTag, on: 2)[...]
            #expect(one.count > 5 && two.count > 4)
            while let next = one.popFirst() {
                try await scripted.peer.send(bytes: next)
                // Heartbeats and what is for the connection may come anywhere.
                try await scripted.peer.sendHeartbeat()
                try await scripted.peer.send(.connectionUnblocked(.init()), on: 0)
                if let next = two.popFirst() { try await scripted.peer.send(bytes: next) }
            }
            #expect(try await ofFirst.deliveries.next()?.body == ByteBuffer(string: texts[0]))
            #expect(try await ofSecond.deliveries.next()?.body == ByteBuffer(string: texts[1]))
        }
    }

    @Test func methodsMayComeBetweenContents() async throws {
        try await withScriptedBroker { scripted in
            let channel = try await scripted.confirmingChannel()
            let consumer = try await scripted.consumer(on: channel)
            async let confirmed: Void = channel.publishConfirmed(AMQPMessage("x"), routingKey: "q")
            try await scripted.peer.expectPublish()
            async let declared = channel.declareQueue("q")
            try await scripted.peer.expect(.queueDeclare)
            try await scripted.peer.write { output in
                try output.deliver("1", tag: 1)
                try output.append(.basicAck(.init(deliveryTag: 1)), channel: 1)
                try output.deliver("", tag: 2)
                try output.append(.queueDeclareOk(.init(queue: "q", messageCount: 0, consumerCount: 0)), channel: 1)
                try output.deliver("3", tag: 3)
            }
            try await confirmed
            #expect(try await declared.name == "q")
            for text in ["1", "", "3"] {
                #expect(try await consumer.deliveries.next()?.body == ByteBuffer(string: text))
            }
        }
    }

    @Test func anEmptyBodyFrameIsTakenToo() async throws {
        try await withScriptedBroker { scripted in
            let channel = try await scripted.channel()
            let consumer = try await scripted.consumer(on: channel)
            try await scripted.peer.write { output in try output.deliver("", tag: 1) }
            // What some brokers send behind a header that announces nothing.
            try await scripted.peer.send(bytes: [3, 0, 1, 0, 0, 0, 0, 0xCE])
            try await scripted.peer.write { output in try output.deliver("x", tag: 2) }
            #expect(try await consumer.deliveries.next()?.body == ByteBuffer())
            #expect(try await consumer.deliveries.next()?.body == ByteBuffer(string: "x"))
        }
    }

    @Test func theFramesOfAPublishStayTogether() async throws {
        try await withScriptedBroker(frameMax: 8192) { scripted in
            let channels = [try await scripted.channel(1), try await scripted.channel(2)]
            let each = 20
            let publishers = Task {
                try await withThrowingTaskGroup(of: Void.self) { group in
                    for (index, channel) in channels.enumerated() {
                        for task in 0..<4 {
                            group.addTask { @concurrent in
                                for number in 0..<each {
                                    // From none to three body frames.
                                    let body = ByteBuffer(repeating: UInt8(task), count: number % 4 * 8000)
                                    try await channel.publish(AMQPMessage(body), routingKey: "\(index) \(task)")
                                }
                            }
                        }
                    }
                    try await group.waitForAll()
                }
            }
            var seen: [String: Int] = [:]
            for _ in 0..<(channels.count * 4 * each) {
                // Whatever channel is next: from its method to its last body nothing else may come.
                let (method, number) = try await scripted.peer.method()
                guard case .basicPublish(let publish) = method,
                    case .frame(.header(number, let header)) = try await scripted.peer.next()
                else {
                    Issue.record("not a publish with its header")
                    return
                }
                var body = ByteBuffer()
                while body.readableBytes < Int(header.bodySize) {
                    guard case .frame(.body(number, let fragment)) = try await scripted.peer.next() else {
                        Issue.record("something else inside a content")
                        return
                    }
                    body.writeImmutableBuffer(fragment)
                }
                let count = seen[publish.routingKey, default: 0]
                seen[publish.routingKey] = count + 1
                #expect(body.readableBytes == count % 4 * 8000)
                #expect(publish.routingKey.hasPrefix("\(number - 1) "))
            }
            try await publishers.value
            #expect(seen.values.allSatisfy { $0 == each })
        }
    }
}
