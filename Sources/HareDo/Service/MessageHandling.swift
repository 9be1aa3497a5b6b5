// SPDX-License-Identifier: Apache-2.0
@_spi(HareDo) import AMQPClient
import Logging
import NIOConcurrencyHelpers

/// What happens to each message of a service with a handler, from when it is handed out until it is settled.
struct MessageHandling: Sendable {
    private let core: ServiceCore
    private let options: ServiceOptions
    private let serve: HandlerInterceptor.Next
    /// Messages that are being published again.
    private let moving = OnceGate()
    /// How many may be: see ``writeDown(_:_:)``.
    private let writings = TokenBucket(perSecond: 10, burst: 64)

    init(_ core: ServiceCore, serve: @escaping HandlerInterceptor.Next) {
        self.core = core
        self.options = core.options
        // What was handled before is innermost: a reply that is kept goes only to those whom the others let through.
        let once: HandlerInterceptor.Next
        if let handled = core.options.handledMessages {
            let handling = OnceGate()
            once = { message in try await Self.serveOnce(message, core, handled, handling, serve) }
        } else {
            once = serve
        }
        self.serve = HandlerInterceptor.chain(core.options.interceptors, around: once)
    }

    func handle(_ message: Message, _ shift: Shift) async {
        guard await self.mayBegin(message) else { return }
        if self.options.acknowledgement == .beforeHandler { message.storage.settleIfOpen(.ack) }
        var failures: [FailedAttempt] = []
        while await self.attempt(message, shift, &failures) { message.storage.attemptAgain() }
    }

    // MARK: - Before

    /// Sees to it that a message that ends its process is not handled for ever.
    ///
    /// - Returns: whether it is to be handled now; if not, it is settled.
    private func mayBegin(_ message: Message) async -> Bool {
        guard !self.core.shape.isExclusive, self.options.acknowledgement != .beforeHandler else { return true }
        let attempt = message.attempt
        guard attempt > 1 else { return true }
        guard attempt > self.options.maximumDeliveries else { return await !self.writeDown(attempt, message) }
        let failure = HareDoError.RemoteFailure(
            code: HareDoError.RemoteFailure.tooManyDeliveries,
            text: "the message was delivered \(attempt - 1) times, and never handled to the end")
        self.log(.error, "a message was delivered too often", nil)
        self.core.recordFailure(failure)
        await self.end(
            message, self.options.onFailure == .drop ? .drop : .park, failure,
            [FailedAttempt(attempt: attempt, time: UnixTime.now, error: failure.text)])
        return false
    }

    /// Writes into a message that was delivered before which attempt this is, so that the next one is told even if this
    /// one ends with its process: it is published again. Brokers count too, but only some, on some queues, some reasons
    /// for coming back (RabbitMQ 4.3 counts what is rejected on replicated queues, and no lost connections).
    ///
    /// Not all of many: a process that dies leaves few behind, and a message that ended it is among them, at the head of
    /// its queue. But a broker that starts again says of everything that it may have been delivered; to publish 80,000
    /// messages again took longer than to handle them, and none of them had ended a process.
    ///
    /// - Returns: whether it went back to its queue.
    private func writeDown(_ attempt: Int, _ message: Message) async -> Bool {
        let id = message.id?.rawValue ?? ""
        do throws(HareDoError) {
            // The copy may come at once. To be handled it waits until its original is gone from the queue: else a handler
            // that ends its process would leave both, and each time more.
            try await self.moving.enter(id)
            defer { self.moving.leave(id) }
            guard message.storage.delivery.redelivered, self.writings.take(at: .now) else { return false }
            let remaining = self.remaining(message)
            let copy = self.copy(of: message).forAttempt(attempt, remaining: remaining).inPlace(remaining: remaining)
            try await self.core.republisher.publish(copy, self.core.queue)
            message.storage.settleIfOpen(.ack)
            await self.core.settlementsArrived()
            return true
        } catch {
            // Handled uncounted rather than not at all.
            self.log(.warning, "a delivery could not be counted", error)
            return false
        }
    }

    private static func serveOnce(
        _ message: Message, _ core: ServiceCore, _ handled: any HandledMessages, _ handling: OnceGate,
        _ serve: HandlerInterceptor.Next
    ) async throws -> Reply? {
        guard let id = message.id else { return try await serve(message) }
        try await handling.enter(id.rawValue)
        defer { handling.leave(id.rawValue) }
        if let before = try await handled.outcome(of: id) {
            core.counters.withLockedValue { $0.repeatedMessages += 1 }
            return before.reply
        }
        let reply = try await serve(message)
        do {
            try await handled.remember(HandledMessage(reply: reply ?? message.storage.sentReply), of: id)
        } catch {
            // It was handled: to treat it as failed would have it handled twice for certain.
            core.logger.error(
                "a handled message could not be remembered", metadata: core.metadata.with(error: error))
        }
        return reply
    }

    // MARK: - One attempt

    /// - Returns: whether another attempt follows at once.
    private func attempt(_ message: Message, _ shift: Shift, _ failures: inout [FailedAttempt]) async -> Bool {
        let (result, isTooLate) = await self.result(message, shift)
        if isTooLate {
            // Nobody waits for it any more, here or at another instance.
            self.log(.info, "a handler was cancelled at its deadline", nil)
            message.storage.settleIfOpen(.ack)
            return false
        }
        do {
            try await self.answer(message, try result.get())
            if self.options.acknowledgement != .manual { message.storage.settleIfOpen(.ack) }
            return false
        } catch {
            return await self.failed(message, error, &failures)
        }
    }

