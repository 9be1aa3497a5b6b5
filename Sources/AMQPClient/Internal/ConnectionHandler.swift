// SPDX-License-Identifier: Apache-2.0
import NIOCore

/// Hands what happens on the socket to the connection, which runs on the same event loop.
final class ConnectionHandler: ChannelDuplexHandler {
    typealias InboundIn = ByteBuffer
    typealias OutboundIn = ByteBuffer
    typealias OutboundOut = ByteBuffer

    private let connection: AMQPConnection
    /// Whether this is the socket that the connection uses: what happens on those that lost the race to be connected
    /// is nobody's concern.
    var isChosen = false
    private var context: ChannelHandlerContext?
    private var isPaused = false
    private var readWaits = false

    init(_ connection: AMQPConnection) { self.connection = connection }

    func handlerAdded(context: ChannelHandlerContext) { self.context = context }
    func handlerRemoved(context: ChannelHandlerContext) { self.context = nil }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        guard self.isChosen else { return }
        let bytes = self.unwrapInboundIn(data)
        self.connection.assumeIsolated { $0.received(bytes) }
    }

    func channelReadComplete(context: ChannelHandlerContext) {
        if self.isChosen { self.connection.assumeIsolated { $0.readCompleted() } }
        context.fireChannelReadComplete()
    }

    func channelInactive(context: ChannelHandlerContext) {
        if self.isChosen { self.connection.assumeIsolated { $0.transportEnded(nil) } }
        context.fireChannelInactive()
    }

    func errorCaught(context: ChannelHandlerContext, error: any Error) {
        if self.isChosen { self.connection.assumeIsolated { $0.transportEnded(error) } }
        context.close(promise: nil)
    }

    /// Holds back reading while a consumer's buffer is full, so that the broker waits and not our memory.
    func read(context: ChannelHandlerContext) {
        if self.isPaused {
            self.readWaits = true
        } else {
            context.read()
        }
    }

    func setPaused(_ isPaused: Bool) {
        self.isPaused = isPaused
        guard !isPaused, self.readWaits else { return }
        self.readWaits = false
        self.context?.read()
    }
}
