// SPDX-License-Identifier: Apache-2.0
@testable import AMQPBroker
import AMQPWire
import Foundation
import NIOCore
import NIOPosix
import Testing

@Suite("A connection to the broker", .timeLimit(.minutes(1)))
struct ConnectionTests {
    @Test("is greeted with capabilities, tuned as configured, opened and closed")
    func handshake() async throws {
        try await withBroker {
            $0.heartbeat = 7
        } _: { broker in
            let client = try await RawClient.connect(broker)
            try await client.send(bytes: AMQPProtocolHeader.bytes)
            guard case .connectionStart(let start) = try await client.method(),
                case .table(let capabilities) = start.serverProperties["capabilities"]
            else { return #expect(Bool(false), "no start") }
            for name in [
                "publisher_confirms", "exchange_exchange_bindings", "basic.nack", "consumer_cancel_notify",
                "connection.blocked", "consumer_priorities", "authentication_failure_close", "per_consumer_qos",
                "direct_reply_to",
            ] {
                #expect(capabilities[name]?.boolean == true, "\(name)")
            }
            let tune = try await client.call(
                .connectionStartOk(
                    .init(
                        clientProperties: [:], mechanism: "PLAIN", response: "\u{0}guest\u{0}guest", locale: "en_US")),
                channel: 0)
            #expect(tune == .connectionTune(.init(channelMax: 2047, frameMax: 131_072, heartbeat: 7)))
            try await client.send(
                .connectionTuneOk(.init(channelMax: 10, frameMax: 8192, heartbeat: 0)), channel: 0)
            let ok = try await client.call(.connectionOpen(.init(virtualHost: "/")), channel: 0)
            #expect(ok == .connectionOpenOk(.init()))
            try await client.close()
        }
    }

    @Test("is found under the url, with what needs it percent-encoded")
    func url() async throws {
        try await withBroker { broker in
            let port = try #require(broker.port)
            #expect(broker.url == "amqp://guest:guest@127.0.0.1:\(port)")
        }
        try await withBroker {
            $0.users = ["ä b": "p:w@/"]
            $0.virtualHosts = ["one/two"]
        } _: { broker in
            let port = try #require(broker.port)
            #expect(broker.url == "amqp://%C3%A4%20b:p%3Aw%40%2F@127.0.0.1:\(port)/one%2Ftwo")
            let client = try await RawClient.connect(broker)
            try await client.handshake(user: "ä b", password: "p:w@/", virtualHost: "one/two")
            try await client.close()
        }
    }

    @Test(
        "is refused with 403 for a wrong password",
        arguments: [("guest", "wrong"), ("nobody", "guest"), ("guest", "")])
    func wrongPassword(user: String, password: String) async throws {
        try await withBroker { broker in
            let client = try await RawClient.connect(broker)
            try await client.beginHandshake(user: user, password: password)
            let close = try await client.connectionClose()
            #expect(close.replyCode == 403)
            #expect(
                close.replyText == "ACCESS_REFUSED - Login was refused using authentication mechanism PLAIN. "
                    + "For details see the broker logfile.")
            try await client.expectClosed()
        }
    }

    @Test("is closed without a word for a wrong password if the client cannot read why")
    func wrongPasswordOldClient() async throws {
        try await withBroker { broker in
            let client = try await RawClient.connect(broker)
            try await client.beginHandshake(password: "wrong", properties: [:])
            try await client.expectClosed()
        }
    }

    @Test("is refused with 530 for an unknown virtual host")
    func unknownVirtualHost() async throws {
        try await withBroker { broker in
            let client = try await RawClient.connect(broker)
            try await client.beginHandshake()
            _ = try await client.method()
            try await client.send(.connectionTuneOk(.init(channelMax: 1, frameMax: 8192, heartbeat: 0)), channel: 0)
            try await client.send(.connectionOpen(.init(virtualHost: "x")), channel: 0)
            let close = try await client.connectionClose()
            #expect(close.replyCode == 530)
            #expect(close.replyText == "NOT_ALLOWED - vhost x not found")
            #expect(close.failingClassID == 10 && close.failingMethodID == 40)
        }
    }

