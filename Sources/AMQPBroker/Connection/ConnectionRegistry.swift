// SPDX-License-Identifier: Apache-2.0
import NIOConcurrencyHelpers
import NIOCore

/// The connections of a broker, so that they can be counted and closed.
final class ConnectionRegistry: Sendable {
    private struct State {
        var connections: [ObjectIdentifier: any Channel] = [:]
        var isClosed = false
        var lastNumber: UInt64 = 0
    }

    private let limit: Int
    private let state = NIOLockedValueBox(State())

    init(limit: Int) { self.limit = limit }

    /// - Returns: whether there is room for one more. It is forgotten when it closes.
    func add(_ channel: any Channel) -> Bool {
        let id = ObjectIdentifier(channel)
        let isAdded = self.state.withLockedValue { state in
            guard !state.isClosed, state.connections.count < self.limit else { return false }
            state.connections[id] = channel
            return true
        }
        guard isAdded else { return false }
        channel.closeFuture.whenComplete { _ in
            self.state.withLockedValue { $0.connections[id] = nil }
        }
        return true
    }

    var count: Int { self.state.withLockedValue { $0.connections.count } }

    var connections: [any Channel] { self.state.withLockedValue { Array($0.connections.values) } }

    func nextNumber() -> UInt64 {
        self.state.withLockedValue { state in
            state.lastNumber += 1
            return state.lastNumber
        }
    }

    /// Takes no more connections.
    ///
    /// - Returns: those there are.
    func close() -> [any Channel] {
        self.state.withLockedValue { state in
            state.isClosed = true
            return Array(state.connections.values)
        }
    }
}
