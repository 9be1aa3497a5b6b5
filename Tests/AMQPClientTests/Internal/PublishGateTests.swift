// SPDX-License-Identifier: Apache-2.0
import AMQPWire
import NIOConcurrencyHelpers
import NIOCore
import NIOPosix
import Testing

@_spi(HareDo) @testable import AMQPClient

/// The gate on a loop that is held, and runs only to be asked what was written: in between, nothing is.
private final class GateDriver: Sendable {
    let gate: PublishGate
    private let group = MultiThreadedEventLoopGroup(numberOfThreads: 1)
    private let broker: ScriptedBroker
    private let peer: ScriptedPeer
    private let transport: any Channel
    private let hold = NIOLockedValueBox(LoopHold())

    static func with(
        highWaterMark: Int = 1000, channels: [UInt64] = [1], _ body: (GateDriver) async throws -> Void
    ) async throws {
        let driver = try await GateDriver(highWaterMark: highWaterMark)
        for id in channels { _ = driver.gate.openChannel(id, number: UInt16(id)) }
        _ = try await driver.written()
        try await body(driver)
        driver.hold.withLockedValue { $0 }.release()
        try await driver.transport.close()
        await driver.broker.stop()
        try await driver.group.shutdownGracefully()
    }

    private init(highWaterMark: Int) async throws {
        self.broker = try await ScriptedBroker.start()
        self.transport = try await ClientBootstrap(group: self.group)
            .connect(host: "127.0.0.1", port: self.broker.port).get()
        self.peer = try await self.broker.accept()
        self.gate = PublishGate(eventLoop: self.group.next(), highWaterMark: highWaterMark)
        self.gate.connected(self.transport)
        self.gate.opened()
        self.gate.writeProtocolHeader()
    }

    func message(_ text: String, on id: UInt64 = 1, confirm: PublishWaiter? = nil) -> PublishGate.Publish {
        PublishGate.Publish(
            channel: id, method: .init(exchange: "", routingKey: text), properties: AMQPBasicProperties(),
            body: ByteBuffer(), confirm: confirm)
    }

    func publish(_ text: String, on id: UInt64 = 1, confirm: PublishWaiter? = nil) -> String {
        switch self.gate.publish(self.message(text, on: id, confirm: confirm)) {
        case .accepted: "accepted"
        case .full: "full"
        case .refused(let error): "\(error.code)"
        }
    }

    func suspend(_ text: String, on id: UInt64 = 1, confirm: PublishWaiter? = nil) -> (UInt64, PublishWaiter) {
        let waiter = PublishWaiter(cancelled: .cancelled)
        return (self.gate.publishWhenThereIsRoom(self.message(text, on: id, confirm: confirm), waiter: waiter), waiter)
    }

    func expectWritten(_ names: [String], sourceLocation: SourceLocation = #_sourceLocation) async throws {
        let written = try await self.written()
        #expect(written == names, sourceLocation: sourceLocation)
    }

    /// Lets the loop run, and tells what was written: routing keys of messages, names of other methods.
    func written() async throws -> [String] {
        self.hold.withLockedValue { $0 }.release()
        // What one run wrote makes room for the next.
        for _ in 0..<20 { try await self.transport.eventLoop.submit {}.get() }
        // A heartbeat of ours, past the gate, marks the end.
        var marker = AMQPOutput()
        marker.appendHeartbeat()
        for piece in marker.take() { try await self.transport.writeAndFlush(piece) }
        let hold = LoopHold()
        self.hold.withLockedValue { $0 = hold }
        try await hold.take(self.transport.eventLoop)
        var names: [String] = []
        while true {
            let event = try await self.peer.next(heartbeats: true)
            switch event {
            case .frame(.heartbeat): return names
            case .frame(.method(_, .basicPublish(let publish))): names.append(publish.routingKey)
            case .frame(.method(_, let method)): names.append("\(method.id)")
            case .frame, .protocolHeader: break
            case .garbage, .closed: throw ScriptedPeer.Unexpected(description: "\(event)")
            }
        }
    }
}

extension Waiter where Value == Void, Failure == AMQPError {
    /// What it was resolved with, if it was.
    fileprivate var told: String? {
        get async {
            guard !self.resolve(.failure(AMQPError(.invalidArgument, "not resolved"))) else { return nil }
            do throws(AMQPError) {
                try await self.value()
                return "done"
            } catch {
                return "\(error.code)"
            }
        }
    }
}

