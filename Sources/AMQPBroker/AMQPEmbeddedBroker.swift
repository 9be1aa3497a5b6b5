// SPDX-License-Identifier: Apache-2.0
import AMQPWire
public import Logging
package import NIOCore
import NIOPosix

#if canImport(Glibc)
    import Glibc
#elseif canImport(Musl)
    import Musl
#elseif canImport(Darwin)
    import Darwin
#endif

/// An AMQP 0-9-1 broker inside the process, in memory: queues, exchanges and messages live as long as it runs.
///
/// It behaves as RabbitMQ does, down to its reply codes and texts, so that any client of RabbitMQ can talk to it, and
/// code tested on it works on RabbitMQ. It is made for tests, for development without anything installed, and for
/// programs that only talk to themselves; it is not persistent and not a cluster.
public final class AMQPEmbeddedBroker: Sendable {
    /// The port it listens on; `nil` on a Unix-domain socket.
    public let port: Int?
    /// `amqp://user:password@host:port`, with `guest` or else the first user by name. Percent-encoded where needed.
    ///
    /// A broker on a Unix-domain socket has `unix:` and the path instead.
    public let url: String

    private let configuration: Configuration
    private let listener: any Channel
    private let virtualHosts: [String: VirtualHost]
    private let registry: ConnectionRegistry

    private init(
        configuration: Configuration, listener: any Channel, virtualHosts: [String: VirtualHost],
        registry: ConnectionRegistry
    ) {
        self.configuration = configuration
        self.listener = listener
        self.virtualHosts = virtualHosts
        self.registry = registry
        switch configuration.address {
        case .tcp(let host, _):
            let port = listener.localAddress?.port
            self.port = port
            self.url = Self.url(configuration, host: host, port: port ?? 0)
        case .unixDomainSocket(let path):
            self.port = nil
            self.url = "unix:\(path)"
        }
    }

    /// Starts a broker. It serves from the moment this returns, until ``stop()``.
    ///
    /// - Parameter logger: gets what happens on connections at level debug; `nil` logs nothing.
    /// - Throws: ``AMQPBrokerError`` if the address is taken or cannot be listened on, or the configuration is invalid.
    public static func start(
        _ configuration: Configuration = .init(), logger: Logger? = nil
    ) async throws(AMQPBrokerError) -> AMQPEmbeddedBroker {
        try Self.check(configuration)
        let logger = logger ?? Logger(label: "amqp.broker") { _ in SwiftLogNoOpLogHandler() }
        let group: any EventLoopGroup = configuration.eventLoopGroup ?? MultiThreadedEventLoopGroup.singleton
        let virtualHosts = Self.virtualHosts(configuration, on: group)
        let registry = ConnectionRegistry(limit: configuration.maximumConnections)
        let settings = Self.settings(configuration, virtualHosts)
        let bootstrap = ServerBootstrap(group: group)
            .serverChannelOption(.backlog, value: 1024)
            .serverChannelOption(.socketOption(.so_reuseaddr), value: 1)
            .childChannelInitializer { channel in
                channel.eventLoop.makeCompletedFuture {
                    guard registry.add(channel) else {
                        logger.debug("A connection was refused: there are too many")
                        throw AMQPBrokerError(.cannotListen, "too many connections")
                    }
                    var logger = logger
                    logger[metadataKey: LogKey.connection] = "\(registry.nextNumber())"
                    logger[metadataKey: LogKey.peerAddress] = "\(channel.remoteAddress?.description ?? "")"
                    try channel.pipeline.syncOperations.addHandler(
                        BrokerConnection(
                            settings: settings, output: ConnectionOutput(channel: channel), logger: logger))
                }
            }
        let listener = try await Self.bind(bootstrap, configuration.address)
        return AMQPEmbeddedBroker(
            configuration: configuration, listener: listener, virtualHosts: virtualHosts, registry: registry)
    }

    /// Stops listening, closes every connection with 320 `CONNECTION_FORCED`, and returns when all of them are closed.
    ///
    /// A client that does not answer is cut off after ``Configuration/closeTimeout``. Calling it again only waits
    /// for the same.
    public func stop() async {
        self.listener.close(promise: nil)
        try? await self.listener.closeFuture.get()
        let connections = self.registry.close()
        for connection in connections {
            connection.eventLoop.execute {
                connection.pipeline.fireUserInboundEventTriggered(
                    ForcedClose(
                        exception: .connectionForced("broker forced connection closure with reason 'shutdown'")))
            }
        }
        for connection in connections {
            // Bounded by the close timeout of the connection itself.
            try? await connection.closeFuture.get()
        }
        for virtualHost in self.virtualHosts.values { virtualHost.stop() }
        if case .unixDomainSocket(let path) = self.configuration.address { unlink(path) }
    }

    // MARK: - Parts

