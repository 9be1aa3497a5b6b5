// SPDX-License-Identifier: Apache-2.0
import AMQPBroker
package import AMQPWire
import NIOCore
import NIOEmbedded

/// The broker with one connection, without sockets: bytes in, bytes out, when told to.
package final class BrokerUnderTest {
    private let loop: EmbeddedEventLoop
    private let core: BrokerCore
    private let channel: EmbeddedChannel
    private var decoder = AMQPFrameDecoder()
    private var hasSaidGoodbye = false

    package init() throws {
        self.loop = EmbeddedEventLoop()
        self.core = try BrokerCore(.init(), on: self.loop)
        self.channel = EmbeddedChannel(loop: self.loop)
        try self.core.serve(self.channel)
        self.channel.connect(to: try SocketAddress(unixDomainSocketPath: "/hostile"), promise: nil)
    }

    /// Whether the broker holds the connection.
    package var isOpen: Bool { self.channel.isActive }

    package func receive(_ bytes: [UInt8]) {
        guard self.channel.isActive, !bytes.isEmpty else { return }
        // What the pipeline throws, the handler has seen.
        _ = try? self.channel.writeInbound(ByteBuffer(bytes: bytes))
        self.loop.run()
    }

    /// Whether the broker has closed or answered a close, and only waits for the end.
    package func isEnding() throws(Finding) -> Bool {
        _ = try self.takeFrames()
        return self.hasSaidGoodbye
    }

    /// What the broker has said since it was asked last.
    package func takeOutput() -> [UInt8] {
        var bytes: [UInt8] = []
        while let piece = try? self.channel.readOutbound(as: ByteBuffer.self) { bytes += piece.readableBytesView }
        return bytes
    }

    /// What the broker has said since it was asked last, as frames.
    ///
    /// - Throws: ``Finding`` if they are not frames.
    package func takeFrames() throws(Finding) -> [AMQPFrame] {
        do {
            self.decoder.append(ByteBuffer(bytes: self.takeOutput()))
            var frames: [AMQPFrame] = []
            while let frame = try self.decoder.nextFrame() {
                switch frame {
                case .method(_, .connectionClose), .method(_, .connectionCloseOk): self.hasSaidGoodbye = true
                default: break
                }
                frames.append(frame)
            }
            return frames
        } catch {
            // The answer to another protocol is the header of ours.
            guard error.code == .protocolHeader else { throw Finding("the broker wrote what is not AMQP: \(error)") }
            return []
        }
    }

    /// The client hangs up, or is hung up on if the broker has said goodbye: nothing may be left of it.
    package func end() throws(Finding) {
        if try self.isEnding() {
            self.loop.advanceTime(by: .seconds(3))
            guard !self.channel.isActive else { throw Finding("the broker said goodbye and does not hang up") }
        }
        self.channel.close(promise: nil)
        self.loop.run()
        _ = try? self.channel.finish(acceptAlreadyClosed: true)
        self.core.stopTimers()
        guard self.core.population.isEmpty, self.core.connectionCount == 0 else {
            throw Finding("left behind: \(self.core.connectionCount) connections, \(self.core.population)")
        }
    }
}
