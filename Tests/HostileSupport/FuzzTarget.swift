// SPDX-License-Identifier: Apache-2.0
import NIOCore

/// What libFuzzer's inputs are thrown at. Each is deterministic: the same input, the same result.
package enum FuzzTarget: String, CaseIterable, Sendable {
    /// A byte that seeds the chunking, then a stream. Whole and in chunks it has to read alike.
    case wire
    /// A property list. What can be read can be passed on, and stays the same.
    case tables
    /// How many recorded turns come before, a byte that seeds the chunking (0: frame by frame), and what the broker
    /// says then.
    case client
    /// The same with what the client says.
    case broker

    /// - Throws: ``Finding``: something that must not be.
    package func run(_ input: [UInt8]) throws {
        switch self {
        case .wire:
            guard let seed = input.first else { return }
            var random = SplitMix64(seed: UInt64(seed))
            let bytes = Array(input.dropFirst())
            let whole = try WireReading([bytes])
            guard try WireReading(chunked(bytes, using: &random)) == whole else {
                throw Finding("in chunks it reads otherwise")
            }
        case .tables:
            try WireReading.checkProperties(ByteBuffer(bytes: input))
        case .client:
            guard input.count > 2 else { return }
            let turns = try Conversation.recorded.get().broker
            let client = try ClientUnderTest()
            for turn in turns.prefix(Int(input[0]) % (turns.count + 1)) { try client.receive(turn) }
            for chunk in Self.chunks(input) { try client.receive(chunk) }
            try client.end()
        case .broker:
            guard input.count > 2 else { return }
            let turns = try Conversation.recorded.get().client
            let broker = try BrokerUnderTest()
            for turn in turns.prefix(Int(input[0]) % (turns.count + 1)) { broker.receive(turn) }
            for chunk in Self.chunks(input) { broker.receive(chunk) }
            try broker.end()
        }
    }

    private static func chunks(_ input: [UInt8]) -> [[UInt8]] {
        let bytes = Array(input.dropFirst(2))
        guard input[1] != 0 else { return framewise(bytes) }
        var random = SplitMix64(seed: UInt64(input[1]))
        return chunked(bytes, using: &random)
    }

    /// What fuzzing begins with: the files of Tests/Fuzz/Corpus that were not found but made.
    package var seeds: [(name: String, bytes: [UInt8])] {
        get throws {
            let conversation = try Conversation.recorded.get()
            switch self {
            case .wire:
                let frames = Samples.frames.enumerated().map { ("frame-\(Self.number($0.offset))", [7] + $0.element) }
                return frames + [
                    ("client-says", [0] + conversation.client.joined()),
                    ("broker-says", [1] + conversation.broker.joined()),
                ]
            case .tables: return Samples.propertyLists.map { ("list-\($0.name.replacing(" ", with: "-"))", $0.bytes) }
            case .client: return Self.seeds(conversation.broker)
            case .broker: return Self.seeds(conversation.client)
            }
        }
    }

    private static func seeds(_ turns: [[UInt8]]) -> [(String, [UInt8])] {
        // The whole from the beginning, what is left after some turns, and every method when all is open.
        var seeds = [("conversation", [0, 0] + turns.joined())]
        for begun in stride(from: 2, to: turns.count, by: 3) {
            seeds.append(("from-turn-\(Self.number(begun))", [UInt8(begun), 0] + turns[begun...].joined()))
        }
        for (index, sample) in Samples.frames.enumerated() {
            var frame = sample
            frame[1] = 0
            frame[2] = sample[0] == 8 || (sample[0] == 1 && sample[8] == 10) ? 0 : 1
            seeds.append(("frame-\(Self.number(index))", [UInt8(turns.count), 0] + frame))
        }
        return seeds
    }

    private static func number(_ value: Int) -> String {
        value < 10 ? "00\(value)" : value < 100 ? "0\(value)" : "\(value)"
    }
}
