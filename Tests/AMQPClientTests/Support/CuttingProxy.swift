// SPDX-License-Identifier: Apache-2.0
import NIOCore
import NIOPosix

/// Stands between a client and a server, and hands on only so many of the server's bytes.
final class CuttingProxy: Sendable {
    private static let group = MultiThreadedEventLoopGroup.singleton
    private let listener: any Channel
    var port: Int { self.listener.localAddress?.port ?? 0 }

    private init(_ listener: any Channel) { self.listener = listener }

    /// - Parameters:
    ///   - count: the server's bytes that reach the client.
    ///   - hangUp: whether the client is hung up on after these; otherwise nothing more comes.
    static func start(to port: Int, after count: Int, hangUp: Bool) async throws -> CuttingProxy {
        let listener = try await ServerBootstrap(group: Self.group)
            .childChannelInitializer { client in
                // One loop for both ends, so that each may write to the other.
                ClientBootstrap(group: client.eventLoop)
                    .channelInitializer { server in
                        server.eventLoop.makeCompletedFuture {
                            try server.pipeline.syncOperations.addHandler(
                                Forwarder(to: client, left: count, hangUp: hangUp))
                        }
                    }
                    .connect(host: "127.0.0.1", port: port)
                    .flatMapThrowing { server in
                        try client.pipeline.syncOperations.addHandler(
                            Forwarder(to: server, left: .max, hangUp: false))
                        if count == 0, hangUp { client.close(promise: nil) }
                    }
            }
            .bind(host: "127.0.0.1", port: 0).get()
        return CuttingProxy(listener)
    }

    func stop() async { try? await self.listener.close() }

    private final class Forwarder: ChannelInboundHandler {
        typealias InboundIn = ByteBuffer
        private let other: any Channel
        private var left: Int
        private let hangUp: Bool

        init(to other: any Channel, left: Int, hangUp: Bool) {
            self.other = other
            self.left = left
            self.hangUp = hangUp
        }

        func channelRead(context: ChannelHandlerContext, data: NIOAny) {
            let bytes = self.unwrapInboundIn(data)
            let part = bytes.readableBytesView.prefix(self.left)
            guard !part.isEmpty else { return }
            self.left -= part.count
            self.other.writeAndFlush(ByteBuffer(part), promise: nil)
            if self.left == 0, self.hangUp { self.other.close(promise: nil) }
        }

        func channelInactive(context: ChannelHandlerContext) { self.other.close(promise: nil) }
        func errorCaught(context: ChannelHandlerContext, error: any Error) { context.close(promise: nil) }
    }
}
