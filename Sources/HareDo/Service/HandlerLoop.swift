// SPDX-License-Identifier: Apache-2.0
@_spi(HareDo) import AMQPClient

/// Feeds a handler with the messages of a service, several at once.
///
/// Each of a fixed number of workers takes the next message as soon as it has handled one. With a task for every message
/// instead, making the tasks cost more than handling short messages.
struct HandlerLoop: Sendable {
    let core: ServiceCore
    let handling: MessageHandling
    /// Where the handlers run; `nil` is the global executor.
    let executor: (any TaskExecutor)?

    func run() async {
        let cursor = DeliveryCursor(self.core.buffer)
        guard cursor.isValid else {
            self.core.iteratedTwice()
            return
        }
        await withDiscardingTaskGroup { group in
            for _ in 0..<self.core.options.concurrency { group.addTask { await self.keepWorking(cursor) } }
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
            await self.core.handle(delivery) { await self.handling.handle($0, shift) }
        }
        self.core.handlerEnded()
    }
}
