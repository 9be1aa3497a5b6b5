// SPDX-License-Identifier: Apache-2.0
import AMQPClient
import HareDo
import TestSupport
import Testing

/// RabbitMQ dies and comes back, over and over, under load. Prints a ledger.
@Suite("RabbitMQ killed again and again", .serialized)
struct KillTests {
    static let messages = 100_000
    static let kills = 20

    enum Consumer: String, CaseIterable, Sendable {
        /// A peer's service on the durable queue: a message is acknowledged when its handler has returned.
        case peer
        /// An AMQP consumer that acknowledges each delivery.
        case channel
    }

    @Test(
        "20 kills under 100,000 persistent messages: what was confirmed is consumed, and no wait ends late",
        arguments: Consumer.allCases)
    func kills(consumer: Consumer) async throws {
        try await within(.seconds(600)) {
            try await TestBroker.runOnOwnRabbitMQ { broker in
                let url = try await broker.url()
                var load = try ConfirmedLoad(url)
                load.messages = Self.messages
                // One batch of confirms, just arrived when the node dies, leaves more than a hundred unconfirmed.
                load.publishers = 1000
                let queue = load.queue
                let asPeer: @Sendable (MessageBook) async throws -> Void = { book in
                    try await consumeAsPeer(url, queue, book)
                }
                let book = try await load.run(
                    ready: { try await broker.flush() }, consumer: consumer == .peer ? asPeer : nil
                ) { book in
                    for kill in 1...Self.kills {
                        let due = kill * Self.messages / (Self.kills + 1)
                        try await eventually("messages before kill \(kill)", within: .seconds(60)) {
                            book.confirmed + book.unknown >= due && book.outstanding >= 100
                        }
                        let (outstanding, unknown, lost) = (
                            book.outstanding, book.unknown, book.count(of: "publisher lost")
                        )
                        try await broker.crash()
                        try await eventually("the loss") { book.count(of: "publisher lost") > lost }
                        try await eventually("unknown outcomes") { book.unknown - unknown >= 100 }
                        // While it is dead: when `resume` returns, the rest may all have been published already.
                        let confirmed = book.confirmed
                        let killed = ContinuousClock.now
                        try await broker.resume()
                        try await eventually("publishing to resume", within: .seconds(30)) {
                            book.confirmed > confirmed
                        }
                        // Those whose outcome is unknown had been written, and no answer had come.
                        print(
                            "kill \(kill): at \(due) messages, \(outstanding) under way, "
                                + "\(book.unknown - unknown) of them unconfirmed when it died; "
                                + "first confirm \(ContinuousClock.now - killed) later")
                        #expect(outstanding >= 100)
                        #expect(book.unknown - unknown >= 100, "unconfirmed at kill \(kill)")
                    }
                }
                book.print("kills, consumed by a \(consumer)")
                #expect(book.missing == 0)
                #expect(book.unknown > 0)
                #expect(book.confirmed + book.unknown == book.messages)
                // Otherwise no wait was long enough to end late.
                #expect(book.timedOut > 0)
                #expect(book.latestOverrun <= .milliseconds(250))
            }
        }
    }
}

/// A peer that listens on the queue until its task is cancelled.
private func consumeAsPeer(_ url: String, _ queue: String, _ book: MessageBook) async throws {
    var configuration = Peer.Configuration.url(url)
    // As publishers do: the node is up for a second or two between kills, and a patient peer would miss that.
    configuration.maximumReconnectDelay = .milliseconds(500)
    try await Peer.with(configuration) { peer in
        let service = try await peer.listen(on: queue, as: .durable) { message in
            book.consumed(ConfirmedLoad.number(in: message.data))
            return nil
        }
        try await service.run()
    }
}
