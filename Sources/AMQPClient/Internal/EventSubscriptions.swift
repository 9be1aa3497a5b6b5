// SPDX-License-Identifier: Apache-2.0
import NIOConcurrencyHelpers

/// Who wants to know of a connection's events. May be used from any thread.
///
/// A subscription that nobody holds any more is forgotten.
final class EventSubscriptions: Sendable {
    private struct Subscription: Sendable {
        weak var buffer: DeliveryBuffer<AMQPConnectionEvent>?
    }
    private struct State: Sendable {
        var subscriptions: [Subscription] = []
        /// What a new subscription begins with: whether the connection is open, healthy, or over, and whether it is blocked.
        var present: AMQPConnectionEvent?
        var blocked: AMQPConnectionEvent?
        var isOver = false
    }
    private static let limit = 256
    private let state = NIOLockedValueBox(State())

    func subscribe() -> AMQPConnectionEvents {
        let buffer = DeliveryBuffer<AMQPConnectionEvent>(highWaterMark: .max) { _ in 0 }
        self.state.withLockedValue { state in
            for event in [state.present, state.blocked] { if let event { buffer.append(event) } }
            if state.isOver {
                buffer.finish(nil)
            } else {
                state.subscriptions.removeAll { $0.buffer == nil }
                state.subscriptions.append(Subscription(buffer: buffer))
            }
        }
        return AMQPConnectionEvents(buffer: buffer)
    }

    func send(_ event: AMQPConnectionEvent) {
        self.state.withLockedValue { state in
            switch event {
            case .connected, .recovered: state.present = .connected
            case .unhealthy: state.present = event
            case .lost, .recovering, .closed: (state.present, state.blocked) = (event, nil)
            case .blocked: state.blocked = event
            case .unblocked: state.blocked = nil
            case .channelLost: break
            }
            if case .closed = event { state.isOver = true }
            for buffer in state.subscriptions.lazy.compactMap(\.buffer) {
                buffer.append(event, keeping: Self.limit)
                if state.isOver { buffer.finish(nil) } else { buffer.batchEnded() }
            }
            if state.isOver { state.subscriptions.removeAll() }
        }
    }
}
