// SPDX-License-Identifier: Apache-2.0
import AMQPWire
import NIOCore
import NIOPosix
import TestSupport
import Testing

@_spi(HareDo) @testable import AMQPClient

/// Connecting, and every way in which it fails.
@Suite(.timeLimit(.minutes(1))) struct ConnectTests {
    /// Lets a client connect to a broker that plays `script`, and returns what the client was told.
    private func refusal(
        configure: (inout AMQPConfiguration) -> Void = { _ in },
        sourceLocation: SourceLocation = #_sourceLocation, _ script: (ScriptedPeer) async throws -> Void
    ) async throws -> AMQPError? {
        let broker = try await ScriptedBroker.start()
        var configuration = broker.configuration
        configure(&configuration)
        async let told = failure(sourceLocation: sourceLocation) { [configuration] () async throws(AMQPError) in
            try await AMQPConnection.connect(configuration)
        }
        let peer = try await broker.accept()
        try await script(peer)
        let error = await told
        await peer.close()
        await broker.stop()
        return error
    }

    @Test func bothSidesAgree() async throws {
        let broker = try await ScriptedBroker.start()
        var configuration = broker.configuration
        configuration.user = "alice"
        configuration.virtualHost = "v"
        configuration.heartbeat = .seconds(7)
        async let connected = AMQPConnection.connect(configuration)
        let peer = try await broker.accept()
        let handshake = try await peer.handshake(channelMax: 5, frameMax: 9000, heartbeat: 9)
        let connection = try await connected
        #expect(handshake.startOk.response == "\0alice\0guest")
        #expect(handshake.open.virtualHost == "v")
        #expect(handshake.tuneOk == .init(channelMax: 5, frameMax: 9000, heartbeat: 7))
        #expect(await connection.isOpen)
        #expect(await connection.frameMax == 9000)
        #expect(await connection.heartbeatInterval == .seconds(7))
        #expect(await connection.serverProperties["product"]?.string == "Scripted")
        async let closed: Void = connection.close()
        try await peer.closeConnection()
        await closed
        #expect(await !connection.isOpen)
        await broker.stop()
    }

    @MainActor @Test func fromTheMainActor() async throws {
        try await self.connectAndClose()
    }

    @Test func fromATaskOfThePool() async throws {
        try await Task.detached { try await self.connectAndClose() }.value
    }

    @Test func fromTheConnectionsOwnLoop() async throws {
        let loop = MultiThreadedEventLoopGroup.singleton.next()
        try await withScriptedBroker { scripted in
            #expect(await scripted.connection.isOpen)
            let connection = try await self.connect(on: loop)
            #expect(connection.eventLoop === loop)
        }
    }

    private func connect(on loop: any EventLoop) async throws -> AMQPConnection {
        let broker = try await ScriptedBroker.start()
        let configuration = broker.configuration
        async let connected = AMQPConnection.connect(configuration, on: loop)
        let peer = try await broker.accept()
        try await peer.handshake()
        let connection = try await connected
        async let closed: Void = connection.close()
        try await peer.closeConnection()
        await closed
        await broker.stop()
        return connection
    }

    private func connectAndClose() async throws {
        let broker = try await ScriptedBroker.start()
        let configuration = broker.configuration
        let script = Task {
            let peer = try await broker.accept()
            try await peer.handshake()
            try await peer.openChannel()
            try await peer.closeConnection()
        }
        let connection = try await AMQPConnection.connect(configuration)
        _ = try await connection.openChannel()
        await connection.close()
        try await script.value
        await broker.stop()
    }

    @Test func nobodyListens() async throws {
        let broker = try await ScriptedBroker.start()
        await broker.stop()
        let configuration = broker.configuration
        let error = await failure { () async throws(AMQPError) in try await AMQPConnection.connect(configuration) }
        #expect(error?.code == .connectFailed)
        #expect(error?.message.contains("refused") == true, "\(error?.message ?? "")")
        #expect(error?.message.contains("127.0.0.1:\(broker.port)") == true)
    }

    @Test func noSuchUnixDomainSocket() async throws {
        let configuration = AMQPConfiguration(address: .unixDomainSocket(path: "/nonexistent/amqp.sock"))
        let error = await failure { () async throws(AMQPError) in try await AMQPConnection.connect(configuration) }
        #expect(error?.code == .connectFailed)
    }

    enum Silence: CaseIterable {
        case atOnce, afterStart, afterStartOk, afterTune
    }

    @Test(arguments: Silence.allCases) func aBrokerThatSaysNothingIsGivenUp(silence: Silence) async throws {
        let canary = Canary()
        let start = ContinuousClock.now
        let error = try await self.refusal {
            $0.connectTimeout = .seconds(2)
        } _: { peer in
            try await self.play(silence, peer)
            try await peer.expectClosed()
        }
        #expect(error?.code == .connectTimedOut)
        await expectTime(
            "connect timeout", ContinuousClock.now - start, from: .seconds(2), to: .milliseconds(2050), canary)
    }

    private func play(_ silence: Silence, _ peer: ScriptedPeer) async throws {
        switch silence {
        case .atOnce: try await peer.expectProtocolHeader()
        case .afterStart: _ = try await peer.start()
        case .afterStartOk:
            _ = try await peer.start()
            try await peer.sendHeartbeat()
        case .afterTune:
            _ = try await peer.start()
            _ = try await peer.tune()
        }
    }

    @Test(arguments: Silence.allCases) func connectingThatIsCancelledLeavesNoSocket(silence: Silence) async throws {
        let broker = try await ScriptedBroker.start()
        let configuration = broker.configuration
        let told = Task {
            await failure { () async throws(AMQPError) in try await AMQPConnection.connect(configuration) }
        }
        let peer = try await broker.accept()
        try await self.play(silence, peer)
        told.cancel()
        #expect(await told.value?.code == .cancelled)
        try await peer.expectClosed()
        await broker.stop()
    }

    /// How a broker ends a connection before it is one.
    enum Farewell: CaseIterable {
        case hangUp, reset, close
    }

    @Test(arguments: Silence.allCases, Farewell.allCases)
    func anEndAtAnyStepOfTheHandshakeIsToldAtOnce(step: Silence, farewell: Farewell) async throws {
        let canary = Canary()
        let start = ContinuousClock.now
        let error = try await self.refusal { peer in
            try await self.play(step, peer)
            switch farewell {
            case .hangUp: await peer.close()
            case .reset: try await peer.reset()
            case .close:
                try await peer.send(
                    .connectionClose(
                        .init(replyCode: 320, replyText: "CONNECTION_FORCED", failingClassID: 0, failingMethodID: 0)),
                    on: 0)
                try await peer.expect(.connectionCloseOk, on: 0)
                try await peer.expectClosed()
            }
        }
        switch (step, farewell) {
        case (_, .close):
            #expect(error?.code == .connectionClosed)
            #expect(error?.reply?.code == 320)
        case (.afterStart, _), (.afterStartOk, _): #expect(error?.code == .authenticationFailed)
        case (.atOnce, _), (.afterTune, _): #expect(error?.code == .connectFailed)
        }
        await expectTime("the end", ContinuousClock.now - start, from: .zero, to: .milliseconds(500), canary)
    }

    // MARK: - Several hosts

    @Test func severalHostsAreTriedUntilOneAnswers() async throws {
        let gone = try await ScriptedBroker.start()
        await gone.stop()
        let broker = try await ScriptedBroker.start()
        var configuration = broker.configuration
        configuration.addresses =
            [broker.configuration.address] + Array(repeating: gone.configuration.address, count: 7)
        configuration.connectTimeout = .seconds(60) // shared by all
        async let connected = AMQPConnection.connect(configuration)
        let peer = try await broker.accept()
        try await peer.handshake()
        let connection = try await connected
        #expect(await connection.isOpen)
        await peer.close()
        await connection.close()
        await broker.stop()
    }

    @Test func allAddressesOfAHostAreTried() async throws {
        try await withPlayingBroker { broker, _, _ in
            let addresses = try ["127.0.0.2", "127.0.0.1"].map { try SocketAddress(ipAddress: $0, port: broker.port) }
            let resolver = TestResolver { _, _ in .addresses(addresses) }
            var configuration = broker.configuration
            configuration.address = .tcp(host: "several.example", port: broker.port)
            configuration.makeResolver = resolver.make
            let connection = try await AMQPConnection.connect(configuration)
            #expect(await connection.isOpen)
            await connection.close()
        }
    }

    @Test func aHostIsLookedUpAnewForEveryAttempt() async throws {
        try await withPlayingBroker { first, _, _ in
            try await withPlayingBroker { second, _, _ in
                let ports = [first.port, second.port]
                // Moved, between the first look-up and the next.
                let resolver = TestResolver { _, count in
                    (try? SocketAddress(ipAddress: "127.0.0.1", port: ports[min(count, 1)])).map { .addresses([$0]) }
                        ?? .unknown
                }
                var configuration = first.configuration
                configuration.address = .tcp(host: "moving.example", port: 5672)
                configuration.makeResolver = resolver.make
                let connection = try await AMQPConnection.connect(configuration)
                let session = try await first.nextSession()
                let events = EventLog(connection)
                await session.cut()
                try await events.recovered()
                #expect(resolver.hosts == ["moving.example", "moving.example"])
                #expect(second.sessionCount == 2)
                await connection.close()
            }
        }
    }

    @Test func aNameThatIsNotAnsweredDoesNotHoldUpOtherHosts() async throws {
        try await withPlayingBroker { broker, _, _ in
            let address = try SocketAddress(ipAddress: "127.0.0.1", port: broker.port)
            let resolver = TestResolver { host, _ in host == "silent.example" ? .never : .addresses([address]) }
            var configuration = broker.configuration
            configuration.addresses = ["silent.example", "answering.example"].map { .tcp(host: $0, port: 5672) }
            configuration.connectTimeout = .seconds(6) // shared by the two
            configuration.makeResolver = resolver.make
            // Until the silent one was the first once.
            while resolver.hosts.first != "silent.example" || resolver.hosts.count == 1 {
                let connection = try await AMQPConnection.connect(configuration)
                await connection.close()
                if resolver.hosts.contains("silent.example") { break }
            }
            #expect(resolver.hosts.contains("silent.example"))
        }
    }

    @Test func hostsAreTriedInAnyOrder() async throws {
        let resolver = TestResolver { _, _ in .unknown }
        var configuration = AMQPConfiguration(addresses: ["a.example", "b.example"].map { .tcp(host: $0, port: 1) })
        configuration.makeResolver = resolver.make
        for _ in 0..<64 {
            let error = await failure { [configuration] () async throws(AMQPError) in
                try await AMQPConnection.connect(configuration)
            }
            #expect(error?.code == .connectFailed)
        }
        let first = Set(stride(from: 0, to: 128, by: 2).map { resolver.hosts[$0] })
        #expect(first == ["a.example", "b.example"])
    }

    @Test func aRealNameIsLookedUp() async throws {
        let addresses = try await HostResolver(eventLoop: ScriptedBroker.group.next())
            .initiateAQuery(host: "localhost", port: 7).get()
        #expect(addresses.contains { $0.ipAddress == "127.0.0.1" && $0.port == 7 })
        await #expect(throws: HostResolver.UnknownHost.self) {
            try await HostResolver(eventLoop: ScriptedBroker.group.next())
                .initiateAQuery(host: "name.invalid", port: 7).get()
        }
    }

    @Test func whatABrokerSaidCountsForMoreThanThatOthersAreGone() async throws {
        let gone = try await ScriptedBroker.start()
        await gone.stop()
        try await withPlayingBroker { broker, _, _ in
            broker.play { heard in
                guard case .connectionOpen? = heard.method else { return .usual }
                return .answer([
                    .connectionClose(
                        .init(replyCode: 530, replyText: "NOT_ALLOWED", failingClassID: 10, failingMethodID: 40))
                ])
            }
            var configuration = broker.configuration
            configuration.addresses = [broker.configuration.address, gone.configuration.address]
            for _ in 0..<20 {
                let error = await failure { [configuration] () async throws(AMQPError) in
                    try await AMQPConnection.connect(configuration)
                }
                #expect(error?.code == .virtualHostRefused)
            }
        }
    }

    @Test func whatAllHostsSaidIsTold() async throws {
        var addresses: [AMQPConfiguration.Address] = []
        for _ in 0..<2 {
            let gone = try await ScriptedBroker.start()
            await gone.stop()
            addresses.append(gone.configuration.address)
        }
        let configuration = AMQPConfiguration(addresses: addresses)
        let error = await failure { () async throws(AMQPError) in try await AMQPConnection.connect(configuration) }
        #expect(error?.code == .connectFailed)
        for address in addresses { #expect(error?.message.contains("\(address)") == true) }
    }

    // MARK: - Credentials from a provider

    @Test func aProviderIsAskedBeforeTheLogin() async throws {
        let broker = try await ScriptedBroker.start()
        var configuration = broker.configuration
        configuration.credentials = .provider { .init(user: "u", password: "token") }
        async let connected = AMQPConnection.connect(configuration)
        let peer = try await broker.accept()
        #expect(try await peer.handshake().startOk.response == "\0u\0token")
        let connection = try await connected
        await peer.close()
        await connection.close()
        await broker.stop()
    }

    @Test func aProviderThatDoesNotAnswerIsNotWaitedFor() async throws {
        let canary = Canary()
        var configuration = AMQPConfiguration()
        configuration.connectTimeout = .milliseconds(300)
        // It does not even heed that it is cancelled.
        let (stream, continuation) = AsyncStream.makeStream(of: Void.self)
        configuration.credentials = .provider {
            await Task { for await _ in stream {} }.value
            throw CancellationError()
        }
        let start = ContinuousClock.now
        let error = await failure { [configuration] () async throws(AMQPError) in
            try await AMQPConnection.connect(configuration)
        }
        #expect(error?.code == .connectTimedOut)
        await expectTime(
            "connect timeout", ContinuousClock.now - start, from: .milliseconds(300), to: .milliseconds(550), canary)
        continuation.finish()
    }

    @Test func aProviderThatCallsItselfCancelledIsAProviderThatFailed() async throws {
        var configuration = AMQPConfiguration()
        configuration.credentials = .provider { throw CancellationError() }
        let error = await failure { [configuration] () async throws(AMQPError) in
            try await AMQPConnection.connect(configuration)
        }
        #expect(error?.code == .connectFailed && error?.cause is CancellationError)
    }

    @Test func aTaskCancelledBeforeItConnectsLeavesNoSocket() async throws {
        let broker = try await ScriptedBroker.start()
        let configuration = broker.configuration
        let told = Task {
            withUnsafeCurrentTask { $0?.cancel() }
            return await failure { () async throws(AMQPError) in try await AMQPConnection.connect(configuration) }
        }
        #expect(await told.value?.code == .cancelled)
        if let peer = try? await broker.accept(within: .milliseconds(200)) {
            while try await peer.next() != .closed {}
        }
        await broker.stop()
    }

    /// A listening socket whose queue of connections is full: the system answers no further ones.
    @Test func aTCPConnectionNobodyAnswersIsGivenUpAndItsSocketClosed() async throws {
        let listener = try FullListener()
        var configuration = AMQPConfiguration(host: "127.0.0.1", port: listener.port)
        configuration.connectTimeout = .milliseconds(300)
        let before = FullListener.socketsConnecting(to: listener.port)
        let error = await failure { [configuration] () async throws(AMQPError) in
            try await AMQPConnection.connect(configuration)
        }
        #expect(error?.code == .connectTimedOut)
        #expect(FullListener.socketsConnecting(to: listener.port) == before)
        configuration.connectTimeout = .seconds(30)
        let told = Task { [configuration] in
            await failure { () async throws(AMQPError) in try await AMQPConnection.connect(configuration) }
        }
        while FullListener.socketsConnecting(to: listener.port) == before { await Task.yield() }
        told.cancel()
        #expect(await told.value?.code == .cancelled)
        #expect(FullListener.socketsConnecting(to: listener.port) == before)
    }

    @Test func aWrongPassword() async throws {
        let error = try await self.refusal {
            $0.password = "hush"
        } _: { peer in
            _ = try await peer.start()
            try await peer.send(
                .connectionClose(
                    .init(replyCode: 403, replyText: "ACCESS_REFUSED", failingClassID: 0, failingMethodID: 0)), on: 0)
            try await peer.expect(.connectionCloseOk, on: 0)
            try await peer.expectClosed()
        }
        #expect(error?.code == .authenticationFailed)
        #expect(error?.reply?.code == 403)
        #expect("\(error.map { "\($0)" } ?? "")".contains("hush") == false)
    }

    @Test func aBrokerThatHangsUpAfterTheLogin() async throws {
        let error = try await self.refusal { peer in
            _ = try await peer.start()
            await peer.close()
        }
        #expect(error?.code == .authenticationFailed)
    }

    /// What a broker says ends up on terminals and in logs.
    @Test func aHostileReplyTextIsDefused() async throws {
        let text = "\u{1B}[2J\r\nroot: \u{202E}" + String(repeating: "x", count: 200)
        let error = try await self.refusal { peer in
            _ = try await peer.start()
            try await peer.send(
                .connectionClose(.init(replyCode: 320, replyText: text, failingClassID: 0, failingMethodID: 0)), on: 0)
            try await peer.expect(.connectionCloseOk, on: 0)
            try await peer.expectClosed()
        }
        #expect(error?.reply?.text == text)
        #expect(error?.message.contains("320") == true)
        #expect(error?.message.unicodeScalars.allSatisfy { $0.value >= 0x20 && $0.value != 0x202E } == true)
    }

    @Test func anUnknownVirtualHost() async throws {
        let error = try await self.refusal { peer in
            _ = try await peer.start()
            _ = try await peer.tune()
            try await peer.send(
                .connectionClose(
                    .init(replyCode: 530, replyText: "NOT_ALLOWED", failingClassID: 10, failingMethodID: 40)), on: 0)
            try await peer.expect(.connectionCloseOk, on: 0)
            try await peer.expectClosed()
        }
        #expect(error?.code == .virtualHostRefused)
        #expect(error?.reply?.method == .connectionOpen)
    }

    @Test(arguments: [false, true]) func aBrokerThatHangsUpAtOnce(withReset: Bool) async throws {
        let error = try await self.refusal { peer in
            try await peer.expectProtocolHeader()
            if withReset { try await peer.reset() } else { await peer.close() }
        }
        #expect(error?.code == .connectFailed)
    }

    @Test(
        arguments: [
            Array("HTTP/1.1 400 Bad Request\r\n\r\n".utf8),
            Array("SSH-2.0-OpenSSH".utf8),
            // A frame that does not end as it should.
            [1, 0, 0, 0, 0, 0, 4, 0, 10, 0, 51, 0xCF],
            // A method that does not exist, and one that is cut short.
            [1, 0, 0, 0, 0, 0, 4, 0, 10, 0, 99, 0xCE],
            [1, 0, 0, 0, 0, 0, 4, 0, 10, 0, 10, 0xCE],
            // Larger than anything agreed on.
            [1, 0, 0, 0x7f, 0xff, 0xff, 0xff],
            // A header and a body where no method was.
            [3, 0, 0, 0, 0, 0, 1, 0, 0xCE],
            // A channel nobody opened.
            [1, 0, 9, 0, 0, 0, 4, 0, 20, 0, 11, 0xCE],
        ] as [[UInt8]])
    func whatIsNotAMQP(bytes: [UInt8]) async throws {
        let error = try await self.refusal { peer in
            try await peer.expectProtocolHeader()
            try await peer.send(bytes: bytes)
            while try await peer.next() != .closed {}
        }
        #expect(error?.code == .protocolViolation)
    }

    @Test(
        arguments: [
            [0x41, 0x4D, 0x51, 0x50, 3, 1, 0, 0], [0x41, 0x4D, 0x51, 0x50, 0, 0, 9, 2],
        ] as [[UInt8]])
    func aBrokerOfAnotherVersion(header: [UInt8]) async throws {
        let error = try await self.refusal { peer in
            try await peer.expectProtocolHeader()
            try await peer.send(bytes: header)
            while try await peer.next() != .closed {}
        }
        #expect(error?.code == .connectFailed)
        #expect(error?.message.contains("speaks AMQP \(header[5])-\(header[6])-\(header[7])") == true)
    }

    @Test func aFrameThatIsCutOff() async throws {
        let error = try await self.refusal { peer in
            try await peer.expectProtocolHeader()
            try await peer.send(bytes: [1, 0, 0, 0, 0, 1, 0, 0, 10])
            await peer.close()
        }
        #expect(error?.code == .connectFailed)
    }

    @Test func whatCannotBeEncodedIsRefused() async throws {
        let error = try await self.refusal {
            $0.virtualHost = String(repeating: "v", count: 256)
        } _: { peer in
            _ = try await peer.start()
            try await peer.send(.connectionTune(.init(channelMax: 0, frameMax: 0, heartbeat: 0)), on: 0)
            while try await peer.next() != .closed {}
        }
        #expect(error?.code == .invalidArgument)
    }

    @Test func bytesThatDripIn() async throws {
        let broker = try await ScriptedBroker.start()
        let configuration = broker.configuration
        async let connected = AMQPConnection.connect(configuration)
        let peer = try await broker.accept()
        try await peer.expectProtocolHeader()
        try await peer.drip { output in
            try output.append(
                .connectionStart(
                    .init(
                        versionMajor: 0, versionMinor: 9, serverProperties: ["product": "Drip"], mechanisms: "PLAIN",
                        locales: "en_US")), channel: 0)
        }
        try await peer.expect(.connectionStartOk, on: 0)
        try await peer.drip { output in
            try output.append(.connectionTune(.init(channelMax: 0, frameMax: 0, heartbeat: 0)), channel: 0)
            try output.append(.connectionOpenOk(.init()), channel: 0)
        }
        let connection = try await connected
        await peer.close()
        await connection.close()
        await broker.stop()
    }

    @Test func aConnectionIsFreedWhenItHasEnded() async throws {
        weak var connection: AMQPConnection?
        weak var channel: AMQPChannel?
        weak var gate: PublishGate?
        weak var scheduler: DeadlineScheduler?
        try await withScriptedBroker(heartbeat: 600) { scripted in
            connection = scripted.connection
            gate = scripted.connection.gate
            scheduler = scripted.connection.scheduler
            let opened = try await scripted.confirmingChannel()
            channel = opened
            let consumer = try await scripted.consumer(on: opened)
            try await scripted.peer.write { output in try output.deliver("x", tag: 1) }
            _ = try await consumer.deliveries.next()
            _ = try await opened.returnedMessages()
            await opened.whenEnded { _ in }
            await scripted.connection.whenEnded { _ in }
        }
        try await eventually { connection == nil && channel == nil && gate == nil && scheduler == nil }
    }

    @Test func aConnectionThatFailedToConnectIsFreed() async throws {
        weak var gate: PublishGate?
        let listener = try FullListener()
        do {
            var configuration = AMQPConfiguration(host: "localhost", port: listener.port)
            configuration.connectTimeout = .milliseconds(50)
            let connection = AMQPConnection.unconnected(configuration)
            gate = connection.gate
            _ = await failure { () async throws(AMQPError) in try await connection.open() }
        }
        try await eventually { gate == nil }
    }
}

/// Waits for what no event announces.
func eventually(
    within timeout: Duration = .seconds(10), sourceLocation: SourceLocation = #_sourceLocation,
    _ condition: () async -> Bool
) async throws {
    let deadline = ContinuousClock.now + timeout
    while ContinuousClock.now < deadline {
        if await condition() { return }
        try await Task.sleep(for: .milliseconds(2))
    }
    Issue.record("it did not happen within \(timeout)", sourceLocation: sourceLocation)
}
