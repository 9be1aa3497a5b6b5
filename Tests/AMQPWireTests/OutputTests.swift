// SPDX-License-Identifier: Apache-2.0
import AMQPWire
@testable import AMQPWireGenerator
import HostileSupport
import NIOCore
import Testing

/// A short string field of a method.
struct ShortStringField: Sendable, CustomTestStringConvertible {
    var method: String
    /// As it is called in an error message.
    var name: String
    var make: @Sendable (String) -> AMQPMethod

    init(_ method: String, _ name: String, _ make: @escaping @Sendable (String) -> AMQPMethod) {
        self.method = method
        self.name = name
        self.make = make
    }

    var testDescription: String { "\(self.method), \(self.name)" }

    static let all: [ShortStringField] = [
        .init("connectionStartOk", "mechanism") {
            .connectionStartOk(.init(mechanism: $0, response: "", locale: ""))
        },
        .init("connectionStartOk", "locale") { .connectionStartOk(.init(mechanism: "", response: "", locale: $0)) },
        .init("connectionOpen", "virtual host") { .connectionOpen(.init(virtualHost: $0)) },
        .init("connectionClose", "reply text") {
            .connectionClose(.init(replyCode: 0, replyText: $0, failingClassID: 0, failingMethodID: 0))
        },
        .init("connectionBlocked", "reason") { .connectionBlocked(.init(reason: $0)) },
        .init("connectionUpdateSecret", "reason") { .connectionUpdateSecret(.init(newSecret: "", reason: $0)) },
        .init("channelClose", "reply text") {
            .channelClose(.init(replyCode: 0, replyText: $0, failingClassID: 0, failingMethodID: 0))
        },
        .init("accessRequest", "realm") { .accessRequest(.init(realm: $0)) },
        .init("exchangeDeclare", "exchange name") { .exchangeDeclare(.init(exchange: $0, type: "")) },
        .init("exchangeDeclare", "type") { .exchangeDeclare(.init(exchange: "", type: $0)) },
        .init("exchangeDelete", "exchange name") { .exchangeDelete(.init(exchange: $0)) },
        .init("exchangeBind", "destination name") {
            .exchangeBind(.init(destination: $0, source: "", routingKey: ""))
        },
        .init("exchangeBind", "source name") { .exchangeBind(.init(destination: "", source: $0, routingKey: "")) },
        .init("exchangeBind", "routing key") { .exchangeBind(.init(destination: "", source: "", routingKey: $0)) },
        .init("exchangeUnbind", "destination name") {
            .exchangeUnbind(.init(destination: $0, source: "", routingKey: ""))
        },
        .init("exchangeUnbind", "source name") {
            .exchangeUnbind(.init(destination: "", source: $0, routingKey: ""))
        },
        .init("exchangeUnbind", "routing key") {
            .exchangeUnbind(.init(destination: "", source: "", routingKey: $0))
        },
        .init("queueDeclare", "queue name") { .queueDeclare(.init(queue: $0)) },
        .init("queueDeclareOk", "queue name") {
            .queueDeclareOk(.init(queue: $0, messageCount: 0, consumerCount: 0))
        },
        .init("queueBind", "queue name") { .queueBind(.init(queue: $0, exchange: "", routingKey: "")) },
        .init("queueBind", "exchange name") { .queueBind(.init(queue: "", exchange: $0, routingKey: "")) },
        .init("queueBind", "routing key") { .queueBind(.init(queue: "", exchange: "", routingKey: $0)) },
        .init("queuePurge", "queue name") { .queuePurge(.init(queue: $0)) },
        .init("queueDelete", "queue name") { .queueDelete(.init(queue: $0)) },
        .init("queueUnbind", "queue name") { .queueUnbind(.init(queue: $0, exchange: "", routingKey: "")) },
        .init("queueUnbind", "exchange name") { .queueUnbind(.init(queue: "", exchange: $0, routingKey: "")) },
        .init("queueUnbind", "routing key") { .queueUnbind(.init(queue: "", exchange: "", routingKey: $0)) },
        .init("basicConsume", "queue name") { .basicConsume(.init(queue: $0, consumerTag: "")) },
        .init("basicConsume", "consumer tag") { .basicConsume(.init(queue: "", consumerTag: $0)) },
        .init("basicConsumeOk", "consumer tag") { .basicConsumeOk(.init(consumerTag: $0)) },
        .init("basicCancel", "consumer tag") { .basicCancel(.init(consumerTag: $0)) },
        .init("basicCancelOk", "consumer tag") { .basicCancelOk(.init(consumerTag: $0)) },
        .init("basicPublish", "exchange name") { .basicPublish(.init(exchange: $0, routingKey: "")) },
        .init("basicPublish", "routing key") { .basicPublish(.init(exchange: "", routingKey: $0)) },
        .init("basicReturn", "reply text") {
            .basicReturn(.init(replyCode: 0, replyText: $0, exchange: "", routingKey: ""))
        },
        .init("basicReturn", "exchange name") {
            .basicReturn(.init(replyCode: 0, replyText: "", exchange: $0, routingKey: ""))
        },
        .init("basicReturn", "routing key") {
            .basicReturn(.init(replyCode: 0, replyText: "", exchange: "", routingKey: $0))
        },
        .init("basicDeliver", "consumer tag") {
            .basicDeliver(.init(consumerTag: $0, deliveryTag: 0, exchange: "", routingKey: ""))
        },
        .init("basicDeliver", "exchange name") {
            .basicDeliver(.init(consumerTag: "", deliveryTag: 0, exchange: $0, routingKey: ""))
        },
        .init("basicDeliver", "routing key") {
            .basicDeliver(.init(consumerTag: "", deliveryTag: 0, exchange: "", routingKey: $0))
        },
        .init("basicGet", "queue name") { .basicGet(.init(queue: $0)) },
        .init("basicGetOk", "exchange name") {
            .basicGetOk(.init(deliveryTag: 0, exchange: $0, routingKey: "", messageCount: 0))
        },
        .init("basicGetOk", "routing key") {
            .basicGetOk(.init(deliveryTag: 0, exchange: "", routingKey: $0, messageCount: 0))
        },
    ]
}

