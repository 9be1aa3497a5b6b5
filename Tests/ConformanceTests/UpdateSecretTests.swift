// SPDX-License-Identifier: Apache-2.0
import AMQPClient
import NIOConcurrencyHelpers
import TestSupport
import Testing

@Suite(.timeLimit(.minutes(1))) struct UpdateSecretTests {
    /// The provider is asked for a third secret only when the broker took the second one.
    @Test(arguments: TestBroker.modes) func brokersTakeNewSecrets(broker: TestBroker) async throws {
        try await broker.run { url in
            var configuration = try AMQPConfiguration(uri: url)
            let (user, password) = (configuration.user, configuration.password)
            let asked = NIOLockedValueBox(0)
            configuration.credentials = .provider {
                let count = asked.withLockedValue { count in
                    count += 1
                    return count
                }
                return .init(user: user, password: password, expiresAt: .now + .seconds(count < 3 ? 1 : 1000))
            }
            configuration.recovery = .disabled
            let connection = try await AMQPConnection.connect(configuration)
            try await eventually("the second renewal") { asked.withLockedValue { $0 } == 3 }
            #expect(await connection.isOpen)
            await connection.close()
        }
    }
}