    @Test(
        "is refused with 530 when tuned beyond what was offered",
        arguments: [
            (2048, 131_072, "channel_max = 2048 is higher than the maximum allowed value (2047)"),
            (0, 131_072, "channel_max = 0 is higher than the maximum allowed value (2047)"),
            (1, 131_073, "frame_max = 131073 is higher than the maximum allowed value (131072)"),
            (1, 4096, "frame_max = 4096 is lower than the minimum allowed value (8192)"),
        ] as [(UInt16, UInt32, String)])
    func badTune(channelMax: UInt16, frameMax: UInt32, text: String) async throws {
        try await withBroker { broker in
            let client = try await RawClient.connect(broker)
            try await client.beginHandshake()
            _ = try await client.method()
            try await client.send(
                .connectionTuneOk(.init(channelMax: channelMax, frameMax: frameMax, heartbeat: 0)), channel: 0)
            let close = try await client.connectionClose()
            #expect(close.replyCode == 530)
            #expect(close.replyText == "NOT_ALLOWED - negotiated \(text)")
        }
    }

    @Test("beats, when told to, and is dropped when the client does not")
    func heartbeats() async throws {
        try await withBroker { broker in
            let client = try await RawClient.connect(broker)
            try await client.handshake(heartbeat: 1)
            guard case .heartbeat = try await client.next() else { return #expect(Bool(false), "no heartbeat") }
            while case .heartbeat = try await client.next() {}
        }
    }

    @Test("opens, closes and reuses channels")
    func channels() async throws {
        try await withBroker { broker in
            let client = try await RawClient.open(broker)
            try await client.openChannel(2047)
            let close = AMQPMethod.channelClose(
                .init(replyCode: 200, replyText: "", failingClassID: 0, failingMethodID: 0))
            #expect(try await client.call(close) == .channelCloseOk(.init()))
            try await client.openChannel(1)
            try await client.close()
        }
    }

    @Test("ends with 504 for a method on a channel that is not open, or open twice")
    func channelErrors() async throws {
        try await withBroker { broker in
            let one = try await RawClient.open(broker)
            try await one.send(.queueDeclare(.init(queue: "q")), channel: 2)
            let close = try await one.connectionClose()
            #expect(close.replyCode == 504)
            #expect(close.replyText == "CHANNEL_ERROR - expected 'channel.open'")
            #expect(close.failingClassID == 50 && close.failingMethodID == 10)
            let two = try await RawClient.open(broker)
            try await two.send(.channelOpen(.init()))
            #expect(try await two.connectionClose().replyText == "CHANNEL_ERROR - second 'channel.open' seen")
        }
    }

    @Test("ends with 530 for a channel beyond channel-max")
    func tooManyChannels() async throws {
        try await withBroker { broker in
            let client = try await RawClient.connect(broker)
            try await client.handshake(channelMax: 3)
            try await client.openChannel(3)
            try await client.send(.channelOpen(.init()), channel: 4)
            #expect(try await client.connectionClose().replyCode == 530)
        }
    }

    @Test("survives the error of a channel, which ignores what comes until close-ok")
    func channelClosedByBroker() async throws {
        try await withBroker { broker in
            let client = try await RawClient.open(broker)
            try await client.send(.queueDeclare(.init(queue: "no", passive: true)))
            try await client.publish("x", to: "q", exchange: "missing")
            try await client.send(.queueDeclare(.init(queue: "q", durable: true)))
            let close = try await client.channelClose()
            #expect(close.replyCode == 404)
            #expect(close.replyText == "NOT_FOUND - no queue 'no' in vhost '/'")
            #expect(close.failingClassID == 50 && close.failingMethodID == 10)
            try await client.openChannel(1)
            try await client.send(.queueDeclare(.init(queue: "q", passive: true)))
            #expect(try await client.channelClose().replyCode == 404)
        }
    }

    @Test("may close a channel that the broker closes at the same moment")
    func crossingCloses() async throws {
        try await withBroker { broker in
            let client = try await RawClient.open(broker)
            try await client.send {
                try $0.append(.queueDeclare(.init(queue: "no", passive: true)), channel: 1)
                try $0.append(
                    .channelClose(.init(replyCode: 200, replyText: "", failingClassID: 0, failingMethodID: 0)),
                    channel: 1)
            }
            _ = try await client.channelClose()
            #expect(try await client.method() == .channelCloseOk(.init()))
            try await client.openChannel(1)
        }
    }

    @Test(
        "ends with 540 for what RabbitMQ does not implement either",
        arguments: [
            .channelFlow(.init(active: false)), .basicRecover(.init(requeue: false)),
            .basicQos(.init(prefetchSize: 1, prefetchCount: 0)),
        ] as [AMQPMethod])
    func notImplemented(method: AMQPMethod) async throws {
        try await withBroker { broker in
            let client = try await RawClient.open(broker)
            try await client.send(method)
            let close = try await client.connectionClose()
            #expect(close.replyCode == 540)
            #expect(close.failingClassID == method.id.classID && close.failingMethodID == method.id.methodID)
        }
    }

    @Test("may come over a socket of the process's own, which is gone with the broker")
    func temporarySocket() async throws {
        var configuration = AMQPEmbeddedBroker.Configuration()
        configuration.address = .temporarySocket()
        guard case .unixDomainSocket(let path) = configuration.address else {
            Issue.record("\(configuration.address)")
            return
        }
        #expect(configuration.address != .temporarySocket())
        try await AMQPEmbeddedBroker.with(configuration) { broker in
            #expect(broker.port == nil && broker.url == "unix:\(path)")
            let channel = try await ClientBootstrap(group: MultiThreadedEventLoopGroup.singleton)
                .connect(unixDomainSocketPath: path).get()
            try await channel.close()
        }
        #expect(access(path, F_OK) != 0)
    }

    @Test("comes over TCP where the path of a socket would be too long")
    func longFolder() {
        let free = AMQPEmbeddedBroker.Address.tcp(host: "127.0.0.1", port: 0)
        let folder = "/" + String(repeating: "f", count: 72)
        for length in [60, 72] {
            let address = AMQPEmbeddedBroker.Address.temporarySocket(in: String(folder.prefix(length)))
            guard case .unixDomainSocket(let path) = address else {
                Issue.record("\(address)")
                continue
            }
            #expect(path.utf8.count <= 103)
        }
        #expect(AMQPEmbeddedBroker.Address.temporarySocket(in: folder + folder) == free)
    }

    @Test("is closed with 320 when the broker stops, which may be asked twice")
    func stop() async throws {
        let broker = try await AMQPEmbeddedBroker.start(logger: nil)
        let client = try await RawClient.open(broker)
        async let stopped: Void = broker.stop()
        let close = try await client.connectionClose()
        #expect(close.replyCode == 320)
        #expect(close.replyText.hasPrefix("CONNECTION_FORCED"))
        try await client.expectClosed()
        await stopped
        await broker.stop()
        await #expect(throws: (any Error).self) { try await RawClient.connect(broker) }
    }

    @Test("cannot be had where somebody listens already, and the error says so")
    func addressInUse() async throws {
        try await withBroker { broker in
            var configuration = AMQPEmbeddedBroker.Configuration()
            configuration.address = .tcp(host: "127.0.0.1", port: try #require(broker.port))
            let error = await #expect(throws: AMQPBrokerError.self) {
                try await AMQPEmbeddedBroker.start(configuration, logger: nil)
            }
            #expect(error?.code == .addressInUse)
        }
    }

    @Test("works over a Unix-domain socket, which is left free and not taken from another")
    func unixDomainSocket() async throws {
        let path = "/tmp/amqp-broker-test-\(UInt32.random(in: 0 ... .max)).sock"
        for _ in 0..<2 {
            try await withBroker {
                $0.address = .unixDomainSocket(path: path)
            } _: { broker in
                #expect(broker.port == nil)
                let client = try await RawClient.connect(path: path)
                try await client.handshake()
                var configuration = AMQPEmbeddedBroker.Configuration()
                configuration.address = .unixDomainSocket(path: path)
                let error = await #expect(throws: AMQPBrokerError.self) {
                    try await AMQPEmbeddedBroker.start(configuration, logger: nil)
                }
                #expect(error?.code == .addressInUse)
                try await client.close()
            }
        }
    }

    @Test("is refused beyond the largest number of connections, until one has left")
    func tooManyConnections() async throws {
        try await withBroker {
            $0.maximumConnections = 1
        } _: { broker in
            let one = try await RawClient.open(broker)
            let two = try await RawClient.connect(broker)
            try await two.expectClosed()
            try await one.close()
        }
    }
}
