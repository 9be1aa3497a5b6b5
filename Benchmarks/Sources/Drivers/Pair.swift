// SPDX-License-Identifier: Apache-2.0
import AMQPBroker
import AMQPClient
import AMQPWire
import NIOCore
import NIOEmbedded

/// A client and an embedded broker that talk to each other on one thread, in memory.
final class Pair: @unchecked Sendable {
    // Unchecked: all of it happens on one thread.
    let loop = StepLoop()
    private let clientEnd = EmbeddedChannel()
    private let brokerEnd = EmbeddedChannel()
    private let broker: BrokerCore
    /// Fed to the client before anything else.
    private var fed: [ByteBuffer] = []
    /// Where the client's bytes go, while it is not to the broker.
    var isCut = false

    init() throws {
        let address = try SocketAddress(ipAddress: "127.0.0.1", port: 5672)
        self.broker = try BrokerCore(.init(), on: self.brokerEnd.eventLoop)
        try self.broker.serve(self.brokerEnd)
        for channel in [self.clientEnd, self.brokerEnd] {
            channel.connect(to: address, promise: nil)
            channel.embeddedEventLoop.run()
        }
    }

    func run<R: Sendable>(_ body: @escaping @Sendable () async throws -> R) throws -> R {
        try self.loop.run(between: { try self.move() }, body)
    }

    func connect() async throws -> AMQPConnection {
        try await AMQPConnection.connect(.init(), on: self.loop, over: self.clientEnd)
    }

    /// Has the client read these bytes in one go, as soon as its task waits.
    func feed(_ bytes: ByteBuffer) { self.fed.append(bytes) }

    private func move() throws -> Bool {
        var moved = false
        while let bytes = try self.clientEnd.readOutbound(as: ByteBuffer.self) {
            moved = true
            if !self.isCut { try self.brokerEnd.writeInbound(bytes) }
        }
        while let bytes = try self.brokerEnd.readOutbound(as: ByteBuffer.self) {
            moved = true
            try self.clientEnd.writeInbound(bytes)
        }
        let fed = self.fed
        self.fed.removeAll(keepingCapacity: true)
        for bytes in fed {
            moved = true
            try self.clientEnd.writeInbound(bytes)
        }
        return moved
    }
}
