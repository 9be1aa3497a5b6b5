// SPDX-License-Identifier: Apache-2.0
import AMQPWire
import HostileSupport
import NIOCore
import Testing

/// One property: how to set it, its flag and its bytes.
struct PropertySample: Sendable, CustomTestStringConvertible {
    var name: String
    var flags: UInt16
    var value: [UInt8]
    var set: @Sendable (inout AMQPBasicProperties) -> Void

    init(_ name: String, _ bit: Int, _ hex: String, _ set: @escaping @Sendable (inout AMQPBasicProperties) -> Void) {
        self.name = name
        self.flags = 1 << UInt16(bit)
        self.value = bytes(hex: hex)
        self.set = set
    }

    var testDescription: String { self.name }

    var properties: AMQPBasicProperties {
        var properties = AMQPBasicProperties()
        self.set(&properties)
        return properties
    }

    /// In the order of the wire.
    static let all: [PropertySample] = [
        PropertySample("content-type", 15, "02 6374") { $0.contentType = "ct" },
        PropertySample("content-encoding", 14, "02 6365") { $0.contentEncoding = "ce" },
        PropertySample("headers", 13, "00000003 01 68 56") { $0.headers = ["h": .void] },
        PropertySample("delivery-mode", 12, "02") { $0.deliveryMode = AMQPBasicProperties.persistent },
        PropertySample("priority", 11, "ff") { $0.priority = 255 },
        PropertySample("correlation-id", 10, "02 6369") { $0.correlationID = "ci" },
        PropertySample("reply-to", 9, "02 7274") { $0.replyTo = "rt" },
        PropertySample("expiration", 8, "02 3630") { $0.expiration = "60" },
        PropertySample("message-id", 7, "02 6d69") { $0.messageID = "mi" },
        PropertySample("timestamp", 6, "0102030405060708") { $0.timestamp = 0x0102_0304_0506_0708 },
        PropertySample("type", 5, "02 7479") { $0.type = "ty" },
        PropertySample("user-id", 4, "02 7569") { $0.userID = "ui" },
        PropertySample("app-id", 3, "02 6169") { $0.appID = "ai" },
        PropertySample("cluster-id", 2, "02 636c") { $0.clusterID = "cl" },
    ]

    static let none: [UInt8] = [0, 0]
    static let every: [UInt8] = [0xFF, 0xFC] + PropertySample.all.flatMap(\.value)
}

@Suite("Properties")
struct BasicPropertiesTests {
    private var every: AMQPBasicProperties {
        PropertySample.all.reduce(into: AMQPBasicProperties()) { $1.set(&$0) }
    }

    private func encoded(_ properties: AMQPBasicProperties) throws -> [UInt8] {
        var buffer = ByteBuffer()
        try properties.encode(into: &buffer)
        return Array(buffer.readableBytesView)
    }

    @Test("A property alone", arguments: PropertySample.all)
    func alone(sample: PropertySample) throws {
        let wire = bigEndian(sample.flags) + sample.value
        #expect(try self.encoded(sample.properties) == wire)
        #expect(try AMQPBasicProperties(decoding: ByteBuffer(bytes: wire)) == sample.properties)
        #expect(sample.properties != AMQPBasicProperties())
    }

    @Test("All properties but one", arguments: PropertySample.all)
    func allButOne(sample: PropertySample) throws {
        let others = PropertySample.all.filter { $0.flags != sample.flags }
        let properties = others.reduce(into: AMQPBasicProperties()) { $1.set(&$0) }
        let wire = bigEndian(0xFFFC & ~sample.flags) + others.flatMap(\.value)
        #expect(try self.encoded(properties) == wire)
        #expect(try AMQPBasicProperties(decoding: ByteBuffer(bytes: wire)) == properties)
    }

    @Test("All properties together, and none")
    func together() throws {
        #expect(try self.encoded(self.every) == PropertySample.every)
        #expect(try AMQPBasicProperties(decoding: ByteBuffer(bytes: PropertySample.every)) == self.every)
        #expect(try self.encoded(AMQPBasicProperties()) == PropertySample.none)
        #expect(try AMQPBasicProperties(decoding: ByteBuffer(bytes: PropertySample.none)) == AMQPBasicProperties())
    }

