// SPDX-License-Identifier: Apache-2.0
public import Logging
import NIOCore
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

    /// `amqps://…` if the configuration has ``Configuration/tls``.
    public let tlsURL: String?

    /// The one for TLS last.
    private let listeners: [any Channel]
    /// Connections, and what they work on.
    package let core: BrokerCore

    private init(_ core: BrokerCore, listener: any Channel, tlsListener: (any Channel)?) {
        self.core = core
        self.listeners = [listener] + [tlsListener].compactMap(\.self)
        let configuration = core.configuration
        self.tlsURL = configuration.tls.map {
            Self.url(configuration, scheme: "amqps", host: $0.host, port: tlsListener?.localAddress?.port ?? $0.port)
        }
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
        let group: any EventLoopGroup = configuration.eventLoopGroup ?? BrokerEventLoops.group
        let core = try BrokerCore(configuration, on: group, logger: logger)
        var tlsContext: BrokerTLS?
        if let tls = configuration.tls { tlsContext = try BrokerTLS(tls) }
        let listener = try await Self.bind(Self.bootstrap(group, core, nil), configuration.address)
        guard let tls = configuration.tls, let tlsContext else {
            return AMQPEmbeddedBroker(core, listener: listener, tlsListener: nil)
        }
        do {
            let tlsListener = try await Self.bind(
                Self.bootstrap(group, core, tlsContext), .tcp(host: tls.host, port: tls.port))
            return AMQPEmbeddedBroker(core, listener: listener, tlsListener: tlsListener)
        } catch {
            try? await listener.close().get()
            throw error
        }
    }

    /// Runs a broker for as long as `body` does, whatever becomes of that.
    ///
    /// - Throws: as ``start(_:logger:)``, and what `body` throws.
    public static func with<Result>(
        _ configuration: Configuration = .init(), logger: Logger? = nil,
        _ body: (AMQPEmbeddedBroker) async throws -> Result
    ) async throws -> Result {
        let broker = try await Self.start(configuration, logger: logger)
        do {
            let result = try await body(broker)
            await broker.stop()
            return result
        } catch {
            await broker.stop()
            throw error
        }
    }

    /// Stops listening, closes every connection with 320 `CONNECTION_FORCED`, and returns when all of them are closed.
    ///
    /// A client that does not answer is cut off after ``Configuration/closeTimeout``. Calling it again only waits
    /// for the same.
    public func stop() async {
        for listener in self.listeners {
            listener.close(promise: nil)
            try? await listener.closeFuture.get()
        }
        let connections = self.core.registry.close()
        for connection in connections {
            ConnectionRegistry.tell(
                connection,
                ForcedClose(exception: .connectionForced("broker forced connection closure with reason 'shutdown'")))
        }
        for connection in connections {
            // Bounded by the close timeout of the connection itself.
            try? await connection.closeFuture.get()
        }
        self.core.stopTimers()
        if case .unixDomainSocket(let path) = self.core.configuration.address { unlink(path) }
    }

    // MARK: - Parts

    private static func bootstrap(
        _ group: any EventLoopGroup, _ core: BrokerCore, _ tls: BrokerTLS?
    ) -> ServerBootstrap {
        ServerBootstrap(group: group)
            .serverChannelOption(.backlog, value: 1024)
            .serverChannelOption(.socketOption(.so_reuseaddr), value: 1)
            .childChannelInitializer { channel in
                channel.eventLoop.makeCompletedFuture {
                    if let tls { try channel.pipeline.syncOperations.addHandler(tls.makeHandler()) }
                    try core.serve(channel)
                }
            }
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

    private static func url(
        _ configuration: Configuration, scheme: String = "amqp", host: String, port: Int
    ) -> String {
        let user = configuration.users["guest"] == nil ? configuration.users.keys.min() ?? "" : "guest"
        let password = configuration.users[user]?.password ?? ""
        let host = host.contains(":") ? "[\(host)]" : host
        let path: String
        if configuration.virtualHosts.contains("/") {
            path = ""
        } else {
            path = "/" + Self.percentEncoded(configuration.virtualHosts.min() ?? "")
        }
        return "\(scheme)://\(Self.percentEncoded(user)):\(Self.percentEncoded(password))@\(host):\(port)\(path)"
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
