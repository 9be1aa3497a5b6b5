// SPDX-License-Identifier: Apache-2.0
import AMQPWire
import NIOCore
import NIOEmbedded
import Testing

@_spi(HareDo) @testable import AMQPClient

/// A gate with one channel, and everybody it accepted.
private final class GateBook {
    let loop = EmbeddedEventLoop()
    let gate: PublishGate
    private(set) var transport: EmbeddedChannel
    /// Those who wait for room or for a confirm.
    private var accepted: [(name: String, waiter: PublishWaiter)] = []
    private var suspended: [UInt64] = []
    private var number: UInt16 = 1
    private var tags: UInt64 = 0
    private static let error = AMQPError(.connectionClosed, "the end of the test")

    init() throws {
        self.gate = PublishGate(eventLoop: self.loop, highWaterMark: 4096, maximumUnconfirmed: 2)
        self.transport = EmbeddedChannel(loop: self.loop)
        try self.transport.connect(to: SocketAddress(unixDomainSocketPath: "/gate")).wait()
        _ = self.gate.openChannel(1, number: 1)
    }

    private func message(_ size: Int, mandatory: Bool, _ confirm: PublishWaiter?) -> PublishGate.Publish {
        var properties = AMQPBasicProperties()
        properties.messageID = "m"
        return PublishGate.Publish(
            channel: 1, method: .init(exchange: "", routingKey: "q", mandatory: mandatory), properties: properties,
            body: ByteBuffer(repeating: 0, count: size), confirm: confirm)
    }

    func publish(size: Int = 1, mandatory: Bool = false) {
        let confirm = PublishWaiter(cancelled: .cancelled)
        if case .accepted = self.gate.publish(self.message(size, mandatory: mandatory, confirm)) {
            self.accepted.append(("confirm", confirm))
        }
    }

    func suspend() {
        let (confirm, room) = (PublishWaiter(cancelled: .cancelled), PublishWaiter(cancelled: .cancelled))
        self.suspended.append(self.gate.publishWhenThereIsRoom(self.message(1, mandatory: true, confirm), waiter: room))
        // Whether it waits for its confirm as well is known when it has got room.
        self.accepted.append(("room", room))
        self.waiting.append((room, confirm))
    }
    private var waiting: [(room: PublishWaiter, confirm: PublishWaiter)] = []

    func abandon() {
        guard let id = self.suspended.popLast(), self.gate.abandon(id, channel: 1) else { return }
        // Whoever takes it out tells it.
        self.accepted.last { $0.name == "room" && !$0.waiter.isResolved }?.waiter.resolve(.failure(.cancelled))
    }

    func handle(_ event: GateEvent) {
        switch event {
        case .opened: self.gate.opened()
        case .connected:
            self.gate.connected(self.transport)
            self.gate.writeProtocolHeader()
        case .select: self.gate.selectConfirms(channel: 1)
        case .publish: self.publish()
        case .publishMandatory: self.publish(mandatory: true)
        case .publishMuch: self.publish(size: 5000)
        case .suspend: self.suspend()
        case .abandon: self.abandon()
        case .write: self.loop.run()
        case .ack:
            self.tags += 1
            self.gate.confirmed(channel: 1, tag: self.tags, multiple: false, acked: true)
        case .nackAll: self.gate.confirmed(channel: 1, tag: 0, multiple: true, acked: false)
        case .comesBack:
            self.gate.returned(channel: 1, .init("m"), reply: .init(code: 312, text: "NO_ROUTE"))
        case .block: self.gate.setBlocked("memory")
        case .unblock: self.gate.setBlocked(nil)
        case .pause: self.gate.pauseChannel(1, true)
        case .resume: self.gate.pauseChannel(1, false)
        case .interrupted: self.gate.interrupted(Self.error)
        case .channelInterrupted: self.gate.interruptChannel(1, Self.error, farewell: .channelCloseOk(.init()))
        case .reopen:
            self.number += 1
            _ = self.gate.reopenChannel(1, number: self.number, isConfirming: true)
        case .reopenPlain: _ = self.gate.reopenChannel(1, number: 9, isConfirming: false)
        case .resumeChannel: self.gate.resumeChannel(1)
        case .closeChannel: self.gate.closeChannel(1, Self.error, farewell: .channelCloseOk(.init()))
        case .forgetChannel: self.gate.forgetChannel(1)
        case .close:
            self.gate.close(
                Self.error,
                farewell: .connectionClose(.init(replyCode: 200, replyText: "", failingClassID: 0, failingMethodID: 0)))
        case .disconnected: self.gate.disconnected()
        case .lost: self.gate.lost(Self.error)
        }
        // Those whose message has been appended wait for its confirm from then on.
        for (room, confirm) in self.waiting where room.isResolved {
            if (try? room.take()) != nil { self.accepted.append(("late confirm", confirm)) }
        }
        self.waiting.removeAll { $0.room.isResolved }
    }

