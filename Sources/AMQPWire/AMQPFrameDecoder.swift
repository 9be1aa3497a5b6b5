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

    private mutating func parse() throws(AMQPWireError) -> AMQPFrame? {
        guard let kind = self.buffer.getInteger(at: self.buffer.readerIndex, as: UInt8.self) else {
            self.isShared = true
            return nil
        }
        switch kind {
        case AMQPFrame.Kind.method, AMQPFrame.Kind.header, AMQPFrame.Kind.body, AMQPFrame.Kind.heartbeat: break
        default: return try self.unknownFrame(kind)
        }
        let start = self.buffer.readerIndex
        guard
            let (channel, size) = self.buffer.getMultipleIntegers(at: start + 1, as: (UInt16, UInt32).self)
        else { return nil }
        let maximum = min(self.maximumFrameSize, Self.largestFrameSize)
        guard UInt64(size) + UInt64(AMQPFrame.overhead) <= UInt64(maximum) else {
            throw AMQPWireError(
                .frameTooLarge,
                "a frame with \(size) bytes of payload, and frames hold at most \(maximum) bytes in all")
        }
        if kind == AMQPFrame.Kind.heartbeat {
            guard size == 0 else { throw AMQPWireError(.malformedFrame, "a heartbeat frame with a payload") }
            guard channel == 0 else { throw AMQPWireError(.unexpectedFrame, "a heartbeat on channel \(channel)") }
        }
        guard self.buffer.readableBytes >= Int(size) + AMQPFrame.overhead else { return nil }
        self.buffer.moveReaderIndex(forwardBy: 7)
        guard let payload = self.buffer.readSlice(length: Int(size)),
            let end = self.buffer.readInteger(as: UInt8.self)
        else { return nil } // cannot be: the length was checked
        guard end == AMQPFrame.end else {
            throw AMQPWireError(.malformedFrame, "a frame ends with 0x\(String(end, radix: 16)) instead of 0xce")
        }
        // The payload of a body or header lives on as a slice.
        self.isShared = true
        switch kind {
        case AMQPFrame.Kind.method:
            var reader = AMQPReader(payload)
            let id = try reader.readMethodID()
            do {
                let method = try AMQPMethod(id: id, arguments: &reader)
                try reader.finish(id.description)
                return .method(channel: channel, method)
            } catch {
                var error = error
                error.method = id
                throw error
            }
        case AMQPFrame.Kind.header: return .header(channel: channel, try AMQPContentHeader(decoding: payload))
        case AMQPFrame.Kind.body: return .body(channel: channel, payload)
        default: return .heartbeat
        }
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