/// A short string property.
struct ShortStringProperty: Sendable, CustomTestStringConvertible {
    var name: String
    var set: @Sendable (inout AMQPBasicProperties, String) -> Void

    init(_ name: String, _ set: @escaping @Sendable (inout AMQPBasicProperties, String) -> Void) {
        self.name = name
        self.set = set
    }

    var testDescription: String { self.name }

    static let all: [ShortStringProperty] = [
        .init("content type") { $0.contentType = $1 },
        .init("content encoding") { $0.contentEncoding = $1 },
        .init("correlation id") { $0.correlationID = $1 },
        .init("reply-to address") { $0.replyTo = $1 },
        .init("expiration") { $0.expiration = $1 },
        .init("message id") { $0.messageID = $1 },
        .init("message type") { $0.type = $1 },
        .init("user id") { $0.userID = $1 },
        .init("application id") { $0.appID = $1 },
        .init("cluster id") { $0.clusterID = $1 },
    ]
}

@Suite("Writing frames")
struct OutputTests {
    /// 255 bytes in 128 characters, and 256 bytes in 128 characters: bytes count.
    private static let longest = String(repeating: "é", count: 127) + "k"
    private static let tooLong = String(repeating: "é", count: 128)

    private static let publish = AMQPMethod.basicPublish(.init(exchange: "e", routingKey: "r"))
    private static let empty = ByteBuffer(bytes: [0, 0])

    /// Runs `body`, which has to throw, on an output that is empty and on one that is not, and looks for traces.
    private func expectUndone(
        frameMax: UInt32 = 8192, _ code: AMQPWireError.Code,
        _ body: (inout AMQPOutput) throws(AMQPWireError) -> Void
    ) throws -> AMQPWireError {
        var output = AMQPOutput(frameMax: frameMax)
        var thrown = #expect(throws: AMQPWireError.self) { try body(&output) }
        #expect(thrown?.code == code)
        #expect(output.isEmpty)
        #expect(output.byteCount == 0)
        #expect(output.take().isEmpty)

        var reference = AMQPOutput(frameMax: frameMax)
        for index in 0..<2 {
            for size in [3, 5000] {
                try output.append(
                    Self.publish, properties: Self.empty, body: ByteBuffer(repeating: 1, count: size), channel: 1)
                try reference.append(
                    Self.publish, properties: Self.empty, body: ByteBuffer(repeating: 1, count: size), channel: 1)
            }
            if index == 0 {
                thrown = #expect(throws: AMQPWireError.self) { try body(&output) }
                #expect(output.byteCount == reference.byteCount)
            }
        }
        #expect(output.byteCount == reference.byteCount)
        #expect(output.takeBytes() == reference.takeBytes())
        #expect(thrown?.code == code)
        return try #require(thrown)
    }

