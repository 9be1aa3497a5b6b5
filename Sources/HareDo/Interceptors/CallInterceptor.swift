// SPDX-License-Identifier: Apache-2.0
public import Logging

/// A call on its way out, as interceptors see it.
public struct OutgoingCall: Sendable {
    /// The name of the service.
    public var address: String
    /// Headers, the name of the method among them.
    public var headers: Headers
    /// The body.
    public var data: Bytes
    /// MIME type of the body.
    public var contentType: String?
    /// How long the call may still take, interceptors included.
    public let deadline: ContinuousClock.Instant
}

/// Something that is done around every call of a peer: it sees what goes out and what comes back, may change both, answer
/// in the service's place, or throw.
public struct CallInterceptor: Sendable {
    /// What is called next: another interceptor, or the service. `nil`: it did not reply in time.
    public typealias Next = @concurrent @Sendable (OutgoingCall) async throws -> Message?

    let intercept: @concurrent @Sendable (OutgoingCall, Next) async throws -> Message?

    /// - Parameter intercept: what it throws, the caller gets: a ``HareDoError`` as it is, any other error as
    ///   ``HareDoError/Code/intercepted`` with the error as its cause.
    public init(_ intercept: @escaping @concurrent @Sendable (OutgoingCall, Next) async throws -> Message?) {
        self.intercept = intercept
    }

    /// A call with interceptors around it, the first one outermost.
    static func chain(_ interceptors: [CallInterceptor], around call: @escaping Next) -> Next {
        interceptors.reversed().reduce(call) { next, interceptor in
            { outgoing in try await interceptor.intercept(outgoing, next) }
        }
    }

    /// Logs each call: where to, how long it took, and how it ended. Never its body or its headers.
    public static func logging(_ logger: Logger, level: Logger.Level = .info) -> CallInterceptor {
        CallInterceptor { outgoing, next in
            let began = ContinuousClock.now
            func log(_ outcome: String) {
                logger.log(
                    level: level, "called a service",
                    metadata: [
                        "address": "\(outgoing.address)", "duration": "\(ContinuousClock.now - began)",
                        "outcome": "\(outcome)",
                    ])
            }
            do {
                let reply = try await next(outgoing)
                log(reply == nil ? "timed out" : "reply")
                return reply
            } catch {
                log("failed: \(WireHeaders.cut("\(error)", to: 256))")
                throw error
            }
        }
    }
}
