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

/// Makes a call that is not answered in time, again and again until `hasBegun`: what is held up on its way until its
/// deadline is not handled.
func callInVain(
    _ peer: Peer, _ address: String, data: String = "", timeout: Duration, until hasBegun: @Sendable () -> Bool
) async throws {
    try await eventually("a call is handled in time") {
        let reply = try await peer.call(address, data: data, timeout: timeout)
        #expect(reply == nil)
        return hasBegun()
    }
}

/// Cuts the connections that go through a proxy, and returns when the peers have noticed, even if by then they are
/// connected again.
func cut(_ proxy: TestProxy, noticedBy peers: Peer...) async {
    let allChanges = peers.map { $0.healthChanges }
    proxy.cut()
    for changes in allChanges {
        for await health in changes where health == .connecting { break }
    }
}

/// Waits until peers have everything back after a loss: a broker may keep their exclusive queues from them as long as it
/// takes the connections before for alive.
func untilHealthy(_ peers: Peer...) async throws {
    for peer in peers {
        try await eventually("\(peer.name) is whole again") { await peer.isHealthy && peer.health == .healthy }
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
