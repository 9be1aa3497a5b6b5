// SPDX-License-Identifier: Apache-2.0
import AMQPWire
import NIOCore

/// The attacks on parser, client and broker. Each is one case of ``HostileRun``: a deterministic call.
package enum Attack: String, CaseIterable, Sendable {
    case framesOnTheParser, framesOnTheClient, framesOnTheBroker
    case chunksForTheParser, chunksForTheClient, chunksForTheBroker

    /// - Returns: how many damaged frames, or streams in chunks, the case held.
    /// - Throws: ``Finding``.
    package func run(using random: inout SplitMix64) throws -> Int {
        switch self {
        case .framesOnTheParser: try Self.damagedFramesOnTheParser(using: &random)
        case .framesOnTheClient: try Self.damagedFramesOnTheClient(using: &random)
        case .framesOnTheBroker: try Self.damagedFramesOnTheBroker(using: &random)
        case .chunksForTheParser: try Self.chunksForTheParser(using: &random)
        case .chunksForTheClient: try Self.chunksForTheClient(using: &random)
        case .chunksForTheBroker: try Self.chunksForTheBroker(using: &random)
        }
    }

    /// How many damaged frames follow one another at most; most connections end before.
    private static let burst = 8

    private static let mutator = Mutator(Samples.frames)

    // MARK: - Damaged frames: whatever comes, there is a result, and nothing is left behind

    private static func damagedFramesOnTheParser(using random: inout SplitMix64) throws -> Int {
        var bytes: [UInt8] = []
        for _ in 0..<Int.random(in: 0...2, using: &random) {
            bytes += Samples.frames.randomElement(using: &random) ?? []
        }
        bytes += self.mutator.frame(channel: 1, using: &random)
        bytes += Samples.frames.randomElement(using: &random) ?? []
        let whole = try WireReading([bytes])
        guard try WireReading(chunked(bytes, using: &random)) == whole else {
            throw Finding("in chunks it reads otherwise: \(bytes)")
        }
        try WireReading.checkProperties(ByteBuffer(bytes: bytes.dropFirst(7)))
        return 1
    }

    private static func damagedFramesOnTheClient(using random: inout SplitMix64) throws -> Int {
        let turns = try Conversation.recorded.get().broker
        let client = try ClientUnderTest()
        // Half of them when everything is open.
        let begun = Bool.random(using: &random) ? turns.count : Int.random(in: 0...turns.count, using: &random)
        for turn in turns.prefix(begun) { try client.receive(turn) }
        guard client.isOpen else { throw Finding("turned down what the broker says") }
        let others = Mutator(turns.flatMap(framewise))
        var count = 0
        while client.isOpen, count < self.burst {
            let source = Bool.random(using: &random) ? self.mutator : others
            let frame = source.frame(channel: UInt16.random(in: 1...2, using: &random), using: &random)
            for chunk in UInt8.random(in: 0..<8, using: &random) == 0 ? chunked(frame, using: &random) : [frame] {
                try client.receive(chunk)
            }
            count += 1
        }
        try client.end()
        return count
    }

    private static func damagedFramesOnTheBroker(using random: inout SplitMix64) throws -> Int {
        let turns = try Conversation.recorded.get().client
        let broker = try BrokerUnderTest()
        let begun = Bool.random(using: &random) ? turns.count : Int.random(in: 0...turns.count, using: &random)
        // All at once: a client may send without waiting.
        broker.receive(Array(turns.prefix(begun).joined()))
        guard broker.isOpen else { throw Finding("turned down what the client says") }
        let others = Mutator(turns.flatMap(framewise))
        var count = 0
        while broker.isOpen, count < self.burst {
            let source = Bool.random(using: &random) ? self.mutator : others
            let frame = source.frame(channel: UInt16.random(in: 1...2, using: &random), using: &random)
            for chunk in UInt8.random(in: 0..<8, using: &random) == 0 ? chunked(frame, using: &random) : [frame] {
                broker.receive(chunk)
            }
            count += 1
            // It said why and only waits for the answer: what comes now it drops.
            if try broker.isEnding() { break }
        }
        try broker.end()
        return count
    }

    // MARK: - Chunks: however a stream is cut, the same comes out

    /// How many streams go over one connection.
    private static let streams = 50

    private static func chunksForTheParser(using random: inout SplitMix64) throws -> Int {
        var bytes: [UInt8] = []
        for _ in 0..<Int.random(in: 1...4, using: &random) {
            bytes += Samples.frames.randomElement(using: &random) ?? []
        }
        if Bool.random(using: &random) { bytes += try Traffic.content(using: &random).wire }
        let whole = try WireReading([bytes])
        guard try WireReading(chunked(bytes, using: &random)) == whole else {
            throw Finding("in chunks it reads otherwise: \(bytes)")
        }
        return 1
    }

    private static func chunksForTheClient(using random: inout SplitMix64) throws -> Int {
        let client = try ClientUnderTest()
        for turn in try Conversation.recorded.get().broker { try client.receive(turn) }
        _ = client.application.takeReceived()
        for round in 0..<self.streams {
            var bytes: [UInt8] = []
            var expected: [ClientApplication.Received] = []
            for step in 0..<Int.random(in: 1...3, using: &random) {
                let tag = 100 + UInt64(round) * 10 + UInt64(step)
                let part = try Traffic.fromBroker(deliveryTag: tag, using: &random)
                bytes += part.wire
                if let message = part.message { expected.append(message) }
            }
            for chunk in chunked(bytes, using: &random) { try client.receive(chunk) }
            let received = client.application.takeReceived()
            // Each kind in its order; which of the two loops comes first is not promised.
            for source in ["delivered", "returned"] {
                guard received.filter({ $0.source == source }) == expected.filter({ $0.source == source }) else {
                    throw Finding("\(source) otherwise than sent, in stream \(round)")
                }
            }
        }
        guard client.isOpen else { throw Finding("a valid stream ended the connection") }
        try client.end()
        return self.streams
    }

    private static func chunksForTheBroker(using random: inout SplitMix64) throws -> Int {
        let one = try BrokerUnderTest()
        let other = try BrokerUnderTest()
        for turn in try Conversation.recorded.get().client.prefix(5) + [try Traffic.openingOnBroker] {
            one.receive(turn)
            other.receive(turn)
        }
        _ = try (one.takeFrames(), other.takeFrames())
        for round in 0..<self.streams {
            var bytes: [UInt8] = []
            for _ in 0..<Int.random(in: 1...3, using: &random) { bytes += try Traffic.fromClient(using: &random) }
            one.receive(bytes)
            for chunk in chunked(bytes, using: &random) { other.receive(chunk) }
            let answers = (Answers(try one.takeFrames()), Answers(try other.takeFrames()))
            guard answers.0 == answers.1, !answers.0.frames.isEmpty || answers.0.confirmed > 0 else {
                throw Finding("answered otherwise, in stream \(round)")
            }
        }
        guard one.isOpen, other.isOpen else { throw Finding("a valid stream ended the connection") }
        try one.end()
        try other.end()
        return self.streams
    }

    /// What a broker answered: it may confirm publishes one by one or several at once.
    private struct Answers: Equatable {
        var frames: [AMQPFrame] = []
        var confirmed: UInt64 = 0

        init(_ frames: [AMQPFrame]) {
            for frame in frames {
                if case .method(_, .basicAck(let ack)) = frame {
                    self.confirmed = max(self.confirmed, ack.deliveryTag)
                } else {
                    self.frames.append(frame)
                }
            }
        }
    }
}
