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

    /// How closely the broker follows the newest RabbitMQ.
    public enum Compatibility: Hashable, Sendable {
        /// As RabbitMQ 4.3 and later: a queue that is neither durable nor exclusive is refused with 541.
        case strict
        /// As older versions: such a queue is declared, with a warning in the log.
        case lenient
    }

    /// What a broker is started with.
    public struct Configuration: Sendable {
        public var address = Address.tcp(host: "127.0.0.1", port: 0)
        /// Passwords by login name. `guest` may log in from this machine only, as with RabbitMQ.
        public var users = ["guest": "guest"]
        /// Names of the virtual hosts. At least one.
        public var virtualHosts: Set<String> = ["/"]
        /// Seconds between heartbeats, offered to clients, which have the last word; 0 suggests none.
        public var heartbeat: UInt16 = 60
        /// Bytes of the largest frame, at least 8192.
        public var frameMax: UInt32 = 131_072
        /// Channels per connection; 0 is as many as there are numbers.
        public var channelMax: UInt16 = 2047
        /// Bytes of the largest message body. A larger one closes its channel with 406.
        public var maximumMessageSize = 16 * 1024 * 1024
        /// How long a client may take from connecting to `connection.open`.
        public var handshakeTimeout: Duration = .seconds(10)
        /// How long a client may take to answer `connection.close`; ``AMQPEmbeddedBroker/stop()`` takes no longer.
        public var closeTimeout: Duration = .seconds(2)
        /// Connections at a time; further ones are closed at once.
        public var maximumConnections = 10_000
        public var compatibility = Compatibility.strict
        /// Where the broker runs; `nil` is NIO's own group, shared by the process. It is not shut down by the broker.
        public var eventLoopGroup: (any EventLoopGroup)?

        /// The defaults of every property.
        public init() {}
    }
}
