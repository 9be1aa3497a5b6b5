// SPDX-License-Identifier: Apache-2.0

extension AMQPEmbeddedBroker {
    /// Who may log in, and what for.
    public struct User: Hashable, Sendable, ExpressibleByStringLiteral {
        public var password: String
        /// What the user may do, by virtual host: those that are not named are closed to it. `nil` is everything
        /// everywhere.
        public var permissions: [String: Permissions]?

        /// - Parameters:
        ///   - password: as it is sent with SASL PLAIN.
        ///   - permissions: by virtual host; `nil` is everything everywhere.
        public init(password: String, permissions: [String: Permissions]? = nil) {
            self.password = password
            self.permissions = permissions
        }

        /// A password, and every permission.
        public init(stringLiteral password: String) { self.init(password: password) }
    }

    /// Regular expressions that the names of queues and exchanges have to match, as with `rabbitmqctl set_permissions`.
    ///
    /// They match anywhere in a name unless they are anchored. The default exchange is called `amq.default` here. An
    /// empty expression matches no name.
    public struct Permissions: Hashable, Sendable {
        /// Declaring and deleting.
        public var configure: String
        /// Publishing, and being the destination of a binding.
        public var write: String
        /// Consuming, purging, and being the source of a binding.
        public var read: String

        public init(configure: String, write: String, read: String) {
            self.configure = configure
            self.write = write
            self.read = read
        }

        /// Everything.
        public static let all = Permissions(configure: ".*", write: ".*", read: ".*")
    }
}
