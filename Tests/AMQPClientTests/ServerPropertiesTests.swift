// SPDX-License-Identifier: Apache-2.0
import AMQPWire
import Testing

@_spi(HareDo) @testable import AMQPClient

@Suite struct ServerPropertiesTests {
    @Test func whatABrokerSaysIsRead() {
        let server = AMQPServerProperties([
            "product": "RabbitMQ", "version": "4.1.0", "platform": "Erlang/OTP 27", "cluster_name": "rabbit@one",
            "capabilities": ["publisher_confirms": true, "basic.nack": true, "direct_reply_to": true, "new": true],
        ])
        #expect((server.product, server.version) == ("RabbitMQ", "4.1.0"))
        #expect((server.platform, server.clusterName) == ("Erlang/OTP 27", "rabbit@one"))
        #expect(server.capabilities == [.publisherConfirms, .negativeAcknowledgements, .directReplyTo])
    }

    @Test func eachCapabilityHasItsName() {
        var all: AMQPServerProperties.Capabilities = []
        for (name, capability) in AMQPServerProperties.Capabilities.names {
            let server = AMQPServerProperties(["capabilities": .table([name: true])])
            #expect(server.capabilities == capability)
            #expect(!all.contains(capability))
            all.insert(capability)
        }
    }

    @Test(
        arguments: [
            [:], ["product": 1, "version": true, "capabilities": "all"],
            ["capabilities": ["publisher_confirms": false, "basic.nack": "yes", "consumer_priorities": 1]],
        ] as [AMQPTable])
    func whatIsNotSaidAsUsualIsNotSaid(table: AMQPTable) {
        let server = AMQPServerProperties(table)
        #expect(server.product.isEmpty && server.version.isEmpty && server.capabilities.isEmpty)
    }
}
