// SPDX-License-Identifier: Apache-2.0
import AMQPWire
package import NIOCore

/// What the parser makes of a stream: decoder, methods, properties, tables and contents.
package struct WireReading: Equatable {
    /// Each frame as it is written again.
    package var frames: [[UInt8]] = []
    /// Methods, or methods with their content, as the channels put them together; by their bytes.
    package var commands: [[UInt8]] = []
    package var failure: String?

    /// Reads chunks as a connection does.
    ///
    /// - Throws: ``Finding``: something was read that cannot be written and read back as the same.
    package init(_ chunks: [[UInt8]]) throws(Finding) {
        var decoder = AMQPFrameDecoder()
        var assemblers: [UInt16: AMQPContentAssembler] = [:]
        do {
            for chunk in chunks {
                decoder.append(ByteBuffer(bytes: chunk))
                while let frame = try decoder.nextFrame() {
                    self.frames.append(try Self.written(frame))
                    var assembler = assemblers[frame.channel] ?? AMQPContentAssembler(maximumBodySize: 1 << 20)
                    let outcome: AMQPContentAssembler.Outcome =
                        switch frame {
                        case .method(_, let method): try assembler.received(method)
                        case .header(_, let header): try assembler.received(header)
                        case .body(_, let bytes): try assembler.received(body: bytes)
                        case .heartbeat: .incomplete
                        }
                    assemblers[frame.channel] = assembler
                    self.note(outcome)
                }
            }
        } catch let error as AMQPWireError {
            guard !error.message.isEmpty else { throw Finding("an error without a word") }
            self.failure = "\(error)"
        } catch let finding as Finding {
            throw finding
        } catch {
            throw Finding("an error of a foreign type: \(error)")
        }
    }

    private mutating func note(_ outcome: AMQPContentAssembler.Outcome) {
        switch outcome {
        case .incomplete: break
        case .method(let method): self.commands.append(Array("\(method.id)".utf8))
        case .content(let content):
            self.commands.append(
                Array("\(content.method.id)".utf8) + Array(content.header.properties.readableBytesView)
                    + Array(content.body.readableBytesView))
        }
    }

    /// The frame as bytes: tables may hold a NaN, which does not equal itself.
    private static func written(_ frame: AMQPFrame) throws(Finding) -> [UInt8] {
        switch frame {
        case .method(let channel, let method):
            let first = try encoded { output throws(AMQPWireError) in try output.append(method, channel: channel) }
            var decoder = AMQPFrameDecoder()
            decoder.append(ByteBuffer(bytes: first))
            guard case .method(_, let again)? = try? decoder.nextFrame() else {
                throw Finding("\(method.id) was written and cannot be read")
            }
            let second = try encoded { output throws(AMQPWireError) in try output.append(again, channel: channel) }
            guard first == second else { throw Finding("\(method.id) changes when it is passed on") }
            return first
        case .header(let channel, let header):
            try Self.checkProperties(header.properties)
            return bigEndian(channel) + bigEndian(header.classID) + Array("\(header.bodySize)".utf8)
                + Array(header.properties.readableBytesView)
        case .body(let channel, let bytes): return [3] + bigEndian(channel) + Array(bytes.readableBytesView)
        case .heartbeat: return [8]
        }
    }

    /// Properties and the tables in them: what can be read can be written, and is then read as the same.
    ///
    /// - Returns: whether they can be read.
    @discardableResult
    package static func checkProperties(_ list: ByteBuffer) throws(Finding) -> Bool {
        guard let properties = try? AMQPBasicProperties(decoding: list) else { return false }
        do {
            var first = ByteBuffer()
            try properties.encode(into: &first)
            var second = ByteBuffer()
            try AMQPBasicProperties(decoding: first).encode(into: &second)
            guard first == second else { throw Finding("properties change when they are passed on") }
        } catch let finding as Finding {
            throw finding
        } catch {
            throw Finding("properties were read and cannot be passed on: \(error)")
        }
        return true
    }
}
