// SPDX-License-Identifier: Apache-2.0
public import NIOCore

/// Frames that wait to be written: encoded one behind the other into one buffer, large bodies beside it, uncopied.
///
/// Every `append` either appends whole frames or throws and leaves everything as it was. A value without I/O or lock:
/// whoever shares it guards it.
public struct AMQPOutput: Sendable {
    /// Bodies below this many bytes are copied into the shared buffer; larger ones are referenced.
    public static let copyThreshold = 4096

    /// The largest frame the other side accepts, payload and its eight further bytes together.
    public var frameMax: UInt32
    /// Bytes that wait, large bodies included.
    public private(set) var byteCount = 0

    private var tail: ByteBuffer
    /// Large bodies, and the offset in `tail` before which each goes.
    private var inserts: [(offset: Int, bytes: ByteBuffer)] = []
    /// What the last batch needed: the next one will need about as much.
    private var capacityHint = 1024

    /// - Parameter frameMax: largest frame in bytes; to begin with, what every broker accepts.
    public init(frameMax: UInt32 = AMQPFrame.minimumFrameMax) {
        self.frameMax = frameMax
        self.tail = ByteBuffer()
    }

    /// Whether nothing waits.
    public var isEmpty: Bool { self.byteCount == 0 }

    /// Takes everything that waits, in the order to be written.
    public mutating func take() -> [ByteBuffer] {
        guard self.byteCount > 0 else { return [] }
        var pieces: [ByteBuffer] = []
        var tail = self.tail
        for insert in self.inserts {
            let length = insert.offset - tail.readerIndex
            if length > 0, let piece = tail.readSlice(length: length) { pieces.append(piece) }
            pieces.append(insert.bytes)
        }
        if tail.readableBytes > 0 { pieces.append(tail) }
        self.capacityHint = min(max(self.tail.writerIndex, 1024), 65_536)
        self.clear()
        return pieces
    }

    /// Forgets everything that waits.
    public mutating func clear() {
        self.tail = ByteBuffer()
        self.inserts.removeAll(keepingCapacity: true)
        self.byteCount = 0
    }

    // MARK: - Frames

    /// The protocol header that opens a connection (specification 4.2.2).
    public mutating func appendProtocolHeader() {
        self.reserve()
        self.byteCount += self.tail.writeBytes(AMQPProtocolHeader.bytes)
    }

    /// A heartbeat frame (specification 4.2.7).
    public mutating func appendHeartbeat() {
        self.reserve()
        self.byteCount += self.tail.writeMultipleIntegers(
            AMQPFrame.Kind.heartbeat, UInt16(0), UInt32(0), AMQPFrame.end)
    }

    /// A method without content.
    ///
    /// - Throws: ``AMQPWireError`` if an argument does not fit its type, or all of them a frame.
    public mutating func append(_ method: AMQPMethod, channel: UInt16) throws(AMQPWireError) {
        try self.appendOrUndo { output throws(AMQPWireError) in
            try output.encode(method, channel: channel)
        }
    }

    /// `basic.ack`, the hot one of the methods without content.
    public mutating func appendAck(channel: UInt16, deliveryTag: UInt64, multiple: Bool) {
        self.reserve()
        self.byteCount += self.tail.writeMultipleIntegers(
            AMQPFrame.Kind.method, channel, UInt32(13), AMQPMethodID.basicAck.classID,
            AMQPMethodID.basicAck.methodID, deliveryTag, UInt8(multiple ? 1 : 0), AMQPFrame.end)
    }

    /// A method with content: method frame, header frame and as many body frames as frame-max asks for.
    ///
    /// - Parameter properties: written as given.
    /// - Throws: ``AMQPWireError`` if a value does not fit its type, or method or header a frame.
    public mutating func append(
        _ method: AMQPMethod, properties: AMQPBasicProperties, body: ByteBuffer, channel: UInt16
    ) throws(AMQPWireError) {
        try self.appendOrUndo { output throws(AMQPWireError) in
            try output.encode(method, channel: channel)
            try output.encodeHeader(bodySize: body.readableBytes, channel: channel, method: method.id) {
                buffer throws(AMQPWireError) in
                try properties.encodeValues(into: &buffer)
            }
        }
        self.append(body: body, channel: channel)
    }

