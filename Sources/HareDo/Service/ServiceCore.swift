// SPDX-License-Identifier: Apache-2.0
@_spi(HareDo) import AMQPClient
import Logging
import NIOConcurrencyHelpers
import NIOCore
import Synchronization

/// A delivery, and when it came: what waits here uses up its caller's time.
struct ServiceDelivery: Sendable {
    let delivery: AMQPDelivery
    let arrival: ContinuousClock.Instant
}

/// What is behind a ``PeerService``: a consumer, its messages that wait, and the task that handles them, if one does.
final class ServiceCore: DeliverySink {
    private enum Drain {
        case none, underway, done
    }
    private struct State: Sendable {
        /// The task that feeds the handler, if there is one and it has not ended.
        var task: Task<Void, Never>?
        /// Set once no more deliveries come; then the error the service ended with, if any.
        var end: HareDoError??
        /// The channel is gone, and with it everything that could still be acknowledged.
        var hasLostChannel = false
        var drain = Drain.none
        /// Somebody wants the drain that is underway to end now.
        var isHurried = false
        var isForgotten = false
        var hasHandler = false
        var misuse: HareDoError?
        /// Messages handed out to a loop and not settled.
        var unsettled = 0
        /// Handlers that run.
        var running = 0
        /// With how many in hand the service counts as idle.
        var spared = 0
        var idleWaiters: [Waiter<Void, HareDoError>] = []
        var drainWaiters: [Waiter<Void, HareDoError>] = []
        var endWaiters: [Waiter<Void, HareDoError>] = []

        /// A message whose channel is gone cannot be settled any more, but its handler can still finish.
        var isIdle: Bool {
            self.isHurried || self.running + (self.hasLostChannel ? 0 : self.unsettled) <= self.spared
        }

        mutating func idleWaitersIfIdle() -> [Waiter<Void, HareDoError>] {
            guard self.isIdle else { return [] }
            let waiters = self.idleWaiters
            self.idleWaiters.removeAll()
            return waiters
        }
    }

    /// One run of a handler: whoever ends a service from within one must not wait for it.
    final class Turn: Sendable {
        let core: ServiceCore
        private let deadline: ContinuousClock.Instant?
        private let over = Atomic(false)
        init(_ core: ServiceCore, deadline: ContinuousClock.Instant?) {
            self.core = core
            self.deadline = deadline
        }
        /// How long the caller still waits; `nil` if none does.
        var timeLeft: Duration? { self.deadline.map { max($0 - .now, .zero) } }
        var isOver: Bool { self.over.load(ordering: .acquiring) }
        func end() { self.over.store(true, ordering: .releasing) }
    }
    @TaskLocal private static var currentTurn: Turn?

    /// The run of a handler that this code is part of.
    static var turn: Turn? {
        guard let turn = self.currentTurn, !turn.isOver else { return nil }
        return turn
    }

    /// What it belongs to, and works with.
    struct Surroundings: Sendable {
        let responder: MessageStorage.Responder
        let republisher: Republisher
        let scheduler: DeadlineScheduler
        let logger: Logger
        let counters: NIOLockedValueBox<Peer.Statistics>
        /// Of the connection's loop.
        let taskExecutor: any TaskExecutor
    }

    let queue: String
    let shape: QueueShape
    let options: ServiceOptions
    let channel: AMQPChannel
    private let surroundings: Surroundings
    /// Tells it from other instances of the service.
    let instance = RandomName.make()
    private let methods = NIOLockedValueBox(MethodTable())
    private let statistics = NIOLockedValueBox(ServiceStatistics())
    /// Bounded by the prefetch count.
    let buffer = DeliveryBuffer<ServiceDelivery>(highWaterMark: .max) { _ in 0 }
    private let state = NIOLockedValueBox(State())
    private let consumerTag = NIOLockedValueBox<String?>(nil)
    private let onEnd: @Sendable (ServiceCore) -> Void

    init(
        queue: String, shape: QueueShape, options: ServiceOptions, channel: AMQPChannel, surroundings: Surroundings,
        onEnd: @escaping @Sendable (ServiceCore) -> Void
    ) {
        self.queue = queue
        self.shape = shape
        self.options = options
        self.channel = channel
        self.surroundings = surroundings
        self.onEnd = onEnd
    }

