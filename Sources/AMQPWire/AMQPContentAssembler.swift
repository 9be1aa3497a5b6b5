// SPDX-License-Identifier: Apache-2.0
public import NIOCore

/// Puts method, header and body frames of one channel together again (specification 4.2.6).
///
/// A value without I/O: feed it the frames of one channel, in order.
public struct AMQPContentAssembler: Sendable {
    /// A message as it arrived: the method that announced it, its header and its whole body.
    public struct Content: Hashable, Sendable {
        /// `basic.publish`, `deliver`, `return` or `get-ok`.
        public var method: AMQPMethod
        /// Properties and size.
        public var header: AMQPContentHeader
        /// The body: a slice of what was read if it came in one frame.
        public var body: ByteBuffer
    }

    /// What a frame brought about.
    public enum Outcome: Hashable, Sendable {
        /// A method that carries no content.
        case method(AMQPMethod)
        case content(Content)
        /// More frames of the same content have to come.
        case incomplete
    }

    /// The largest body accepted, in bytes. Checked against the header, before anything is reserved.
    ///
    /// Values above 2 GiB mean 2 GiB, the largest body that a `ByteBuffer` is sure to hold.
    public var maximumBodySize: UInt64
    /// What was announced, until all of it is here.
    ///
    /// Variables of their own and not the cases of an enumeration: changed in place, nothing is copied.
    private var method: AMQPMethod?
    private var header: AMQPContentHeader?
    private var body = ByteBuffer()
    /// Bytes of the body that have not come yet.
    private var missing: UInt64 = 0

    /// - Parameter maximumBodySize: in bytes.
    public init(maximumBodySize: UInt64) {
        self.maximumBodySize = maximumBodySize
    }

    /// Whether a content has begun and not ended.
    public var isAssembling: Bool { self.method != nil }

    /// - Throws: ``AMQPWireError``: a frame that may not follow, or a body that is too large. The connection has to
    ///   end.
    public mutating func received(_ method: consuming AMQPMethod) throws(AMQPWireError) -> Outcome {
        guard self.method == nil else {
            throw AMQPWireError(
                .unexpectedFrame, "\(method.id) inside the content of another method", method: method.id)
        }
        guard method.hasContent else { return .method(method) }
        self.method = method
        return .incomplete
    }

    /// - Throws: as ``received(_:)-(AMQPMethod)``.
    public mutating func received(_ header: consuming AMQPContentHeader) throws(AMQPWireError) -> Outcome {
        guard let id = self.method?.id, self.header == nil else {
            throw AMQPWireError(.unexpectedFrame, "a content header that no method announced")
        }
        guard header.classID == id.classID else {
            throw AMQPWireError(
                .unexpectedFrame, "a content header of class \(header.classID) after \(id)", method: id)
        }
        let maximum = min(self.maximumBodySize, UInt64(Int32.max))
        guard header.bodySize <= maximum else {
            throw AMQPWireError(
                .bodyTooLarge, "a body of \(header.bodySize) bytes, and at most \(maximum) are accepted", method: id)
        }
        self.missing = header.bodySize
        self.header = header
        return self.outcome()
    }

    /// - Throws: as ``received(_:)-(AMQPMethod)``.
    public mutating func received(body fragment: consuming ByteBuffer) throws(AMQPWireError) -> Outcome {
        guard self.header != nil else {
            // Some peers send an empty body frame for an empty body.
            if self.method == nil, fragment.readableBytes == 0 { return .incomplete }
            throw AMQPWireError(.unexpectedFrame, "a body frame that no content header announced")
        }
        let size = UInt64(fragment.readableBytes)
        guard size <= self.missing else {
            throw AMQPWireError(
                .malformedFrame, "a body is \(size - self.missing) bytes longer than its header says",
                method: self.method?.id)
        }
        if self.body.readableBytes == 0, size == self.missing {
            self.body = fragment
        } else {
            // Grows with what arrived, not with what was announced: an announcement costs its sender nothing.
            self.body.writeImmutableBuffer(fragment)
        }
        self.missing -= size
        return self.outcome()
    }

    private mutating func outcome() -> Outcome {
        guard self.missing == 0, let method = self.method.take(), let header = self.header.take() else {
            return .incomplete
        }
        defer { self.body = ByteBuffer() }
        return .content(Content(method: method, header: header, body: self.body))
    }
}