    func expectAllTold(_ comment: Comment) {
        self.loop.run()
        for (name, waiter) in self.accepted { #expect(waiter.isResolved, "\(name): \(comment)") }
        #expect(self.gate.suspendedCount == 0, comment)
    }

    func end() { _ = try? self.transport.finish(acceptAlreadyClosed: true) }
}

private enum GateEvent: CaseIterable {
    case opened, connected, select, publish, publishMandatory, publishMuch, suspend, abandon, write
    case ack, nackAll, comesBack, block, unblock, pause, resume
    case interrupted, channelInterrupted, reopen, reopenPlain, resumeChannel, closeChannel, forgetChannel
    case close, disconnected, lost
}

/// Every state, with the events that lead there.
private enum GatePlace: CaseIterable {
    case notOpen, handshake, open, plain, waiting, full, blocked, paused, windowFull, returned
    case interrupted, reconnecting, reopened, channelInterrupted, channelClosed, forgotten, closing, lost

    var path: [GateEvent] {
        let open: [GateEvent] = [.connected, .opened, .select, .write]
        return switch self {
        case .notOpen: []
        case .handshake: [.connected]
        case .open: open
        case .plain: [.connected, .opened]
        case .waiting: open + [.publish, .publishMandatory]
        case .full: open + [.publishMuch, .suspend, .suspend]
        case .blocked: open + [.publish, .block, .suspend]
        case .paused: open + [.pause, .suspend, .suspend]
        case .windowFull: open + [.publish, .publish, .suspend, .write]
        case .returned: open + [.publishMandatory, .comesBack]
        case .interrupted: open + [.publish, .block, .suspend, .interrupted]
        case .reconnecting: open + [.publish, .block, .suspend, .interrupted, .connected, .reopen]
        case .reopened: open + [.publish, .block, .suspend, .interrupted, .connected, .reopen, .resumeChannel]
        case .channelInterrupted: open + [.publish, .pause, .suspend, .channelInterrupted]
        case .channelClosed: open + [.publish, .closeChannel]
        case .forgotten: open + [.closeChannel, .forgetChannel]
        case .closing: open + [.publish, .close]
        case .lost: open + [.publish, .lost]
        }
    }
}

/// Every state against every event, and every pair of events: whoever waits for room or for a confirm is told by the end.
/// That nobody is told twice is what `Waiter` is for.
@Suite struct PublishGateTableTests {
    @Test(arguments: GatePlace.allCases, GateEvent.allCases)
    private func everybodyIsToldByTheEnd(in place: GatePlace, after event: GateEvent) throws {
        for next in GateEvent.allCases {
            for end in [GateEvent.lost, .forgetChannel] {
                let book = try GateBook()
                for step in place.path + [event, next, end] { book.handle(step) }
                book.expectAllTold("\(place), \(event), \(next), \(end)")
                book.end()
            }
        }
    }

    @Test func whatWasNotSentDoesNotEnterTheNextSocket() throws {
        let book = try GateBook()
        for event in [GateEvent.connected, .opened, .select, .write, .publish, .block, .suspend, .interrupted] {
            book.handle(event)
        }
        while try book.transport.readOutbound(as: ByteBuffer.self) != nil {}
        for event in [GateEvent.connected, .write] { book.handle(event) }
        var bytes = ByteBuffer()
        while let piece = try book.transport.readOutbound(as: ByteBuffer.self) { bytes.writeImmutableBuffer(piece) }
        #expect(Array(bytes.readableBytesView) == AMQPProtocolHeader.bytes)
        // The one that waits for room still does.
        #expect(book.gate.suspendedCount == 1)
        for event in [GateEvent.reopen, .resumeChannel, .opened, .write] { book.handle(event) }
        #expect(book.gate.suspendedCount == 0)
        book.end()
    }
}
