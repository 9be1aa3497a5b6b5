// SPDX-License-Identifier: Apache-2.0
package import AMQPClient
package import AMQPWire
import NIOCore

/// Many publishers with confirms and one consumer with acknowledgements on a durable queue, while a test does its worst.
package struct ConfirmedLoad: Sendable {
    /// Where publishers connect; the consumer has a connection of its own.
    package var publishing: AMQPConfiguration
    package var consuming: AMQPConfiguration
    package var queue = TestBroker.uniqueName("load")
    package var queueArguments: AMQPTable = [:]
    /// How many; `nil`: as many as there is time for while the disturbance lasts, and as the consumer keeps up with. A number
    /// may all be published before the disturbance comes, on a fast machine.
    package var messages: Int?
    /// Tasks that publish one message after the other, so at most so many are unconfirmed.
    package var publishers = 400
    package var bodySize = 64
    /// How long the rest may take to arrive once all is published.
    package var patience = Duration.seconds(60)

    /// The load on a broker, with timeouts that are short enough to pass while it is gone.
    package init(_ url: String, consumeFrom other: String? = nil) throws {
        self.publishing = try Self.configuration(url, "publisher")
        self.consuming = try Self.configuration(other ?? url, "consumer")
    }

    private static func configuration(_ url: String, _ name: String) throws -> AMQPConfiguration {
        var configuration = try AMQPConfiguration(uri: url)
        configuration.connectionName = name
        configuration.connectTimeout = .seconds(2)
        configuration.replyTimeout = .seconds(2)
        configuration.publishTimeout = .seconds(2)
        configuration.recovery.maximumDelay = .milliseconds(500)
        return configuration
    }

    /// What a load without a number of messages does not exceed.
    private static let limit = 2_000_000
    /// Confirmed and not consumed, in such a load: what is left at the end has to be waited for.
    private static let backlog = 50_000

    /// Publishes all messages while `disturb` runs, and waits until what was confirmed has been consumed.
    ///
    /// - Parameter ready: called when the queue is declared, before the first message.
    /// - Returns: the ledger. It is for the caller to look at ``MessageBook/missing``: this only waits for it to become 0.
    package func run(
        ready: () async throws -> Void = {},
        consumer: (@Sendable (MessageBook) async throws -> Void)? = nil,
        _ disturb: @escaping @Sendable (MessageBook) async throws -> Void
    ) async throws -> MessageBook {
        let book = MessageBook(messages: self.messages ?? Self.limit)
        let publisher = try await AMQPConnection.connect(self.publishing)
        let receiver = try await AMQPConnection.connect(self.consuming)
        do {
            let declaring = try await receiver.openChannel()
            try await declaring.declareQueue(self.queue, durable: true, arguments: self.queueArguments)
            try await ready()
            try await self.runTasks(publisher, receiver, book, consumer, disturb)
            try await self.deleteQueue(on: declaring)
        } catch {
            await publisher.close()
            await receiver.close()
            print(book.summary)
            throw error
        }
        await publisher.close()
        await receiver.close()
        return book
    }

    /// Tidies up, over a network that may still be bad.
    private func deleteQueue(on channel: AMQPChannel) async throws(AMQPError) {
        for attempt in 1... {
            do throws(AMQPError) {
                try await channel.deleteQueue(self.queue)
                return
            } catch {
                guard attempt < 10, [.timedOut, .connectionLost].contains(error.code) else { throw error }
            }
        }
    }

    /// The publishers and `disturb`, until both are done, beside what goes on until then.
    private func runTasks(
        _ publisher: AMQPConnection, _ receiver: AMQPConnection, _ book: MessageBook,
        _ consumer: (@Sendable (MessageBook) async throws -> Void)?,
        _ disturb: @escaping @Sendable (MessageBook) async throws -> Void
    ) async throws {
        try await withThrowingTaskGroup(of: Bool.self) { group in
            group.addTask { await follow(publisher, "publisher", in: book) }
            group.addTask { await follow(receiver, "consumer", in: book) }
            group.addTask { await canary(in: book) }
            group.addTask { try await self.probe(publisher, book) }
            if let consumer {
                group.addTask {
                    try await consumer(book)
                    return false
                }
            } else {
                group.addTask { try await self.consume(receiver, book) }
            }
            group.addTask {
                try await self.publishAll(publisher, book, disturb)
                try await self.awaitRest(book)
                return true
            }
            while let isDone = try await group.next(), !isDone {}
            group.cancelAll()
        }
    }

    private func publishAll(
        _ connection: AMQPConnection, _ book: MessageBook,
        _ disturb: @escaping @Sendable (MessageBook) async throws -> Void
    ) async throws {
        let channels = try await ConfirmChannel(connection)
        try await withThrowingTaskGroup(of: Void.self) { group in
            group.addTask {
                try await disturb(book)
                if self.messages == nil { book.stop() }
            }
            for _ in 0..<self.publishers { group.addTask { try await self.publish(channels, book) } }
            // Unlike `waitForAll`, which would wait for the others before it throws.
            while try await group.next() != nil {}
        }
    }

    /// Publishes one message after the other. One whose outcome is unknown stays so; one that was
    /// refused, or not confirmed in time, is tried again, and may arrive twice.
    private func publish(_ channels: ConfirmChannel, _ book: MessageBook) async throws {
        while let message = book.take() {
            while true {
                try Task.checkCancellation()
                if self.messages == nil, book.missing > Self.backlog {
                    // Not exactly: this only keeps the load in bounds.
                    try await Task.sleep(for: .milliseconds(10))
                    continue
                }
                let channel = await channels.current
                book.began()
                let deadline = ContinuousClock.now + self.publishing.publishTimeout
                let outcome = await self.attempt(channel, message)
                book.waitEnded(deadline: deadline)
                book.ended(message, outcome)
                switch outcome {
                case .confirmed, .unknown: break
                case .timedOut: continue
                case .refused:
                    try await Task.sleep(for: .milliseconds(100))
                    if try await channels.replace(channel) { book.saw(event: "channel replaced after nacks") }
                    continue
                case .ended(let why): throw EndedForGood(description: why)
                }
                break
            }
        }
    }

    private struct EndedForGood: Error, CustomStringConvertible {
        let description: String
    }

    private func attempt(_ channel: AMQPChannel, _ message: Int) async -> MessageBook.Outcome {
        do throws(AMQPError) {
            try await channel.publishConfirmed(self.message(message), routingKey: self.queue)
            return .confirmed
        } catch {
            switch error.code {
            case .outcomeUnknown: return .unknown
            case .timedOut: return .timedOut
            case .nacked: return .refused("\(error.code)")
            default: return .ended("\(error)")
            }
        }
    }

    private func message(_ number: Int) -> AMQPMessage {
        var body = ByteBuffer()
        body.writeInteger(UInt64(number))
        body.writeRepeatingByte(0x2e, count: max(0, self.bodySize - 8))
        var properties = AMQPBasicProperties()
        properties.deliveryMode = AMQPBasicProperties.persistent
        return AMQPMessage(body, properties: properties)
    }

    /// The number in a message's body.
    package static func number(in body: some Collection<UInt8>) -> Int {
        guard body.count >= 8 else { return -1 }
        return Int(exactly: body.prefix(8).reduce(UInt64(0)) { $0 << 8 | UInt64($1) }) ?? -1
    }

    private func consume(_ connection: AMQPConnection, _ book: MessageBook) async throws -> Bool {
        let channel = try await connection.openChannel()
        try await channel.qos(prefetchCount: 300)
        let consumer = try await channel.consume(self.queue)
        for try await delivery in consumer.deliveries {
            book.consumed(Self.number(in: delivery.body.readableBytesView))
            try self.acknowledge(delivery)
        }
        return false
    }

    // Not in the loop: there it crashes the compiler (Swift 6.3.1).
    private func acknowledge(_ delivery: AMQPDelivery) throws {
        do throws(AMQPError) {
            try delivery.ack()
        } catch {
            // Its connection is gone, and it comes again.
            guard error.code == .deliveryExpired else { throw error }
        }
    }

    /// Asks the broker something all the time: an answer, or an error, has to come by the deadline too.
    private func probe(_ connection: AMQPConnection, _ book: MessageBook) async throws -> Bool {
        let channel = try await connection.openChannel()
        while !Task.isCancelled {
            let deadline = ContinuousClock.now + self.publishing.replyTimeout
            do throws(AMQPError) {
                _ = try await channel.declareQueue(self.queue, passive: true)
            } catch {
                book.saw(event: "probes ended with \(error.code)")
            }
            book.waitEnded(deadline: deadline)
            try? await Task.sleep(for: .milliseconds(50))
        }
        return false
    }

    private func awaitRest(_ book: MessageBook) async throws {
        let deadline = ContinuousClock.now + self.patience
        while book.missing > 0, ContinuousClock.now < deadline { try await Task.sleep(for: .milliseconds(20)) }
    }
}