    @Test("Empty strings, empty tables and zeros are present, not absent")
    func presentThoughEmpty() throws {
        var properties = AMQPBasicProperties()
        properties.contentType = ""
        properties.headers = [:]
        properties.deliveryMode = 0
        properties.timestamp = 0
        let wire = bytes(hex: "b040 00 00000000 00 0000000000000000")
        #expect(try self.encoded(properties) == wire)
        #expect(try AMQPBasicProperties(decoding: ByteBuffer(bytes: wire)) == properties)
    }

    @Test(
        "Further words of flags that announce nothing are accepted",
        arguments: ["0000", "0001 0000", "0001 0001 0000"])
    func emptyContinuation(words: String) throws {
        let wire = bytes(hex: "8001" + words + "02 6374")
        #expect(try AMQPBasicProperties(decoding: ByteBuffer(bytes: wire)).contentType == "ct")
    }

    @Test(
        "Unknown properties are refused",
        arguments: ["0002", "8002 02 6374", "0001 8000", "0001 0002", "0001 0001 0004", "0003 0000"])
    func unknownProperties(hex: String) {
        let error = #expect(throws: AMQPWireError.self) {
            try AMQPBasicProperties(decoding: ByteBuffer(bytes: bytes(hex: hex)))
        }
        #expect(error?.code == .malformedValue)
        #expect(error?.message.contains("unknown property") == true)
    }

    @Test("Bytes left over are refused", arguments: [PropertySample.none, PropertySample.every])
    func leftOver(wire: [UInt8]) {
        let error = #expect(throws: AMQPWireError.self) {
            try AMQPBasicProperties(decoding: ByteBuffer(bytes: wire + [0]))
        }
        #expect(error?.code == .malformedValue)
        #expect(error?.message.contains("1 bytes left over") == true)
    }

    @Test("A list cut short is refused, whatever its length", arguments: 0..<PropertySample.every.count)
    func truncated(length: Int) {
        let error = #expect(throws: AMQPWireError.self) {
            try AMQPBasicProperties(decoding: ByteBuffer(bytes: PropertySample.every[..<length]))
        }
        #expect(error?.code == .malformedValue)
    }

    @Test("A list of continuation words that never ends is refused")
    func endlessContinuation() {
        let wire = [UInt8](repeating: 0, count: 99_999).enumerated().map { $0.offset % 2 == 1 ? UInt8(1) : 0 }
        #expect(throws: AMQPWireError.self) { try AMQPBasicProperties(decoding: ByteBuffer(bytes: wire)) }
    }

    @Test("A list that cannot be written leaves the buffer as it was")
    func undo() {
        var buffer = ByteBuffer(string: "before")
        var properties = self.every
        properties.clusterID = String(repeating: "c", count: 256)
        let error = #expect(throws: AMQPWireError.self) { try properties.encode(into: &buffer) }
        #expect(error?.code == .valueTooLong)
        #expect(buffer == ByteBuffer(string: "before"))
    }

    @Test("A list larger than any buffer is refused before memory is taken for it")
    func tooLarge() {
        let part = AMQPFieldValue.byteArray([UInt8](repeating: 0, count: 1 << 20))
        var properties = AMQPBasicProperties()
        properties.headers = ["parts": .array(Array(repeating: part, count: 2100))]
        var buffer = ByteBuffer(string: "before")
        let error = #expect(throws: AMQPWireError.self) { try properties.encode(into: &buffer) }
        #expect(error?.code == .valueTooLong)
        #expect(buffer == ByteBuffer(string: "before"))
        #expect(buffer.capacity < 1 << 20)
    }

    @Test("A list is read from a slice in the middle of a buffer")
    func slice() throws {
        var buffer = ByteBuffer(bytes: [9, 9, 9] + PropertySample.every + [9])
        buffer.moveReaderIndex(forwardBy: 3)
        let slice = buffer.readSlice(length: PropertySample.every.count)
        #expect(try AMQPBasicProperties(decoding: #require(slice)) == self.every)
    }
}