    // MARK: - Values that do not fit

    @Test("A name of 255 bytes is written", arguments: ShortStringField.all)
    func longestName(field: ShortStringField) throws {
        var output = AMQPOutput()
        let method = field.make(Self.longest)
        try output.append(method, channel: 1)
        #expect(try decode(output.takeBytes()) == [.method(channel: 1, method)])
    }

    @Test("A name of 256 bytes throws and writes nothing", arguments: ShortStringField.all)
    func tooLongName(field: ShortStringField) throws {
        let error = try self.expectUndone(.valueTooLong) { output throws(AMQPWireError) in
            try output.append(field.make(Self.tooLong), channel: 1)
        }
        #expect(error.message.contains("the \(field.name) has 256 bytes"))
    }

    @Test("The fields tried are all there are")
    func fieldsAreComplete() {
        let declared = specification.flatMap { amqpClass in
            amqpClass.methods.flatMap { method in
                method.fields.filter { $0.type == .shortString && !$0.isReserved }.map { field in
                    SourceWriter.caseName(amqpClass, method) + ", " + SourceWriter.words(field.name)
                }
            }
        }
        #expect(declared == ShortStringField.all.map(\.testDescription))
    }

    @Test("A property of 255 bytes is written", arguments: ShortStringProperty.all)
    func longestProperty(property: ShortStringProperty) throws {
        var properties = AMQPBasicProperties()
        property.set(&properties, Self.longest)
        var output = AMQPOutput()
        try output.append(Self.publish, properties: properties, body: ByteBuffer(), channel: 1)
        guard case .header(_, let header) = try decode(output.takeBytes()).last else {
            Issue.record("expected a header")
            return
        }
        #expect(try header.decodeProperties() == properties)
    }

    @Test("A property of 256 bytes throws and writes nothing, not even the method", arguments: ShortStringProperty.all)
    func tooLongProperty(property: ShortStringProperty) throws {
        let error = try self.expectUndone(.valueTooLong) { output throws(AMQPWireError) in
            var properties = AMQPBasicProperties()
            property.set(&properties, Self.tooLong)
            try output.append(
                Self.publish, properties: properties, body: ByteBuffer(repeating: 1, count: 9000), channel: 1)
        }
        #expect(error.message.contains("the \(property.name) has 256 bytes"))
    }

    @Test("A table too deep throws and writes nothing")
    func tooDeep() throws {
        _ = try self.expectUndone(.tableTooDeep) { output throws(AMQPWireError) in
            var table: AMQPTable = [:]
            for _ in 0..<AMQPTable.maximumDepth { table = ["k": .table(table)] }
            try output.append(.queueDeclare(.init(queue: "q", arguments: table)), channel: 1)
        }
    }

    @Test("A method fills a frame to the last byte, and one byte more throws")
    func tableTooLarge() throws {
        func declare(_ length: Int) -> AMQPMethod {
            let value = AMQPFieldValue.longString(AMQPLongString(String(repeating: "v", count: length)))
            return .queueDeclare(.init(queue: "q", arguments: ["k": value]))
        }
        var output = AMQPOutput(frameMax: 8192)
        let fixed = 8 + 4 + 2 + 2 + 1 + 4 + 2 + 5
        try output.append(declare(8192 - fixed), channel: 1)
        #expect(output.byteCount == 8192)
        #expect(try decode(output.takeBytes(), maximumFrameSize: 8192).count == 1)
        let error = try self.expectUndone(.frameTooLarge) { output throws(AMQPWireError) in
            try output.append(declare(8192 - fixed + 1), channel: 1)
        }
        #expect(error.method == .queueDeclare)
        #expect(error.message.contains("8193 bytes"))
    }

