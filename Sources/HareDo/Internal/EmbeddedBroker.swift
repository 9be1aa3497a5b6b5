// SPDX-License-Identifier: Apache-2.0
import AMQPBroker
import AMQPClient

/// The broker that the peers of this process share: it runs while at least one of them uses it.
actor EmbeddedBroker {
    static let shared = EmbeddedBroker()

    private static let user = "embedded"
    /// The process's own: on a shared machine others may be able to connect.
    private let password = RandomName.make()
    private var users = 0
    private var broker: Task<AMQPEmbeddedBroker, any Error>?

    /// - Returns: where it listens. To be matched by ``release()``.
    func acquire() async throws(HareDoError) -> AMQPConfiguration {
        self.users += 1
        let broker = self.broker ?? Task { try await Self.start(password: self.password) }
        self.broker = broker
        do {
            var configuration = try AMQPConfiguration(uri: try await broker.value.url)
            configuration.user = Self.user
            configuration.password = self.password
            return configuration
        } catch {
            await self.release()
            throw HareDoError(.noBroker, "the embedded broker could not be started: \(error)", cause: error)
        }
    }

    private static func start(password: String) async throws -> AMQPEmbeddedBroker {
        var configuration = AMQPEmbeddedBroker.Configuration()
        configuration.users = [Self.user: .init(password: password)]
        configuration.address = .temporarySocket()
        if let broker = try? await AMQPEmbeddedBroker.start(configuration) { return broker }
        // There may be no folder for temporary files, or none that we may write to.
        configuration.address = .tcp(host: "127.0.0.1", port: 0)
        return try await AMQPEmbeddedBroker.start(configuration)
    }

    func release() async {
        self.users -= 1
        guard self.users == 0, let broker = self.broker else { return }
        self.broker = nil
        // A peer that connects from now on starts another one; both may exist for a moment.
        try? await broker.value.stop()
    }
}
