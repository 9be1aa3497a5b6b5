// SPDX-License-Identifier: Apache-2.0
import AMQPClient
import AMQPWire

/// What a handler answers with. A string literal is one, too.
public struct Reply: Sendable, Hashable, ExpressibleByStringLiteral, ExpressibleByStringInterpolation {
    /// The body.
    public var data: Bytes
    /// Headers for the caller.
    public var headers: Headers
    /// MIME type of ``data``.
    public var contentType: String?

    /// A reply with a body of bytes or text.
    public init<Body: MessageBody>(_ data: Body = .empty, headers: Headers = [:]) {
        self.data = data.messageBytes
        self.headers = headers
        self.contentType = Body.contentType
    }

    /// A value as JSON.
    ///
    /// - Throws: ``HareDoError/Code/invalidArgument`` if the value cannot be encoded.
    public init(encoding value: some Encodable, headers: Headers = [:]) throws(HareDoError) {
        try self.init(value, in: JSONFormat(), headers: headers)
    }

    /// A value in a format.
    ///
    /// - Throws: ``HareDoError/Code/invalidArgument`` if the value cannot be encoded.
    public init(_ value: some Encodable, in format: any BodyFormat, headers: Headers = [:]) throws(HareDoError) {
        self.init(try format.body(of: value), headers: headers)
        self.contentType = format.contentType
    }

    public init(stringLiteral text: String) { self.init(text) }

    /// The error that a handler ended with, as its caller is told.
    init(failure: HareDoError.RemoteFailure) {
        // Cut, so that all headers fit a frame, however small: an error that cannot be sent helps nobody.
        self.init(
            Bytes(),
            headers: [
                WireHeaders.errorCode: .string(WireHeaders.cut(failure.code, to: 255)),
                WireHeaders.errorText: .string(WireHeaders.cut(failure.text, to: 2048)),
            ])
    }

    /// As it goes out in answer to a message with the given properties.
    func message(to request: AMQPBasicProperties, user: String?) throws(HareDoError) -> AMQPMessage {
        try self.headers.check()
        // Services in other languages correlate by what the request called itself: by its message id, or else by its
        // correlation id. Some clients write an empty one where there is none.
        let id =
            if let id = request.messageID, !id.isEmpty {
                id
            } else if let id = request.correlationID, !id.isEmpty {
                id
            } else {
                String?.none
            }
        var properties = AMQPBasicProperties()
        properties.correlationID = id
        properties.messageID = id
        properties.contentType = self.contentType
        properties.userID = user
        if !self.headers.isEmpty { properties.headers = self.headers.amqpTable }
        return AMQPMessage(self.data.buffer, properties: properties)
    }
}
