// SPDX-License-Identifier: Apache-2.0
import AMQPWire
@testable import AMQPWireGenerator
import HostileSupport
import NIOCore
import Testing

@Suite("Methods")
struct MethodTests {
    private func expected(_ sample: MethodSample) -> [AMQPFrame] {
        [.method(channel: sample.channel, sample.method)]
    }

    private func encoded(_ sample: MethodSample) throws -> [UInt8] {
        var output = AMQPOutput()
        try output.append(sample.method, channel: sample.channel)
        #expect(!output.isEmpty)
        let count = output.byteCount
        let bytes = output.takeBytes()
        #expect(bytes.count == count)
        #expect(output.isEmpty)
        return bytes
    }

    @Test("A method that arrives byte by byte is read once, at its last byte", arguments: MethodSample.all)
    func byteByByte(sample: MethodSample) throws {
        let wire = try self.encoded(sample)
        #expect(try decode(wire.dropLast().map { [$0] }) == [])
        #expect(try decode(wire.map { [$0] }) == self.expected(sample))
    }

    @Test("A method is read wherever its bytes are split", arguments: MethodSample.all)
    func splitAnywhere(sample: MethodSample) throws {
        let wire = try self.encoded(sample)
        for position in 0...wire.count {
            #expect(try decode([Array(wire[..<position]), Array(wire[position...])]) == self.expected(sample))
        }
    }

    @Test("A method cut short by any number of bytes, or followed by more, is refused", arguments: MethodSample.all)
    func wrongLengths(sample: MethodSample) throws {
        let payload = Array(try self.encoded(sample).dropFirst(7).dropLast())
        for length in 0..<payload.count {
            let error = #expect(throws: AMQPWireError.self) { try decode(frame(1, Array(payload[..<length]))) }
            #expect(error?.code == .malformedValue)
            #expect(error?.method == (length < 4 ? nil : sample.method.id))
        }
        let error = #expect(throws: AMQPWireError.self) { try decode(frame(1, payload + [0])) }
        #expect(error?.code == .malformedValue)
        #expect(error?.method == sample.method.id)
    }

    @Test("All methods behind one another in one buffer are read in order", arguments: [1, 7, 64, 1 << 20])
    func severalInOneBuffer(chunkSize: Int) throws {
        var output = AMQPOutput()
        for sample in MethodSample.all { try output.append(sample.method, channel: sample.channel) }
        let wire = output.takeBytes()
        let chunks = stride(from: 0, to: wire.count, by: chunkSize).map {
            Array(wire[$0..<min($0 + chunkSize, wire.count)])
        }
        #expect(try decode(chunks) == MethodSample.all.flatMap { self.expected($0) })
    }

    @Test("The samples cover every method of the specification, by number and by name")
    func samplesAreComplete() {
        let declared = specification.flatMap { amqpClass in
            amqpClass.methods.map { (AMQPMethodID(classID: UInt16(amqpClass.id), methodID: UInt16($0.id)), $0) }
        }
        let sampled = Set(MethodSample.all.map(\.method.id))
        #expect(sampled == Set(declared.map(\.0)))
        #expect(declared.count == 66)
        for sample in MethodSample.all {
            #expect(sample.name.hasPrefix(sample.method.id.description + ","))
            #expect(sample.method.id.name == sample.method.id.description)
        }
    }

    @Test("Four methods carry content")
    func content() {
        let carrying = Set(MethodSample.all.filter(\.method.hasContent).map(\.method.id.description))
        #expect(carrying == ["basic.publish", "basic.return", "basic.deliver", "basic.get-ok"])
    }

    @Test("Bits nobody defined are ignored")
    func undefinedBits() throws {
        let ack = bytes(hex: "003c 0050 0000000000000009 fe")
        #expect(
            try decode(frame(1, ack))
                == [.method(channel: 1, .basicAck(.init(deliveryTag: 9, multiple: false)))])
    }

    @Test(
        "An unknown method is refused with its numbers",
        arguments: [(60, 10_000), (60, 0), (0, 0), (65_535, 65_535), (10, 81), (40, 41)] as [(UInt16, UInt16)])
    func unknownMethod(classID: UInt16, methodID: UInt16) {
        let payload = bigEndian(classID) + bigEndian(methodID)
        let error = #expect(throws: AMQPWireError.self) { try decode(frame(1, payload)) }
        #expect(error?.code == .unknownMethod)
        #expect(error?.replyCode == 503)
        #expect(error?.method == AMQPMethodID(classID: classID, methodID: methodID))
        #expect(error?.description.contains("class \(classID), method \(methodID)") == true)
        #expect(AMQPMethodID(classID: classID, methodID: methodID).name == nil)
    }

    @Test("A name that is not UTF-8 is repaired, and what was read can be written again", arguments: 1...255)
    func namesThatAreNotText(length: Int) throws {
        // Every such byte becomes a character of three: 86 of them would no longer fit a short string.
        let name = [UInt8](repeating: 0xE9, count: length)
        let wire = frame(1, bytes(hex: "003c 0015") + [UInt8(length)] + name)
        guard case .method(let channel, let method) = try decode(wire).first,
            case .basicConsumeOk(let consumeOk) = method
        else {
            Issue.record("expected basic.consume-ok")
            return
        }
        #expect(consumeOk.consumerTag == String(repeating: "\u{FFFD}", count: min(length, 85)))
        var output = AMQPOutput()
        try output.append(method, channel: channel)
        #expect(try decode(output.takeBytes()) == [.method(channel: channel, method)])
    }
}
