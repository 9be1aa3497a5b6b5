// SPDX-License-Identifier: Apache-2.0
import HareDo
import TestSupport
import Testing

@Suite("Times and headers at their limits")
struct BoundsTests {
    /// What a careless program computes.
    static let forever: [Duration] = [
        .seconds(Int64.max) * 2, .seconds(Int64.max), .milliseconds(Int64(1) << 40), .seconds(5_000_000),
    ]

    @Test("A call that may take for ever is a call", arguments: TestBroker.available)
    func forever(broker: TestBroker) async throws {
        try await broker.run { url in
            try await withPair(url) { service, client in
                let handled = try await service.listen { message in Reply(message.data) }
                for timeout in Self.forever {
                    let reply = try await client.call(service.name, data: "x", timeout: timeout)
                    #expect(reply?.text == "x", "\(timeout)")
                    let id = try await client.send(service.name, data: "y")
                    #expect(try await client.receive(id: id, timeout: timeout)?.text == "y", "\(timeout)")
                    client.timeout = timeout
                    #expect(try await client.call(service.name, data: "z")?.text == "z")
                }
                await handled.drain(within: .seconds(Int64.max))
                await service.disconnect(within: .seconds(Int64.max))
            }
        }
    }

    @Test("A time that is up is up at once", arguments: TestBroker.available)
    func never(broker: TestBroker) async throws {
        try await broker.run { url in
            try await within(.seconds(20), "what should not wait") {
                try await withPair(url) { service, client in
                    let messages = try await service.listen()
                    #expect(try await client.call(service.name, timeout: .zero) == nil)
                    #expect(try await client.receive(timeout: .zero) == nil)
                    await expectError(.timedOut) {
                        _ = try await client.call(service.name, encoding: 1, as: Int.self, timeout: .zero)
                    }
                    #expect(try await client.receive(id: "x", timeout: .zero) == nil)
                    // Nobody can mean that.
                    for timeout in [Duration.nanoseconds(-1), .seconds(-1), .seconds(Int64.min)] {
                        await expectError(.invalidArgument) {
                            _ = try await client.call(service.name, timeout: timeout)
                        }
                        await expectError(.invalidArgument) { _ = try await client.receive(timeout: timeout) }
                        await expectError(.invalidArgument) { _ = try await client.receive(id: "x", timeout: timeout) }
                    }
                    client.timeout = .seconds(-1)
                    await expectError(.invalidArgument) { _ = try await client.call(service.name) }
                    await messages.drain(within: .seconds(Int64.min))
                    await client.disconnect(within: .seconds(-1))
                }
            }
        }
    }

    @Test("Connecting with odd times", arguments: TestBroker.available)
    func connectTimes(broker: TestBroker) async throws {
        try await broker.run { url in
            for (timeout, heartbeat) in [
                (Duration.seconds(Int64.max) * 2, Duration.seconds(Int64.max) * 2), (.seconds(100), .seconds(-1)),
            ] {
                var configuration = Peer.Configuration.url(url)
                configuration.connectTimeout = timeout
                configuration.heartbeat = heartbeat
                let peer = Peer(configuration)
                try await peer.connect()
                #expect(try await peer.call(peer.address, timeout: .milliseconds(20)) == nil)
                await peer.disconnect()
            }
            for timeout in [Duration.zero, .seconds(-1), .seconds(Int64.min)] {
                var configuration = Peer.Configuration.url(url)
                configuration.connectTimeout = timeout
                let peer = Peer(configuration)
                try await within(.seconds(5), "connecting within \(timeout)") {
                    await expectError(.noBroker) { try await peer.connect() }
                }
                await peer.disconnect()
            }
        }
    }

    @Test(
        "Headers that RabbitMQ routes by are refused if they would cost the connection", arguments: TestBroker.available
    )
    func routingHeaders(broker: TestBroker) async throws {
        try await broker.run { url in
            try await withPair(url) { service, client in
                let listening = try await service.listen { message in
                    message.text == "bad" ? Reply("x", headers: ["CC": 1]) : Reply(message.data)
                }
                for name in ["CC", "BCC"] {
                    await expectError(.invalidArgument) {
                        _ = try await client.call(service.name, headers: [name: "x"])
                    }
                    await expectError(.invalidArgument) { try await client.send(service.name, headers: [name: 1]) }
                    await expectError(.invalidArgument) { try await client.emit(service.name, headers: [name: .null]) }
                    await expectError(.invalidArgument) {
                        try await client.send(service.name, headers: [name: [1]], confirm: true)
                    }
                }
                for value in [HeaderValue.double(.nan), .list([1, .double(.infinity)]), ["x": .double(-.infinity)]] {
                    await expectError(.invalidArgument) {
                        _ = try await client.call(service.name, headers: ["n": value])
                    }
                }
                // A reply that cannot be sent is the service's failure, and not its end.
                await expectError(.remoteFailed) { _ = try await client.call(service.name, data: "bad") }
                #expect(try await client.call(service.name, data: "good")?.text == "good")
                // What is right is passed on.
                try await client.send(service.name, headers: ["CC": [.string(client.address)]], data: "copy")
                #expect(try await client.receive()?.text == "copy")
                _ = listening
            }
        }
    }

    @Test("A peer's URL says how often hearts beat and how long connecting may take, unless the program does")
    func urlParameters() async throws {
        let proxyless = Peer("amqp://127.0.0.1:1?connection_timeout=99999999999999999999")
        await expectError(.invalidArgument) { try await proxyless.connect() }
        let large = Peer("amqp://127.0.0.1:1?heartbeat=9223372036854775807&connection_timeout=9223372036854775807")
        await expectError(.noBroker) { try await large.connect() }
    }
}