    private static func check(_ configuration: Configuration) throws(AMQPBrokerError) {
        func require(_ condition: Bool, _ message: String) throws(AMQPBrokerError) {
            if !condition { throw AMQPBrokerError(.invalidConfiguration, message) }
        }
        try require(configuration.frameMax >= AMQPFrame.minimumFrameMax, "frameMax must be at least 8192 bytes")
        try require(!configuration.virtualHosts.isEmpty, "there must be a virtual host")
        try require(configuration.maximumMessageSize >= 0, "maximumMessageSize must not be negative")
        try require(configuration.handshakeTimeout > .zero, "handshakeTimeout must be above zero")
        try require(configuration.closeTimeout > .zero, "closeTimeout must be above zero")
        try require(
            configuration.users.keys.allSatisfy { $0.utf8.count <= 255 }, "a user name has more than 255 bytes")
    }

    private static func virtualHosts(
        _ configuration: Configuration, on group: any EventLoopGroup
    ) -> [String: VirtualHost] {
        var virtualHosts: [String: VirtualHost] = [:]
        for name in configuration.virtualHosts {
            virtualHosts[name] = VirtualHost(
                name: name,
                settings: .init(
                    compatibility: configuration.compatibility, maximumMessageSize: configuration.maximumMessageSize),
                eventLoop: group.next())
        }
        return virtualHosts
    }

    /// Serves one connection over a transport that is there already: without a socket, a program can measure the broker
    /// alone.
    package static func serve(_ channel: any Channel, _ configuration: Configuration = .init()) throws {
        let virtualHosts = Self.virtualHosts(configuration, on: channel.eventLoop)
        try channel.pipeline.syncOperations.addHandler(
            BrokerConnection(
                settings: Self.settings(configuration, virtualHosts), output: ConnectionOutput(channel: channel),
                logger: Logger(label: "amqp.broker") { _ in SwiftLogNoOpLogHandler() }))
    }

    private static func settings(
        _ configuration: Configuration, _ virtualHosts: [String: VirtualHost]
    ) -> BrokerConnection.Settings {
        BrokerConnection.Settings(
            handshake: { isLocal in
                Handshake.Parameters(
                    users: configuration.users, virtualHosts: configuration.virtualHosts,
                    channelMax: configuration.channelMax, frameMax: configuration.frameMax,
                    heartbeat: configuration.heartbeat, isLocal: isLocal)
            },
            handshakeTimeout: TimeAmount(configuration.handshakeTimeout),
            closeTimeout: TimeAmount(configuration.closeTimeout),
            maximumMessageSize: configuration.maximumMessageSize, frameMax: configuration.frameMax,
            virtualHosts: virtualHosts)
    }

    private static func bind(
        _ bootstrap: ServerBootstrap, _ address: Address
    ) async throws(AMQPBrokerError) -> any Channel {
        let description: String
        do {
            switch address {
            case .tcp(let host, let port):
                description = "\(host):\(port)"
                return try await bootstrap.bind(host: host, port: port).get()
            case .unixDomainSocket(let path):
                description = path
                // A file that a broker left behind when its process was killed answers nobody; one in use is not ours.
                let isStale = await Self.isStale(path)
                return try await bootstrap.bind(unixDomainSocketPath: path, cleanupExistingSocketFile: isStale).get()
            }
        } catch let error as IOError where error.errnoCode == EADDRINUSE {
            throw AMQPBrokerError(.addressInUse, "\(description) is in use", cause: error)
        } catch {
            throw AMQPBrokerError(
                .cannotListen, "cannot listen on \(description): \(Self.describe(error))", cause: error)
        }
    }

    /// What the operating system said, without the names of calls and types around it.
    private static func describe(_ error: any Error) -> String {
        switch error {
        case let error as IOError: String(cString: strerror(error.errnoCode))
        case SocketAddressError.unknown: "unknown host"
        case SocketAddressError.unixDomainSocketPathTooLong: "the path is too long for a socket"
        default: "\(error)"
        }
    }

    /// Whether `path` is a socket that nobody listens on.
    private static func isStale(_ path: String) async -> Bool {
        do {
            let channel = try await ClientBootstrap(group: MultiThreadedEventLoopGroup.singleton)
                .connectTimeout(.seconds(1)).connect(unixDomainSocketPath: path).get()
            channel.close(promise: nil)
            return false
        } catch let error as IOError {
            return error.errnoCode == ECONNREFUSED
        } catch {
            return false
        }
    }

    private static func url(_ configuration: Configuration, host: String, port: Int) -> String {
        let user = configuration.users["guest"] == nil ? configuration.users.keys.min() ?? "" : "guest"
        let password = configuration.users[user] ?? ""
        let host = host.contains(":") ? "[\(host)]" : host
        let path: String
        if configuration.virtualHosts.contains("/") {
            path = ""
        } else {
            path = "/" + Self.percentEncoded(configuration.virtualHosts.min() ?? "")
        }
        return "amqp://\(Self.percentEncoded(user)):\(Self.percentEncoded(password))@\(host):\(port)\(path)"
    }

    private static func percentEncoded(_ text: String) -> String {
        let plain = Set("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~".utf8)
        return text.utf8.reduce(into: "") { result, byte in
            if plain.contains(byte) {
                result.unicodeScalars.append(UnicodeScalar(byte))
            } else {
                let digits = String(byte, radix: 16, uppercase: true)
                result += "%" + (digits.utf8.count == 1 ? "0" : "") + digits
            }
        }
    }
}
