// SPDX-License-Identifier: Apache-2.0
import AMQPBroker
import AMQPClient

/// The broker that the peers of this process share: it runs while at least one of them uses it.
actor EmbeddedBroker {
    static let shared = EmbeddedBroker()

    private var users = 0
    private var broker: Task<AMQPEmbeddedBroker, any Error>?

    /// - Returns: where it listens. To be matched by ``release()``.
    func acquire() async throws(HareDoError) -> AMQPConfiguration {
        self.users += 1
        // A password of the process's own: on a shared machine the port is open to all.
        let password = RandomName.make()
        let broker =
            self.broker
            ?? Task {
                var configuration = AMQPEmbeddedBroker.Configuration()
                configuration.users = ["embedded": .init(password: password)]
                return try await AMQPEmbeddedBroker.start(configuration, logger: nil)
            }
        self.broker = broker
        do {
            return try AMQPConfiguration(uri: try await broker.value.url)
        } catch {
            await self.release()
            throw HareDoError(.noBroker, "the embedded broker could not be started: \(error)", cause: error)
        }
    }

    func release() async {
        self.users -= 1
        guard self.users == 0, let broker = self.broker else { return }
        self.broker = nil
        // A peer that connects from now on starts another one; both may exist for a moment.
        try? await broker.value.stop()
    }
}
