// SPDX-License-Identifier: Apache-2.0
import Testing

@testable import HareDoTool

@Suite("Which broker a command uses")
struct BrokerOptionsTests {
    @Test("--broker counts more than HAREDO_BROKER")
    func option() {
        #expect(BrokerOptions.url(option: "amqp://a", environment: ["HAREDO_BROKER": "amqp://b"]) == "amqp://a")
    }

    @Test("HAREDO_BROKER counts more than the default")
    func environment() {
        #expect(BrokerOptions.url(option: nil, environment: ["HAREDO_BROKER": "amqp://b"]) == "amqp://b")
    }

    @Test("Otherwise it is RabbitMQ on this machine", arguments: [[:], ["HAREDO_BROKER": ""]])
    func fallback(environment: [String: String]) {
        #expect(BrokerOptions.url(option: nil, environment: environment) == "amqp://guest:guest@localhost:5672")
    }
}
