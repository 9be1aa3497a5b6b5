// SPDX-License-Identifier: Apache-2.0
import NIOConcurrencyHelpers
import NIOCore
import NIOPosix

/// A socket that knows nothing of AMQP: what is sent on it is what the test says, what comes is kept.
final class ByteClient: Sendable {
    struct TookTooLong: Error {}

    private final class Handler: ChannelInboundHandler {
        typealias InboundIn = ByteBuffer
        private let received: NIOLockedValueBox<[UInt8]>

        init(_ received: NIOLockedValueBox<[UInt8]>) { self.received = received }

        func channelRead(context: ChannelHandlerContext, data: NIOAny) {
            let bytes = self.unwrapInboundIn(data)
            self.received.withLockedValue { $0 += bytes.readableBytesView }
        }

        func errorCaught(context: ChannelHandlerContext, error: any Error) { context.close(promise: nil) }
    }

    private let channel: any Channel
    private let received: NIOLockedValueBox<[UInt8]>

    init(port: Int) async throws {
        let received = NIOLockedValueBox<[UInt8]>([])
        self.received = received
        self.channel = try await ClientBootstrap(group: MultiThreadedEventLoopGroup.singleton)
            .channelInitializer { channel in
                channel.eventLoop.makeCompletedFuture {
                    try channel.pipeline.syncOperations.addHandler(Handler(received))
                }
            }
            .connect(host: "127.0.0.1", port: port).get()
    }

    /// Sends; that the broker hangs up meanwhile is for the test to see by ``untilClosed(within:)``.
    func send(_ bytes: some Sequence<UInt8> & Sendable) async { await self.send(ByteBuffer(bytes: bytes)) }

    /// For what many clients send: they share the memory.
    func send(_ bytes: ByteBuffer) async { try? await self.channel.writeAndFlush(bytes).get() }

    /// Sends one byte after another, as slowly as said, for as long as the socket is open.
    func trickle(_ bytes: [UInt8], every interval: TimeAmount) {
        let rest = NIOLockedValueBox(bytes[...])
        let channel = self.channel
        let task = channel.eventLoop.scheduleRepeatedTask(initialDelay: .zero, delay: interval) { task in
            guard let byte = rest.withLockedValue({ $0.popFirst() }) else { return task.cancel() }
            channel.writeAndFlush(ByteBuffer(bytes: [byte]), promise: nil)
        }
        channel.closeFuture.whenComplete { _ in task.cancel() }
    }

    /// - Returns: everything the broker has said by the time it hung up.
    @discardableResult
    func untilClosed(within limit: TimeAmount = .seconds(10)) async throws -> [UInt8] {
        let promise = self.channel.eventLoop.makePromise(of: Void.self)
        let deadline = self.channel.eventLoop.scheduleTask(in: limit) { promise.fail(TookTooLong()) }
        self.channel.closeFuture.whenComplete { _ in
            deadline.cancel()
            promise.succeed()
        }
        try await promise.futureResult.get()
        return self.received.withLockedValue { $0 }
    }

    func drop() async { try? await self.channel.close().get() }
}
