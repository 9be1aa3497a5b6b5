// SPDX-License-Identifier: Apache-2.0
import Dispatch
import NIOCore
import NIOPosix

#if canImport(Glibc)
    import Glibc
#elseif canImport(Musl)
    import Musl
#elseif canImport(Darwin)
    import Darwin
#endif

/// Looks a host's name up, anew each time.
///
/// In place of SwiftNIO's own, which looks up one name after the other on each event loop: a name server that does not
/// answer would hold up every other host, even one that is given by its address.
final class HostResolver: Resolver, Sendable {
    /// There is no such name, or nobody said so in time.
    struct UnknownHost: Error {}

    private static let queue = DispatchQueue(label: "amqp.client.resolver", attributes: .concurrent)
    private let eventLoop: any EventLoop

    init(eventLoop: any EventLoop) { self.eventLoop = eventLoop }

    func initiateAQuery(host: String, port: Int) -> EventLoopFuture<[SocketAddress]> { self.query(host, port, AF_INET) }
    func initiateAAAAQuery(host: String, port: Int) -> EventLoopFuture<[SocketAddress]> {
        self.query(host, port, AF_INET6)
    }

    /// The system's look-up cannot be cancelled: nobody waits for its answer any more.
    func cancelQueries() {}

    private func query(_ host: String, _ port: Int, _ family: CInt) -> EventLoopFuture<[SocketAddress]> {
        let promise = self.eventLoop.makePromise(of: [SocketAddress].self)
        Self.queue.async { promise.completeWith(Result { try Self.addresses(host, port, family) }) }
        return promise.futureResult
    }

    private static func addresses(_ host: String, _ port: Int, _ family: CInt) throws -> [SocketAddress] {
        var hints = addrinfo()
        hints.ai_family = family
        hints.ai_protocol = CInt(IPPROTO_TCP)
        var first: UnsafeMutablePointer<addrinfo>?
        guard getaddrinfo(host, String(port), &hints, &first) == 0 else {
            throw UnknownHost()
        }
        defer { freeaddrinfo(first) }
        return sequence(first: first) { $0?.pointee.ai_next }.prefix { $0 != nil }.compactMap { entry in
            guard let info = entry?.pointee, let address = info.ai_addr else { return nil }
            switch info.ai_family {
            case AF_INET:
                return address.withMemoryRebound(to: sockaddr_in.self, capacity: 1) {
                    SocketAddress($0.pointee, host: host)
                }
            case AF_INET6:
                return address.withMemoryRebound(to: sockaddr_in6.self, capacity: 1) {
                    SocketAddress($0.pointee, host: host)
                }
            default: return nil
            }
        }
    }
}