    /// - Returns: what the handler did, and whether it was cancelled because its caller gave up.
    private func result(_ message: Message, _ shift: Shift) async -> (Result<Reply?, any Error>, isTooLate: Bool) {
        let began = ContinuousClock.now
        self.core.record { $0.began() }
        defer { self.core.record { $0.ended(after: .now - began) } }
        guard self.options.cancelsAtDeadline, let deadline = message.deadline else {
            return (await Result { try await self.serve(message) }, false)
        }
        let turn = shift.turnBegan()
        let token = self.core.scheduler.schedule(after: deadline - began) { shift.cancel(turn) }
        let result = await Result { try await self.serve(message) }
        self.core.scheduler.cancel(token)
        return (result, shift.turnEnded())
    }

    /// - Throws: only what is the handler's own mistake, or the end of its time.
    private func answer(_ message: Message, _ reply: Reply?) async throws {
        // Nobody may be waiting for a reply, and a handler that rejected its message has said its last word.
        guard let reply, message.storage.awaitsReply else { return }
        do {
            try await message.reply(reply)
        } catch {
            if Task.isCancelled || error.code == .invalidArgument { throw error }
            // The work is done, and only the caller does not hear of it: it is not told that the handler failed.
            self.log(.info, "a reply could not be sent", error)
        }
    }

    // MARK: - After a failure

    /// - Returns: whether another attempt follows at once.
    private func failed(_ message: Message, _ error: any Error, _ failures: inout [FailedAttempt]) async -> Bool {
        let storage = message.storage
        if Task.isCancelled {
            // The service is being ended: another instance may have more time. Whatever the error is called: a call
            // that is cancelled within a handler throws one of ours, and others have their own.
            storage.settleIfOpen(.requeue)
            return false
        }
        self.log(.info, "a handler failed", error)
        let failure = WireHeaders.failure(of: error, badRequest: storage.couldNotBeDecoded)
        self.core.recordFailure(failure)
        failures.append(FailedAttempt(attempt: storage.attempt, time: UnixTime.now, error: "\(error)"))
        // A handler that settled its message has said what becomes of it.
        let verdict =
            storage.isSettled && self.options.acknowledgement != .beforeHandler
            ? .drop
            : self.options.onFailure.verdict(
                afterAttempt: storage.attempt, timeLeft: message.deadline.map { $0 - .now },
                FailurePolicy.FailureKind(error, couldNotBeDecoded: storage.couldNotBeDecoded))
        guard case .retry(let pause) = verdict else {
            await self.end(message, verdict, failure, failures)
            return false
        }
        self.core.counters.withLockedValue { $0.retries += 1 }
        guard self.core.shape.isExclusive else {
            await self.wait(message, pause, failures)
            return false
        }
        // Its queue is gone with this process: it may as well wait here.
        guard (try? await Task.sleep(for: .milliseconds(pause))) != nil else {
            storage.settleIfOpen(.requeue)
            return false
        }
        return true
    }

    /// Has the message come back after a pause.
    private func wait(_ message: Message, _ pause: Int64, _ failures: [FailedAttempt]) async {
        let copy = self.copy(of: message, failures).forAttempt(
            message.attempt + 1, remaining: self.remaining(message).map { max($0 - pause, 0) })
        do {
            try await self.core.republisher.put(copy, into: .waiting(pause, of: self.core.queue, self.core.shape))
            message.storage.settleIfOpen(.ack)
        } catch {
            await self.couldNotBeMoved(message, error)
        }
    }

    /// There is no further attempt.
    private func end(
        _ message: Message, _ verdict: FailurePolicy.Verdict, _ failure: HareDoError.RemoteFailure,
        _ failures: [FailedAttempt]
    ) async {
        if verdict == .park {
            do {
                let copy = self.copy(of: message, failures).parked(from: self.core.queue)
                try await self.core.republisher.put(copy, into: .parked(of: self.core.queue, self.core.shape))
                self.core.counters.withLockedValue { $0.parkedMessages += 1 }
            } catch {
                await self.couldNotBeMoved(message, error)
                return
            }
        }
        if message.storage.awaitsReply {
            // The caller is told; if even that cannot be sent, its deadline ends the call.
            try? await message.reply(Reply(failure: failure))
        }
        message.storage.settleIfOpen(.ack)
    }

    /// The broker does not take the message: it goes back to its queue, not too often in a second.
    private func couldNotBeMoved(_ message: Message, _ error: HareDoError) async {
        self.log(.error, "a message could not be put aside", error)
        try? await Task.sleep(for: .seconds(1))
        message.storage.settleIfOpen(.requeue)
    }

    // MARK: - Parts

    private func copy(of message: Message, _ failures: [FailedAttempt] = []) -> MessageCopy {
        let copy = MessageCopy(of: message.storage.delivery, own: self.core.responder.user)
        return failures.reduce(copy) { $0.after($1) }
    }

    /// Milliseconds the caller still waits.
    private func remaining(_ message: Message) -> Int64? {
        message.deadline.map { max(($0 - .now).wholeMilliseconds, 0) }
    }

    private func log(_ level: Logger.Level, _ text: Logger.Message, _ error: (any Error)?) {
        self.core.logger.log(
            level: level, text, metadata: error.map { self.core.metadata.with(error: $0) } ?? self.core.metadata)
    }
}

extension Logger.Metadata {
    fileprivate func with(error: any Error) -> Logger.Metadata {
        self.merging(["error": "\(WireHeaders.cut("\(error)", to: 2048))"]) { $1 }
    }
}

extension Result where Failure == any Error {
    fileprivate init(_ body: () async throws -> Success) async {
        do {
            self = .success(try await body())
        } catch {
            self = .failure(error)
        }
    }
}
