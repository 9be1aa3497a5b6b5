// SPDX-License-Identifier: Apache-2.0
import HareDo

/// A peer of ours with time enough for programs that take long to start, disconnected at the end whatever happens.
func withPeer<R>(
    _ url: String, isolation: isolated (any Actor)? = #isolation, _ body: (Peer) async throws -> R
) async throws -> R {
    let peer = Peer(.url(url))
    peer.timeout = .seconds(10)
    try await peer.connect()
    do {
        let result = try await body(peer)
        await peer.disconnect()
        return result
    } catch {
        await peer.disconnect()
        throw error
    }
}

/// Calls a service that adds one to the header `i`, many times at once.
///
/// - Returns: the answers that are wrong.
func wrongIncrements(of address: String, for peer: Peer, count: Int = 20) async throws -> Set<String> {
    try await withThrowingTaskGroup(of: (Int, String?).self) { group in
        for i in 1...count {
            group.addTask { (i, try await peer.call(address, headers: ["i": .integer(Int64(i))])?.text) }
        }
        var wrong: Set<String> = []
        for try await (i, text) in group where text != "\(i + 1)" { wrong.insert("\(i) -> \(text ?? "nothing")") }
        return wrong
    }
}