    var responder: MessageStorage.Responder { self.surroundings.responder }
    var republisher: Republisher { self.surroundings.republisher }
    var scheduler: DeadlineScheduler { self.surroundings.scheduler }
    var logger: Logger { self.surroundings.logger }
    var counters: NIOLockedValueBox<Peer.Statistics> { self.surroundings.counters }
    /// What it is called by those who look for services.
    var name: String { self.options.information.name ?? self.queue }
    /// Whether it takes messages: it has not ended, nor begun to.
    var isRunning: Bool { self.state.withLockedValue { $0.end == nil && $0.drain == .none } }

    var metadata: Logger.Metadata { ["amqp.queue": "\(self.queue)"] }

    func started(consumerTag: String) { self.consumerTag.withLockedValue { $0 = consumerTag } }

    // MARK: - Handlers

    /// Begins to feed a handler.
    ///
    /// - Throws: `invalidArgument` if it has one.
    func serve(_ handler: @escaping HandlerInterceptor.Next) throws(HareDoError) {
        let executor: (any TaskExecutor)? =
            switch self.options.execution {
            case .concurrent: nil
            case .onConnectionLoop: self.surroundings.taskExecutor
            }
        let loop = HandlerLoop(
            core: self, handling: MessageHandling(self, serve: handler), executor: executor)
        let isFirst = self.state.withLockedValue { state in
            guard !state.hasHandler else { return false }
            state.hasHandler = true
            // Under the lock: it might have ended, or the service be drained, before we know of it.
            state.task = Task(executorPreference: executor) { @concurrent in
                await loop.run()
                await self.taskEnded()
            }
            return true
        }
        guard isFirst else {
            throw HareDoError(
                .invalidArgument, "the service '\(self.queue)' has a handler for all of its messages already")
        }
    }

    /// Returns when the broker has seen all that was settled before.
    func settlementsArrived() async {
        // Anything that is answered does: consumers that have begun are not touched by it. If the channel is gone there is
        // nothing to wait for.
        try? await self.channel.qos(prefetchCount: self.prefetch)
    }

    var prefetch: UInt16 { UInt16(clamping: self.options.prefetch ?? self.options.concurrency) }

    /// Adds a method, for ``serveMethods()``.
    func add(_ method: String, _ handler: @escaping MethodTable.Handler) throws(HareDoError) {
        guard !self.state.withLockedValue({ $0.hasHandler }) else {
            throw HareDoError(
                .invalidArgument,
                "the method '\(method)' comes too late: the service '\(self.queue)' has a handler, or runs already")
        }
        let result = self.methods.withLockedValue { methods in
            Result { () throws(HareDoError) in try methods.add(method, of: self.queue, handler) }
        }
        try result.get()
    }

    /// Begins to serve its methods, if it has any and does not yet.
    func serveMethods() {
        let methods = self.methods.withLockedValue { $0 }
        guard !methods.isEmpty else { return }
        let (queue, counters) = (self.queue, self.counters)
        // Running twice at once waits for the same end.
        try? self.serve { message in
            switch methods.lookup(message.method, of: queue) {
            case .handler(let handler): return try await handler(message)
            case .none(let failure):
                counters.withLockedValue { $0.unservedMessages += 1 }
                return Reply(failure: failure)
            }
        }
    }

    var methodNames: [String] { self.methods.withLockedValue { $0.names } }

    /// What it has done so far.
    var currentStatistics: ServiceStatistics { self.statistics.withLockedValue { $0 } }

    func record(_ change: (inout ServiceStatistics) -> Void) { self.statistics.withLockedValue { change(&$0) } }

    /// Whatever the reason, it was counted as an attempt before.
    func recordFailure(_ failure: HareDoError.RemoteFailure) {
        self.statistics.withLockedValue { $0.failed(failure) }
        self.counters.withLockedValue { $0.failedAttempts += 1 }
    }

    /// The last handler has ended, and no other will begin.
    func taskEnded() async {
        let isDraining = self.state.withLockedValue { state in
            state.task = nil
            return state.drain != .none
        }
        guard !isDraining else { return }
        // Ended by itself: what was left open until the handlers had acknowledged their messages.
        await self.channel.close()
        self.state.withLockedValue { $0.hasLostChannel = true }
        self.forgetIfOver()
    }

    // MARK: - From the connection, on its loop

    func received(_ delivery: AMQPDelivery) {
        self.buffer.append(ServiceDelivery(delivery: delivery, arrival: .now))
    }
    func batchEnded() -> Bool { self.buffer.batchEnded() }
    func whenRoom(_ action: @escaping @Sendable () -> Void) {}

    func interrupted(requeued: Bool) {
        // With the broker again, which delivers them anew; handling them here would be once too often.
        if requeued { _ = self.buffer.drain() }
    }

