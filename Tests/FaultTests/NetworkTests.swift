// SPDX-License-Identifier: Apache-2.0
import AMQPClient
import TestSupport
import Testing

/// A bad network between client and RabbitMQ while messages are published and consumed.
@Suite("A bad network", .enabled(if: TestBroker.hasRabbitMQ, "needs RabbitMQ"))
struct NetworkTests {
    enum Kind: String, CaseIterable, Sendable {
        case cut, reset, halfOpen, delay, drip

        var faults: [FaultPlan.Fault] {
            switch self {
            case .cut: [.cut]
            case .reset: [.reset]
            case .halfOpen: [.swallow(nil), .swallow(.toBroker), .swallow(.toClient)]
            case .delay: [.delay(.milliseconds(3))]
            case .drip: [.drip]
            }
        }
        /// Until the client notices, a half-open connection costs two heartbeats.
        var disturbedConnections: Int { self == .halfOpen ? 3 : 8 }
    }

    @Test("Connections end or falter at random bytes: nothing confirmed is lost", arguments: Kind.allCases)
    func faults(kind: Kind) async throws {
        let seed: UInt64 = 20_261
        try await within(.seconds(60)) {
            try await TestBroker.runOnRabbitMQ { url in
                let book = try await runThroughProxy(
                    url, seed: seed, faults: kind.faults, disturbed: kind.disturbedConnections, messages: 6000)
                print("seed \(seed), \(kind):\n\(book.summary)")
                #expect(book.missing == 0)
                #expect(book.confirmed + book.unknown == book.messages)
                #expect(book.count(of: "publisher lost") + book.count(of: "consumer lost") > 0)
            }
        }
    }
}
