// SPDX-License-Identifier: Apache-2.0
import AMQPClient
import Drivers
import NIOCore
import NIOPosix

/// A client's deliveries, fed from an event loop in batches and iterated somewhere.
final class DeliverySequence: Sendable {
    enum Place: String, CaseIterable {
        case mainActor = "on the main actor"
        case pool = "on the pool"
        case eventLoop = "on the event loop"
    }

    private static let batch = 64
    private let deliveries: AMQPDeliveries
    private let sink: any DeliverySink
    private let sample: AMQPDelivery
    private let loop: any EventLoop = MultiThreadedEventLoopGroup.singleton.next()

    init() throws {
        (self.deliveries, self.sink) = AMQPDeliveries.make(highWaterMark: 1 << 20)
        self.sample = try Sample.delivery()
    }

    func iterate(_ count: Int, _ place: Place) async throws {
        self.feed(count)
        switch place {
        case .mainActor: try await self.iterateOnMainActor(count)
        case .pool: try await self.take(count)
        case .eventLoop:
            try await withTaskExecutorPreference(EventLoopTaskExecutor(self.loop)) { try await self.take(count) }
        }
    }

    /// A batch with every turn of the loop, as a socket brings them.
    private func feed(_ count: Int) {
        guard count > 0 else { return }
        self.loop.execute {
            for _ in 0..<min(count, Self.batch) { self.sink.received(self.sample) }
            _ = self.sink.batchEnded()
            self.feed(count - Self.batch)
        }
    }

    @MainActor private func iterateOnMainActor(_ count: Int) async throws { try await self.take(count) }

    private func take(_ count: Int) async throws {
        var missing = count
        for try await _ in self.deliveries {
            missing -= 1
            if missing == 0 { return }
        }
    }
}
