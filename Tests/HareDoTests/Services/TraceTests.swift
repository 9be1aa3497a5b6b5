// SPDX-License-Identifier: Apache-2.0
import AMQPWire
import HareDo
import NIOConcurrencyHelpers
import NIOCore
import TestSupport
import Testing

@Suite("What goes over the wire", .timeLimit(.minutes(1)))
struct TraceTests {
    /// The methods of one connection, in the order they passed.
    private final class Trace: Sendable {
        private struct State: Sendable {
            var fromClient = FrameReader()
            var fromServer = FrameReader()
            var hasHeader = false
            var methods: [String] = []
        }
        private let state = NIOLockedValueBox(State())

        func show(_ areFromClient: Bool, _ bytes: ArraySlice<UInt8>) {
            self.state.withLockedValue { state in
                var bytes = bytes
                if areFromClient, !state.hasHeader {
                    // It is written in one piece.
                    bytes = bytes.dropFirst(AMQPProtocolHeader.bytes.count)
                    state.hasHeader = true
                }
                let buffer = ByteBuffer(bytes: bytes)
                var methods: [String] = []
                let enter: (FrameReader.Item) -> Void = { item in
                    switch item {
                    case .method(_, let method): methods.append("\(areFromClient ? ">" : "<") \(method.id)")
                    case .content(_, let content): methods.append("\(areFromClient ? ">" : "<") \(content.method.id)")
                    case .heartbeat: break
                    }
                }
                do {
                    if areFromClient {
                        try state.fromClient.read(buffer, enter)
                    } else {
                        try state.fromServer.read(buffer, enter)
                    }
                } catch {
                    methods.append("unreadable: \(error)")
                }
                state.methods += methods
            }
        }

        var methods: [String] { self.state.withLockedValue { $0.methods } }
    }

    @Test("That nobody listens is known from one publish and its return", arguments: TestBroker.available)
    func noSuchService(broker: TestBroker) async throws {
        try await broker.run { url in
            let trace = Trace()
            let proxy = try TestProxy(to: url) { trace.show($0, $1) }
            let peer = Peer(.url(proxy.url))
            peer.timeout = .seconds(10)
            try await peer.connect()
            let before = trace.methods
            #expect(before.first == "< connection.start" && before.contains("> basic.consume"))
            await expectError(.noSuchService) { _ = try await peer.call(TestBroker.uniqueName("nobody"), data: "x") }
            let call = Array(trace.methods.dropFirst(before.count))
            print("a call to nobody (\(broker)): \(call)")
            #expect(call == ["> basic.publish", "< basic.return"])
            await peer.disconnect()
            proxy.stop()
        }
    }
}
