// SPDX-License-Identifier: Apache-2.0
package import AMQPClient

/// A channel on a connection of its own, which is closed at the end whatever happens.
package func withChannel<R>(
    _ url: String, isolation: isolated (any Actor)? = #isolation, _ body: (AMQPChannel) async throws -> R
) async throws -> R {
    let connection = try await AMQPConnection.connect(AMQPConfiguration(uri: url))
    do {
        let result = try await body(try await connection.openChannel())
        await connection.close()
        return result
    } catch {
        await connection.close()
        throw error
    }
}
