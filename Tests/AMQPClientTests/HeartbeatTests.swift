// SPDX-License-Identifier: Apache-2.0
import AMQPWire
import NIOCore
import TestSupport
import Testing

@_spi(HareDo) @testable import AMQPClient

@Suite(.timeLimit(.minutes(1))) struct HeartbeatTests {
    private func configure(_ configuration: inout AMQPConfiguration) { configuration.heartbeat = .seconds(1) }

    @Test func heartbeatsAreSentWhileNothingElseIs() async throws {
        try await withScriptedBroker(heartbeat: 1, self.configure) { scripted in
            let canary = Canary()
            let start = ContinuousClock.now
            for _ in 0..<3 {
                #expect(try await scripted.peer.next(heartbeats: true) == .frame(.heartbeat))
                try await scripted.peer.sendHeartbeat()
            }
            await expectTime(
                "three heartbeats", ContinuousClock.now - start, from: .milliseconds(500), to: .milliseconds(2300),
                canary)
            #expect(await scripted.connection.isOpen)
        }
    }

    @Test func heartbeatsAreSentFromTuneOkOnAndSilenceCountsFromOpenOk() async throws {
        let broker = try await ScriptedBroker.start()
        var configuration = broker.configuration
        self.configure(&configuration)
        async let connected = AMQPConnection.connect(configuration)
        let peer = try await broker.accept()
        _ = try await peer.start()
        _ = try await peer.tune(heartbeat: 1)
        // The broker takes three seconds for `open-ok`, which is longer than two intervals of silence.
        for _ in 0..<6 { #expect(try await peer.next(heartbeats: true) == .frame(.heartbeat)) }
        try await peer.send(.connectionOpenOk(.init()), on: 0)
        let connection = try await connected
        #expect(await connection.isOpen)
        await peer.close()
        await connection.close()
        await broker.stop()
    }

    @Test(arguments: [false, true])
    func aBrokerThatFellSilentIsGivenUp(whileNobodyReads: Bool) async throws {
        let canary = Canary()
        let start = ContinuousClock.now
        try await withScriptedBroker(heartbeat: 1, self.configure) { scripted in
            let channel = try await scripted.channel()
            let consumer = try await scripted.consumer(on: channel)
            let told = Mailbox<AMQPError>()
            await scripted.connection.whenEnded { told.put($0) }
            if whileNobodyReads {
                try await scripted.peer.write { output in
                    for tag in 1...100 as ClosedRange<UInt64> { try output.deliver("waits", tag: tag) }
                }
            }
            let error = try await told.next()
            await expectTime(
                "silence", ContinuousClock.now - start, from: .seconds(2), to: .milliseconds(2600), canary)
            #expect(error.code == .connectionClosed)
            #expect(error.message.contains("nothing was heard"))
            // No farewell: the next is the end.
            try await scripted.peer.expectClosed()
            var waiting = 0
            _ = await failure { () async throws(AMQPError) in
                var iterator = consumer.deliveries.makeAsyncIterator()
                while try await iterator.next() != nil { waiting += 1 }
            }
            #expect(waiting == (whileNobodyReads ? 100 : 0))
        }
    }

    @Test func anyTrafficCountsAsASignOfLife() async throws {
        try await withScriptedBroker(heartbeat: 1, self.configure) { scripted in
            _ = try await scripted.channel()
            let start = ContinuousClock.now
            while ContinuousClock.now - start < .milliseconds(3200) {
                try await scripted.peer.expectNothingElse()
                try await Task.sleep(for: .milliseconds(200))
            }
            #expect(await scripted.connection.isOpen)
        }
    }

    @Test func noHeartbeatsAreSentWhileOtherFramesAre() async throws {
        try await withScriptedBroker(heartbeat: 1, self.configure) { scripted in
            let channel = try await scripted.channel()
            // 100 ms apart, on whatever machine: where this task itself was late by much, silence was real.
            var late = Duration.zero
            var heartbeats = 0
            for _ in 0..<25 {
                let before = ContinuousClock.now
                try await channel.publish(AMQPMessage("x"), routingKey: "q")
                var frame = try await scripted.peer.next(heartbeats: true)
                while frame == .frame(.heartbeat) {
                    heartbeats += 1
                    frame = try await scripted.peer.next(heartbeats: true)
                }
                for _ in 0..<2 { _ = try await scripted.peer.next() }
                try await scripted.peer.sendHeartbeat()
                try await Task.sleep(for: .milliseconds(100))
                late = max(late, ContinuousClock.now - before)
            }
            print("heartbeats beside other frames: \(heartbeats) (pauses of at most \(late))")
            #expect(heartbeats == 0 || late > .milliseconds(250))
        }
    }

    /// A broker under alarm does not read, and still beats.
    @Test func aBrokerThatReadsNothingButBeatsIsKept() async throws {
        try await withScriptedBroker(heartbeat: 1, self.configure) { scripted in
            let channel = try await scripted.channel()
            try await scripted.peer.send(.connectionBlocked(.init(reason: "memory")), on: 0)
            try await scripted.peer.expectNothingElse()
            try await scripted.peer.pauseReading()
            async let held: Void = channel.publish(AMQPMessage("held"), routingKey: "q")
            try await eventually { scripted.connection.gate.suspendedCount == 1 }
            let start = ContinuousClock.now
            while ContinuousClock.now - start < .milliseconds(3200) {
                try await scripted.peer.sendHeartbeat()
                try await Task.sleep(for: .milliseconds(200))
            }
            #expect(await scripted.connection.isOpen)
            try await scripted.peer.resumeReading()
            try await scripted.peer.send(.connectionUnblocked(.init()), on: 0)
            #expect(try await scripted.peer.expectPublish().text == "held")
            try await held
        }
    }

    /// Publishers that wait for room, and an output that nobody takes, do not keep the monitor from its work.
    @Test func aStalledOutputDoesNotHideASilentBroker() async throws {
        try await withScriptedBroker(heartbeat: 1) { configuration in
            self.configure(&configuration)
            configuration.outputHighWaterMark = 64 << 10
        } _: { scripted in
            let channel = try await scripted.channel()
            try await scripted.peer.pauseReading()
            let publisher = Task {
                await failure { () async throws(AMQPError) in
                    let body = ByteBuffer(repeating: 1, count: 1 << 20)
                    while true { try await channel.publish(AMQPMessage(body), routingKey: "q") }
                }
            }
            try await eventually { scripted.connection.gate.suspendedCount == 1 }
            let canary = Canary()
            let start = ContinuousClock.now
            #expect(await publisher.value?.message.contains("nothing was heard") == true)
            await expectTime(
                "silence behind a stalled output", ContinuousClock.now - start, from: .zero, to: .milliseconds(2600),
                canary)
        }
    }
}
