// SPDX-License-Identifier: Apache-2.0
import NIOCore

#if canImport(Glibc)
    import Glibc
#elseif canImport(Musl)
    import Musl
#elseif canImport(Darwin)
    import Darwin
#endif

/// One connection through a ``FaultProxy``: two sockets and the two ways between them.
///
/// Unchecked: it and its ways are touched on one event loop only.
final class ProxiedPair: @unchecked Sendable {
    let loop: any EventLoop
    let toBroker: Way
    let toClient: Way
    private let client: any Channel
    private var broker: (any Channel)?
    private let onFault: @Sendable (FaultPlan.Fault) -> Void
    private let onEnd: @Sendable () -> Void
    private var ended = 0

    init(
        client: any Channel, plan: FaultPlan, onFault: @escaping @Sendable (FaultPlan.Fault) -> Void,
        onEnd: @escaping @Sendable () -> Void
    ) {
        self.client = client
        self.loop = client.eventLoop
        self.onFault = onFault
        self.onEnd = onEnd
        func steps(_ direction: FaultPlan.Direction) -> [FaultPlan.Step] {
            plan.steps.filter { $0.direction == direction }.sorted { $0.bytes < $1.bytes }
        }
        self.toBroker = Way(steps(.toBroker))
        self.toClient = Way(steps(.toClient))
        self.toBroker.pair = self
        self.toClient.pair = self
    }

    func connected(_ result: Result<any Channel, any Error>) {
        switch result {
        case .success(let broker):
            self.broker = broker
            self.toBroker.start(from: self.client, to: broker)
            self.toClient.start(from: broker, to: self.client)
        case .failure:
            self.ended += 1
            self.apply(.reset)
        }
    }

    func apply(_ fault: FaultPlan.Fault) {
        self.onFault(fault)
        switch fault {
        case .pass:
            self.forEachWay { $0.manner = .init() }
        case .drip:
            self.forEachWay { $0.manner.drips = true }
        case .delay(let time):
            self.forEachWay { $0.manner.delay = TimeAmount(time) }
        case .swallow(let direction):
            self.forEachWay(direction) { $0.manner.swallows = true }
        case .stall(let direction):
            self.forEachWay(direction) { $0.manner.stalls = true }
        case .cut:
            // The streams end now. What still comes is read, or the kernel would make a reset of it.
            self.forEachWay { $0.manner.swallows = true }
            for channel in self.channels { channel.close(mode: .output, promise: nil) }
            self.loop.scheduleTask(in: .milliseconds(500)) {
                for channel in self.channels { channel.close(promise: nil) }
            }
        case .reset:
            self.forEachWay { $0.manner.swallows = true }
            for channel in self.channels {
                guard let options = channel as? any SocketOptionProvider else { continue }
                options.setSoLinger(linger(l_onoff: 1, l_linger: 0)).whenComplete { _ in channel.close(promise: nil) }
            }
        }
    }

    /// One of the two sockets is closed.
    func sideEnded() {
        self.ended += 1
        guard self.ended == 2 else { return }
        self.onEnd()
        self.toBroker.pair = nil
        self.toClient.pair = nil
    }

    private var channels: [any Channel] { [self.client] + (self.broker.map { [$0] } ?? []) }

    private func forEachWay(_ direction: FaultPlan.Direction? = nil, _ body: (Way) -> Void) {
        if direction != .toClient { body(self.toBroker) }
        if direction != .toBroker { body(self.toClient) }
        self.toBroker.pump()
        self.toClient.pump()
    }
}

/// One way through: reads a piece, hands it on, and reads the next when the other side has taken it.
///
/// Unchecked: see ``ProxiedPair``.
final class Way: ChannelInboundHandler, @unchecked Sendable {
    typealias InboundIn = ByteBuffer

    struct Manner {
        var drips = false
        var delay: TimeAmount?
        var swallows = false
        var stalls = false
    }

    var manner = Manner()
    /// Until both sockets are closed; a cycle until then.
    var pair: ProxiedPair?
    private var steps: ArraySlice<FaultPlan.Step>
    private var source: (any Channel)?
    private var sink: (any Channel)?
    private var waiting = ByteBuffer()
    private var passed = 0
    private var isBusy = false
    private var hasEnded = false

    init(_ steps: [FaultPlan.Step]) { self.steps = steps[...] }

    func start(from source: any Channel, to sink: any Channel) {
        self.source = source
        self.sink = sink
        self.pump()
    }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        var bytes = self.unwrapInboundIn(data)
        self.waiting.writeBuffer(&bytes)
        self.pump()
    }

    func channelInactive(context: ChannelHandlerContext) {
        self.hasEnded = true
        self.pump()
        self.pair?.sideEnded()
        context.fireChannelInactive()
    }

    func errorCaught(context: ChannelHandlerContext, error: any Error) { context.close(promise: nil) }

    func pump() {
        guard !self.isBusy, let source = self.source, let sink = self.sink else { return }
        while let step = self.steps.first, step.bytes <= self.passed {
            self.steps.removeFirst()
            self.isBusy = true // a fault pumps both ways
            self.pair?.apply(step.fault)
            self.isBusy = false
        }
        if self.manner.stalls { return }
        if self.manner.swallows { self.waiting.clear() }
        var length = self.waiting.readableBytes
        guard length > 0 else {
            if !self.hasEnded { source.read() } else if !self.manner.swallows { sink.close(promise: nil) }
            return
        }
        if let step = self.steps.first { length = min(length, step.bytes - self.passed) }
        if self.manner.drips { length = 1 }
        guard let piece = self.waiting.readSlice(length: length) else { return }
        if self.waiting.readableBytes == 0 { self.waiting = ByteBuffer() }
        self.passed += length
        self.isBusy = true
        guard let delay = self.manner.delay else { return self.hand(on: piece, to: sink) }
        sink.eventLoop.scheduleTask(in: delay) { self.hand(on: piece, to: sink) }
    }

    private func hand(on piece: ByteBuffer, to sink: any Channel) {
        sink.writeAndFlush(piece).whenComplete { _ in
            // Not at once: a write often succeeds immediately, and a thousand bytes would be a thousand calls deep.
            sink.eventLoop.execute {
                self.isBusy = false
                self.pump()
            }
        }
    }
}
