// SPDX-License-Identifier: Apache-2.0
import AMQPClient
import Logging
import NIOConcurrencyHelpers
import NIOCore

/// What is behind a ``PeerService``: a consumer, its messages that wait, and the task that handles them, if one does.
final class ServiceCore: DeliverySink {
    private struct State: Sendable {
        var task: Task<Void, Never>?
        /// Set once the service has ended; then the error it ended with, if any.
        var end: HareDoError??
        var isDraining = false
        var misuse: HareDoError?
        /// Messages handed out and not settled.
        var unsettled = 0
        var idleWaiters: [Waiter<Void, HareDoError>] = []
        var endWaiters: [Waiter<Void, HareDoError>] = []
    }

    let queue: String
    let channel: AMQPChannel
    let responder: MessageStorage.Responder
    let scheduler: DeadlineScheduler
    let logger: Logger
    /// Bounded by the prefetch count.
    let buffer = DeliveryBuffer<AMQPDelivery>(highWaterMark: .max) { _ in 0 }
    private let state = NIOLockedValueBox(State())
    private let consumerTag = NIOLockedValueBox<String?>(nil)
    private let onEnd: @Sendable (ServiceCore) -> Void

    init(
        queue: String, channel: AMQPChannel, user: String?, scheduler: DeadlineScheduler, logger: Logger,
        onEnd: @escaping @Sendable (ServiceCore) -> Void
    ) {
        self.queue = queue
        self.channel = channel
        self.responder = MessageStorage.Responder(channel: channel, user: user)
        self.scheduler = scheduler
        self.logger = logger
        self.onEnd = onEnd
    }

    func started(consumerTag: String) { self.consumerTag.withLockedValue { $0 = consumerTag } }

    func own(_ task: Task<Void, Never>) { self.state.withLockedValue { $0.task = task } }

    // MARK: - From the connection, on its loop

    func received(_ delivery: AMQPDelivery) { self.buffer.append(delivery) }
    func batchEnded() -> Bool { self.buffer.batchEnded() }
    func whenRoom(_ action: @escaping @Sendable () -> Void) {}
    func ended(_ error: AMQPError?) { self.finish(error.map { HareDoError($0) }) }

    // MARK: - Handing out

    /// A delivery becomes a message when it is handed out.
    func message(_ delivery: AMQPDelivery) -> Message {
        self.state.withLockedValue { $0.unsettled += 1 }
        return Message(
            storage: MessageStorage(delivery, needsAcknowledgement: true, responder: self.responder, keeps: false) {
                [weak self] in self?.settled()
            })
    }

    private func settled() {
        let waiters = self.state.withLockedValue { state -> [Waiter<Void, HareDoError>] in
            state.unsettled -= 1
            guard state.unsettled == 0 else { return [] }
            let waiters = state.idleWaiters
            state.idleWaiters.removeAll()
            return waiters
        }
        for waiter in waiters { waiter.resolve(.success(())) }
    }

    /// A second loop over the messages while the first goes on.
    func iteratedTwice() {
        let error = HareDoError(
            .serviceEnded, "the messages of '\(self.queue)' are iterated twice at once: the second loop gets none")
        self.state.withLockedValue { if $0.misuse == nil { $0.misuse = error } }
        self.logger.info("messages iterated twice at once", metadata: ["amqp.queue": "\(self.queue)"])
    }

    // MARK: - Ending

    /// No more deliveries come. What was delivered and not handed out is with the broker again, or will be.
    private func finish(_ error: HareDoError?) {
        let waiters = self.state.withLockedValue { state -> [Waiter<Void, HareDoError>]? in
            guard state.end == nil else { return nil }
            state.end = .some(state.isDraining ? nil : error)
            let waiters = state.endWaiters
            state.endWaiters.removeAll()
            return waiters
        }
        guard let waiters else { return }
        self.buffer.finish(nil)
        for waiter in waiters { waiter.resolve(.success(())) }
        self.onEnd(self)
    }

    /// Waits until the service has ended, or until the task is cancelled.
    func waitForEnd() async throws(HareDoError) {
        let waiter = Waiter<Void, HareDoError>(cancelled: .cancelled)
        let hasEnded = self.state.withLockedValue { state in
            if state.end == nil { state.endWaiters.append(waiter) }
            return state.end != nil
        }
        if !hasEnded { try await waiter.value() }
    }

    /// Wakes whoever waits for the end, to begin it.
    func wakeEndWaiters() {
        let waiters = self.state.withLockedValue { state in
            let waiters = state.endWaiters
            state.endWaiters.removeAll()
            return waiters
        }
        for waiter in waiters { waiter.resolve(.success(())) }
    }

    /// Why the service ended, if not because it was asked to.
    var failure: HareDoError? { self.state.withLockedValue { $0.misuse ?? $0.end ?? nil } }

    /// Stops intake, gives back what has not started, waits for what has, and closes the channel.
    func drain(within limit: Duration) async {
        let deadline = NIODeadline.now() + TimeAmount(limit)
        let isFirst = self.state.withLockedValue { state in
            defer { state.isDraining = true }
            return !state.isDraining
        }
        guard isFirst else {
            try? await self.waitForEnd()
            return
        }
        if let tag = self.consumerTag.withLockedValue({ $0 }) { try? await self.channel.cancel(tag) }
        // What was delivered meanwhile and nobody has begun with.
        for delivery in self.buffer.drain() { try? delivery.nack(requeue: true) }
        self.buffer.finish(nil)
        await self.waitUntilIdle(until: deadline)
        let task = self.state.withLockedValue { $0.task }
        task?.cancel()
        // Whatever is still unsettled goes back to its queue now.
        await self.channel.close()
        await self.waitForTask(task)
        self.finish(nil)
    }

    /// A handler that does not heed its cancellation cannot be ended from outside; it is not waited for without end.
    private func waitForTask(_ task: Task<Void, Never>?) async {
        guard let task else { return }
        let waiter = Waiter<Void, HareDoError>(cancelled: .cancelled)
        let token = self.scheduler.schedule(after: .seconds(1)) { waiter.resolve(.success(())) }
        let watcher = Task {
            await task.value
            waiter.resolve(.success(()))
        }
        try? await waiter.uncancellableValue()
        self.scheduler.cancel(token)
        _ = watcher
    }

    private func waitUntilIdle(until deadline: NIODeadline) async {
        let waiter = Waiter<Void, HareDoError>(cancelled: .cancelled)
        let isIdle = self.state.withLockedValue { state in
            if state.unsettled > 0 { state.idleWaiters.append(waiter) }
            return state.unsettled == 0
        }
        guard !isIdle else { return }
        let token = self.scheduler.schedule(at: deadline) { waiter.resolve(.success(())) }
        try? await waiter.uncancellableValue()
        self.scheduler.cancel(token)
    }
}
