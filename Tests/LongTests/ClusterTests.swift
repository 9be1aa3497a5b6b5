// SPDX-License-Identifier: Apache-2.0
import AMQPClient
import AMQPWire
import TestSupport
import Testing

/// A cluster that loses the node which leads the queue. Prints a ledger.
@Suite("A cluster whose leader is killed")
struct ClusterTests {
    /// Confirmed before each kill, and after the last.
    static let messages = 10_000
    static let nodes = 3
    static let kills = 3

    @Test("A quorum queue's leader killed three times: nothing confirmed is lost, and publishing resumes each time")
    func leaders() async throws {
        try await within(.seconds(400)) {
            try await TestBroker.runOnOwnRabbitMQ(nodes: Self.nodes) { cluster in
                var load = try await ConfirmedLoad(cluster.url())
                #expect(load.publishing.addresses.count == Self.nodes)
                load.queueArguments = ["x-queue-type": "quorum"]
                let queue = load.queue
                let book = try await load.run(ready: { try await cluster.flush() }) { book in
                    for kill in 1...Self.kills {
                        let due = book.confirmed + Self.messages
                        try await eventually("messages before kill \(kill)", within: .seconds(60)) {
                            book.confirmed >= due && book.outstanding >= 100
                        }
                        let node = try await leader(of: queue, in: cluster)
                        let unknown = book.unknown
                        // Fewer for a moment after each batch of confirms.
                        var outstanding = 0
                        try await eventually("many on their way") {
                            outstanding = book.outstanding
                            return outstanding >= 100
                        }
                        try await cluster.crash(node: node)
                        let (killed, confirmed) = (ContinuousClock.now, book.confirmed)
                        // Those on their way when it died may still be confirmed by the others.
                        try await eventually("publishing to resume without node \(node)", within: .seconds(60)) {
                            book.confirmed >= confirmed + 1000
                        }
                        let resumed = ContinuousClock.now
                        #expect(try await leader(of: queue, in: cluster, besides: node) != node)
                        print(
                            "kill \(kill): node \(node), the leader, \(outstanding) unconfirmed, "
                                + "\(book.unknown - unknown) unknown; 1000 more confirmed \(resumed - killed) later")
                        #expect(outstanding >= 100)
                        try await cluster.resume(node: node)
                        // A majority has to be there for the next kill too.
                        try await eventually("all members of the queue", within: .seconds(60)) {
                            try await cluster.ctl("list_queues", "name", "online")
                                .split(separator: "haredo").count == Self.nodes + 1
                        }
                    }
                    let due = book.confirmed + Self.messages
                    try await eventually("messages after the last kill", within: .seconds(60)) { book.confirmed >= due }
                }
                book.print("cluster, \(Self.kills) leaders killed")
                #expect(book.missing == 0)
                #expect(book.confirmed + book.unknown == book.sent)
                #expect(book.latestOverrun <= .milliseconds(250))
            }
        }
    }
}

/// The number of the node that leads the queue.
private func leader(of queue: String, in cluster: RabbitMQControl, besides dead: Int? = nil) async throws -> Int {
    let asked = dead == 1 ? 2 : 1
    let lines = try await cluster.ctl("list_queues", "name", "leader", node: asked).split(separator: "\n")
    let name = try #require(lines.first { $0.hasPrefix("\(queue)\t") }?.split(separator: "\t").last)
    for node in 1...ClusterTests.nodes {
        // A node is named after its port.
        let port = try #require(AMQPConfiguration(uri: try await cluster.url(node: node)).port)
        if name == "haredo\(port)@localhost" { return node }
    }
    throw RabbitMQControl.Failure(description: "no node is called \(name)")
}

extension AMQPConfiguration {
    fileprivate var port: Int? { if case .tcp(_, let port) = self.address { port } else { nil } }
}
