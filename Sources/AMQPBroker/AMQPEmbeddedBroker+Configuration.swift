// SPDX-License-Identifier: Apache-2.0
public import NIOCore

extension AMQPEmbeddedBroker {
    /// Where a broker listens.
    public enum Address: Hashable, Sendable {
        /// Port 0 is any free one; see ``AMQPEmbeddedBroker/port``.
        case tcp(host: String, port: Int)
        /// A socket file, made at start and removed at stop.
        case unixDomainSocket(path: String)
    }

    /// Which RabbitMQ the broker follows where versions differ.
    public enum Compatibility: Hashable, Sendable {
        /// RabbitMQ 4.3: a queue that is neither durable nor exclusive is refused with 541, and what else is in
        /// `Docs/embedded-broker.md`. Code that works with it works with all of them.
        case strict
        /// RabbitMQ 3.10: such a queue is declared, with a warning in the log; `basic.qos` with `global` is a limit of the
        /// channel.
        case lenient
    }

    /// A listener for TLS. All files are PEM.
    public struct TLS: Hashable, Sendable {
        public var host: String
        /// 0 is any free one; see ``AMQPEmbeddedBroker/tlsURL``.
        public var port: Int
        /// The server's certificate, then those that lead to its authority.
        public var certificateChainFile: String
        public var privateKeyFile: String
        /// Whose certificates clients have to show; `nil` asks for none.
        public var clientAuthorityFile: String?

        public init(
            host: String = "127.0.0.1", port: Int = 0, certificateChainFile: String, privateKeyFile: String,
            clientAuthorityFile: String? = nil
        ) {
            self.host = host
            self.port = port
            self.certificateChainFile = certificateChainFile
            self.privateKeyFile = privateKeyFile
            self.clientAuthorityFile = clientAuthorityFile
        }
    }

    /// What a broker is started with.
    public struct Configuration: Sendable {
        public var address = Address.tcp(host: "127.0.0.1", port: 0)
        /// By login name; a string is a password with every permission. `guest` may log in from this machine only, as with
        /// RabbitMQ.
        public var users: [String: User] = ["guest": "guest"]
        /// Names of the virtual hosts. At least one.
        public var virtualHosts: Set<String> = ["/"]
        /// Seconds between heartbeats, offered to clients, which have the last word; 0 suggests none.
        public var heartbeat: UInt16 = 60
        /// Bytes of the largest frame, at least 8192.
        public var frameMax: UInt32 = 131_072
        /// Channels per connection; 0 is as many as there are numbers.
        public var channelMax: UInt16 = 2047
        /// Bytes of the largest message body. A larger one closes its channel with 406. `nil` is RabbitMQ's default: 16 MiB,
        /// or 128 MiB if ``compatibility`` is lenient. Never more than half of ``memoryLimit``.
        public var maximumMessageSize: Int?
        /// How long a client may take from connecting to `connection.open`.
        public var handshakeTimeout: Duration = .seconds(10)
        /// How long a client may take to answer `connection.close`; ``AMQPEmbeddedBroker/stop()`` takes no longer.
        public var closeTimeout: Duration = .seconds(2)
        /// Connections at a time; further ones are closed at once.
        public var maximumConnections = 10_000
        /// Queues in one virtual host; declaring a further one is refused with 406.
        public var maximumQueues = 100_000
        /// Bytes that messages may hold. Above it whoever publishes is told `connection.blocked` and not read any more,
        /// until an eighth of it is free again.
        public var memoryLimit = 1 << 30
        /// Where it listens for TLS besides ``address``; `nil` is nowhere.
        public var tls: TLS?
        public var compatibility = Compatibility.strict
        /// Where the broker runs: on all loops of the group. `nil` is NIO's own group, shared by the process, or with fewer
        /// than four cores one loop of it. It is not shut down by the broker.
        public var eventLoopGroup: (any EventLoopGroup)?

        /// The defaults of every property.
        public init() {}

        var largestMessage: Int {
            let wanted = self.maximumMessageSize ?? (self.compatibility == .strict ? 16 : 128) * 1024 * 1024
            return min(wanted, self.memoryLimit / 2)
        }
    }
}
