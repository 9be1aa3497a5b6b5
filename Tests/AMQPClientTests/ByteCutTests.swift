// SPDX-License-Identifier: Apache-2.0
import AMQPWire
import NIOConcurrencyHelpers
import NIOCore
import Testing

@_spi(HareDo) @testable import AMQPClient

/// The connection is cut at every byte of a burst of publishes on two channels, one of them with a body of several frames.
@Suite(.timeLimit(.minutes(15))) struct ByteCutTests {
    /// What was published, and how that ended.
    private struct Outcome {
        var id: String
        var error: AMQPError?
    }

    /// The burst: three messages on each of two channels, nothing, little or much in them.
    private static func burst(_ channels: [AMQPChannel], _ name: Int) -> [Task<Outcome, Never>] {
        let sizes = [0, 11, 4500, 0, 11, 100]
        return sizes.indices.map { number in
            Task {
                // As long as any other, so that each burst has as many bytes.
                let id = "\(100_000 + name) \(number)"
                var properties = AMQPBasicProperties()
                properties.messageID = id
                let body = ByteBuffer(repeating: UInt8(number), count: sizes[number])
                do throws(AMQPError) {
                    try await channels[number % 2].publishConfirmed(
                        AMQPMessage(body, properties: properties), routingKey: "q", mandatory: number == 5)
                    return Outcome(id: id, error: nil)
                } catch {
                    return Outcome(id: id, error: error)
                }
            }
        }
    }

    private static func channels(_ connection: AMQPConnection) async throws -> [AMQPChannel] {
        let channels = [try await connection.openChannel(), try await connection.openChannel()]
        for channel in channels { try await channel.confirmSelect() }
        return channels
    }

    private func burstSize() async throws -> Int {
        let size = NIOLockedValueBox(0)
        try await withPlayingBroker(frameMax: 4096) { broker, connection, session in
            let channels = try await Self.channels(connection)
            let before = session.byteCount
            for outcome in Self.burst(channels, 0) { #expect(await outcome.value.error == nil) }
            let after = session.byteCount
            size.withLockedValue { $0 = after - before }
        }
        return size.withLockedValue { $0 }
    }

    enum Answering: Int, CaseIterable {
        /// Whatever arrived whole is confirmed before the cut.
        case confirming
        /// Nothing is.
        case silent
    }

    @Test(arguments: Answering.allCases) func nobodyIsForgottenAndNobodyToldTwice(broker answering: Answering)
        async throws
    {
        let size = try await self.burstSize()
        try #require(size > 4700)
        // Some connections side by side, each cut again and again: what one loss leaves behind, the next would find.
        let lanes = 8
        // Optimised, every byte is cut at with both brokers. That takes long without, where each gets every other byte.
        #if DEBUG
            let ways = Answering.allCases.count
        #else
            let ways = 1
        #endif
        let cuts = size / ways
        try await withThrowingTaskGroup(of: [String: Int].self) { group in
            for lane in 0..<lanes {
                let first = lane + lanes * (answering.rawValue % ways)
                group.addTask { try await self.cut(from: first, to: size, by: lanes * ways, answering) }
            }
            var counts: [String: Int] = [:]
            for try await lane in group { counts.merge(lane, uniquingKeysWith: +) }
            print("cut at \(cuts) of \(size) bytes, \(answering): \(counts.sorted { $0.key < $1.key })")
            #expect(counts["outcomeUnknown", default: 0] > 0)
            // Of a silent broker only what was begun too late for the burst, and went to the next session.
            #expect(counts["confirmed", default: 0] < cuts || answering == .confirming)
            #expect(counts["confirmed", default: 0] > cuts || answering == .silent)
        }
    }

    private func cut(from first: Int, to size: Int, by step: Int, _ answering: Answering) async throws -> [String: Int]
    {
        let counts = NIOLockedValueBox<[String: Int]>([:])
        try await withPlayingBroker(frameMax: 4096) {
            // Each loss is the first: no pauses that grow.
            $0.recovery.stablePeriod = .zero
        } _: { broker, connection, session in
            let channels = try await Self.channels(connection)
            let events = EventLog(connection)
            var session = session
            for offset in stride(from: first, to: size, by: step) {
                let comment: Comment = "cut after \(offset) of \(size) bytes"
                let index = session.index
                broker.forget()
                if answering == .silent { broker.confirm { $0.session == index ? .silence : .ack } }
                // Held back until all are there, so that it is one burst.
                let hold = LoopHold()
                try await hold.take(connection.eventLoop)
                let burst = Self.burst(channels, offset)
                try await session.cut(after: offset)
                hold.release()
                var outcomes: [Outcome] = []
                for task in burst { outcomes.append(await task.value) }
                try await events.recovered()
                let next = try await broker.nextSession()
                #expect(next.index == index + 1, comment)
                #expect(next.isClean == true, comment)
                let received = broker.messages.filter { $0.session == index }
                let ids = Set(received.compactMap(\.properties.messageID))
                for outcome in outcomes {
                    counts.withLockedValue { $0[outcome.error.map { "\($0.code)" } ?? "confirmed", default: 0] += 1 }
                    switch outcome.error?.code {
                    // Confirmed by this session because it had arrived, or by the next one because it was sent there.
                    case nil:
                        #expect(broker.messages.contains { $0.properties.messageID == outcome.id }, comment)
                    case .outcomeUnknown?: break
                    default: Issue.record("\(outcome), \(comment)")
                    }
                }
                #expect(ids.count == received.count, comment)
                // Counting begins at 1 on both channels, and each gets its own answer: one is refused, the other not.
                let before = broker.messages.filter { $0.session == next.index }.count
                broker.confirm { $0.text == "refuse" ? .nack : .ack }
                for channel in channels {
                    var codes: [AMQPError.Code?] = []
                    for text in ["refuse", "take"] {
                        do throws(AMQPError) {
                            try await channel.publishConfirmed(AMQPMessage(text), routingKey: "q")
                            codes.append(nil)
                        } catch { codes.append(error.code) }
                    }
                    #expect(codes == [.nacked, nil], comment)
                }
                let tags = broker.messages.filter { $0.session == next.index }
                for number in Set(tags.map(\.channel)) {
                    let ofChannel = tags.filter { $0.channel == number }.map(\.tag)
                    #expect(ofChannel == Array(1...UInt64(ofChannel.count)), comment)
                }
                #expect(tags.count == before + 4, comment)
                session = next
            }
        }
        return counts.withLockedValue { $0 }
    }
}
