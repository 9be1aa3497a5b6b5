// SPDX-License-Identifier: Apache-2.0
import NIOCore
import NIOPosix

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

    /// The port where brokers listen for AMQP.
    public static let defaultPort = 5672
    /// The port where brokers listen for AMQP over TLS.
    public static let defaultTLSPort = 5671

    /// Where brokers of the same cluster listen; they are tried in random order. Never empty: setting an empty list
    /// changes nothing.
    public var addresses: [Address] {
        didSet { if self.addresses.isEmpty { self.addresses = oldValue } }
    }
    /// The first of ``addresses``. Setting it makes it the only one.
    public var address: Address {
        get { self.addresses.first ?? .tcp(host: "localhost", port: Self.defaultPort) }
        set { self.addresses = [newValue] }
    }
    /// How the connection is encrypted; `nil` for not at all, which shows the password to whoever listens in.
    public var tls: AMQPTLS?
    /// Who we are. Default: `guest`, who may log in from the broker's own machine only.
    public var credentials: AMQPCredentials
    /// Ways to log in, the best one first; the first that the broker takes as well is used. With
    /// ``AMQPCredentials/external`` it is always EXTERNAL. Default: PLAIN, then AMQPLAIN.
    public var saslMechanisms: [AMQPSASLMechanism] = [.plain, .amqplain]
    /// Login name; empty if ``credentials`` are not fixed. Setting it makes them so.
    public var user: String {
        get { self.credentials.fixedSecret?.user ?? "" }
        set { self.credentials = .fixed(user: newValue, password: self.password) }
    }
    /// Sent in the clear without TLS. Never logged, and in no error. Empty if ``credentials`` are not fixed; setting it
    /// makes them so.
    public var password: String {
        get { self.credentials.fixedSecret?.password ?? "" }
        set { self.credentials = .fixed(user: self.user, password: newValue) }
    }
    /// Name of the virtual host; `/` is the one every broker has.
    public var virtualHost: String
    /// Shown by the broker's tools.
    public var connectionName: String?

    /// Bounds the TCP connection, TLS and the handshake together. Default 10 s.
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
    typealias MakeResolver = @Sendable (_ eventLoop: any EventLoop) -> any Resolver & Sendable
    /// Who looks names up, for one attempt to connect.
    var makeResolver: MakeResolver = { HostResolver(eventLoop: $0) }
    /// Largest body accepted from the broker, in bytes; a larger one ends the connection. Default 128 MiB.
    public var maximumIncomingMessageSize = 128 << 20

    /// A broker on TCP.
    ///
    /// - Parameters:
    ///   - port: `nil` for the usual one: 5672, with TLS 5671.
    ///   - tls: how the connection is encrypted; `nil` for not at all.
    public init(
        host: String = "localhost", port: Int? = nil, user: String = "guest", password: String = "guest",
        virtualHost: String = "/", tls: AMQPTLS? = nil
    ) {
        let port = port ?? (tls == nil ? Self.defaultPort : Self.defaultTLSPort)
        self.init(
            address: .tcp(host: host, port: port), user: user, password: password, virtualHost: virtualHost, tls: tls)
    }

    /// A broker on TCP or on a Unix-domain socket.
    public init(
        address: Address, user: String = "guest", password: String = "guest", virtualHost: String = "/",
        tls: AMQPTLS? = nil
    ) {
        self.init(
            addresses: [address], credentials: .fixed(user: user, password: password), virtualHost: virtualHost,
            tls: tls)
    }

    /// Several brokers of one cluster, of which any will do.
    ///
    /// - Parameter addresses: where they listen; an empty list is `localhost` on its usual port.
    public init(
        addresses: [Address], credentials: AMQPCredentials = .guest, virtualHost: String = "/", tls: AMQPTLS? = nil
    ) {
        let usual = Address.tcp(host: "localhost", port: tls == nil ? Self.defaultPort : Self.defaultTLSPort)
        self.addresses = addresses.isEmpty ? [usual] : addresses
        self.credentials = credentials
        self.virtualHost = virtualHost
        self.tls = tls
    }
}
