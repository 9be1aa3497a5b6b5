// SPDX-License-Identifier: Apache-2.0
import AMQPWire
import NIOCore
import NIOPosix
import Testing

@_spi(HareDo) @testable import AMQPClient

/// A broker inside the client's own pipeline: whatever is written is answered before the write returns.
///
/// No real one is as fast; but nothing a client does may depend on its being slower.
private final class AnsweringHandler: ChannelDuplexHandler {
    typealias InboundIn = ByteBuffer
    typealias OutboundIn = ByteBuffer
    typealias InboundOut = ByteBuffer

    private var header = ByteBuffer()
    private var decoder = AMQPFrameDecoder()
    private var confirms: UInt64 = 0
    private var published: AMQPMethod.BasicPublish?

    func write(context: ChannelHandlerContext, data: NIOAny, promise: EventLoopPromise<Void>?) {
        var bytes = self.unwrapOutboundIn(data)
        var output = AMQPOutput()
        do {
            if self.header.readableBytes < 8, var head = bytes.readSlice(length: 8 - self.header.readableBytes) {
                self.header.writeBuffer(&head)
                try output.append(
                    .connectionStart(
                        .init(
                            versionMajor: 0, versionMinor: 9, serverProperties: [:], mechanisms: "PLAIN AMQPLAIN",
                            locales: "en_US")), channel: 0)
            }
            self.decoder.append(bytes)
            while let frame = try self.decoder.nextFrame() { try self.answer(frame, &output) }
        } catch {
            context.fireErrorCaught(error)
        }
        var answers = ByteBuffer()
        for piece in output.take() { answers.writeImmutableBuffer(piece) }
        if answers.readableBytes > 0 {
            context.fireChannelRead(self.wrapInboundOut(answers))
            context.fireChannelReadComplete()
        }
        promise?.succeed(())
    }

    private func answer(_ frame: AMQPFrame, _ output: inout AMQPOutput) throws {
        let number = frame.channel
        switch frame {
        case .method(_, let method):
            switch method {
            case .connectionStartOk:
                try output.append(
                    .connectionTune(.init(channelMax: 10, frameMax: 131_072, heartbeat: 0)), channel: 0)
            case .connectionOpen: try output.append(.connectionOpenOk(.init()), channel: 0)
            case .connectionClose: try output.append(.connectionCloseOk(.init()), channel: 0)
            case .channelOpen: try output.append(.channelOpenOk(.init()), channel: number)
            case .channelClose: try output.append(.channelCloseOk(.init()), channel: number)
            case .confirmSelect: try output.append(.confirmSelectOk(.init()), channel: number)
            case .queueDeclare(let declare):
                try output.append(
                    .queueDeclareOk(.init(queue: declare.queue, messageCount: 0, consumerCount: 0)), channel: number)
            case .basicConsume(let consume):
                try output.append(.basicConsumeOk(.init(consumerTag: consume.consumerTag)), channel: number)
                try output.deliver("at once", to: consume.consumerTag, tag: 1, on: number)
            case .basicPublish(let publish): self.published = publish
            default: break
            }
        case .header(_, let header):
            guard header.bodySize == 0, let published else { return }
            if published.mandatory {
                try output.append(
                    .basicReturn(.init(replyCode: 312, replyText: "NO_ROUTE", exchange: "", routingKey: "q")),
                    properties: try header.decodeProperties(), body: ByteBuffer(), channel: number)
            }
            self.confirms += 1
            try output.append(.basicAck(.init(deliveryTag: self.confirms)), channel: number)
        case .body, .heartbeat: break
        }
    }
}

@Suite(.timeLimit(.minutes(1))) struct ImmediateReplyTests {
    @Test func everyAnswerMayComeBeforeTheWriteReturns() async throws {
        let broker = try await ScriptedBroker.start()
        let loop = MultiThreadedEventLoopGroup.singleton.next()
        let transport = try await ClientBootstrap(group: loop)
            .channelInitializer { channel in
                channel.eventLoop.makeCompletedFuture {
                    try channel.pipeline.syncOperations.addHandler(AnsweringHandler())
                }
            }
            .connect(host: "127.0.0.1", port: broker.port).get()
        let connection = try await AMQPConnection.connect(broker.configuration, on: loop, over: transport)
        let channel = try await connection.openChannel()
        #expect(try await channel.declareQueue("q").name == "q")
        try await channel.confirmSelect()
        for number in 0..<50 {
            let isMandatory = number % 2 == 1
            do throws(AMQPError) {
                try await channel.publishConfirmed(AMQPMessage(""), routingKey: "q", mandatory: isMandatory)
                #expect(!isMandatory)
            } catch {
                #expect(isMandatory && error.code == .returned)
            }
        }
        let consumer = try await channel.consume("q")
        #expect(try await consumer.deliveries.next()?.body == ByteBuffer(string: "at once"))
        await channel.close()
        await connection.close()
        await broker.stop()
    }
}
