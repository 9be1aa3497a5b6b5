// SPDX-License-Identifier: Apache-2.0
import NIOConcurrencyHelpers
import NIOCore

/// The connections of a broker, so that they can be counted and closed.
final class ConnectionRegistry: Sendable {
    private struct State {
        var connections: [ObjectIdentifier: (number: UInt64, channel: any Channel)] = [:]
        var isClosed = false
        var isRefusing = false
        var lastNumber: UInt64 = 0
    }

    private let limit: Int
    private let state = NIOLockedValueBox(State())

    init(limit: Int) { self.limit = limit }

    /// Forgets it when it closes.
    ///
    /// - Returns: a number of its own; `nil` if there is no room for one more.
    func add(_ channel: any Channel) -> UInt64? {
        let id = ObjectIdentifier(channel)
        let number = self.state.withLockedValue { state -> UInt64? in
            guard !state.isClosed, !state.isRefusing, state.connections.count < self.limit else { return nil }
            state.lastNumber += 1
            state.connections[id] = (state.lastNumber, channel)
            return state.lastNumber
        }
        guard let number else { return nil }
        channel.closeFuture.whenComplete { _ in
            self.state.withLockedValue { $0.connections[id] = nil }
        }
        return number
    }

    /// Whether whoever connects now is turned away.
    func refuse(_ isRefusing: Bool) { self.state.withLockedValue { $0.isRefusing = isRefusing } }

    var count: Int { self.state.withLockedValue { $0.connections.count } }

    var connections: [any Channel] { self.state.withLockedValue { $0.connections.values.map(\.channel) } }

    func connection(_ number: UInt64) -> (any Channel)? {
        self.state.withLockedValue { $0.connections.values.first { $0.number == number }?.channel }
    }

    /// Sends every connection's handler an event. Returns before they have it.
    func tellAll(_ event: any Sendable) {
        for connection in self.connections { Self.tell(connection, event) }
    }

    /// - Returns: succeeds when the connection's handler has it.
    @discardableResult
    static func tell(_ connection: any Channel, _ event: any Sendable) -> EventLoopFuture<Void> {
        connection.eventLoop.submit { connection.pipeline.fireUserInboundEventTriggered(event) }
    }

    /// Takes no more connections.
    ///
    /// - Returns: those there are.
    func close() -> [any Channel] {
        self.state.withLockedValue { state in
            state.isClosed = true
            return state.connections.values.map(\.channel)
        }
    }
}
