// SPDX-License-Identifier: Apache-2.0
package import AMQPWire
package import NIOCore

/// What a raw client gets, from bytes: methods, contents in one piece, heartbeats. Of any size.
package struct FrameReader {
    package enum Item {
        case method(channel: UInt16, AMQPMethod)
        case content(channel: UInt16, AMQPContentAssembler.Content)
        case heartbeat
    }

    private var frames = AMQPFrameDecoder(maximumFrameSize: .max)
    private var assemblers: [UInt16: AMQPContentAssembler] = [:]

    package init() {}

    /// - Throws: `AMQPWireError` for what are no frames, a protocol header among them.
    package mutating func read(_ bytes: ByteBuffer, _ body: (Item) -> Void) throws(AMQPWireError) {
        self.frames.append(bytes)
        while let frame = try self.frames.nextFrame() {
            if let item = try self.received(frame) { body(item) }
        }
    }

    private mutating func received(_ frame: AMQPFrame) throws(AMQPWireError) -> Item? {
        let channel = frame.channel
        var assembler = self.assemblers[channel] ?? AMQPContentAssembler(maximumBodySize: .max)
        let outcome: AMQPContentAssembler.Outcome
        switch frame {
        case .heartbeat: return .heartbeat
        case .method(_, let method): outcome = try assembler.received(method)
        case .header(_, let header): outcome = try assembler.received(header)
        case .body(_, let bytes): outcome = try assembler.received(body: bytes)
        }
        self.assemblers[channel] = assembler
        switch outcome {
        case .incomplete: return nil
        case .method(let method): return .method(channel: channel, method)
        case .content(let content): return .content(channel: channel, content)
        }
    }
}
