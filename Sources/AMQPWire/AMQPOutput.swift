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
        let frameMax = self.frameMax
        try self.append { writer throws(AMQPWireError) in
            try writer.writeFrame(AMQPFrame.Kind.method, channel: channel, max: frameMax, method.id) {
                writer throws(AMQPWireError) in
                try method.encode(into: &writer)
            }
        }
    }

    /// `basic.ack`, the hot one of the methods without content.
    public mutating func appendAck(channel: UInt16, deliveryTag: UInt64, multiple: Bool) {
        self.reserve()
        self.byteCount += self.tail.writeMultipleIntegers(
            AMQPFrame.Kind.method, channel, UInt32(13), AMQPMethodID.basicAck.classID,
            AMQPMethodID.basicAck.methodID, deliveryTag, UInt8(multiple ? 1 : 0), AMQPFrame.end)
    }

    /// `basic.publish` with its content: method frame, header frame and as many body frames as frame-max asks for.
    ///
    /// - Throws: ``AMQPWireError`` if a value does not fit its type, or method or header a frame.
    public mutating func append(
        _ publish: AMQPMethod.BasicPublish, properties: AMQPBasicProperties, body: ByteBuffer, channel: UInt16
    ) throws(AMQPWireError) {
        try self.append(.basicPublish, body: body, channel: channel) { writer throws(AMQPWireError) in
            try publish.encode(into: &writer)
        } properties: { writer throws(AMQPWireError) in
            try properties.encodeValues(into: &writer)
        }
    }

    /// A method with content, as ``append(_:properties:body:channel:)-(AMQPMethod.BasicPublish,_,_,_)``.
    public mutating func append(
        _ method: AMQPMethod, properties: AMQPBasicProperties, body: ByteBuffer, channel: UInt16
    ) throws(AMQPWireError) {
        try self.append(method.id, body: body, channel: channel) { writer throws(AMQPWireError) in
            try method.encode(into: &writer)
        } properties: { writer throws(AMQPWireError) in
            try properties.encodeValues(into: &writer)
        }
    }

    /// The same with a property list that is encoded already, such as one a broker passes on.
    ///
    /// - Parameter properties: written as given; an empty buffer, which is no list, as a list without properties.
    public mutating func append(
        _ method: AMQPMethod, properties: ByteBuffer, body: ByteBuffer, channel: UInt16
    ) throws(AMQPWireError) {
        try self.append(method.id, body: body, channel: channel) { writer throws(AMQPWireError) in
            try method.encode(into: &writer)
        } properties: { writer in
            if properties.readableBytes == 0 {
                writer.writeInteger(UInt16(0))
            } else {
                writer.write(properties)
            }
        }
    }

    // MARK: - Parts

    private mutating func reserve() {
        if self.tail.capacity == 0 {
            self.tail = ByteBufferAllocator().buffer(capacity: self.capacityHint)
        }
    }

    @inline(__always)
    private mutating func append(
        _ frames: (inout AMQPWriter) throws(AMQPWireError) -> Void
    ) throws(AMQPWireError) {
        self.reserve()
        self.byteCount += try self.tail.append(frames)
    }

    @inline(__always)
    private mutating func append(
        _ id: AMQPMethodID, body: ByteBuffer, channel: UInt16,
        method: (inout AMQPWriter) throws(AMQPWireError) -> Void,
        properties: (inout AMQPWriter) throws(AMQPWireError) -> Void
    ) throws(AMQPWireError) {
        let frameMax = self.frameMax
        let size = body.readableBytes
        // A small body goes with the frames before it.
        let isSmall = size < Self.copyThreshold && size + AMQPFrame.overhead <= Int(frameMax)
        try self.append { writer throws(AMQPWireError) in
            try writer.writeFrame(AMQPFrame.Kind.method, channel: channel, max: frameMax, id, method)
            try writer.writeFrame(AMQPFrame.Kind.header, channel: channel, max: frameMax, id) {
                writer throws(AMQPWireError) in
                writer.writeInteger(UInt32(AMQPContentHeader.basicClassID) << 16) // and the weight, which is 0
                writer.writeInteger(UInt64(size))
                try properties(&writer)
            }
            guard isSmall, size > 0 else { return }
            writer.writeFrameHead(AMQPFrame.Kind.body, channel: channel, size: UInt32(truncatingIfNeeded: size))
            writer.write(body)
            writer.writeInteger(AMQPFrame.end)
        }
        if !isSmall { self.append(body: body, channel: channel) }
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

extension AMQPWriter {
    /// Type, channel and size: the seven bytes before a payload.
    mutating func writeFrameHead(_ kind: UInt8, channel: UInt16, size: UInt32) {
        self.writeInteger(UInt32(kind) << 24 | UInt32(channel) << 8 | size >> 24)
        self.writeInteger(UInt16(truncatingIfNeeded: size >> 8))
        self.writeInteger(UInt8(truncatingIfNeeded: size))
    }

    /// Methods and headers cannot be split over frames, so what does not fit one cannot be sent.
    @inline(__always)
    fileprivate mutating func writeFrame(
        _ kind: UInt8, channel: UInt16, max: UInt32, _ method: AMQPMethodID,
        _ payload: (inout AMQPWriter) throws(AMQPWireError) -> Void
    ) throws(AMQPWireError) {
        let start = self.count
        self.writeFrameHead(kind, channel: channel, size: 0)
        try payload(&self)
        let size = self.count - start - 7
        guard size + AMQPFrame.overhead <= Int(max), let size = UInt32(exactly: size) else {
            let what = kind == AMQPFrame.Kind.header ? "the properties and headers of \(method)" : "\(method)"
            throw AMQPWireError(
                .frameTooLarge,
                "\(what) take \(size + AMQPFrame.overhead) bytes, and a frame holds at most \(max)",
                method: method)
        }
        self.set(size, at: start + 3)
        self.writeInteger(AMQPFrame.end)
    }
}
