// SPDX-License-Identifier: Apache-2.0
import AMQPClient
import AMQPWire
import NIOCore
import TestSupport
import Testing

/// A connection on the broker, closed at the end whatever happens.
func withConnection<R: Sendable>(
    _ url: String, isolation: isolated (any Actor)? = #isolation, _ body: (AMQPConnection) async throws -> R
) async throws -> R {
    try await withConnection(AMQPConfiguration(uri: url), body)
}

func withConnection<R: Sendable>(
    _ configuration: AMQPConfiguration, isolation: isolated (any Actor)? = #isolation,
    _ body: (AMQPConnection) async throws -> R
) async throws -> R {
    let connection = try await AMQPConnection.connect(configuration)
    do {
        let result = try await body(connection)
        await connection.close()
        return result
    } catch {
        await connection.close()
        throw error
    }
}

/// A channel in confirm mode on a connection of its own, closed at the end whatever happens.
func withConfirmingChannel<R>(
    _ url: String, isolation: isolated (any Actor)? = #isolation, _ body: (AMQPChannel) async throws -> R
) async throws -> R {
    try await withChannel(url) { channel in
        try await channel.confirmSelect()
        return try await body(channel)
    }
}

/// Checks the reply code with which the broker refuses what `body` does.
func expectRefusal(
    _ code: UInt16, _ text: String = "", isolation: isolated (any Actor)? = #isolation,
    sourceLocation: SourceLocation = #_sourceLocation, _ body: () async throws -> Void
) async {
    do {
        try await body()
        Issue.record("not refused, expected \(code)", sourceLocation: sourceLocation)
    } catch let error as AMQPError {
        #expect(error.reply?.code == code, "\(error)", sourceLocation: sourceLocation)
        #expect(error.reply?.text.contains(text) == true, "\(error)", sourceLocation: sourceLocation)
    } catch {
        Issue.record("thrown: \(error)", sourceLocation: sourceLocation)
    }
}

extension AMQPDelivery {
    var text: String { String(buffer: self.body) }
}
