// SPDX-License-Identifier: Apache-2.0
@_spi(HareDo) import AMQPClient
import Logging

/// Feeds a handler with the messages of a service, several at once.
///
/// Each of a fixed number of workers takes the next message as soon as it has handled one. With a task for every message
/// instead, making the tasks cost more than handling short messages.
struct HandlerLoop: Sendable {
    let core: ServiceCore
    let concurrency: Int
    /// Where the handlers run; `nil` is the global executor.
    let executor: (any TaskExecutor)?
    /// Whether a handler is cancelled when its caller gives up.
    let cancelsAtDeadline: Bool
    let serve: @concurrent @Sendable (Message) async throws -> Reply?

    func run() async {
        let cursor = DeliveryCursor(self.core.buffer)
        guard cursor.isValid else {
            self.core.iteratedTwice()
            return
        }
        await withDiscardingTaskGroup { group in
            for _ in 0..<self.concurrency { group.addTask { await self.keepWorking(cursor) } }
        }
    }

    private func keepWorking(_ cursor: DeliveryCursor<ServiceDelivery>) async {
        var shift: Shift
        repeat {
            shift = Shift()
            let task = Task(executorPreference: self.executor) { @concurrent [shift] in await self.work(cursor, shift) }
            shift.began(task)
            await withTaskCancellationHandler {
                await task.value
            } onCancel: {
                task.cancel()
            }
        } while shift.wasCancelled && !Task.isCancelled
    }

    private func work(_ cursor: DeliveryCursor<ServiceDelivery>, _ shift: Shift) async {
        var cursor = cursor
        // What is taken from the buffer has begun, and what has not may go back: so that draining waits for a message
        // from the moment it leaves the buffer, the worker counts as busy before it looks there.
        self.core.handlerBegan()
        while !shift.wasCancelled,
            let delivery = try? await cursor.next(
                willWait: { self.core.handlerEnded() }, willTake: { self.core.handlerBegan() })
        {
            await self.core.handle(delivery) { await self.handle($0, shift) }
        }
        self.core.handlerEnded()
    }

    private func handle(_ message: Message, _ shift: Shift) async {
        let (result, isTooLate) = await self.result(message, shift)
        if isTooLate {
            // Nobody waits for it any more, here or at another instance.
            self.core.logger.info("a handler was cancelled at its deadline", metadata: self.core.metadata)
            message.storage.settleIfOpen(.ack)
            return
        }
        let reply: Reply?
        do {
            reply = try result.get()
        } catch {
            await self.failed(message, error)
            return
        }
        // Nobody may be waiting for a reply, and a handler that rejected its message has said its last word.
        if let reply, message.storage.awaitsReply {
            do {
                try await message.reply(reply)
            } catch {
                if Task.isCancelled || error.code == .invalidArgument {
                    // There was no time for it, or it is the handler's own mistake.
                    await self.failed(message, error)
                    return
                }
                // The work is done, and only the caller does not hear of it: it is not told that the handler failed.
                self.core.logger.info(
                    "a reply could not be sent",
                    metadata: self.core.metadata.merging(["error": "\(error.message)"]) { $1 })
            }
        }
        message.storage.settleIfOpen(.ack)
    }

    /// - Returns: what the handler did, and whether it was cancelled because its caller gave up.
    private func result(_ message: Message, _ shift: Shift) async -> (Result<Reply?, any Error>, isTooLate: Bool) {
        guard self.cancelsAtDeadline, let deadline = message.deadline else {
            return (await Result { try await self.serve(message) }, false)
        }
        let turn = shift.turnBegan()
        let token = self.core.scheduler.schedule(after: deadline - .now) { shift.cancel(turn) }
        let result = await Result { try await self.serve(message) }
        self.core.scheduler.cancel(token)
        return (result, shift.turnEnded())
    }

    private func failed(_ message: Message, _ error: any Error) async {
        if Task.isCancelled {
            // The service is being ended: another instance may have more time. Whatever the error is called: a call
            // that is cancelled within a handler throws one of ours, and others have their own.
            message.storage.settleIfOpen(.requeue)
            return
        }
        self.core.logger.info(
            "a handler failed",
            metadata: self.core.metadata.merging(["error": "\(WireHeaders.cut("\(error)", to: 2048))"]) { $1 })
        if message.storage.awaitsReply {
            // The caller is told; if even that cannot be sent, its deadline ends the call.
            try? await message.reply(
                Reply(
                    failure: WireHeaders.failure(of: error, badRequest: message.storage.couldNotBeDecoded)))
        }
        message.storage.settleIfOpen(.ack)
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
