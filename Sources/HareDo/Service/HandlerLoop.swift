// SPDX-License-Identifier: Apache-2.0
import AMQPClient
import Logging

/// Feeds a handler with the messages of a service, several at once.
struct HandlerLoop: Sendable {
    let core: ServiceCore
    let concurrency: Int
    let serve: @concurrent @Sendable (Message) async throws -> Reply?

    func run() async {
        var cursor = DeliveryCursor(self.core.buffer)
        let permits = Permits(self.concurrency)
        await withDiscardingTaskGroup { group in
            while let delivery = try? await cursor.next() {
                let message = self.core.message(delivery)
                guard (try? await permits.take()) != nil else {
                    message.storage.settleIfOpen(.requeue)
                    break
                }
                group.addTask {
                    await self.handle(message)
                    permits.give()
                }
            }
        }
    }

    private func handle(_ message: Message) async {
        do {
            // Nobody may be waiting for a reply, and a handler that rejected its message has said its last word.
            if let reply = try await self.serve(message), message.storage.awaitsReply {
                try await message.reply(reply)
            }
            message.storage.settleIfOpen(.ack)
        } catch {
            await self.failed(message, error)
        }
    }

    private func failed(_ message: Message, _ error: any Error) async {
        if error is CancellationError, Task.isCancelled {
            // The service is being ended: another instance may have more time.
            message.storage.settleIfOpen(.requeue)
            return
        }
        self.core.logger.info(
            "a handler failed",
            metadata: ["amqp.queue": "\(self.core.queue)", "error": "\(error)"])
        if message.storage.awaitsReply {
            // The caller is told; if even that cannot be sent, its deadline ends the call.
            try? await message.reply(Reply(failure: WireHeaders.failure(of: error)))
        }
        message.storage.settleIfOpen(.ack)
    }
}
