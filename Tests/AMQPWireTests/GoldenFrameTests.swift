// SPDX-License-Identifier: Apache-2.0
import AMQPWire
import HostileSupport
import NIOCore
import Testing

/// Frames written by hand from the specification, with RabbitMQ's field tags (errata 3).
@Suite("Bytes on the wire")
struct GoldenFrameTests {
    @Test("The protocol header")
    func protocolHeader() {
        var output = AMQPOutput()
        output.appendProtocolHeader()
        #expect(output.byteCount == 8)
        #expect(output.takeBytes() == [0x41, 0x4D, 0x51, 0x50, 0x00, 0x00, 0x09, 0x01])
    }

    @Test("A heartbeat")
    func heartbeat() throws {
        var output = AMQPOutput()
        output.appendHeartbeat()
        #expect(output.byteCount == 8)
        let wire = output.takeBytes()
        #expect(wire == [0x08, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0xCE])
        let frames = try decode(wire)
        #expect(frames == [.heartbeat])
        #expect(frames.first?.channel == 0)
    }

    @Test("connection.tune-ok")
    func tuneOk() throws {
        var output = AMQPOutput()
        try output.append(
            .connectionTuneOk(.init(channelMax: 2047, frameMax: 131_072, heartbeat: 60)), channel: 0)
        #expect(output.takeBytes() == bytes(hex: "01 0000 0000000c  000a 001f 07ff 00020000 003c  ce"))
    }

    @Test("queue.declare: durable, auto-delete, one argument")
    func queueDeclare() throws {
        var output = AMQPOutput()
        try output.append(
            .queueDeclare(.init(queue: "hare", durable: true, autoDelete: true, arguments: ["x-max-length": 5])),
            channel: 3)
        #expect(
            output.takeBytes()
                == bytes(
                    hex: "01 0003 00000026  0032 000a 0000 04 68617265 0a "
                        + "00000016 0c 782d6d61782d6c656e677468 6c 0000000000000005  ce"))
    }

    @Test("basic.publish with header and body")
    func publish() throws {
        var properties = AMQPBasicProperties()
        properties.contentType = "text/plain"
        properties.deliveryMode = AMQPBasicProperties.persistent
        var output = AMQPOutput()
        try output.append(
            .basicPublish(.init(exchange: "ex", routingKey: "a.b", mandatory: true)), properties: properties,
            body: ByteBuffer(string: "hi"), channel: 0x0201)
        let method = "01 0201 0000000e  003c 0028 0000 02 6578 03 612e62 01  ce"
        let header = "02 0201 0000001a  003c 0000 0000000000000002 9000 0a 746578742f706c61696e 02  ce"
        let body = "03 0201 00000002  6869  ce"
        #expect(output.takeBytes() == bytes(hex: method + header + body))
    }

    @Test("basic.ack, by either way of writing it", arguments: [false, true])
    func ack(multiple: Bool) throws {
        let wire = bytes(hex: "01 0007 0000000d  003c 0050 0102030405060708 \(multiple ? "01" : "00")  ce")
        var output = AMQPOutput()
        output.appendAck(channel: 7, deliveryTag: 0x0102_0304_0506_0708, multiple: multiple)
        #expect(output.byteCount == wire.count)
        #expect(output.takeBytes() == wire)
        try output.append(
            .basicAck(.init(deliveryTag: 0x0102_0304_0506_0708, multiple: multiple)), channel: 7)
        #expect(output.takeBytes() == wire)
    }

    @Test("A table with every type")
    func table() throws {
        let table: AMQPTable = [
            "t": true, "b": .int8(-2), "B": .uint8(254), "s": .int16(-2), "u": .uint16(65_534), "I": .int32(-2),
            "i": .uint32(4_294_967_294), "l": .int64(-2), "f": .float(1.5), "d": .double(-2.5),
            "D": .decimal(scale: 2, value: 31_415), "S": "text", "x": .byteArray([0, 255]), "A": [1, false],
            "T": .timestamp(1_700_000_000), "F": ["n": .void], "V": .void,
        ]
        let wire = """
            01 74 74 01
            01 62 62 fe
            01 42 42 fe
            01 73 73 fffe
            01 75 75 fffe
            01 49 49 fffffffe
            01 69 69 fffffffe
            01 6c 6c fffffffffffffffe
            01 66 66 3fc00000
            01 64 64 c004000000000000
            01 44 44 02 00007ab7
            01 53 53 00000004 74657874
            01 78 78 00000002 00ff
            01 41 41 0000000b 6c 0000000000000001 74 00
            01 54 54 000000006553f100
            01 46 46 00000003 01 6e 56
            01 56 56
            """
        #expect(try encode(table) == bytes(hex: wire))
        #expect(try AMQPBasicProperties(decoding: headers(bytes(hex: wire))).headers == table)
    }
}
