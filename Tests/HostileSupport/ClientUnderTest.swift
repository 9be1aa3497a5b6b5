// SPDX-License-Identifier: Apache-2.0
import AMQPClient
import AMQPWire
import NIOCore
import NIOEmbedded

/// The client with an application on it, without sockets: bytes in, bytes out, when told to.
package final class ClientUnderTest {
    private let loop = DrivenLoop()
    private let channel: EmbeddedChannel
    private var decoder: AMQPFrameDecoder?
    package let application: ClientApplication

    package init() throws {
        self.channel = EmbeddedChannel(loop: self.loop.embedded)
        self.channel.connect(to: try SocketAddress(unixDomainSocketPath: "/hostile"), promise: nil)
        self.application = ClientApplication(loop: self.loop, transport: self.channel)
        self.application.start()
        try self.loop.run()
    }

    /// Whether the client holds the connection.
    package var isOpen: Bool { self.channel.isActive }

    package func receive(_ bytes: [UInt8]) throws(Finding) {
        guard self.channel.isActive, !bytes.isEmpty else { return }
        // What the pipeline throws, the handler has seen.
        _ = try? self.channel.writeInbound(ByteBuffer(bytes: bytes))
        try self.loop.run()
    }

    /// What the client has said since it was asked last.
    package func takeOutput() -> [UInt8] {
        var bytes: [UInt8] = []
        while let piece = try? self.channel.readOutbound(as: ByteBuffer.self) { bytes += piece.readableBytesView }
        return bytes
    }

    /// Checks that what the client says is AMQP.
    package func checkOutput() throws(Finding) {
        var bytes = self.takeOutput()
        guard !bytes.isEmpty else { return }
        var decoder: AMQPFrameDecoder
        if let begun = self.decoder {
            decoder = begun
        } else {
            guard bytes.starts(with: AMQPProtocolHeader.bytes) else { throw Finding("no protocol header") }
            bytes.removeFirst(AMQPProtocolHeader.bytes.count)
            decoder = AMQPFrameDecoder()
        }
        decoder.append(ByteBuffer(bytes: bytes))
        do {
            while try decoder.nextFrame() != nil {}
        } catch {
            throw Finding("the client wrote what is not AMQP: \(error)")
        }
        self.decoder = decoder
    }

    /// The broker hangs up: nobody may be left waiting.
    package func end() throws(Finding) {
        try self.checkOutput()
        self.channel.close(promise: nil)
        try self.loop.run()
        _ = try? self.channel.finish(acceptAlreadyClosed: true)
        guard self.application.running == 0 else {
            throw Finding("\(self.application.running) callers still wait after the end of the connection")
        }
    }
}
