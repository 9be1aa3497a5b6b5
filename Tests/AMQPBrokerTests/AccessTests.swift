// SPDX-License-Identifier: Apache-2.0
import AMQPBroker
import Testing

@Suite("A user", .timeLimit(.minutes(1)))
struct AccessTests {
    @Test("cannot have a permission that is no regular expression")
    func invalid() async throws {
        var configuration = AMQPEmbeddedBroker.Configuration()
        configuration.users = [
            "clerk": .init(password: "pen", permissions: ["/": .init(configure: "(", write: "", read: "")])
        ]
        let error = await #expect(throws: AMQPBrokerError.self) { try await AMQPEmbeddedBroker.start(configuration) }
        #expect(error?.code == .invalidConfiguration && error?.message.contains("'clerk'") == true)
    }
}
