// SPDX-License-Identifier: Apache-2.0
public import NIOCore

/// Cuts a stream of bytes into frames, however it is chunked.
///
/// Frames are parsed in the buffer that was read, and bodies are slices of it. Limits are checked as soon as the header
/// of a frame is there, before anything is allocated for its payload. After an error the decoder stays failed: the
/// stream is out of step, and the connection has to end (specification 4.2.3).
public struct AMQPFrameDecoder: Sendable {
    /// The largest frame accepted, payload and its eight further bytes together: what was negotiated as frame-max.
    ///
    /// Values above 2 GiB mean 2 GiB, the largest frame that a `ByteBuffer` is sure to hold along with what follows it.
    public var maximumFrameSize: UInt32

    private var buffer = ByteBuffer()
    private var failure: AMQPWireError?

    public init(maximumFrameSize: UInt32 = 131_072) {
        self.maximumFrameSize = maximumFrameSize
    }

    /// Bytes that wait for the rest of their frame, or to be asked for.
    public var bufferedBytes: Int { self.buffer.readableBytes }

    /// Takes over bytes that were read.
    public mutating func append(_ bytes: ByteBuffer) {
        guard self.failure == nil else { return }
        guard self.buffer.readableBytes > 0 else {
            self.buffer = bytes
            self.isShared = true
            return
        }
        // Slices of the old buffer may be alive as bodies, so appending to it could copy all of it: the rest moves to a
        // buffer of its own, which is ours alone until a frame has been cut from it.
        if self.isShared {
            let capacity = max(self.expectedSize, self.buffer.readableBytes + bytes.readableBytes)
            var fresh = ByteBufferAllocator().buffer(capacity: capacity)
            fresh.writeImmutableBuffer(self.buffer)
            self.buffer = fresh
            self.isShared = false
        }
        self.buffer.writeImmutableBuffer(bytes)
    }

    /// Whether anybody else may hold the storage of `buffer`.
    private var isShared = true

    /// The next whole frame, or `nil` until more bytes are appended.
    ///
    /// - Throws: ``AMQPWireError``, from then on always the same.
    public mutating func nextFrame() throws(AMQPWireError) -> AMQPFrame? {
        if let failure { throw failure }
        do {
            return try self.parse()
        } catch {
            self.failure = error
            self.buffer = ByteBuffer()
            throw error
        }
    }

    /// How many bytes to make room for: the frame whose beginning is there, if its header is.
    private var expectedSize: Int {
        guard let size = self.buffer.getInteger(at: self.buffer.readerIndex + 3, as: UInt32.self) else { return 0 }
        // Without the bound an announcement alone, even one that will be refused, would allocate up to 4 GiB.
        return min(Int(size) + AMQPFrame.overhead, Self.largestReservation)
    }

    /// Frames larger than this grow with what arrives. The default frame-max, and RabbitMQ's.
    private static let largestReservation = 131_072
    /// What ``maximumFrameSize`` can mean at most.
    private static let largestFrameSize = UInt32(Int32.max)

    @inline(__always)
    private mutating func parse() throws(AMQPWireError) -> AMQPFrame? {
        // Every frame has at least eight bytes: seven before its payload and one behind.
        guard let head = self.buffer.getInteger(at: self.buffer.readerIndex, as: UInt64.self) else {
            return try self.parseIncomplete()
        }
        let kind = UInt8(truncatingIfNeeded: head >> 56)
        let channel = UInt16(truncatingIfNeeded: head >> 40)
        let size = UInt32(truncatingIfNeeded: head >> 8)
        switch kind {
        case AMQPFrame.Kind.method, AMQPFrame.Kind.header, AMQPFrame.Kind.body, AMQPFrame.Kind.heartbeat: break
        default: return try self.unknownFrame(kind)
        }
        try self.check(kind, channel, size)
        let length = Int(size) + AMQPFrame.overhead
        let start = self.buffer.readerIndex
        guard self.buffer.readableBytes >= length,
            let end = self.buffer.getInteger(at: start + length - 1, as: UInt8.self)
        else { return nil }
        guard end == AMQPFrame.end else {
            throw AMQPWireError(.malformedFrame, "a frame ends with 0x\(String(end, radix: 16)) instead of 0xce")
        }
        defer { self.buffer.moveReaderIndex(forwardBy: length) }
        switch kind {
        case AMQPFrame.Kind.method:
            return .method(
                channel: channel,
                try self.buffer.read(Int(size), from: 7) { reader throws(AMQPWireError) in
                    try AMQPMethod(from: &reader)
                })
        case AMQPFrame.Kind.heartbeat: return .heartbeat
        default:
            // The payload of a body or header lives on as a slice.
            self.isShared = true
            guard let payload = self.buffer.getSlice(at: start + 7, length: Int(size)) else { return nil }
            if kind == AMQPFrame.Kind.body { return .body(channel: channel, payload) }
            return .header(channel: channel, try AMQPContentHeader(decoding: payload))
        }
    }

    private func check(_ kind: UInt8, _ channel: UInt16, _ size: UInt32) throws(AMQPWireError) {
        let maximum = min(self.maximumFrameSize, Self.largestFrameSize)
        guard UInt64(size) + UInt64(AMQPFrame.overhead) <= UInt64(maximum) else {
            throw AMQPWireError(
                .frameTooLarge,
                "a frame with \(size) bytes of payload, and frames hold at most \(maximum) bytes in all")
        }
        guard kind == AMQPFrame.Kind.heartbeat else { return }
        guard size == 0 else { throw AMQPWireError(.malformedFrame, "a heartbeat frame with a payload") }
        guard channel == 0 else { throw AMQPWireError(.unexpectedFrame, "a heartbeat on channel \(channel)") }
    }

    /// Less than a frame: only what is wrong already is said.
    private mutating func parseIncomplete() throws(AMQPWireError) -> AMQPFrame? {
        guard let kind = self.buffer.getInteger(at: self.buffer.readerIndex, as: UInt8.self) else { return nil }
        switch kind {
        case AMQPFrame.Kind.method, AMQPFrame.Kind.header, AMQPFrame.Kind.body, AMQPFrame.Kind.heartbeat: break
        default: return try self.unknownFrame(kind)
        }
        guard
            let (channel, size) = self.buffer.getMultipleIntegers(
                at: self.buffer.readerIndex + 1, as: (UInt16, UInt32).self)
        else { return nil }
        try self.check(kind, channel, size)
        return nil
    }

    /// A type octet that is none: usually a peer that speaks another protocol.
    private func unknownFrame(_ kind: UInt8) throws(AMQPWireError) -> AMQPFrame? {
        let head = self.buffer.getBytes(at: self.buffer.readerIndex, length: min(8, self.buffer.readableBytes)) ?? []
        if AMQPProtocolHeader.bytes.prefix(4).starts(with: head.prefix(4)) {
            guard head.count == 8 else { return nil }
            let version = head[5...].map(String.init).joined(separator: "-")
            throw AMQPWireError(.protocolHeader, "the peer answered with the protocol header of AMQP \(version)")
        }
        throw AMQPWireError(.malformedFrame, "unknown frame type \(kind)")
    }
}

extension AMQPMethod {
    /// The whole payload of a method frame.
    init(from reader: inout AMQPReader) throws(AMQPWireError) {
        let id = try reader.readMethodID()
        do {
            self = try AMQPMethod(id: id, arguments: &reader)
            try reader.finish(id.description)
        } catch {
            var error = error
            error.method = id
            throw error
        }
    }
}
