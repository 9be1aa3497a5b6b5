// SPDX-License-Identifier: Apache-2.0

/// Publishes messages of a service again, and knows when the broker has them.
struct Republisher: Sendable {
    /// Makes a queue unless it is there.
    let declare: @Sendable (RetryQueue) async throws(HareDoError) -> Void
    /// Returns when the message is in the queue of this name.
    let publish: @Sendable (MessageCopy, _ queue: String) async throws(HareDoError) -> Void

    /// Puts a message into a queue that it makes if necessary.
    func put(_ copy: MessageCopy, into queue: RetryQueue) async throws(HareDoError) {
        try await self.declare(queue)
        do {
            try await self.publish(copy, queue.name)
        } catch  where error.code == .invalidArgument {
            // Its headers may fill a frame without the history.
            try await self.publish(copy.withoutHistory, queue.name)
        }
    }
}
