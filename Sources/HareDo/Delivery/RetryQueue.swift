// SPDX-License-Identifier: Apache-2.0
import AMQPWire

/// A queue that belongs to a service's queue: where its messages wait for another attempt, or for somebody to look.
struct RetryQueue: Hashable, Sendable {
    let name: String
    let arguments: Headers

    private static let parkedSuffix = ".parked"
    private static let retrySuffix = ".retry."
    /// How long a queue without use is kept, beyond the pause of those that wait in it.
    private static let grace: Int64 = 60_000
    /// How often a parked message may be looked at. RabbitMQ 4 would drop it without a word after 20 times.
    private static let lookingLimit: Int64 = 1_000_000
    /// Bytes of the longest addition to a service's name: 24 hours are 86,400,000 ms.
    static let longestSuffix = Self.retrySuffix.utf8.count + 8

    /// Where messages of a queue are kept that failed for good.
    ///
    /// - Parameter shape: of the service; what is replicated there is replicated here.
    static func parked(of queue: String, _ shape: QueueShape) -> RetryQueue {
        RetryQueue(
            name: Self.parkedName(of: queue),
            arguments: shape.isReplicated
                ? ["x-queue-type": "quorum", "x-delivery-limit": .integer(Self.lookingLimit)] : [:])
    }

    static func parkedName(of queue: String) -> String { queue + Self.parkedSuffix }

    /// Where messages of a queue wait for so many milliseconds. The broker then moves them back to it.
    ///
    /// One queue for each pause: in a queue with several, a message would wait for those before it. A queue that nobody
    /// uses goes by itself; declaring it before each use keeps it for longer than its messages wait.
    static func waiting(_ milliseconds: Int64, of queue: String, _ shape: QueueShape) -> RetryQueue {
        var arguments: Headers = [
            "x-message-ttl": .integer(milliseconds), "x-expires": .integer(milliseconds + Self.grace),
            "x-dead-letter-exchange": "", "x-dead-letter-routing-key": .string(queue),
        ]
        if shape.isReplicated {
            // The broker moves them with confirms, so that none is lost with a node.
            arguments["x-queue-type"] = "quorum"
            arguments["x-dead-letter-strategy"] = "at-least-once"
            arguments["x-overflow"] = "reject-publish"
        }
        return RetryQueue(name: queue + Self.retrySuffix + String(milliseconds), arguments: arguments)
    }
}
