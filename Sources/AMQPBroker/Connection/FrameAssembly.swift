// SPDX-License-Identifier: Apache-2.0
import AMQPWire
import NIOCore

/// Turns the bytes of an open connection into commands, one per method, content included. A value without I/O.
struct FrameAssembly {
    struct Command {
        enum Kind {
            case method(AMQPMethod)
            case publish(Publishing)
            /// A content whose header announced more than may be; its body is skipped.
            case tooLarge(UInt64)
            /// The stream cannot be followed any further.
            case failure(BrokerException)
        }
        let channel: UInt16
        let kind: Kind
    }

    private struct Lane {
        var assembler: AMQPContentAssembler
        /// Body frames of a content that was too large are dropped.
        var isSkipping = false

        mutating func assemble(
            _ body: (inout AMQPContentAssembler) throws(AMQPWireError) -> AMQPContentAssembler.Outcome
        ) throws(BrokerException) -> AMQPContentAssembler.Outcome {
            self.isSkipping = false
            do {
                return try body(&self.assembler)
            } catch {
                throw BrokerException(error)
            }
        }
    }

    private let maximumMessageSize: UInt64
    private let channelMax: UInt16
    /// By channel number; only of channels that ever published, and at most channel-max.
    private var lanes: [UInt16: Lane] = [:]
    /// What has come of contents that are not complete, by channel, counted as messages are until they are complete or given
    /// up: a client may leave one unfinished on every channel.
    private var held: [UInt16: HeldBytes] = [:]
    private let memory: MemoryGauge
    /// Whether a part of a message has come since this was last set.
    var hasHeld = false

    init(maximumMessageSize: Int, channelMax: UInt16, memory: MemoryGauge) {
        self.memory = memory
        self.maximumMessageSize = UInt64(maximumMessageSize)
        self.channelMax = channelMax
    }

    /// The next command in `frames`, or `nil` until there are more bytes.
    mutating func nextCommand(_ frames: inout AMQPFrameDecoder) -> Command? {
        do throws(BrokerException) {
            while let frame = try Self.nextFrame(&frames) {
                if let command = try self.received(frame) { return command }
            }
            return nil
        } catch {
            return Command(channel: 0, kind: .failure(error))
        }
    }

    private static func nextFrame(_ frames: inout AMQPFrameDecoder) throws(BrokerException) -> AMQPFrame? {
        do {
            return try frames.nextFrame()
        } catch {
            throw BrokerException(error)
        }
    }

    private mutating func received(_ frame: AMQPFrame) throws(BrokerException) -> Command? {
        let channel = frame.channel
        switch frame {
        case .heartbeat: return nil
        case .method(_, let method):
            if channel == 0 { return Command(channel: 0, kind: .method(method)) }
            guard channel <= self.channelMax else {
                throw .notAllowed("number of channels opened (\(channel)) exceeds the negotiated channel_max")
            }
            switch method {
            case .channelClose, .channelCloseOk:
                // Either may come in the middle of a content, which is then given up.
                self.lanes[channel] = nil
                self.held[channel] = nil
                return Command(channel: channel, kind: .method(method))
            default:
                if method.hasContent || self.lanes[channel] != nil {
                    return try self.assemble(channel) { assembler throws(AMQPWireError) in
                        try assembler.received(method)
                    }
                }
                return Command(channel: channel, kind: .method(method))
            }
        case .header(_, let header):
            if header.bodySize > self.maximumMessageSize, self.lanes[channel]?.assembler.isAssembling == true {
                self.lanes[channel] = Lane(assembler: self.makeAssembler(), isSkipping: true)
                return Command(channel: channel, kind: .tooLarge(header.bodySize))
            }
            return try self.assemble(channel) { assembler throws(AMQPWireError) in try assembler.received(header) }
        case .body(_, let fragment):
            if self.lanes[channel]?.isSkipping == true { return nil }
            let size = fragment.readableBytes
            let command = try self.assemble(channel) { assembler throws(AMQPWireError) in
                try assembler.received(body: fragment)
            }
            if command == nil {
                try self.hold(size, on: channel)
            } else if !self.held.isEmpty {
                self.held[channel] = nil
            }
            return command
        }
    }

    private mutating func hold(_ bytes: Int, on channel: UInt16) throws(BrokerException) {
        self.hasHeld = true
        let held = self.held[channel] ?? HeldBytes(self.memory)
        self.held[channel] = held
        guard held.add(bytes) else {
            throw BrokerException(
                506, "low on memory: messages that are not complete take too much of it", scope: .connection,
                method: .basicPublish)
        }
    }

    private func makeAssembler() -> AMQPContentAssembler {
        AMQPContentAssembler(maximumBodySize: self.maximumMessageSize)
    }

    private mutating func assemble(
        _ channel: UInt16,
        _ body: (inout AMQPContentAssembler) throws(AMQPWireError) -> AMQPContentAssembler.Outcome
    ) throws(BrokerException) -> Command? {
        guard channel > 0 else { throw .unexpectedFrame("content on channel 0") }
        // In place: this runs three times for every publish.
        let fresh = Lane(assembler: self.makeAssembler())
        let outcome = try self.lanes[channel, default: fresh].assemble(body)
        switch outcome {
        case .incomplete: return nil
        case .method(let method): return Command(channel: channel, kind: .method(method))
        case .content(let content):
            guard case .basicPublish(let publish) = content.method else {
                throw BrokerException(
                    503, "\(content.method.id) is not a client's method", scope: .connection,
                    method: content.method.id)
            }
            return Command(
                channel: channel,
                kind: .publish(
                    try Publishing(publish, properties: content.header.properties, body: content.body)))
        }
    }
}

/// Bytes that count as used for as long as this lives.
private final class HeldBytes {
    private let memory: MemoryGauge
    private var bytes = 0

    init(_ memory: MemoryGauge) { self.memory = memory }
    deinit { self.memory.release(self.bytes) }

    func add(_ bytes: Int) -> Bool {
        self.bytes += bytes
        return self.memory.hold(bytes)
    }
}
