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

    private enum State: Sendable {
        case idle
        case header(AMQPMethod)
        case body(Content, missing: UInt64)
    }

    /// The largest body accepted, in bytes. Checked against the header, before anything is reserved.
    ///
    /// Values above 2 GiB mean 2 GiB, the largest body that a `ByteBuffer` is sure to hold.
    public var maximumBodySize: UInt64
    private var state = State.idle

    /// - Parameter maximumBodySize: in bytes.
    public init(maximumBodySize: UInt64) {
        self.maximumBodySize = maximumBodySize
    }

    /// Whether a content has begun and not ended.
    public var isAssembling: Bool {
        if case .idle = self.state { false } else { true }
    }

    /// - Throws: ``AMQPWireError``: a frame that may not follow, or a body that is too large. The connection has to
    ///   end.
    public mutating func received(_ method: AMQPMethod) throws(AMQPWireError) -> Outcome {
        guard case .idle = self.state else {
            throw AMQPWireError(
                .unexpectedFrame, "\(method.id) inside the content of another method", method: method.id)
        }
        guard method.hasContent else { return .method(method) }
        self.state = .header(method)
        return .incomplete
    }

    /// - Throws: as ``received(_:)-(AMQPMethod)``.
    public mutating func received(_ header: AMQPContentHeader) throws(AMQPWireError) -> Outcome {
        guard case .header(let method) = self.state else {
            throw AMQPWireError(.unexpectedFrame, "a content header that no method announced")
        }
        guard header.classID == method.id.classID else {
            throw AMQPWireError(
                .unexpectedFrame, "a content header of class \(header.classID) after \(method.id)", method: method.id)
        }
        let maximum = min(self.maximumBodySize, UInt64(Int32.max))
        guard header.bodySize <= maximum else {
            throw AMQPWireError(
                .bodyTooLarge, "a body of \(header.bodySize) bytes, and at most \(maximum) are accepted",
                method: method.id)
        }
        let content = Content(method: method, header: header, body: ByteBuffer())
        guard header.bodySize > 0 else {
            self.state = .idle
            return .content(content)
        }
        self.state = .body(content, missing: header.bodySize)
        return .incomplete
    }

    /// - Throws: as ``received(_:)-(AMQPMethod)``.
    public mutating func received(body fragment: ByteBuffer) throws(AMQPWireError) -> Outcome {
        guard case .body(var content, let missing) = self.state else {
            // Some peers send an empty body frame for an empty body.
            if case .idle = self.state, fragment.readableBytes == 0 { return .incomplete }
            throw AMQPWireError(.unexpectedFrame, "a body frame that no content header announced")
        }
        let size = UInt64(fragment.readableBytes)
        guard size <= missing else {
            throw AMQPWireError(
                .malformedFrame, "a body is \(size - missing) bytes longer than its header says",
                method: content.method.id)
        }
        // Leaving the old body in `state` would make the append below copy it.
        self.state = .idle
        if content.body.readableBytes == 0, size == missing {
            content.body = fragment
        } else {
            // Grows with what arrived, not with what was announced: an announcement costs its sender nothing.
            content.body.writeImmutableBuffer(fragment)
        }
        guard size == missing else {
            self.state = .body(content, missing: missing - size)
            return .incomplete
        }
        return .content(content)
    }
}
