// SPDX-License-Identifier: Apache-2.0
public import Logging

/// Something that is done around every handler of a service: it sees the message before the handler does, and the reply, or
/// the error, after it. It may answer in the handler's place, or throw.
///
/// ```swift
/// let timing = HandlerInterceptor { message, next in
///     let began = ContinuousClock.now
///     defer { print(message.address, ContinuousClock.now - began) }
///     return try await next(message)
/// }
/// ```
public struct HandlerInterceptor: Sendable {
    /// What is called next: another interceptor, or the handler.
    public typealias Next = @concurrent @Sendable (Message) async throws -> Reply?

    let intercept: @concurrent @Sendable (Message, Next) async throws -> Reply?

    /// - Parameter intercept: gets a message and what would handle it. What it throws is treated as an error of the
    ///   handler.
    public init(_ intercept: @escaping @concurrent @Sendable (Message, Next) async throws -> Reply?) {
        self.intercept = intercept
    }

    /// A handler with interceptors around it, the first one outermost.
    static func chain(_ interceptors: [HandlerInterceptor], around handler: @escaping Next) -> Next {
        interceptors.reversed().reduce(handler) { next, interceptor in
            { message in try await interceptor.intercept(message, next) }
        }
    }
}

extension HandlerInterceptor {
    /// Logs each message that is handled: where it came, its id, how long it took, and how it ended. Never its body or its
    /// headers.
    public static func logging(_ logger: Logger, level: Logger.Level = .info) -> HandlerInterceptor {
        HandlerInterceptor { message, next in
            let began = ContinuousClock.now
            func log(_ outcome: String) {
                logger.log(
                    level: level, "handled a message",
                    metadata: [
                        "address": "\(message.address)", "message.id": "\(message.id?.rawValue ?? "")",
                        "duration": "\(ContinuousClock.now - began)", "outcome": "\(outcome)",
                    ])
            }
            do {
                let reply = try await next(message)
                log(reply == nil ? "no reply" : "reply")
                return reply
            } catch {
                log("failed: \(WireHeaders.cut("\(error)", to: 256))")
                throw error
            }
        }
    }

    /// Handles only what the given logins sent, as the broker verified them; others are told `forbidden`.
    public static func allowing(senders: Set<String>) -> HandlerInterceptor {
        .authorizing { message in message.verifiedSender.map(senders.contains) ?? false }
    }

    /// Handles only what is allowed; others are told `forbidden`, and their messages are neither tried again nor kept.
    ///
    /// - Parameter isAllowed: should decide by ``Message/verifiedSender``: everything else in a message may be forged.
    public static func authorizing(
        _ isAllowed: @escaping @concurrent @Sendable (Message) async throws -> Bool
    ) -> HandlerInterceptor {
        HandlerInterceptor { message, next in
            guard try await isAllowed(message) else {
                throw ServiceError("forbidden", "the sender may not do this", isFinal: true)
            }
            return try await next(message)
        }
    }

    /// Lets only so many messages through, and answers the others with `rate-limited`. What is put around several
    /// services counts for all of them together.
    ///
    /// - Parameters:
    ///   - perSecond: how many on average, above 0.
    ///   - burst: how many at once after a pause, at least 1.
    public static func rateLimit(perSecond: Double, burst: Int = 1) -> HandlerInterceptor {
        let bucket = TokenBucket(perSecond: perSecond, burst: burst)
        return HandlerInterceptor { message, next in
            guard bucket.take(at: .now) else {
                throw ServiceError("rate-limited", "the service gets more requests than it takes")
            }
            return try await next(message)
        }
    }
}