    func ended(_ error: AMQPError?) {
        // With its queue gone, a consumer's deliveries exist nowhere else: they can still be handled. With the channel
        // gone they are with the broker again, and handling them here would be once too often.
        let hasLostChannel = error.map { $0.code != .consumerCancelled } ?? false
        self.finish(error.map { HareDoError($0) }, hasLostChannel: hasLostChannel)
    }

    // MARK: - Handing out

    /// A delivery becomes a message when it is handed out to a loop.
    ///
    /// - Returns: `nil` if its caller has given up.
    func message(_ delivery: ServiceDelivery) -> Message? {
        self.state.withLockedValue { $0.unsettled += 1 }
        let began = ContinuousClock.now
        let storage = self.storage(delivery) { [weak self] in
            guard let self else { return }
            self.record { $0.ended(after: .now - began) }
            self.changed { $0.unsettled -= 1 }
        }
        self.record { $0.began() }
        return self.isUnfit(storage) ? nil : Message(storage: storage)
    }

    private func storage(
        _ delivery: ServiceDelivery, onSettled: (@Sendable () -> Void)? = nil
    ) -> MessageStorage {
        MessageStorage(
            delivery.delivery, arrival: delivery.arrival, needsAcknowledgement: true, responder: self.responder,
            keeps: false, onSettled: onSettled)
    }

    /// What is not to be handed out is counted and done with.
    private func isUnfit(_ storage: MessageStorage) -> Bool {
        self.isMalformed(storage) || self.hasExpired(storage)
    }

    /// A message from a stranger, whose headers do not say what HareDo's do.
    private func isMalformed(_ storage: MessageStorage) -> Bool {
        guard let headers = storage.properties.headers, let defect = WireHeaders.defect(in: headers) else {
            return false
        }
        self.counters.withLockedValue { $0.rejectedMessages += 1 }
        self.logger.info("a message was rejected: \(defect)", metadata: self.metadata)
        storage.settleIfOpen(.drop)
        return true
    }

    /// A request that nobody waits for any more.
    private func hasExpired(_ storage: MessageStorage) -> Bool {
        guard let deadline = storage.deadline, deadline <= .now else { return false }
        self.counters.withLockedValue { $0.expiredRequests += 1 }
        self.logger.debug("a request came too late", metadata: self.metadata)
        storage.settleIfOpen(.ack)
        return true
    }

    /// Runs a handler, unless the caller has given up. To be preceded by ``handlerBegan()`` and followed by
    /// ``handlerEnded()``: a handler is in hand until it is done, also if it acknowledged its message before.
    func handle(_ delivery: ServiceDelivery, _ handler: (Message) async -> Void) async {
        let storage = self.storage(delivery)
        guard !self.isUnfit(storage) else { return }
        let turn = Turn(self, deadline: storage.deadline)
        await Self.$currentTurn.withValue(turn) { await handler(Message(storage: storage)) }
        turn.end()
    }

    func handlerBegan() { self.state.withLockedValue { $0.running += 1 } }
    func handlerEnded() { self.changed { $0.running -= 1 } }

    /// Changes what decides whether the service is idle, and tells those who wait for that.
    private func changed(_ change: (inout State) -> Void) {
        let waiters = self.state.withLockedValue { state in
            change(&state)
            return state.idleWaitersIfIdle()
        }
        for waiter in waiters { waiter.resolve(.success(())) }
    }

    /// A second loop over the messages while the first goes on.
    func iteratedTwice() {
        let error = HareDoError(
            .serviceEnded, "the messages of '\(self.queue)' are iterated twice at once: the second loop gets none")
        self.state.withLockedValue { if $0.misuse == nil { $0.misuse = error } }
        self.logger.info("messages iterated twice at once", metadata: self.metadata)
    }

    // MARK: - Ending

    /// No more deliveries come.
    private func finish(_ error: HareDoError?, hasLostChannel: Bool) {
        self.buffer.finish(nil, dropping: hasLostChannel)
        let waiters = self.state.withLockedValue { state -> [Waiter<Void, HareDoError>] in
            if state.end == nil { state.end = .some(state.drain == .none ? error : nil) }
            if hasLostChannel { state.hasLostChannel = true }
            let waiters = state.endWaiters + state.idleWaitersIfIdle()
            state.endWaiters.removeAll()
            return waiters
        }
        for waiter in waiters { waiter.resolve(.success(())) }
        self.forgetIfOver()
    }

