// SPDX-License-Identifier: Apache-2.0
public import AMQPWire
public import NIOCore

/// A message to be published.
public struct AMQPMessage: Sendable {
    public var properties: AMQPBasicProperties
    public var body: ByteBuffer

    public init(_ body: ByteBuffer, properties: AMQPBasicProperties = .init()) {
        self.body = body
        self.properties = properties
    }

    public init(_ text: String, properties: AMQPBasicProperties = .init()) {
        self.init(ByteBuffer(string: text), properties: properties)
    }

    public init(_ bytes: some Sequence<UInt8>, properties: AMQPBasicProperties = .init()) {
        self.init(ByteBuffer(bytes: bytes), properties: properties)
    }
}
