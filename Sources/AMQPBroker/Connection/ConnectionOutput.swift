// SPDX-License-Identifier: Apache-2.0
import AMQPWire
import NIOConcurrencyHelpers
import NIOCore

/// Told to a connection's handler, as a user event, when a throttled connection has written enough to go on.
struct OutputDrained: Sendable {}

/// Told to a connection's handler, as a user event, when a frame for it could not be made.
struct OutputFailed: Sendable {
    let exception: BrokerException
}

/// What a connection has to write. Any loop appends frames; the connection's own loop writes them, once per tick.
///
/// Lock order: a virtual host's lock, then this one.
final class ConnectionOutput: Sendable {
    /// Above this many bytes a connection gets no deliveries and is not read.
    static let highWaterMark = 1 << 20
    /// Below this many it does again.
    static let lowWaterMark = 1 << 18
    /// Above this many, what may be lost is dropped: direct replies, which no queue can hold back.
    static let dropMark = 1 << 23

    struct Outcome {
        /// The loop sleeps: ``ConnectionOutput/wake()`` has to be called, after all locks are released.
        var needsWake: Bool
        /// No more deliveries until the connection has drained.
        var isThrottled: Bool
    }

    private struct State {
        var frames: AMQPOutput
        /// Bytes handed to the socket's write queue and not yet written.
        var inFlight = 0
        var isAwake = false
        var isThrottled = false
        var isClosed = false
        /// Whether anything was written since the heartbeat looked last.
        var hasWritten = false

        var pending: Int { self.frames.byteCount + self.inFlight }
    }

    private let state: NIOLockedValueBox<State>
    /// `nil` in tests without a socket.
    private let channel: (any Channel)?

    init(channel: (any Channel)?, frameMax: UInt32 = AMQPFrame.minimumFrameMax) {
        self.channel = channel
        self.state = NIOLockedValueBox(State(frames: AMQPOutput(frameMax: frameMax)))
    }

    var isThrottled: Bool { self.state.withLockedValue { $0.isThrottled } }

    func setFrameMax(_ frameMax: UInt32) { self.state.withLockedValue { $0.frames.frameMax = frameMax } }

    /// Appends frames; a frame that cannot be encoded ends the connection.
    func append(_ body: (inout AMQPOutput) throws(AMQPWireError) -> Void) -> Outcome {
        var failure: AMQPWireError?
        let outcome = self.state.withLockedValue { state -> Outcome in
            guard !state.isClosed else { return Outcome(needsWake: false, isThrottled: false) }
            do throws(AMQPWireError) {
                try body(&state.frames)
            } catch {
                failure = error
            }
            if state.pending > Self.highWaterMark { state.isThrottled = true }
            let needsWake = !state.isAwake
            state.isAwake = true
            return Outcome(needsWake: needsWake, isThrottled: state.isThrottled)
        }
        if let failure { self.fail(BrokerException(failure)) }
        return outcome
    }

    /// Keeps the loop awake until the next ``flush()``, which the caller owes: appending meanwhile wakes nobody.
    func hold() { self.state.withLockedValue { $0.isAwake = true } }

    /// Has the loop write what waits.
    func wake() {
        self.channel?.eventLoop.execute { self.flush() }
    }

    /// Writes what waits. On the connection's loop only.
    func flush() {
        let (pieces, count) = self.state.withLockedValue { state in
            state.isAwake = false
            let count = state.frames.byteCount
            state.inFlight += count
            if count > 0 { state.hasWritten = true }
            return (state.frames.take(), count)
        }
        guard count > 0, let channel = self.channel, let last = pieces.last else { return }
        for piece in pieces.dropLast() { channel.write(piece, promise: nil) }
        let promise = channel.eventLoop.makePromise(of: Void.self)
        promise.futureResult.whenComplete { _ in self.wrote(count) }
        channel.writeAndFlush(last, promise: promise)
    }

    private func wrote(_ count: Int) {
        let isDrained = self.state.withLockedValue { state in
            state.inFlight -= count
            guard state.isThrottled, !state.isClosed, state.pending < Self.lowWaterMark else { return false }
            state.isThrottled = false
            return true
        }
        guard isDrained, let channel = self.channel else { return }
        // Not at once: what follows may write again, and so on, as deep as there is work.
        channel.eventLoop.execute { channel.pipeline.fireUserInboundEventTriggered(OutputDrained()) }
    }

    /// Whether anything was written since this was asked last.
    func takeActivity() -> Bool {
        self.state.withLockedValue { state in
            defer { state.hasWritten = false }
            return state.hasWritten
        }
    }

    /// Drops what waits and takes nothing more.
    func close() {
        self.state.withLockedValue { state in
            state.isClosed = true
            state.frames.clear()
        }
    }

    private func fail(_ exception: BrokerException) {
        guard let channel = self.channel else { return }
        channel.eventLoop.execute {
            channel.pipeline.fireUserInboundEventTriggered(OutputFailed(exception: exception))
        }
    }
}
