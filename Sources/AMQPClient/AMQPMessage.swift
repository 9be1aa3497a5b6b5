// SPDX-License-Identifier: Apache-2.0
public import AMQPWire
public import NIOCore

/// A message to be published.
public struct AMQPMessage: Sendable {
    /// Its properties, headers among them.
    public var properties: AMQPBasicProperties
    /// Its body; at most ``AMQPConfiguration/maximumMessageSize`` bytes.
    public var body: ByteBuffer

    /// A message whose body is not copied.
    public init(_ body: ByteBuffer, properties: AMQPBasicProperties = .init()) {
        self.body = body
        self.properties = properties
    }

    /// A message with text, as UTF-8.
    public init(_ text: String, properties: AMQPBasicProperties = .init()) {
        self.init(ByteBuffer(string: text), properties: properties)
    }

    /// A message with bytes, which are copied.
    public init(_ bytes: some Sequence<UInt8>, properties: AMQPBasicProperties = .init()) {
        self.init(ByteBuffer(bytes: bytes), properties: properties)
    }
}