@Suite(.timeLimit(.minutes(1))) struct PublishGateTests {
    private let closed = AMQPError(.channelClosed, "closed")
    private let gone = AMQPError(.connectionClosed, "gone")

    @Test func everythingOfOneTickGoesOutTogetherAndInOrder() async throws {
        try await GateDriver.with { driver in
            for number in 0..<5 { #expect(driver.publish("\(number)") == "accepted") }
            try await driver.expectWritten(["0", "1", "2", "3", "4"])
            #expect(driver.gate.waitingBytes == 0)
        }
    }

    @Test func aboveTheMarkPublishersWaitInLineAndGoOutInOrder() async throws {
        try await GateDriver.with(highWaterMark: 30) { driver in
            #expect(driver.publish("a") == "accepted")
            #expect(driver.publish("b") == "full")
            var waiters: [PublishWaiter] = []
            for text in ["b", "c", "d"] { waiters.append(driver.suspend(text).1) }
            #expect(driver.gate.suspendedCount == 3)
            try await driver.expectWritten(["a", "b", "c", "d"])
            for waiter in waiters { #expect(await waiter.told == "done") }
            #expect(driver.gate.waitingBytes == 0)
        }
    }

    @Test func nobodyOvertakesThoseWhoWait() async throws {
        try await GateDriver.with(highWaterMark: 30) { driver in
            driver.gate.setBlocked("memory")
            let (_, waiter) = driver.suspend("first")
            driver.gate.setBlocked(nil)
            #expect(await waiter.told == "done")
            driver.gate.setBlocked("memory")
            _ = driver.suspend("second")
            #expect(driver.publish("third") == "full")
            driver.gate.setBlocked(nil)
            try await driver.expectWritten(["first", "second"])
        }
    }

    @Test(arguments: [[1, 2, 3], [3, 2, 1]] as [[UInt64]])
    func channelsTakeTurns(channels: [UInt64]) async throws {
        try await GateDriver.with(highWaterMark: 1, channels: [1, 2, 3, 4]) { driver in
            #expect(driver.publish("first", on: 4) == "accepted")
            var waiters: [PublishWaiter] = []
            // Channel by channel, so that the order is not just that of arrival.
            for channel in channels {
                for turn in 0..<3 { waiters.append(driver.suspend("\(turn)", on: channel).1) }
            }
            var written: [String] = []
            while written.count < 10 {
                let more = try await driver.written()
                try #require(!more.isEmpty)
                written += more
            }
            var expected = ["first"]
            for turn in 0..<3 { expected += channels.map { _ in "\(turn)" } }
            #expect(written == expected)
            for waiter in waiters { try await waiter.value() }
        }
    }

    @Test func whoWantsAConfirmIsRefusedWhereThereAreNone() async throws {
        try await GateDriver.with { driver in
            let confirm = PublishWaiter(cancelled: .cancelled)
            #expect(driver.publish("x", confirm: confirm) == "invalidArgument")
            driver.gate.selectConfirms(channel: 1)
            #expect(driver.publish("y", confirm: confirm) == "accepted")
            // As after a loss before the broker agreed.
            driver.gate.interruptChannel(1, AMQPError(.connectionLost, "lost"), farewell: nil)
            _ = driver.gate.reopenChannel(1, number: 2, isConfirming: false)
            driver.gate.resumeChannel(1)
            #expect(driver.publish("z", confirm: confirm) == "invalidArgument")
            await #expect(throws: AMQPError.self) { try await confirm.value() }
        }
    }

    @Test func whoGaveUpIsNotSent() async throws {
        try await GateDriver.with { driver in
            driver.gate.setBlocked("memory")
            let (first, waiter) = driver.suspend("first")
            let (second, _) = driver.suspend("second")
            #expect(driver.gate.abandon(first, channel: 1))
            #expect(!driver.gate.abandon(first, channel: 1))
            driver.gate.setBlocked(nil)
            #expect(!driver.gate.abandon(second, channel: 1))
            try await driver.expectWritten(["second"])
            #expect(await waiter.told == nil)
        }
    }

    @Test func behindCloseOkNothingIsWrittenForTheChannel() async throws {
        try await GateDriver.with(channels: [1, 2]) { driver in
            driver.gate.delivered(1, channel: 1)
            #expect(driver.publish("before") == "accepted")
            driver.gate.setBlocked("memory")
            let (_, waiter) = driver.suspend("waits")
            let (_, other) = driver.suspend("other", on: 2)
            driver.gate.closeChannel(1, self.closed, farewell: .channelCloseOk(.init()))
            driver.gate.setBlocked(nil)
            #expect(driver.publish("after") == "channelClosed")
            let (_, late) = driver.suspend("late")
            #expect(
                await failure { () async throws(AMQPError) in
                    try driver.gate.settle(channel: 1, epoch: 1, tag: 1, .ack)
                }?.code == .channelClosed)
            driver.gate.closeChannel(1, self.closed, farewell: .channelCloseOk(.init()))
            driver.gate.forgetChannel(1)
            #expect(driver.publish("forgotten") == "channelClosed")
            try await driver.expectWritten(["before", "channel.close-ok", "other"])
            #expect(await waiter.told == "channelClosed")
            #expect(await late.told == "channelClosed")
            #expect(await other.told == "done")
        }
    }

    @Test func whoSuspendsOnAClosedChannelIsToldAtOnce() async throws {
        try await GateDriver.with { driver in
            driver.gate.setBlocked("memory")
            driver.gate.closeChannel(1, self.closed, farewell: nil)
            let (_, waiter) = driver.suspend("late")
            #expect(await waiter.told == "channelClosed")
        }
    }

    @Test func aLossForgetsWhatWasNotSentAndTellsEverybody() async throws {
        try await GateDriver.with { driver in
            driver.gate.selectConfirms(channel: 1)
            let confirm = PublishWaiter(cancelled: .cancelled)
            #expect(driver.publish("unsent", confirm: confirm) == "accepted")
            driver.gate.setBlocked("memory")
            let (_, waiter) = driver.suspend("suspended")
            driver.gate.lost(self.gone)
            #expect(driver.gate.waitingBytes == 0)
            try await driver.expectWritten([])
            #expect(await confirm.told == "outcomeUnknown")
            #expect(await waiter.told == "connectionClosed")
            #expect(driver.publish("late") == "connectionClosed")
            let (_, late) = driver.suspend("late")
            #expect(await late.told == "connectionClosed")
            // What comes late on the old socket changes nothing.
            driver.gate.confirmed(channel: 1, tag: 1, multiple: false, acked: true)
            try driver.gate.write(.channelOpen(.init()), channel: 1)
            #expect(!driver.gate.writeHeartbeat())
            try await driver.expectWritten([])
        }
    }

    @Test func behindConnectionCloseOnlyItsAnswerIsWritten() async throws {
        try await GateDriver.with { driver in
            driver.gate.setBlocked("memory")
            let (_, waiter) = driver.suspend("suspended")
            let close = AMQPMethod.connectionClose(
                .init(replyCode: 200, replyText: "", failingClassID: 0, failingMethodID: 0))
            driver.gate.close(self.gone, farewell: close)
            driver.gate.close(self.gone, farewell: close)
            driver.gate.closeChannel(1, self.closed, farewell: .channelCloseOk(.init()))
            try driver.gate.write(.queuePurge(.init(queue: "q")), channel: 1)
            driver.gate.selectConfirms(channel: 1)
            #expect(!driver.gate.writeHeartbeat())
            try driver.gate.write(.connectionCloseOk(.init()), channel: 0)
            try await driver.expectWritten(["connection.close", "connection.close-ok"])
            #expect(await waiter.told == "connectionClosed")
        }
    }

    @Test func acknowledgementsAndMethodsPassTheMark() async throws {
        try await GateDriver.with(highWaterMark: 1) { driver in
            driver.gate.delivered(1, channel: 1)
            driver.gate.setBlocked("memory")
            _ = driver.suspend("held")
            try driver.gate.settle(channel: 1, epoch: 1, tag: 1, .ack)
            try driver.gate.write(.queuePurge(.init(queue: "q")), channel: 1)
            try await driver.expectWritten(["basic.ack", "queue.purge"])
        }
    }

    @Test func anAcknowledgementOfAnEarlierLifeNeverReachesTheWire() async throws {
        try await GateDriver.with { driver in
            driver.gate.closeChannel(1, self.closed, farewell: nil)
            driver.gate.forgetChannel(1)
            let epoch = driver.gate.openChannel(1, number: 1)
            driver.gate.delivered(1, channel: 1)
            #expect(
                await failure { () async throws(AMQPError) in
                    try driver.gate.settle(channel: 1, epoch: epoch - 1, tag: 1, .ack)
                }?.code == .deliveryExpired)
            try await driver.expectWritten([])
            #expect(driver.gate.unsettled(channel: 1) == 1)
        }
    }

    @Test func beforeItIsOpenNothingCanBePublished() throws {
        let loop = MultiThreadedEventLoopGroup.singleton.next()
        let gate = PublishGate(eventLoop: loop, highWaterMark: 1000)
        _ = gate.openChannel(1, number: 1)
        guard
            case .refused(let error) = gate.publish(
                .init(
                    channel: 1, method: .init(exchange: "", routingKey: ""), properties: AMQPBasicProperties(),
                    body: ByteBuffer()))
        else {
            Issue.record("accepted")
            return
        }
        #expect(error.code == .connectionClosed)
    }
}
