// SPDX-License-Identifier: Apache-2.0
import HareDo
import TestSupport
import Testing

/// A service and a client on the same broker, disconnected at the end whatever happens.
func withPair<R: Sendable>(
    _ url: String, isolation: isolated (any Actor)? = #isolation,
    configure: (inout Peer.Configuration) -> Void = { _ in },
    _ body: (_ service: Peer, _ client: Peer) async throws -> R
) async throws -> R {
    var configuration = Peer.Configuration.url(url)
    configure(&configuration)
    let service = Peer(name: TestBroker.uniqueName("service"), configuration)
    let client = Peer(configuration)
    client.timeout = .seconds(10)
    service.timeout = .seconds(10)
    do {
        try await service.connect()
        try await client.connect()
        let result = try await body(service, client)
        await client.disconnect()
        await service.disconnect()
        return result
    } catch {
        await client.disconnect()
        await service.disconnect()
        throw error
    }
}

/// Checks the code of the error that `body` throws.
func expectError(
    _ code: HareDoError.Code, isolation: isolated (any Actor)? = #isolation,
    sourceLocation: SourceLocation = #_sourceLocation, _ body: () async throws -> Void
) async {
    do {
        try await body()
        Issue.record("nothing was thrown, expected \(code)", sourceLocation: sourceLocation)
    } catch let error as HareDoError {
        #expect(error.code == code, "\(error)", sourceLocation: sourceLocation)
    } catch {
        Issue.record("thrown: \(error), expected \(code)", sourceLocation: sourceLocation)
    }
}
