// SPDX-License-Identifier: Apache-2.0
@_spi(HareDo) import AMQPClient
import Logging
public import ServiceLifecycle

/// A service that listens: what ``Peer/listen(on:as:options:)`` returns.
public struct PeerService: Sendable, ServiceLifecycle.Service {
    let core: ServiceCore

    /// The queue it listens on.
    public var queue: String { self.core.queue }

    /// The messages that arrive, for one `for await` at a time. Ends when the service does; ``run()`` tells why.
    ///
    /// In the loop, `reply` sends and then acknowledges; a message that was not replied to, acknowledged or rejected is
    /// acknowledged when the loop asks for the next one. Leaving the loop puts the current one back into the queue
    /// unless it was answered; those behind it stay for the next loop.
    ///
    /// A service with a handler has none left to iterate.
    public var messages: Messages { Messages(core: self.core) }

    /// Serves the methods, if there are any (`handle`), waits until the service ends, and drains it when the
    /// surrounding task is cancelled or its service group shuts down gracefully.
    ///
    /// - Throws: ``HareDoError``: why the service ended, if it was not asked to: `connectionLost`, `disconnected`, or
    ///   `serviceEnded` when its queue was deleted or its messages were iterated twice at once.
    public func run() async throws {
        // Made first: the shutdown may have begun before we wait for anything.
        let waiter = self.core.makeEndWaiter()
        self.core.serveMethods()
        await withTaskCancellationOrGracefulShutdownHandler {
            try? await waiter.uncancellableValue()
        } onCancelOrGracefulShutdown: {
            waiter.resolve(.success(()))
        }
        self.core.forget(waiter)
        await self.core.drain(within: .seconds(10))
        if let failure = self.core.failure { throw failure }
    }

    /// Ends the service in order: no new messages; what has not been started goes back to the queue; what has may finish
    /// until `limit`; what has not by then is cancelled and goes back as well.
    ///
    /// Draining again waits for the first to be done; the shorter limit counts. A handler may drain its own service:
    /// it is not waited for, and cancelled then. In a `for await` over ``messages``, answer the current message
    /// before.
    public func drain(within limit: Duration = .seconds(10)) async {
        await self.core.drain(within: limit)
    }

    /// The messages of a service.
    public struct Messages: AsyncSequence, Sendable {
        /// A service that ends ends its messages; ``PeerService/run()`` tells why.
        public typealias Failure = Never
        let core: ServiceCore

        public func makeAsyncIterator() -> AsyncIterator {
            let cursor = DeliveryCursor(self.core.buffer)
            if !cursor.isValid { self.core.iteratedTwice() }
            return AsyncIterator(core: self.core, cursor: cursor)
        }

        /// Serves what is waiting without suspending, and settles the message before.
        public struct AsyncIterator: AsyncIteratorProtocol {
            /// The message in the loop's hands. When the loop is left its last reference goes, and the message back.
            private final class Current {
                var message: Message?
                deinit { self.message?.storage.settleIfOpen(.requeue) }
            }
            private let core: ServiceCore
            private var cursor: DeliveryCursor<ServiceDelivery>
            private let current = Current()

            init(core: ServiceCore, cursor: DeliveryCursor<ServiceDelivery>) {
                self.core = core
                self.cursor = cursor
            }

            public mutating func next(isolation actor: isolated (any Actor)?) async -> Message? { await self.next() }

            public mutating func next() async -> Message? {
                self.current.message?.storage.settleIfOpen(.ack)
                self.current.message = nil
                // The buffer of a service ends without an error: `run()` tells it.
                while let delivery = try? await self.cursor.next() {
                    guard let message = self.core.message(delivery) else { continue }
                    self.current.message = message
                    return message
                }
                return nil
            }
        }
    }
}
