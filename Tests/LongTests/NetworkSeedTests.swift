// SPDX-License-Identifier: Apache-2.0
import AMQPClient
import Foundation
import TestSupport
import Testing

/// A bad network under load, from many seeds. Prints a ledger for each.
@Suite("A bad network, many seeds", .serialized)
struct NetworkSeedTests {
    static let chosen: [UInt64] = {
        if let one = ProcessInfo.processInfo.environment["HAREDO_LONG_SEED"].flatMap(UInt64.init) { return [one] }
        let count = ProcessInfo.processInfo.environment["HAREDO_LONG_SEEDS"].flatMap(UInt64.init) ?? 40
        return Array(1...max(1, count))
    }()

    @Test(
        "All that can happen to a connection, at random bytes: nothing confirmed is lost",
        arguments: NetworkSeedTests.chosen)
    func seeds(seed: UInt64) async throws {
        try await within(.seconds(90)) {
            try await TestBroker.runOnRabbitMQ { url in
                let book = try await runThroughProxy(
                    url, seed: seed,
                    faults: [
                        .cut, .cut, .reset, .reset, .drip, .delay(.milliseconds(2)), .delay(.milliseconds(50)),
                        .swallow(nil), .swallow(.toBroker), .swallow(.toClient), .stall(nil),
                    ], disturbed: 8, messages: 5000)
                book.print("network, seed \(seed)")
                #expect(book.missing == 0)
                #expect(book.confirmed + book.unknown == book.messages)
                #expect(book.latestOverrun <= .milliseconds(250))
            }
        }
    }
}
