// SPDX-License-Identifier: Apache-2.0
import AMQPBroker
import AMQPWire
import HostileSupport
import NIOCore
import TestSupport
import Testing

/// Sockets that were never meant well. After each the broker has no connection left and serves the next as if nothing
/// had been.
@Suite("After hostile sockets the broker is as before", .timeLimit(.minutes(2)))
struct HostileSocketTests {
    /// What a well-behaved client sends to open a connection and a channel.
    private static func handshake() throws -> [UInt8] {
        var output = AMQPOutput(frameMax: 131_072)
        output.appendProtocolHeader()
        try output.append(
            .connectionStartOk(
                .init(
                    clientProperties: RawClient.capabilities, mechanism: "PLAIN",
                    response: "\u{0}guest\u{0}guest", locale: "en_US")), channel: 0)
        try output.append(.connectionTuneOk(.init(channelMax: 10, frameMax: 131_072, heartbeat: 0)), channel: 0)
        try output.append(.connectionOpen(.init(virtualHost: "/")), channel: 0)
        try output.append(.channelOpen(.init()), channel: 1)
        return output.take().flatMap { Array($0.readableBytesView) }
    }

    private static func random(_ count: Int, seed: UInt64) -> [UInt8] {
        var random = SplitMix64(seed: seed)
        return (0..<count).map { _ in UInt8.random(in: .min ... .max, using: &random) }
    }

