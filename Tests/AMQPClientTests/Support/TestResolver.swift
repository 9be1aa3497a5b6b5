// SPDX-License-Identifier: Apache-2.0
import NIOConcurrencyHelpers
import NIOCore
import NIOPosix

@testable import AMQPClient

/// Looks names up as the test says, and counts how often it was asked.
final class TestResolver: Sendable {
    enum Answer: Sendable {
        case addresses([SocketAddress])
        case unknown
        /// As a name server that is silent.
        case never
    }
    private let answers: @Sendable (_ host: String, _ count: Int) -> Answer
    private let asked = NIOLockedValueBox<[String]>([])

    /// - Parameter answers: given the host, and how often it was asked for before.
    init(_ answers: @escaping @Sendable (_ host: String, _ count: Int) -> Answer) { self.answers = answers }

    /// The hosts that were asked for, in order.
    var hosts: [String] { self.asked.withLockedValue { $0 } }

    var make: AMQPConfiguration.MakeResolver { { OnLoop(resolver: self, eventLoop: $0) } }

    private struct OnLoop: Resolver, Sendable {
        let resolver: TestResolver
        let eventLoop: any EventLoop

        func initiateAQuery(host: String, port: Int) -> EventLoopFuture<[SocketAddress]> {
            let count = self.resolver.asked.withLockedValue { asked in
                defer { asked.append(host) }
                return asked.filter { $0 == host }.count
            }
            switch self.resolver.answers(host, count) {
            case .addresses(let addresses): return self.eventLoop.makeSucceededFuture(addresses)
            case .unknown:
                return self.eventLoop.makeFailedFuture(HostResolver.UnknownHost())
            case .never:
                let promise = self.eventLoop.makePromise(of: [SocketAddress].self)
                // Later than any test waits.
                self.eventLoop.scheduleTask(in: .seconds(30)) { promise.succeed([]) }
                return promise.futureResult
            }
        }

        func initiateAAAAQuery(host: String, port: Int) -> EventLoopFuture<[SocketAddress]> {
            self.eventLoop.makeSucceededFuture([])
        }

        func cancelQueries() {}
    }
}