    @Test("Properties too large for a frame throw and write nothing", arguments: [false, true])
    func propertiesTooLarge(encoded: Bool) throws {
        var properties = AMQPBasicProperties()
        properties.headers = ["k": .byteArray([UInt8](repeating: 1, count: 8192))]
        var list = ByteBuffer()
        try properties.encode(into: &list)
        let error = try self.expectUndone(.frameTooLarge) { output throws(AMQPWireError) in
            let body = ByteBuffer(repeating: 1, count: 9000)
            if encoded {
                try output.append(Self.publish, properties: list, body: body, channel: 1)
            } else {
                try output.append(Self.publish, properties: properties, body: body, channel: 1)
            }
        }
        #expect(error.method == .basicPublish)
        #expect(error.message.contains("properties"))
    }

    @Test("A maximum too small for any frame throws and does not hang", arguments: [0, 1, 8, 9] as [UInt32])
    func tinyFrameMax(frameMax: UInt32) {
        var output = AMQPOutput(frameMax: frameMax)
        #expect(throws: AMQPWireError.self) {
            try output.append(Self.publish, properties: Self.empty, body: ByteBuffer(string: "body"), channel: 1)
        }
        #expect(output.isEmpty)
    }

    // MARK: - Bodies

    private static let frameMax: UInt32 = 8192
    private static let most = 8184

    @Test(
        "A body is cut into as few frames as frame-max allows",
        arguments: [0, 1, 4095, 4096, most, most + 1, 2 * most - 1, 2 * most, 2 * most + 1, 3 * most + 4095, 1 << 20])
    func bodySizes(size: Int) throws {
        let body = ByteBuffer(bytes: (0..<size).map { UInt8(truncatingIfNeeded: $0 &* 7 >> 2) })
        var output = AMQPOutput(frameMax: Self.frameMax)
        try output.append(Self.publish, properties: Self.empty, body: body, channel: 9)
        let count = output.byteCount
        let wire = output.takeBytes()
        #expect(wire.count == count)
        let frames = try decode(wire, maximumFrameSize: Self.frameMax)
        #expect(frames.first == .method(channel: 9, Self.publish))
        let header = AMQPContentHeader(bodySize: UInt64(size), properties: Self.empty)
        #expect(frames.dropFirst().first == .header(channel: 9, header))

        var sizes: [Int] = []
        var joined = ByteBuffer()
        for frame in frames.dropFirst(2) {
            guard case .body(9, var fragment) = frame else {
                Issue.record("expected a body")
                return
            }
            sizes.append(fragment.readableBytes)
            joined.writeBuffer(&fragment)
        }
        let whole = [Int](repeating: Self.most, count: size / Self.most)
        #expect(sizes == whole + (size % Self.most == 0 ? [] : [size % Self.most]))
        #expect(joined == body)
    }

    @Test("A large body is referenced, not copied", arguments: [4096, most, 3 * most, 1 << 20])
    func largeBodies(size: Int) throws {
        let body = ByteBuffer(repeating: 7, count: size)
        var output = AMQPOutput(frameMax: Self.frameMax)
        try output.append(Self.publish, properties: Self.empty, body: body, channel: 1)
        let addresses = Set(output.take().map(\.address))
        for offset in stride(from: 0, to: size - AMQPOutput.copyThreshold + 1, by: Self.most) {
            #expect(addresses.contains(body.address + UInt(offset)))
        }
    }

    @Test("Small bodies are copied behind one another into one piece")
    func smallBodies() throws {
        let body = ByteBuffer(repeating: 7, count: AMQPOutput.copyThreshold - 1)
        var output = AMQPOutput(frameMax: Self.frameMax)
        for _ in 0..<10 { try output.append(Self.publish, properties: Self.empty, body: body, channel: 1) }
        let pieces = output.take()
        #expect(pieces.count == 1)
        #expect(pieces.first?.address != body.address)
    }

    @Test("A body is written from a slice in the middle of a buffer", arguments: [10, 5000])
    func slices(size: Int) throws {
        var buffer = ByteBuffer(bytes: [UInt8](repeating: 1, count: 3) + [UInt8](repeating: 2, count: size) + [3])
        buffer.moveReaderIndex(forwardBy: 3)
        let slice = buffer.readSlice(length: size)
        let body = try #require(slice)
        var output = AMQPOutput(frameMax: Self.frameMax)
        try output.append(Self.publish, properties: Self.empty, body: body, channel: 1)
        #expect(try decode(output.takeBytes()).last == .body(channel: 1, ByteBuffer(repeating: 2, count: size)))
    }

    @Test("Frames come out in the order they were appended, around large bodies too")
    func order() throws {
        var output = AMQPOutput(frameMax: Self.frameMax)
        var expected: [AMQPFrame] = []
        for round in 0..<3 {
            for size in [0, 10_000, 5, 4096, 8184, 4095] {
                let channel = UInt16(expected.count)
                let body = ByteBuffer(repeating: UInt8(round * 10 + size % 7), count: size)
                output.appendHeartbeat()
                try output.append(Self.publish, properties: Self.empty, body: body, channel: channel)
                output.appendAck(channel: channel, deliveryTag: UInt64(size), multiple: false)
                try output.append(.txSelect(.init()), channel: channel)
                expected += [.heartbeat, .method(channel: channel, Self.publish)]
                expected.append(
                    .header(channel: channel, .init(bodySize: UInt64(size), properties: Self.empty)))
                var rest = body
                while let fragment = rest.readSlice(length: min(rest.readableBytes, Self.most)),
                    fragment.readableBytes > 0
                {
                    expected.append(.body(channel: channel, fragment))
                }
                expected.append(.method(channel: channel, .basicAck(.init(deliveryTag: UInt64(size)))))
                expected.append(.method(channel: channel, .txSelect(.init())))
            }
            // The next batch begins anew.
            let count = output.byteCount
            let wire = output.takeBytes()
            #expect(wire.count == count)
            #expect(try decode(wire, maximumFrameSize: Self.frameMax) == expected)
            expected = []
        }
    }

    @Test("Properties that are encoded already are passed on as they are")
    func encodedProperties() throws {
        let list = ByteBuffer(bytes: PropertySample.every)
        var output = AMQPOutput()
        try output.append(Self.publish, properties: list, body: ByteBuffer(string: "b"), channel: 1)
        let passedOn = output.takeBytes()
        try output.append(
            Self.publish, properties: try AMQPBasicProperties(decoding: list), body: ByteBuffer(string: "b"),
            channel: 1)
        #expect(passedOn == output.takeBytes())
    }

    @Test("An empty list of properties is written as none")
    func noProperties() throws {
        var output = AMQPOutput()
        try output.append(Self.publish, properties: ByteBuffer(), body: ByteBuffer(), channel: 1)
        let header = AMQPContentHeader(bodySize: 0, properties: Self.empty)
        #expect(try decode(output.takeBytes()).last == .header(channel: 1, header))
    }

    // MARK: - Batches

    @Test("Clearing forgets everything that waits")
    func clear() throws {
        var output = AMQPOutput()
        try output.append(
            Self.publish, properties: Self.empty, body: ByteBuffer(repeating: 1, count: 5000), channel: 1)
        output.clear()
        #expect(output.isEmpty)
        #expect(output.take().isEmpty)
        output.appendHeartbeat()
        #expect(output.takeBytes() == bytes(hex: "08 0000 00000000 ce"))
    }

    @Test("What was taken stays as it is while the next batch is written")
    func takenIsStable() throws {
        var output = AMQPOutput()
        output.appendAck(channel: 1, deliveryTag: 1, multiple: false)
        let first = output.take()
        output.appendAck(channel: 2, deliveryTag: 2, multiple: true)
        _ = output.take()
        #expect(
            try decode(first.flatMap { Array($0.readableBytesView) })
                == [.method(channel: 1, .basicAck(.init(deliveryTag: 1)))])
    }

    @Test("A copy of an output goes its own way")
    func copies() throws {
        var one = AMQPOutput()
        one.appendAck(channel: 1, deliveryTag: 1, multiple: false)
        var other = one
        one.appendHeartbeat()
        #expect(other.byteCount == 21)
        other.appendAck(channel: 1, deliveryTag: 2, multiple: false)
        #expect(try decode(one.takeBytes()).last == .heartbeat)
        #expect(try decode(other.takeBytes()).last == .method(channel: 1, .basicAck(.init(deliveryTag: 2))))
    }
}
