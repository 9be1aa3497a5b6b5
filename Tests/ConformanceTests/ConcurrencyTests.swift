// SPDX-License-Identifier: Apache-2.0
import AMQPClient
import AMQPWire
import NIOCore
import TestSupport
import Testing

/// Many tasks on one connection; made for the thread sanitizer as well.
@Suite("Many tasks at once", .timeLimit(.minutes(2)))
struct ConcurrencyTests {
    @Test("64 tasks publish on one channel, and each message is confirmed once", arguments: TestBroker.modes)
    func publishing(broker: TestBroker) async throws {
        try await broker.run { url in
            try await withConnection(url) { connection in
                let (tasks, each) = (64, 25)
                let channel = try await connection.openChannel()
                let queue = try await channel.declareQueue("", exclusive: true).name
                try await channel.confirmSelect()
                let confirmed = try await withThrowingTaskGroup(of: Int.self) { group in
                    for task in 0..<tasks {
                        group.addTask { @concurrent in
                            for number in 0..<each {
                                // Now and then one that comes back, so that returns and confirms mix.
                                let isLost = number % 5 == 4
                                do {
                                    try await channel.publishConfirmed(
                                        AMQPMessage("\(task) \(number)"),
                                        routingKey: isLost ? TestBroker.uniqueName("nowhere") : queue,
                                        mandatory: isLost || number % 2 == 0)
                                    if isLost {
                                        throw TookTooLong(what: "the return of \(task) \(number)", limit: .zero)
                                    }
                                } catch let error as AMQPError where isLost && error.code == .returned {
                                    continue
                                }
                            }
                            return each - each / 5
                        }
                    }
                    return try await group.reduce(0, +)
                }
                #expect(confirmed == tasks * (each - each / 5))
                let consumer = try await channel.consume(queue, acknowledgement: .automatic)
                var next: [Int: Int] = [:]
                var count = 0
                for try await delivery in consumer.deliveries {
                    let parts = delivery.text.split(separator: " ").compactMap { Int($0) }
                    // In the order of each task, without a gap.
                    #expect(parts[1] == next[parts[0], default: 0])
                    next[parts[0]] = parts[1] % 5 == 3 ? parts[1] + 2 : parts[1] + 1
                    count += 1
                    if count == confirmed { break }
                }
                #expect(try await channel.declareQueue(queue, passive: true).messageCount == 0)
            }
        }
    }

    @Test("32 tasks open, use and close channels", arguments: TestBroker.modes)
    func channels(broker: TestBroker) async throws {
        try await broker.run { url in
            try await withConnection(url) { connection in
                let (tasks, each) = (32, 10)
                try await withThrowingTaskGroup(of: Void.self) { group in
                    for task in 0..<tasks {
                        group.addTask { @concurrent in
                            for number in 0..<each {
                                let channel = try await connection.openChannel()
                                let queue = try await channel.declareQueue("", exclusive: true).name
                                try await channel.confirmSelect()
                                let text = "\(task) \(number)"
                                try await channel.publishConfirmed(AMQPMessage(text), routingKey: queue)
                                let delivery = try #require(try await channel.get(queue))
                                #expect(delivery.text == text)
                                try delivery.ack()
                                switch number % 3 {
                                // Some are closed by their own error, and their numbers are used again all the same.
                                case 0:
                                    await expectRefusal(404) {
                                        try await channel.declareQueue(TestBroker.uniqueName(), passive: true)
                                    }
                                case 1: #expect(try await channel.deleteQueue(queue) == 0)
                                default: break
                                }
                                await channel.close()
                            }
                        }
                    }
                    try await group.waitForAll()
                }
                #expect(await connection.isOpen)
            }
        }
    }
}
