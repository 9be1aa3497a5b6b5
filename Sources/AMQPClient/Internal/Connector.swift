// SPDX-License-Identifier: Apache-2.0
import NIOCore
import NIOPosix

/// Makes one attempt to reach one address: look-up, TCP, and TLS in front of whatever `initializer` adds.
enum Connector {
    /// - Parameters:
    ///   - tls: `nil` for none. Its handshake goes on after the future succeeded; that it failed is told as an error in
    ///     the pipeline.
    ///   - timeout: for each IP address the host has.
    ///   - initializer: adds what stands behind TLS. It is called for each IP address that is tried.
    static func connect(
        to address: AMQPConfiguration.Address, tls: TLSContext?, resolver: AMQPConfiguration.MakeResolver,
        on eventLoop: any EventLoop, timeout: TimeAmount,
        initializer: @escaping @Sendable (any Channel) -> EventLoopFuture<Void>
    ) -> EventLoopFuture<any Channel> {
        let bootstrap = ClientBootstrap(group: eventLoop)
            .connectTimeout(timeout)
            .channelInitializer { channel in
                guard let tls else { return initializer(channel) }
                return channel.eventLoop.makeCompletedFuture {
                    let (handler, explainer) = try tls.makeHandlers(for: address)
                    try channel.pipeline.syncOperations.addHandlers([handler, explainer])
                }.flatMap { initializer(channel) }
            }
        return switch address {
        case .tcp(let host, let port):
            if let address = try? SocketAddress(ipAddress: host, port: port) {
                bootstrap.connect(to: address)
            } else {
                bootstrap.resolver(resolver(eventLoop)).connect(host: host, port: port)
            }
        case .unixDomainSocket(let path): bootstrap.connect(unixDomainSocketPath: path)
        }
    }
}
