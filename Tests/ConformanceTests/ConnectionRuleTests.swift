// SPDX-License-Identifier: Apache-2.0
import AMQPWire
import NIOCore
import TestSupport
import Testing

/// What brokers answer to those who open connections and channels, and to those who get it wrong.
@Suite("Rules of connections and channels", .timeLimit(.minutes(2)))
struct ConnectionRuleTests {
    // MARK: - Opening

    @Test("A client is told what the broker can do, and what it may agree to", arguments: TestBroker.modes)
    func offer(broker: TestBroker) async throws {
        try await broker.run { url in
            try await withRawSocket(url) { connection in
                let start = try await connection.startLogin()
                #expect(start.versionMajor == 0 && start.versionMinor == 9)
                #expect(start.mechanisms.string?.split(separator: " ").contains("PLAIN") == true)
                #expect(start.locales.string?.split(separator: " ").contains("en_US") == true)
                for key in ["product", "version", "platform"] {
                    #expect(start.serverProperties[key]?.string?.isEmpty == false, "\(key)")
                }
                guard case .table(let capabilities) = start.serverProperties["capabilities"] else {
                    throw RawConnection.Unexpected("no capabilities")
                }
                for name in [
                    "publisher_confirms", "exchange_exchange_bindings", "basic.nack", "consumer_cancel_notify",
                    "connection.blocked", "consumer_priorities", "authentication_failure_close", "per_consumer_qos",
                    "direct_reply_to",
                ] {
                    #expect(capabilities[name]?.boolean == true, "\(name)")
                }
                #expect(
                    try await connection.method(on: 0)
                        == .connectionTune(.init(channelMax: 2047, frameMax: 131_072, heartbeat: 60)))
            }
        }
    }

    @Test("Who agrees to more than was offered, or to too little, is cut off", arguments: TestBroker.modes)
    func tuning(broker: TestBroker) async throws {
        try await broker.run { url in
            let wrong: [AMQPMethod.ConnectionTuneOk] = [
                .init(channelMax: 2048, frameMax: 131_072, heartbeat: 0),
                // No limit, where one was asked for.
                .init(channelMax: 0, frameMax: 131_072, heartbeat: 0),
                .init(channelMax: 2047, frameMax: 0, heartbeat: 0),
                .init(channelMax: 2047, frameMax: 131_073, heartbeat: 0),
                .init(channelMax: 2047, frameMax: 4095, heartbeat: 0),
            ]
            // At once: RabbitMQ lets whoever is not logged in yet wait for three seconds.
            try await withThrowingTaskGroup(of: Void.self) { group in
                for tuneOk in wrong {
                    group.addTask {
                        try await withRawSocket(url) { connection in
                            try await connection.logIn()
                            try await connection.send(.connectionTuneOk(tuneOk), on: 0)
                            // RabbitMQ hangs up, and says why in its log only.
                            let expected: UInt16? = broker == .rabbitMQ ? nil : 530
                            #expect(try await connection.end()?.code == expected, "\(tuneOk)")
                        }
                    }
                }
                try await group.waitForAll()
            }
        }
    }

    @Test("A wrong password is 403, with a text that tells nothing more", arguments: TestBroker.modes)
    func wrongPassword(broker: TestBroker) async throws {
        try await broker.run { url in
            try await withRawSocket(url) { connection in
                try await connection.startLogin(password: "wrong")
                let close = try await connection.connectionClose()
                #expect(
                    close.refusal
                        == Refusal(
                            403,
                            "ACCESS_REFUSED - Login was refused using authentication mechanism PLAIN. "
                                + "For details see the broker logfile."))
                #expect(close.blamed == AMQPMethodID(classID: 0, methodID: 0))
                try await connection.expectClosed()
            }
        }
    }

    @Test("AMQPLAIN is a table with name and password", arguments: TestBroker.modes)
    func amqplain(broker: TestBroker) async throws {
        func entry(_ name: String, _ value: String) -> [UInt8] {
            [UInt8(name.utf8.count)] + Array(name.utf8) + [UInt8(ascii: "S"), 0, 0, 0, UInt8(value.utf8.count)]
                + Array(value.utf8)
        }
        let refusal = Refusal(
            403,
            "ACCESS_REFUSED - Login was refused using authentication mechanism AMQPLAIN. "
                + "For details see the broker logfile.")
        try await broker.run { url in
            let (user, password) = (entry("LOGIN", "guest"), entry("PASSWORD", "guest"))
            for response in [user + password, entry("x", "y") + password + user] {
                try await withRawSocket(url) { connection in
                    let start = try await connection.startLogin(mechanism: "AMQPLAIN", response: response)
                    #expect(start.mechanisms.string?.split(separator: " ").contains("AMQPLAIN") == true)
                    guard case .connectionTune = try await connection.method(on: 0) else {
                        Issue.record("not tuned")
                        return
                    }
                }
            }
            for response in [user + entry("PASSWORD", "wrong"), entry("LOGIN", "nobody") + password] {
                try await withRawSocket(url) { connection in
                    try await connection.startLogin(mechanism: "AMQPLAIN", response: response)
                    let close = try await connection.connectionClose()
                    #expect(close.refusal == refusal)
                }
            }
        }
    }

    @Test("Who cannot read why it is refused is only hung up on", arguments: TestBroker.modes)
    func wrongPasswordOldClient(broker: TestBroker) async throws {
        try await broker.run { url in
            try await withRawSocket(url) { connection in
                // Without authentication_failure_close among its capabilities.
                try await connection.startLogin(password: "wrong", properties: [:])
                try await connection.expectClosed()
            }
        }
    }

    @Test("A virtual host that does not exist is 530", arguments: TestBroker.modes)
    func unknownVirtualHost(broker: TestBroker) async throws {
        try await broker.run { url in
            try await withRawSocket(url) { connection in
                try await connection.logIn()
                try await connection.send(
                    .connectionTuneOk(.init(channelMax: 2047, frameMax: 131_072, heartbeat: 0)), on: 0)
                let refusal = try await connection.fatalRefusal(
                    of: .connectionOpen(.init(virtualHost: "nowhere")), on: 0)
                #expect(refusal == Refusal(530, "NOT_ALLOWED - vhost nowhere not found"))
                try await connection.expectClosed()
            }
        }
    }

    @Test("Another protocol is answered with the header of this one, and hung up on", arguments: TestBroker.modes)
    func otherProtocols(broker: TestBroker) async throws {
        try await broker.run { url in
            let others: [[UInt8]] = [
                // AMQP 0-9-2 and 1.0, and what is not AMQP.
                Array("AMQP".utf8) + [0, 0, 9, 2], Array("AMQP".utf8) + [0, 1, 0, 0], Array("GET / HT".utf8),
            ]
            for bytes in others {
                try await withRawSocket(url) { connection in
                    await connection.send(bytes: bytes)
                    guard case .protocolHeader(let header) = try await connection.next() else {
                        throw RawConnection.Unexpected("no header in answer to \(bytes)")
                    }
                    #expect(header == AMQPProtocolHeader.bytes)
                    try await connection.expectClosed()
                }
            }
        }
    }

    /// How far a client gets before it falls silent.
    private enum Stage: CaseIterable {
        case connected, halfHeader, header, loggedIn, tuned
    }

    /// On all brokers at once: each makes everybody wait for as long.
    @Test("Whoever does not open its connection in ten seconds is hung up on")
    func unfinishedHandshakes() async throws {
        try await TestBroker.modes.runAtOnce { try await Self.stopHandshakes($0) }
    }

    private static func stopHandshakes(_ url: String) async throws {
        try await withThrowingTaskGroup(of: Void.self) { group in
            for stage in Stage.allCases {
                group.addTask {
                    try await withRawSocket(url) { connection in
                        switch stage {
                        case .connected: break
                        case .halfHeader: await connection.send(bytes: AMQPProtocolHeader.bytes.prefix(4))
                        case .header:
                            await connection.send(bytes: AMQPProtocolHeader.bytes)
                            _ = try await connection.method(on: 0)
                        case .loggedIn: try await connection.logIn()
                        case .tuned:
                            try await connection.logIn()
                            try await connection.send(
                                .connectionTuneOk(.init(channelMax: 2047, frameMax: 131_072, heartbeat: 0)),
                                on: 0)
                        }
                        try await connection.expectClosed(within: .seconds(30))
                    }
                }
            }
            try await group.waitForAll()
        }
    }

    @Test("The methods of the handshake have their order", arguments: TestBroker.modes)
    func handshakeOrder(broker: TestBroker) async throws {
        try await broker.run { url in
            let open = AMQPMethod.connectionOpen(.init(virtualHost: "/"))
            let tuneOk = AMQPMethod.connectionTuneOk(.init(channelMax: 2047, frameMax: 131_072, heartbeat: 0))
            try await withThrowingTaskGroup(of: Void.self) { group in
                // Before the login is done nobody is told why.
                group.addTask {
                    try await withRawSocket(url) { connection in
                        await connection.send(bytes: AMQPProtocolHeader.bytes)
                        _ = try await connection.method(on: 0)
                        try await connection.send(open, on: 0)
                        _ = try await connection.end()
                    }
                }
                group.addTask {
                    try await withRawSocket(url) { connection in
                        try await connection.logIn()
                        try await connection.send(open, on: 0)
                        _ = try await connection.end()
                    }
                }
                try await group.waitForAll()
            }
            try await withRawSocket(url) { connection in
                try await connection.logIn()
                try await connection.send(tuneOk, on: 0)
                let refusal = try await connection.fatalRefusal(of: tuneOk, on: 0)
                #expect(refusal == Refusal(504, "CHANNEL_ERROR - unexpected method in connection state opening"))
            }
            try await withRawSocket(url) { connection in
                try await connection.logIn()
                try await connection.send(tuneOk, on: 0)
                try await connection.send(.channelOpen(.init()), on: 1)
                #expect(try await connection.connectionClose().replyCode == 505)
            }
        }
    }

    // MARK: - Frames and methods in the wrong place

    @Test("A frame that is none ends the connection with 501", arguments: TestBroker.modes)
    func brokenFrames(broker: TestBroker) async throws {
        try await broker.run { url in
            let broken: [(what: String, bytes: [UInt8])] = [
                ("a wrong end", RawConnection.frame(1, payload: [0, 20, 0, 20, 1], end: 0)),
                ("an unknown type", RawConnection.frame(7, payload: [])),
                ("larger than agreed", RawConnection.frame(1, payload: [], size: 131_073)),
                ("a heartbeat with a payload", RawConnection.frame(8, channel: 0, payload: [1])),
            ]
            for (what, bytes) in broken {
                try await withRawConnection(url) { connection in
                    await connection.send(bytes: bytes)
                    let close = try await connection.connectionClose()
                    #expect(close.replyCode == 501 && close.replyText.hasPrefix("FRAME_ERROR - "), "\(what)")
                    #expect(close.blamed == AMQPMethodID(classID: 0, methodID: 0), "\(what)")
                }
            }
        }
    }

    @Test("A payload may be as large as frames are", arguments: TestBroker.modes)
    func largestPayload(broker: TestBroker) async throws {
        try await broker.run { url in
            try await withRawConnection(url) { connection in
                let queue = try await connection.declare()
                try await connection.send(.basicPublish(.init(exchange: "", routingKey: queue)))
                let size = 131_072
                await connection.send(bytes: RawConnection.headerFrame(bodySize: UInt64(size)))
                await connection.send(bytes: RawConnection.frame(3, payload: [UInt8](repeating: 7, count: size)))
                try await connection.expectReady(1, in: queue)
                #expect(try await connection.get(queue)?.content.body.readableBytes == size)
            }
        }
    }

    @Test("A frame where it may not be ends the connection with 505", arguments: TestBroker.modes)
    func unexpectedFrames(broker: TestBroker) async throws {
        try await broker.run { url in
            let publish = AMQPMethod.basicPublish(.init(exchange: "", routingKey: "nowhere"))
            let body = RawConnection.frame(3, payload: [65])
            let unexpected: [(what: String, method: AMQPMethod?, bytes: [UInt8])] = [
                ("a body that no header announced", nil, body),
                ("a header that no method announced", nil, RawConnection.headerFrame(bodySize: 1)),
                ("a header on channel 0", nil, RawConnection.headerFrame(bodySize: 1, channel: 0)),
                ("a heartbeat on a channel", nil, RawConnection.frame(8, payload: [])),
                ("a body instead of a header", publish, body),
                ("a header of another class", publish, RawConnection.headerFrame(classID: 50, bodySize: 1)),
                // channel.flow (active)
                ("a method instead of a header", publish, RawConnection.frame(1, payload: [0, 20, 0, 20, 1])),
            ]
            for (what, method, bytes) in unexpected {
                try await withRawConnection(url) { connection in
                    if let method { try await connection.send(method) }
                    await connection.send(bytes: bytes)
                    let close = try await connection.connectionClose()
                    #expect(close.replyCode == 505 && close.replyText.hasPrefix("UNEXPECTED_FRAME - "), "\(what)")
                }
            }
        }
    }

    @Test("On an open connection, channel 0 is for closing and new secrets only: 504", arguments: TestBroker.modes)
    func channelZero(broker: TestBroker) async throws {
        try await broker.run { url in
            let methods: [AMQPMethod] = [
                .connectionOpen(.init(virtualHost: "/")),
                .connectionTuneOk(.init(channelMax: 2047, frameMax: 131_072, heartbeat: 0)),
                .channelOpen(.init()), .basicQos(.init(prefetchSize: 0, prefetchCount: 1)),
            ]
            for method in methods {
                try await withRawConnection(url) { connection in
                    let refusal = try await connection.fatalRefusal(of: method, on: 0)
                    #expect(refusal == Refusal(504, "CHANNEL_ERROR - unexpected method in connection state running"))
                }
            }
        }
    }

    @Test("A method that is not for a client's channel ends the connection with 503", arguments: TestBroker.modes)
    func notForChannels(broker: TestBroker) async throws {
        try await broker.run { url in
            let methods: [AMQPMethod] = [
                .connectionOpen(.init(virtualHost: "/")),
                // What only a broker says.
                .queueDeclareOk(.init(queue: "q", messageCount: 0, consumerCount: 0)), .basicQosOk(.init()),
                // The channel is open.
                .channelCloseOk(.init()),
            ]
            for method in methods {
                try await withRawConnection(url) { connection in
                    let refusal = try await connection.fatalRefusal(of: method)
                    #expect(refusal == Refusal(503, "COMMAND_INVALID - unimplemented method"))
                }
            }
        }
    }

    @Test("A method that nobody knows ends the connection", arguments: TestBroker.modes)
    func unknownMethods(broker: TestBroker) async throws {
        try await broker.run { url in
            for payload in [[0, 60, 0, 199], [0, 70, 0, 10]] as [[UInt8]] {
                try await withRawConnection(url) { connection in
                    await connection.send(bytes: RawConnection.frame(1, payload: payload))
                    // RabbitMQ 3.10 drops the connection without a word.
                    let expected: UInt16? = broker == .rabbitMQ ? nil : 503
                    let end = try await connection.end()
                    #expect(end?.code == expected)
                }
            }
        }
    }

    // MARK: - An open connection

    @Test("Who agreed to heartbeats is sent some, and dropped if it sends none")
    func heartbeats() async throws {
        try await TestBroker.modes.runAtOnce { url in
            try await withRawSocket(url) { connection in
                try await connection.handshake(heartbeat: 1)
                guard case .heartbeat = try await connection.next() else {
                    throw RawConnection.Unexpected("no heartbeat")
                }
                while case .heartbeat = try await connection.next() {}
                try await connection.expectClosed()
            }
        }
    }

    @Test(
        "When its close is answered, a connection's queues are gone and its deliveries back",
        arguments: TestBroker.modes)
    func nothingIsLeft(broker: TestBroker) async throws {
        try await broker.run { url in
            try await withRawConnection(url) { connection in
                let queue = try await connection.declare(durable: true, exclusive: false)
                try await connection.fill(queue, 10)
                let exclusive = TestBroker.uniqueName()
                try await withRawConnection(url) { leaving in
                    try await leaving.declare(exclusive)
                    try await leaving.consume(queue)
                    _ = try await leaving.deliveries(10)
                    try await leaving.close()
                }
                #expect(try await connection.ready(queue) == 10)
                #expect(try await !connection.hasQueue(exclusive))
                let fetched = try await connection.drain(queue)
                #expect(fetched.map(\.text) == (0..<10).map { "\($0)" })
                #expect(fetched.filter(\.redelivered).count == fetched.count)
                try await connection.perform(.queueDelete(.init(queue: queue)))
            }
        }
    }

    @Test("A new secret is taken", arguments: TestBroker.modes)
    func updateSecret(broker: TestBroker) async throws {
        try await broker.run { url in
            try await withRawConnection(url) { connection in
                try await connection.perform(.connectionUpdateSecret(.init(newSecret: "guest", reason: "test")), on: 0)
                try await connection.sync()
            }
        }
    }

    // MARK: - Channels

    @Test("A channel is opened before anything else, and once: 504", arguments: TestBroker.modes)
    func openingChannels(broker: TestBroker) async throws {
        try await broker.run { url in
            try await withRawConnection(url) { connection in
                let refusal = try await connection.fatalRefusal(of: .channelOpen(.init()))
                #expect(refusal == Refusal(504, "CHANNEL_ERROR - second 'channel.open' seen"))
            }
            let methods: [AMQPMethod] = [
                .queueDeclare(.init(queue: "q", exclusive: true)), .channelCloseOk(.init()),
                .channelClose(.init(replyCode: 200, replyText: "", failingClassID: 0, failingMethodID: 0)),
            ]
            for method in methods {
                try await withRawConnection(url) { connection in
                    let refusal = try await connection.fatalRefusal(of: method, on: 2)
                    #expect(refusal == Refusal(504, "CHANNEL_ERROR - expected 'channel.open'"))
                }
            }
        }
    }

    @Test("One channel more than agreed ends the connection with 530", arguments: TestBroker.modes)
    func tooManyChannels(broker: TestBroker) async throws {
        try await broker.run { url in
            try await withRawConnection(url, channelMax: 3) { connection in
                try await connection.openChannel(2)
                try await connection.openChannel(3)
                try await connection.send(.channelOpen(.init()), on: 4)
                let close = try await connection.connectionClose()
                #expect(close.replyCode == 530)
                #expect(close.replyText.hasPrefix("NOT_ALLOWED - number of channels opened"))
            }
        }
    }

    @Test("The broker's close of a channel leaves the others alone", arguments: TestBroker.modes)
    func otherChannels(broker: TestBroker) async throws {
        try await broker.run { url in
            try await withRawConnection(url) { connection in
                let queue = try await connection.declare()
                let refusal = try await connection.refusal(of: .queuePurge(.init(queue: TestBroker.uniqueName())))
                #expect(refusal.code == 404)
                #expect(try await connection.ready(queue) == 0)
            }
        }
    }

    @Test("Behind its close of a channel the broker heeds nothing, until close-ok", arguments: TestBroker.modes)
    func closedByTheBroker(broker: TestBroker) async throws {
        try await broker.run { url in
            try await withRawConnection(url) { connection in
                let (missing, late) = (TestBroker.uniqueName("missing"), TestBroker.uniqueName("late"))
                try await connection.send(.queueDeclare(.init(queue: missing, passive: true)))
                try await connection.publish("x", to: "x", exchange: missing)
                try await connection.send(.queueDeclare(.init(queue: late, exclusive: true)))
                #expect(
                    try await connection.refusal(blaming: .queueDeclare)
                        == Refusal(404, "NOT_FOUND - no queue '\(missing)' in vhost '/'"))
                // The number is free again.
                try await connection.openChannel(1)
                try await connection.sync()
                #expect(try await !connection.hasQueue(late))
            }
        }
    }

    @Test("Both sides may close a channel at once", arguments: TestBroker.modes)
    func crossingCloses(broker: TestBroker) async throws {
        try await broker.run { url in
            try await withRawConnection(url) { connection in
                try await connection.send(.queueDeclare(.init(queue: TestBroker.uniqueName(), passive: true)))
                try await connection.send(
                    .channelClose(.init(replyCode: 200, replyText: "", failingClassID: 0, failingMethodID: 0)))
                #expect(try await connection.channelClose().replyCode == 404)
                #expect(try await connection.method() == .channelCloseOk(.init()))
                try await connection.openChannel(1)
                try await connection.sync()
            }
        }
    }

    @Test(
        "When its close is answered, a channel's deliveries are back and its consumers gone",
        arguments: TestBroker.modes)
    func closedByTheClient(broker: TestBroker) async throws {
        try await broker.run { url in
            try await withRawConnection(url) { connection in
                let queue = try await connection.declare()
                let autoDelete = try await connection.declare(autoDelete: true)
                try await connection.fill(queue, 3)
                let channel = try await connection.openChannel()
                try await connection.consume(autoDelete, tag: "one", on: channel)
                try await connection.consume(queue, tag: "two", on: channel)
                _ = try await connection.deliveries(3, on: channel)
                try await connection.closeChannel(channel)
                let counts = try await connection.counts(queue)
                #expect(counts.messageCount == 3 && counts.consumerCount == 0)
                #expect(try await !connection.hasQueue(autoDelete))
                let drained = try await connection.drain(queue)
                #expect(drained.filter(\.redelivered).count == drained.count)
            }
        }
    }

    @Test("The flow may be switched on, which it is, and not off: 540", arguments: TestBroker.modes)
    func flow(broker: TestBroker) async throws {
        try await broker.run { url in
            try await withRawConnection(url) { connection in
                let reply = try await connection.call(.channelFlow(.init(active: true)))
                #expect(reply == .channelFlowOk(.init(active: true)))
                let refusal = try await connection.fatalRefusal(of: .channelFlow(.init(active: false)))
                #expect(refusal == Refusal(540, "NOT_IMPLEMENTED - active=false"))
            }
        }
    }

    @Test("Access may be asked for, as before AMQP 0-9-1, and is granted", arguments: TestBroker.modes)
    func access(broker: TestBroker) async throws {
        try await broker.run { url in
            try await withRawConnection(url) { connection in
                let reply = try await connection.call(.accessRequest(.init(realm: "/data", active: true, write: true)))
                #expect(reply == .accessRequestOk(.init(ticket: 1)))
            }
        }
    }
}