/// Counts the events of a connection.
private func follow(_ connection: AMQPConnection, _ name: String, in book: MessageBook) async -> Bool {
    for await event in connection.events {
        switch event {
        case .connected: book.saw(event: "\(name) connected")
        case .lost: book.saw(event: "\(name) lost")
        case .recovering: book.saw(event: "\(name) recovering")
        case .recovered(let report):
            book.saw(event: "\(name) recovered")
            for failure in report.failures { book.saw(event: "\(name) did not recover \(failure)") }
        case .unhealthy(let report): book.saw(event: "\(name) unhealthy: \(report.failures)")
        case .blocked: book.saw(event: "\(name) blocked")
        case .unblocked: book.saw(event: "\(name) unblocked")
        case .channelLost(let error): book.saw(event: "\(name) lost a channel: \(error.message)")
        case .closed(let error): book.saw(event: "\(name) closed: \(error.message)")
        }
    }
    return false
}

private func canary(in book: MessageBook) async -> Bool {
    let clock = ContinuousClock()
    while !Task.isCancelled {
        let due = clock.now + .milliseconds(10)
        try? await clock.sleep(until: due)
        book.canaryWoke(late: clock.now - due)
    }
    return false
}

/// The channel that all publishers use.
///
/// RabbitMQ 3.10 refuses (nacks) everything that a channel publishes to a quorum queue if its first message came after the
/// leader's node died and before another was elected, until that node is back. On another channel they are taken.
private actor ConfirmChannel {
    private let connection: AMQPConnection
    private(set) var current: AMQPChannel
    private var isReplacing = false

    init(_ connection: AMQPConnection) async throws {
        self.connection = connection
        self.current = try await Self.open(connection)
    }

    private static func open(_ connection: AMQPConnection) async throws -> AMQPChannel {
        let channel = try await connection.openChannel()
        try await channel.confirmSelect()
        return channel
    }

    /// - Returns: whether it did; not if another has taken the channel's place, or is about to.
    func replace(_ channel: AMQPChannel) async throws -> Bool {
        guard self.current === channel, !self.isReplacing else { return false }
        self.isReplacing = true
        defer { self.isReplacing = false }
        // What is under way on the old one is left to end there.
        guard let opened = try? await Self.open(self.connection) else { return false }
        self.current = opened
        return true
    }
}
