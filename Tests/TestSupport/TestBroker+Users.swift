// SPDX-License-Identifier: Apache-2.0
public import AMQPBroker
import Foundation

extension TestBroker {
    /// Somebody who may do some things, and not others.
    public struct User: Sendable {
        /// That no other test uses.
        public let name = TestBroker.uniqueName("user")
        fileprivate let password = UUID().uuidString
        /// In the virtual host `/`; `nil` keeps the user out of it.
        fileprivate let permissions: AMQPEmbeddedBroker.Permissions?

        public init(_ permissions: AMQPEmbeddedBroker.Permissions?) { self.permissions = permissions }

        /// The broker's address for this user.
        public func url(at url: String) throws -> String {
            guard var parts = URLComponents(string: url) else { throw URLError(.badURL) }
            parts.user = self.name
            parts.password = self.password
            guard let url = parts.string else { throw URLError(.badURL) }
            return url
        }
    }

    /// Runs a test body on the broker, which also knows the users, and enters it in the ledger of what ran where.
    ///
    /// On RabbitMQ they stay: nobody else knows their passwords, and it goes after the tests.
    public func run<R: Sendable>(
        _ test: String = #function, users: [User], isolation: isolated (any Actor)? = #isolation,
        _ body: (_ url: String) async throws -> R
    ) async throws -> R {
        guard self == .rabbitMQ else {
            try Self.enter("\(self.rawValue) \(test)")
            var configuration = self.configuration
            for user in users {
                configuration.users[user.name] = .init(
                    password: user.password, permissions: user.permissions.map { ["/": $0] } ?? [:])
            }
            return try await AMQPEmbeddedBroker.with(configuration) { broker in try await body(broker.url) }
        }
        guard let control = RabbitMQControl.shared else { throw MissingBroker() }
        try await control.ctl("eval", users.map(\.erlang).joined(separator: ", ") + ".")
        return try await self.run(test, body)
    }
}

extension TestBroker.User {
    /// `add_user` and `set_permissions` of all users in one command: each takes seconds.
    fileprivate var erlang: String {
        func binary(_ text: String) -> String { "<<\"\(text.replacingOccurrences(of: "\\", with: "\\\\"))\">>" }
        let module = "rabbit_auth_backend_internal"
        let added = "ok = \(module):add_user(\(binary(self.name)), \(binary(self.password)), <<\"test\">>)"
        guard let permissions = self.permissions else { return added }
        let granted = [self.name, "/", permissions.configure, permissions.write, permissions.read, "test"]
        return "\(added), ok = \(module):set_permissions(\(granted.map(binary).joined(separator: ", ")))"
    }
}
