// SPDX-License-Identifier: Apache-2.0
import AMQPClient
import TestSupport
import Testing

@testable import HareDo

@Suite("Services are found, and peers know how they are", .timeLimit(.minutes(1)))
struct DiscoveryTests {
    @Test("Services answer all, by name, and by instance", arguments: TestBroker.available)
    func discovery(broker: TestBroker) async throws {
        try await broker.run { url in
            // Apart from other tests on the same broker.
            let namespace = TestBroker.uniqueName("n").replacing(".", with: "-")
            try await withPair(url, configure: { $0.namespace = namespace }) { first, second in
                let nobody = try await first.services(within: .seconds(30))
                #expect(nobody.isEmpty)
                let name = TestBroker.uniqueName("calculator")
                let information = ServiceInformation(name: "calculator", version: "1.2", metadata: ["zone": "a"])
                var services: [PeerService] = []
                for peer in [first, second] {
                    let service = try await peer.listen(
                        on: name, as: .shared, options: .init(information: information))
                    try service.handle("add") { (numbers: [Int]) in
                        guard !numbers.isEmpty else { throw ServiceError("nothing", "to add") }
                        return numbers.reduce(0, +)
                    }
                    services.append(service)
                }
                let runs = services.map { service in Task { try await service.run() } }
                try await first.listen { _ in nil }
                let all = try await second.services(within: .seconds(10), quorum: 3)
                #expect(all.map(\.name).sorted() == ["calculator", "calculator", first.name].sorted())
                #expect(Set(all.map(\.instance)).count == 3)
                for numbers in [[1, 2], [3, 4], []] {
                    _ = try? await second.call(name, method: "add", encoding: numbers, as: Int.self)
                }
                let named = try await second.services(
                    .named("calculator"), asking: .statistics, within: .seconds(10), quorum: 2)
                for report in named {
                    #expect(report.version == "1.2" && report.metadata == ["zone": "a"])
                    #expect(report.queue == name && report.methods == ["add"])
                    #expect(report.statistics?.inFlight == 0)
                }
                #expect(named.reduce(0) { $0 + ($1.statistics?.requests ?? 0) } == 3)
                #expect(named.reduce(0) { $0 + ($1.statistics?.errors ?? 0) } == 1)
                #expect(named.compactMap(\.statistics?.lastError) == ["nothing: to add"])
                let instance = try #require(named.first?.instance)
                let one = try await second.services(.instance(instance), asking: .ping, within: .seconds(10), quorum: 1)
                #expect(one.first?.instance == instance && one.first?.statistics == nil && one.first?.queue == nil)
                // Names are names, not patterns.
                let pattern = try await second.services(.named("*"), within: .seconds(30))
                #expect(pattern.isEmpty)
                for service in services { await service.drain() }
                for run in runs { try await run.value }
                var left: [ServiceReport] = []
                // An answer that was held up for longer is asked for again; those that have drained have none.
                try await eventually("an answer") {
                    left = try await second.services(within: .milliseconds(500))
                    return !left.isEmpty
                }
                #expect(left.map(\.name) == [first.name])
            }
        }
    }

    @Test("A service that nobody may find is not found", arguments: TestBroker.available)
    func undiscoverable(broker: TestBroker) async throws {
        try await broker.run { url in
            let namespace = TestBroker.uniqueName("n").replacing(".", with: "-")
            let hides: (inout Peer.Configuration) -> Void = {
                $0.namespace = namespace
                $0.isDiscoverable = false
            }
            try await withPair(url, configure: hides) { hidden, other in
                try await hidden.listen { _ in "x" }
                let found = try await other.services(within: .seconds(30))
                #expect(found.isEmpty)
            }
        }
    }

    @Test("They are found again after a reconnect", arguments: TestBroker.available)
    func afterReconnect(broker: TestBroker) async throws {
        try await broker.run { url in
            let namespace = TestBroker.uniqueName("n").replacing(".", with: "-")
            let proxy = try TestProxy(to: url)
            let quickly: (inout Peer.Configuration) -> Void = {
                $0.namespace = namespace
                $0.maximumReconnectDelay = .milliseconds(100)
            }
            try await withPair(proxy.url, configure: quickly) { server, client in
                let changes = server.healthChanges
                let seen = Task {
                    var seen: [PeerHealth] = []
                    for await health in changes {
                        // In between, where the broker has not noticed yet that the connection before is gone.
                        if case .incomplete = health { continue }
                        seen.append(health)
                        if seen.count == 3 { break }
                    }
                    return seen
                }
                try await server.listen(options: .init(information: .init(name: "steady"))) { _ in "x" }
                await cut(proxy, noticedBy: client)
                #expect(await seen.value == [.healthy, .connecting, .healthy])
                try await untilHealthy(server, client)
                let found = try await client.services(.named("steady"), within: .seconds(10), quorum: 1)
                #expect(found.count == 1)
                let reply = try await client.call(server.name)
                #expect(reply?.text == "x")
            }
            proxy.stop()
        }
    }

    // MARK: - Health

    @Test("A peer knows that a service of its own has ended, until it listens again", arguments: TestBroker.available)
    func endedService(broker: TestBroker) async throws {
        try await broker.run { url in
            var configuration = Peer.Configuration.url(url)
            // Or a queue that is deleted would be made again.
            configuration.reconnects = false
            let peer = Peer(name: TestBroker.uniqueName(), configuration)
            #expect(peer.health == .idle)
            try await peer.connect()
            #expect(peer.health == .healthy)
            let service = try await peer.listen()
            await service.drain()
            #expect(peer.health == .healthy)
            let broken = try await peer.listen(on: TestBroker.uniqueName(), as: .shared) { _ in nil }
            try await TestQueues.delete(broken.queue, url)
            try await eventually("it is noticed") { peer.health != .healthy }
            guard case .incomplete(let problems) = peer.health else {
                Issue.record("\(peer.health)")
                return
            }
            #expect(problems.count == 1 && problems.first?.contains(broken.queue) == true, "\(problems)")
            try await peer.listen(on: broken.queue, as: .shared) { _ in nil }
            #expect(peer.health == .healthy)
            await peer.disconnect()
            #expect(peer.health == .idle)
        }
    }

    @Test("A peer that is gone ends the sequence of its health's changes")
    func gone() async throws {
        let changes: PeerHealthChanges
        do {
            let peer = Peer(.embedded)
            changes = peer.healthChanges
        }
        var seen: [PeerHealth] = []
        for await health in changes { seen.append(health) }
        #expect(seen == [.idle])
    }
}