    /// Tells the peer once there is nothing left to end.
    private func forgetIfOver() {
        let isOver = self.state.withLockedValue { state in
            guard state.end != nil, !state.isForgotten else { return false }
            switch state.drain {
            case .none: state.isForgotten = state.task == nil && state.hasLostChannel
            case .underway: break
            case .done: state.isForgotten = true
            }
            return state.isForgotten
        }
        if isOver { self.onEnd(self) }
    }

    /// Somebody who wants to know of the end of deliveries. To be given back with ``forget(_:)``.
    func makeEndWaiter() -> Waiter<Void, HareDoError> {
        let waiter = Waiter<Void, HareDoError>(cancelled: .cancelled)
        let hasEnded = self.state.withLockedValue { state in
            if state.end == nil { state.endWaiters.append(waiter) }
            return state.end != nil
        }
        if hasEnded { waiter.resolve(.success(())) }
        return waiter
    }

    func forget(_ waiter: Waiter<Void, HareDoError>) {
        self.state.withLockedValue { $0.endWaiters.removeAll { $0 === waiter } }
    }

    /// Why the service ended, if not because it was asked to.
    var failure: HareDoError? { self.state.withLockedValue { $0.misuse ?? $0.end ?? nil } }

    /// How much longer than its limit a drain may take, for a broker that does not answer and for handlers that do not
    /// heed their cancellation.
    private static let grace = Duration.seconds(1)

    /// Stops intake, gives back what has not started, waits for what has, and closes the channel.
    ///
    /// Doing it again waits for the first to be done, and shortens its limit if the new one ends before.
    func drain(within limit: Duration) async {
        let deadline = NIODeadline.after(limit)
        // A handler that drains its own service is not waited for; it is cancelled when it has drained.
        let isWithin = Self.turn?.core === self
        let waiter = Waiter<Void, HareDoError>(cancelled: .cancelled)
        let before = self.state.withLockedValue { state in
            let before = state.drain
            if before == .none {
                state.drain = .underway
                state.spared = isWithin ? 1 : 0
            } else if before == .underway, !isWithin {
                state.drainWaiters.append(waiter)
            }
            return before
        }
        switch before {
        case .none: break
        case .underway where !isWithin:
            let token = self.scheduler.schedule(at: deadline) { self.changed { $0.isHurried = true } }
            try? await waiter.uncancellableValue()
            self.scheduler.cancel(token)
            return
        case .underway, .done: return
        }
        if let tag = self.consumerTag.withLockedValue({ $0 }) {
            let channel = self.channel
            await self.attempt(until: .after(limit + Self.grace)) { try? await channel.cancel(tag) }
        }
        // What was delivered meanwhile and nobody has begun with.
        for delivery in self.buffer.drain() { try? delivery.delivery.nack(requeue: true) }
        self.buffer.finish(nil)
        await self.waitUntilIdle(until: deadline)
        let task = self.state.withLockedValue { $0.task }
        task?.cancel()
        // Whatever is still unsettled goes back to its queue now.
        let channel = self.channel
        await self.attempt(until: .after(Self.grace)) { await channel.close() }
        if let task, !isWithin { await self.attempt(until: .after(Self.grace)) { await task.value } }
        let waiters = self.state.withLockedValue { state in
            state.drain = .done
            let waiters = state.drainWaiters
            state.drainWaiters.removeAll()
            return waiters
        }
        self.finish(nil, hasLostChannel: true)
        for waiter in waiters { waiter.resolve(.success(())) }
    }

    /// Does something that cannot be told to end, and does not wait for it without end: it has a bound of its own
    /// (the client's reply timeout, the connection's end), or it is a handler that heeds nothing.
    private func attempt(until deadline: NIODeadline, _ body: @escaping @Sendable () async -> Void) async {
        let waiter = Waiter<Void, HareDoError>(cancelled: .cancelled)
        let token = self.scheduler.schedule(at: deadline) { waiter.resolve(.success(())) }
        let task = Task {
            await body()
            waiter.resolve(.success(()))
        }
        try? await waiter.uncancellableValue()
        self.scheduler.cancel(token)
        task.cancel()
    }

    private func waitUntilIdle(until deadline: NIODeadline) async {
        let waiter = Waiter<Void, HareDoError>(cancelled: .cancelled)
        let isIdle = self.state.withLockedValue { state in
            if !state.isIdle { state.idleWaiters.append(waiter) }
            return state.isIdle
        }
        guard !isIdle else { return }
        let token = self.scheduler.schedule(at: deadline) { waiter.resolve(.success(())) }
        try? await waiter.uncancellableValue()
        self.scheduler.cancel(token)
    }
}
