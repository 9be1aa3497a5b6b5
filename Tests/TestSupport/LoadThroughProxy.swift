// SPDX-License-Identifier: Apache-2.0
import AMQPClient

/// A ``ConfirmedLoad`` through a ``FaultProxy`` that does one of `faults` to each of the first connections, at random points.
///
/// - Parameters:
///   - disturbed: how many connections something happens to; the later ones are left alone.
package func runThroughProxy(
    _ url: String, seed: UInt64, faults: [FaultPlan.Fault], disturbed: Int, messages: Int
) async throws -> MessageBook {
    try await FaultProxy.with(to: url) { connection in
        guard connection < disturbed else { return .none }
        // The first two are let in: a first attempt that fails is an error, and no recovery begins. Later ones may end in
        // the middle of their handshake.
        let bytes = connection < 2 ? 3000...60_000 : 0...60_000
        let plan = FaultPlan.random(seed: seed, connection: connection, faults: faults, bytes: bytes)
        print("connection \(connection) of seed \(seed): \(plan)")
        return plan
    } body: { proxy, through in
        var load = try ConfirmedLoad(through)
        load.messages = messages
        load.publishers = 100
        load.publishing.heartbeat = .seconds(1)
        load.consuming.heartbeat = .seconds(1)
        let book = try await load.run { _ in }
        for (fault, count) in proxy.faults.sorted(by: { "\($0.key)" < "\($1.key)" }) {
            for _ in 0..<count { book.saw(event: "proxy: \(fault)") }
        }
        return book
    }
}