    /// The same with a property list that is encoded already, such as one a broker passes on.
    ///
    /// - Parameter properties: written as given; an empty buffer, which is no list, as a list without properties.
    /// - Throws: as ``append(_:properties:body:channel:)-(_,AMQPBasicProperties,_,_)``.
    public mutating func append(
        _ method: AMQPMethod, properties: ByteBuffer, body: ByteBuffer, channel: UInt16
    ) throws(AMQPWireError) {
        try self.appendOrUndo { output throws(AMQPWireError) in
            try output.encode(method, channel: channel)
            try output.encodeHeader(bodySize: body.readableBytes, channel: channel, method: method.id) {
                buffer throws(AMQPWireError) in
                if properties.readableBytes == 0 {
                    buffer.writeInteger(UInt16(0))
                } else {
                    buffer.writeImmutableBuffer(properties)
                }
            }
        }
        self.append(body: body, channel: channel)
    }

    // MARK: - Parts

    private mutating func reserve() {
        if self.tail.capacity == 0 {
            self.tail = ByteBufferAllocator().buffer(capacity: self.capacityHint)
        }
    }

    /// Runs what may throw half-way; then the buffer is as it was.
    private mutating func appendOrUndo(
        _ body: (inout AMQPOutput) throws(AMQPWireError) -> Void
    ) throws(AMQPWireError) {
        self.reserve()
        let start = self.tail.writerIndex
        do {
            try body(&self)
            self.byteCount += self.tail.writerIndex - start
        } catch {
            self.tail.moveWriterIndex(to: start)
            throw error
        }
    }

    private mutating func encode(_ method: AMQPMethod, channel: UInt16) throws(AMQPWireError) {
        try self.encodeFrame(AMQPFrame.Kind.method, channel: channel, method: method.id) {
            buffer throws(AMQPWireError) in
            try method.encode(into: &buffer)
        }
    }

    private mutating func encodeHeader(
        bodySize: Int, channel: UInt16, method: AMQPMethodID,
        _ properties: (inout ByteBuffer) throws(AMQPWireError) -> Void
    ) throws(AMQPWireError) {
        try self.encodeFrame(AMQPFrame.Kind.header, channel: channel, method: method) {
            buffer throws(AMQPWireError) in
            buffer.writeMultipleIntegers(AMQPContentHeader.basicClassID, UInt16(0), UInt64(bodySize))
            try properties(&buffer)
        }
    }

    /// Methods and headers cannot be split over frames, so what does not fit one cannot be sent.
    private mutating func encodeFrame(
        _ kind: UInt8, channel: UInt16, method: AMQPMethodID,
        _ payload: (inout ByteBuffer) throws(AMQPWireError) -> Void
    ) throws(AMQPWireError) {
        let start = self.tail.writerIndex
        self.tail.writeMultipleIntegers(kind, channel, UInt32(0))
        try payload(&self.tail)
        let size = self.tail.writerIndex - start - 7
        guard size + AMQPFrame.overhead <= Int(self.frameMax), let size = UInt32(exactly: size) else {
            let what = kind == AMQPFrame.Kind.header ? "the properties and headers of \(method)" : "\(method)"
            throw AMQPWireError(
                .frameTooLarge,
                "\(what) take \(size + AMQPFrame.overhead) bytes, and a frame holds at most \(self.frameMax)",
                method: method)
        }
        self.tail.setInteger(size, at: start + 3)
        self.tail.writeInteger(AMQPFrame.end)
    }

    /// Body frames carry at most frame-max − 8 bytes each (specification 4.2.6.2); an empty body has none.
    private mutating func append(body: ByteBuffer, channel: UInt16) {
        var rest = body
        let most = max(Int(self.frameMax) - AMQPFrame.overhead, 1)
        while rest.readableBytes > 0, let fragment = rest.readSlice(length: min(rest.readableBytes, most)) {
            let size = fragment.readableBytes
            self.tail.writeMultipleIntegers(AMQPFrame.Kind.body, channel, UInt32(size))
            if size < Self.copyThreshold {
                self.tail.writeImmutableBuffer(fragment)
            } else {
                self.inserts.append((offset: self.tail.writerIndex, bytes: fragment))
            }
            self.tail.writeInteger(AMQPFrame.end)
            self.byteCount += size + AMQPFrame.overhead
        }
    }
}
