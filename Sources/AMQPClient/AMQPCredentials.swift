// SPDX-License-Identifier: Apache-2.0

/// Who we are to the broker, and how that is known.
///
/// Passwords are in no description, no `dump` and no error.
public struct AMQPCredentials: Sendable {
    /// A user with its password or token.
    public struct Secret: Hashable, Sendable {
        /// Login name. With OAuth 2 brokers ignore it.
        public var user: String
        /// Password or token. Sent in the clear without TLS.
        public var password: String
        /// When the broker will not accept it any more; `nil` for never, or unknown.
        public var expiresAt: ContinuousClock.Instant?

        /// - Parameter expiresAt: when the broker will not accept it any more; `nil` for never.
        public init(user: String, password: String, expiresAt: ContinuousClock.Instant? = nil) {
            self.user = user
            self.password = password
            self.expiresAt = expiresAt
        }
    }

    private enum Source: Sendable {
        case fixed(Secret)
        case external
        case provider(@Sendable () async throws -> Secret)
    }
    private let source: Source

    private init(_ source: Source) { self.source = source }

    /// The same user and password for ever.
    public static func fixed(user: String, password: String) -> AMQPCredentials {
        AMQPCredentials(.fixed(Secret(user: user, password: password)))
    }

    /// No user and no password: the broker takes the user from the certificate that the client shows (SASL EXTERNAL).
    ///
    /// Needs ``AMQPTLS/identity``, and in RabbitMQ the plugin `rabbitmq_auth_mechanism_ssl`.
    public static let external = AMQPCredentials(.external)

    /// Asks `provider` before every attempt to connect and, while connected, some time before what it gave expires;
    /// what it gives then is sent to the broker with `connection.update-secret`.
    ///
    /// What it throws is the cause of the ``AMQPError`` that is thrown or reported, so it had better hold no secrets. When
    /// ``AMQPConfiguration/connectTimeout`` has passed it is cancelled and not waited for, and later it is asked anew.
    public static func provider(_ provider: @escaping @concurrent @Sendable () async throws -> Secret)
        -> AMQPCredentials
    {
        AMQPCredentials(.provider(provider))
    }

    /// User and password of every broker that was just installed; accepted on the broker's own machine only.
    public static let guest = AMQPCredentials.fixed(user: "guest", password: "guest")

    /// The user and password that were given; `nil` if they are asked for, or if there are none.
    var fixedSecret: Secret? {
        if case .fixed(let secret) = self.source { secret } else { nil }
    }

    /// Whether the broker learns who we are from the certificate alone.
    var isExternal: Bool {
        if case .external = self.source { true } else { false }
    }

    /// Whether it takes asking somebody, who may be slow.
    var hasProvider: Bool {
        if case .provider = self.source { true } else { false }
    }

    /// What to log in with now; `nil` if the certificate says it all. Asks the provider, if there is one, and waits for it.
    ///
    /// - Throws: ``AMQPError`` with `connectFailed`: the provider failed. That says nothing about what the broker would
    ///   accept, so it may be tried again.
    @concurrent func secret() async throws(AMQPError) -> Secret? {
        switch self.source {
        case .fixed(let secret): return secret
        case .external: return nil
        case .provider(let provider):
            do {
                return try await provider()
            } catch is CancellationError where Task.isCancelled {
                throw .cancelled
            } catch {
                throw AMQPError(
                    .connectFailed, "the provider of the credentials failed (\(type(of: error)))", cause: error)
            }
        }
    }
}

extension AMQPCredentials.Secret: CustomStringConvertible, CustomDebugStringConvertible, CustomReflectable {
    public var description: String { "\(self.user.printable()):•••" }
    public var debugDescription: String { self.description }
    public var customMirror: Mirror {
        Mirror(self, children: ["user": self.user, "expiresAt": self.expiresAt as Any])
    }
}

extension AMQPCredentials: CustomStringConvertible, CustomDebugStringConvertible, CustomReflectable {
    public var description: String {
        switch self.source {
        case .fixed(let secret): "\(secret)"
        case .external: "external"
        case .provider: "provider"
        }
    }
    public var debugDescription: String { self.description }
    public var customMirror: Mirror { Mirror(self, children: ["source": self.description]) }
}
