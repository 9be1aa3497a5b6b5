// SPDX-License-Identifier: Apache-2.0
import AMQPClient
public import Logging

#if canImport(FoundationEssentials)
    import FoundationEssentials
#else
    import Foundation
#endif

extension Peer {
    /// Which broker a peer talks through, and the bounds of what waits.
    public struct Configuration: Sendable, ExpressibleByStringLiteral {
        enum Broker: Hashable, Sendable {
            case environment
            case embedded
            case url(String)
            case explicit(host: String, port: Int, user: String, password: String, virtualHost: String)
        }
        var broker: Broker

        private static let defaultConnectTimeout = Duration.seconds(10)
        private static let defaultHeartbeat = Duration.seconds(60)

        /// Bounds ``Peer/connect()``. Default: the URL's `connection_timeout` (milliseconds), or 10 s.
        public var connectTimeout = Self.defaultConnectTimeout
        /// Interval of the heartbeats offered to the broker, in whole seconds; with zero the broker alone decides.
        /// Default: the URL's `heartbeat` (seconds), or 60 s.
        public var heartbeat = Self.defaultHeartbeat
        /// Largest body sent, in bytes. Default 16 MiB, RabbitMQ's own limit.
        public var maximumMessageSize = 16 << 20
        /// Whether a connection that is lost is made again: then the peer, its services and its address stay what they
        /// are. What waited for an answer ends with `connectionLost`; what is begun meanwhile waits within its deadline.
        /// Default true.
        public var reconnects = true
        /// Bound that the random pauses between attempts to connect again grow to. Default 30 s.
        public var maximumReconnectDelay = Duration.seconds(30)
        /// Whether messages go out on a connection of their own. A broker that is low on memory or disk reads nothing
        /// from a connection that publishes, acknowledgements included; with two connections those still arrive. Replies
        /// to calls then come through the inbox, and a reply and the acknowledgement of its request may arrive in either
        /// order. Default false.
        public var publishesSeparately = false
        /// Most messages kept for ``Peer/receive(timeout:)``; then the oldest is dropped. Default 10,000.
        public var inboxCount = 10_000
        /// Most bytes kept for ``Peer/receive(timeout:)``; then the oldest message is dropped. Default 64 MiB.
        public var inboxBytes = 64 << 20
        /// A prefix of the names of the exchanges that events and discovery go through, and of the queues of subscriptions: it
        /// keeps environments, such as `staging`, apart on one virtual host. Letters, digits, `-` and `_`, at most 64
        /// bytes. Default: none.
        public var namespace = ""
        /// Whether its services answer those who look for services: ``Peer/services(_:asking:within:quorum:)``. Default true.
        public var isDiscoverable = true
        /// How values become bodies. What is sent is in the first one; what comes is read in the one that its content type
        /// names. Default: JSON.
        public var formats: [any BodyFormat] = [JSONFormat()]
        /// Around every call, in this order: the first one sees a call first, and its reply last.
        public var callInterceptors: [CallInterceptor] = []
        /// Where to log. Default: the label `haredo`, with whatever swift-log was set up with.
        public var logger: Logger?

        init(_ broker: Broker) { self.broker = broker }

        /// What `HAREDO_BROKER` says: an `amqp://` URL, or `embedded`. If it is not set, RabbitMQ on this machine:
        /// `amqp://guest:guest@localhost:5672`.
        public static var environment: Configuration { Configuration(.environment) }

        /// A broker in this process, for programs that need no other. All peers of the process share it; it starts with
        /// the first one that connects and ends with the last.
        public static var embedded: Configuration { Configuration(.embedded) }

        /// An `amqp://user:password@host:port/vhost` URL, or `embedded`. A mistake in it is thrown by ``Peer/connect()``.
        public static func url(_ url: String) -> Configuration {
            Configuration(url == "embedded" ? .embedded : .url(url))
        }

        public init(stringLiteral url: String) { self = .url(url) }

        /// A broker by its parts.
        public init(
            host: String = "localhost", port: Int = 5672, user: String = "guest", password: String = "guest",
            virtualHost: String = "/"
        ) {
            self.broker = .explicit(host: host, port: port, user: user, password: password, virtualHost: virtualHost)
        }

        /// Puts in what does not depend on the broker. What the program says goes before what the URL says.
        func apply(to amqp: inout AMQPConfiguration) {
            if self.connectTimeout != Self.defaultConnectTimeout { amqp.connectTimeout = self.connectTimeout }
            if self.heartbeat != Self.defaultHeartbeat { amqp.heartbeat = self.heartbeat }
            amqp.maximumMessageSize = self.maximumMessageSize
            amqp.recovery.isEnabled = self.reconnects
            amqp.recovery.maximumDelay = self.maximumReconnectDelay
        }

        /// The broker's address for the client, or `nil` for the embedded one.
        func resolved() throws(HareDoError) -> AMQPConfiguration? {
            switch self.broker {
            case .embedded: return nil
            case .environment:
                let url = ProcessInfo.processInfo.environment["HAREDO_BROKER"] ?? ""
                guard url != "embedded" else { return nil }
                return try Self.parse(url.isEmpty ? "amqp://guest:guest@localhost:5672" : url)
            case .url(let url): return try Self.parse(url)
            case .explicit(let host, let port, let user, let password, let virtualHost):
                return AMQPConfiguration(
                    host: host, port: port, user: user, password: password, virtualHost: virtualHost)
            }
        }

        private static func parse(_ url: String) throws(HareDoError) -> AMQPConfiguration {
            do {
                return try AMQPConfiguration(uri: url)
            } catch {
                throw HareDoError(error)
            }
        }
    }
}

extension Peer.Configuration: CustomStringConvertible, CustomDebugStringConvertible, CustomReflectable {
    /// Which broker, without user and password.
    public var description: String {
        switch self.broker {
        case .environment: "the broker of HAREDO_BROKER"
        case .embedded: "the embedded broker"
        case .url, .explicit:
            if let resolved = try? self.resolved() {
                resolved.addresses.map(\.description).joined(separator: ",")
            } else {
                "a broker by a URL that is wrong"
            }
        }
    }
    public var debugDescription: String { self.description }
    public var customMirror: Mirror {
        Mirror(
            self,
            children: [
                "broker": self.description, "connectTimeout": self.connectTimeout, "heartbeat": self.heartbeat,
                "reconnects": self.reconnects,
            ])
    }
}