    /// Runs on a broker, then sees that nothing is left.
    ///
    /// - Parameter handshakeTimeout: holds for the normal clients too, and for them has to be long enough on a busy machine.
    private func withBrokerUnderAttack(
        handshakeTimeout: Duration = .seconds(10), _ attack: (AMQPEmbeddedBroker, Int) async throws -> Void
    ) async throws {
        try await withBroker {
            $0.handshakeTimeout = handshakeTimeout
        } _: { broker in
            // What is allocated once, and what reuse cannot give back, is there before.
            try await self.serve(broker)
            let before = ResidentMemory.bytes
            try await attack(broker, try #require(broker.port))
            try await self.expectNothingLeft(broker)
            if let before, let after = ResidentMemory.bytes {
                #expect(after - before <= 32 << 20, "\(before) resident bytes became \(after)")
            }
        }
    }

    /// A normal client gets its work done, within a second on a machine that is not busy.
    private func serve(_ broker: AMQPEmbeddedBroker) async throws {
        let began = ContinuousClock.now
        let client = try await RawClient.open(broker)
        try await client.declare("served", exclusive: true)
        try await client.publish("hare", to: "served")
        #expect(try await client.get("served")?.text == "hare")
        try await client.close()
        #expect(ContinuousClock.now - began < .seconds(5))
    }

    private func expectNothingLeft(_ broker: AMQPEmbeddedBroker) async throws {
        let deadline = ContinuousClock.now + .seconds(20)
        repeat {
            // Sockets are accepted in order: those that were dropped early are known behind this one.
            try await self.serve(broker)
            for closing in broker.core.closings {
                let timeout = closing.eventLoop.makePromise(of: Void.self)
                let late = closing.eventLoop.scheduleTask(in: .seconds(10)) { timeout.fail(ByteClient.TookTooLong()) }
                closing.whenComplete { _ in
                    late.cancel()
                    timeout.succeed()
                }
                try await timeout.futureResult.get()
            }
        } while broker.core.connectionCount > 0 && ContinuousClock.now < deadline
        #expect(broker.core.connectionCount == 0)
        #expect(broker.core.population.isEmpty, "\(broker.core.population)")
    }

    /// What follows the beginning of a handshake.
    enum Ending: CaseIterable {
        case silence, hangUp, garbage
    }

    @Test("a handshake that stops after any of its bytes", arguments: Ending.allCases)
    func halfHandshakes(ending: Ending) async throws {
        let handshake = try Self.handshake()
        let open = handshake.count - 13 // with everything but channel.open
        // Garbage that may be the rest of a frame has to be long enough to end it.
        let garbage = ByteBuffer(bytes: Self.random(150_000, seed: 1))
        // Only silence waits for it.
        let timeout = Duration.seconds(ending == .silence ? 3 : 10)
        try await self.withBrokerUnderAttack(handshakeTimeout: timeout) { broker, port in
            try await withThrowingTaskGroup(of: Void.self) { group in
                for length in 0...handshake.count {
                    group.addTask {
                        let client = try await ByteClient(port: port)
                        await client.send(handshake.prefix(length))
                        switch ending {
                        case .silence:
                            // A connection that is open may be silent for as long as it likes: it was asked for no
                            // heartbeats.
                            if length >= open { await client.drop() } else { try await client.untilClosed() }
                        case .hangUp: await client.drop()
                        case .garbage:
                            await client.send(garbage)
                            try await client.untilClosed()
                        }
                    }
                }
                try await group.waitForAll()
            }
        }
    }

    @Test(
        "garbage of any size", arguments: [0, 1, 2, 7, 8, 9, 100, 1000, 8192, 65_536, 131_073, 1_000_000],
        [false, true])
    func garbage(size: Int, isOpen: Bool) async throws {
        let handshake = try Self.handshake()
        try await self.withBrokerUnderAttack { broker, port in
            let client = try await ByteClient(port: port)
            if isOpen { await client.send(handshake) }
            // A type that is none: of whatever size, it is garbage from its first byte.
            await client.send([0xAB] + Self.random(size, seed: UInt64(size)))
            let said = try await client.untilClosed()
            // Who goes on sending when the broker has stopped waiting is reset, and may hear nothing.
            guard size < 65_536 else { return }
            // The protocol header if it was not AMQP from the beginning, otherwise connection.close with 501.
            if isOpen {
                #expect(said.firstRange(of: [0, 10, 0, 50, 1, 0xF5]) != nil)
            } else {
                #expect(said == AMQPProtocolHeader.bytes)
            }
        }
    }

    /// A ClientHello as a browser sends it, its random parts zero.
    private static let clientHello: [UInt8] =
        [0x16, 3, 1, 0, 0x7B, 1, 0, 0, 0x77, 3, 3] + [UInt8](repeating: 0, count: 32) + [0, 0, 4, 0x13, 1, 0x13, 2]
        + [1, 0, 0, 0x4A, 0, 0, 0, 0xE, 0, 0xC, 0, 0, 9] + Array("localhost".utf8) + [0, 0x2B, 0, 3, 2, 3, 4]
        + [0, 0xD, 0, 4, 0, 2, 4, 3, 0, 0x33, 0, 0x26, 0, 0x24, 0, 0x1D, 0, 0x20] + [UInt8](repeating: 7, count: 32)

    @Test(
        "another protocol, or another version of ours: told the one it speaks",
        arguments: [
            ("TLS", clientHello), ("HTTP", Array("GET / HTTP/1.1\r\nHost: localhost\r\n\r\n".utf8)),
            ("HTTP/2", Array("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".utf8)), ("SSH", Array("SSH-2.0-OpenSSH_9.6\r\n".utf8)),
            ("AMQP 0-8", Array("AMQP".utf8) + [1, 1, 8, 0]), ("AMQP 0-9", Array("AMQP".utf8) + [1, 1, 0, 9]),
            ("AMQP 0-10", Array("AMQP".utf8) + [1, 1, 0, 10]), ("AMQP 1.0", Array("AMQP".utf8) + [0, 1, 0, 0]),
            ("AMQP 1.0 with SASL", Array("AMQP".utf8) + [3, 1, 0, 0]),
            ("MQTT", [0x10, 0x0C, 0, 4] + Array("MQTT".utf8)),
            ("nothing but zeros", [UInt8](repeating: 0, count: 64)),
        ] as [(String, [UInt8])])
    func foreignProtocol(name: String, bytes: [UInt8]) async throws {
        try await self.withBrokerUnderAttack { broker, port in
            let client = try await ByteClient(port: port)
            await client.send(bytes)
            #expect(try await client.untilClosed() == AMQPProtocolHeader.bytes)
        }
    }

    @Test("many that send a byte now and then, and never get to the end of the handshake")
    func slowLoris() async throws {
        let handshake = try Self.handshake()
        try await self.withBrokerUnderAttack(handshakeTimeout: .seconds(3)) { broker, port in
            let (canary, began) = (Canary(), ContinuousClock.now)
            try await withThrowingTaskGroup(of: Void.self) { group in
                for _ in 0..<200 {
                    group.addTask {
                        let client = try await ByteClient(port: port)
                        // Far longer than the broker waits, and never silent for long.
                        client.trickle(handshake, every: .milliseconds(100))
                        try await client.untilClosed()
                    }
                }
                // Meanwhile others are served.
                for _ in 0..<5 { try await self.serve(broker) }
                try await group.waitForAll()
            }
            let took = ContinuousClock.now - began
            #expect(await canary.finds("200 slow handshakes", took: took, to: .milliseconds(9500)))
        }
    }

    @Test("single bytes that are a handshake all the same")
    func byteByByte() async throws {
        let handshake = try Self.handshake()
        let goodbye: [UInt8] = [1, 0, 0, 0, 0, 0, 11, 0, 10, 0, 50, 0, 200, 0, 0, 0, 0, 0, 0xCE]
        try await self.withBrokerUnderAttack { broker, port in
            let client = try await ByteClient(port: port)
            for byte in handshake + goodbye { await client.send([byte]) }
            // channel.open-ok and connection.close-ok.
            let said = try await client.untilClosed()
            #expect(said.suffix(28) == [1, 0, 1, 0, 0, 0, 8, 0, 20, 0, 11, 0, 0, 0, 0, 0xCE] + goodbyeOk)
        }
    }

    private let goodbyeOk: [UInt8] = [1, 0, 0, 0, 0, 0, 4, 0, 10, 0, 51, 0xCE]

    @Test(
        "a frame that is announced and does not come",
        arguments: [
            // Too large by far, by one byte, and as large as may be.
            [1, 0, 0, 0xFF, 0xFF, 0xFF, 0xFF], [1, 0, 0, 0x7F, 0xFF, 0xFF, 0xFF], [3, 0, 1, 0, 2, 0, 1],
            [3, 0, 1, 0, 2, 0, 0],
        ] as [[UInt8]], [false, true])
    func announcedFrame(head: [UInt8], isOpen: Bool) async throws {
        let handshake = try Self.handshake()
        let isAllowed = head == [3, 0, 1, 0, 2, 0, 0]
        // What may come is waited for until then.
        let timeout = Duration.seconds(isAllowed ? 3 : 10)
        try await self.withBrokerUnderAttack(handshakeTimeout: timeout) { broker, port in
            try await withThrowingTaskGroup(of: Void.self) { group in
                for _ in 0..<100 {
                    group.addTask {
                        let client = try await ByteClient(port: port)
                        await client.send((isOpen ? handshake : Array(handshake.prefix(8))) + head)
                        // An open connection may take its time for a frame that it may send.
                        if isAllowed, isOpen { await client.drop() } else { try await client.untilClosed() }
                    }
                }
                try await group.waitForAll()
            }
        }
    }

    @Test("thousands of sockets that are opened and dropped")
    func dropped() async throws {
        let handshake = try Self.handshake()
        try await self.withBrokerUnderAttack { broker, port in
            try await withThrowingTaskGroup(of: Void.self) { group in
                for worker in 0..<50 {
                    group.addTask {
                        for round in 0..<100 {
                            let client = try await ByteClient(port: port)
                            // Nothing, a part, or all of a handshake.
                            await client.send(handshake.prefix((worker * 100 + round) % (handshake.count + 1)))
                            await client.drop()
                        }
                    }
                }
                try await group.waitForAll()
            }
        }
    }
}
