// SPDX-License-Identifier: Apache-2.0

/// Where the broker is, who we are, and the bounds of everything that waits.
public struct AMQPConfiguration: Sendable {
    /// Where a broker listens.
    public enum Address: Hashable, Sendable, CustomStringConvertible {
        case tcp(host: String, port: Int)
        case unixDomainSocket(path: String)

        public var description: String {
            switch self {
            case .tcp(let host, let port): host.contains(":") ? "[\(host)]:\(port)" : "\(host):\(port)"
            case .unixDomainSocket(let path): path
            }
        }
    }

    /// Where the broker listens.
    public var address: Address
    /// Login name. `guest` may log in from the broker's own machine only.
    public var user: String
    /// Sent in the clear without TLS. Never logged, and in no error.
    public var password: String
    /// Name of the virtual host; `/` is the one every broker has.
    public var virtualHost: String
    /// Shown by the broker's tools.
    public var connectionName: String?

    /// Bounds the TCP connection and the handshake together. Default 10 s.
    public var connectTimeout: Duration = .seconds(10)
    /// How long a synchronous method may take. When it passes, its channel is closed: a reply that came later would be
    /// taken for another's. Default 30 s.
    public var replyTimeout: Duration = .seconds(30)
    /// How long a publish may wait for room in the output. Default 30 s.
    public var publishTimeout: Duration = .seconds(30)
    /// Heartbeat interval offered, in whole seconds; 0 asks for none. The broker's wish counts as well. Default 60 s.
    public var heartbeat: Duration = .seconds(60)
    /// Largest frame offered, in bytes; raised to 8192, the smallest that RabbitMQ accepts. Default 128 KiB.
    public var frameMax: UInt32 = 131_072
    /// Most channels offered. Default 2047.
    public var channelMax: UInt16 = 2047
    /// Bytes that may wait to be written before ``AMQPChannel/publish(_:exchange:routingKey:mandatory:)`` suspends.
    /// Default 1 MiB.
    public var outputHighWaterMark = 1 << 20
    /// Messages of one channel in confirm mode that may wait for the broker's confirms before publishing suspends.
    /// Default 10,000.
    public var maximumUnconfirmed = 10_000
    /// How the connection comes back after a loss.
    public var recovery = AMQPRecovery()
    /// Largest body that may be published, in bytes. Default 16 MiB, RabbitMQ's own limit.
    public var maximumMessageSize = 16 << 20
    /// Largest body accepted from the broker, in bytes; a larger one ends the connection. Default 128 MiB.
    public var maximumIncomingMessageSize = 128 << 20

    /// A broker on TCP.
    public init(
        host: String = "localhost", port: Int = 5672, user: String = "guest", password: String = "guest",
        virtualHost: String = "/"
    ) {
        self.init(address: .tcp(host: host, port: port), user: user, password: password, virtualHost: virtualHost)
    }

    /// A broker on TCP or on a Unix-domain socket.
    public init(address: Address, user: String = "guest", password: String = "guest", virtualHost: String = "/") {
        self.address = address
        self.user = user
        self.password = password
        self.virtualHost = virtualHost
    }
}
