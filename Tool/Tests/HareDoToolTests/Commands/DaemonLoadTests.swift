// SPDX-License-Identifier: Apache-2.0
import Foundation
import HareDo
import Synchronization
import Testing

/// Requests to a daemon's plugin `echo`, one after the other in each of several tasks, until they are told to stop.
private struct Load: Sendable {
    struct Counts: Sendable {
        var sent = 0
        var answered = 0
        static func + (one: Self, other: Self) -> Self {
            Self(sent: one.sent + other.sent, answered: one.answered + other.answered)
        }
    }

    let client: Peer
    let queue: String

    /// Loads the queue while `body` runs.
    func during(_ body: @escaping @Sendable () async throws -> Void) async throws -> Counts {
        try await withThrowingTaskGroup(of: Counts.self) { group in
            let isOver = Flag()
            for task in 0..<8 {
                group.addTask {
                    var counts = Counts()
                    while !isOver.isRaised {
                        counts.sent += 1
                        let text = "\(task) \(counts.sent)"
                        let reply = try await self.client.call(
                            self.queue, headers: ["uuid": "echo"], data: text, timeout: .seconds(60))
                        if reply?.text == text { counts.answered += 1 }
                    }
                    return counts
                }
            }
            group.addTask {
                defer { isOver.raise() }
                try await body()
                return Counts()
            }
            return try await group.reduce(Counts(), +)
        }
    }
}

private final class Flag: Sendable {
    private let flag = Atomic(false)
    var isRaised: Bool { self.flag.load(ordering: .acquiring) }
    func raise() { self.flag.store(true, ordering: .releasing) }
}

extension ToolTests {
    @Test(
        "Read again under load: what changed is replaced, and every request is answered",
        arguments: TestBroker.available)
    func daemonReloads(broker: TestBroker) async throws {
        try await broker.run { url in
            try await DaemonPlace.with { place in
                let queue = uniqueQueue()
                try place.write(broker: url, queue: queue)
                #expect(try await place.haredo("start").status == 0)
                let process = try await place.process()
                let counts = try await Peer.with(.url(url)) { client in
                    try await Load(client: client, queue: queue).during {
                        for round in 0..<6 {
                            try place.write(
                                broker: url, queue: queue,
                                plugins:
                                    "echo: {round: \(round)}\(round.isMultiple(of: 2) ? ", log: {level: debug}" : "")")
                            kill(process, SIGHUP)
                            // It is over when the plugins are those of the file.
                            try await eventually("the file is read again") {
                                try await place.statusIfAnswered()?["plugins"]
                                    == (round.isMultiple(of: 2) ? ["echo", "log"] : ["echo"])
                            }
                        }
                        // Not while the last one goes on.
                        try await eventually("there is nothing left to do") {
                            try await place.haredo("reload").text == "nothing has changed\n"
                        }
                    }
                }
                print("ledger: \(broker): SIGHUP under load: sent \(counts.sent), answered \(counts.answered)")
                #expect(counts.sent > 0)
                #expect(counts.answered == counts.sent)

                // A bad file, or one that changes what cannot be changed, changes nothing.
                try place.write(broker: url, queue: queue, more: "  speed: 9")
                let bad = try await place.haredo("reload")
                #expect(bad.status == 78)
                #expect(bad.error.contains("'daemon.speed' is unknown"), "\(bad.error)")
                try place.write(broker: url, queue: queue + "2")
                let changed = try await place.haredo("reload")
                #expect(changed.status == 1)
                #expect(changed.error.contains("'daemon.queue' has changed"), "\(changed.error)")
                #expect(try await place.status()["plugins"] == ["echo"])
                #expect(
                    try await haredo("call", queue, "-H", "uuid=echo", "-d", "x", "--timeout", "10", broker: url).text
                        == "x\n")
            }
        }
    }

    @Test(
        "Killed under load, it starts again, and handles what was not acknowledged", arguments: TestBroker.available)
    func daemonKilled(broker: TestBroker) async throws {
        try await broker.run { url in
            try await DaemonPlace.with { place in
                let queue = uniqueQueue()
                try place.write(broker: url, queue: queue)
                #expect(try await place.haredo("start").status == 0)
                let process = try await place.process()
                let counts = try await Peer.with(.url(url)) { client in
                    try await Load(client: client, queue: queue).during {
                        // What it is sent from here on it has, and cannot acknowledge.
                        kill(process, SIGSTOP)
                        async let late = withThrowingTaskGroup(of: Bool.self) { group in
                            for number in 0..<50 {
                                group.addTask {
                                    try await client.call(
                                        queue, headers: ["uuid": "echo"], data: "late \(number)", timeout: .seconds(60))?
                                        .text == "late \(number)"
                                }
                            }
                            return try await group.reduce(0) { $0 + ($1 ? 1 : 0) }
                        }
                        // A round trip to the broker after them: they are there.
                        try await eventually("the requests are sent") {
                            try await client.call(
                                queue, headers: ["uuid": "echo"], data: "nobody waits", timeout: .milliseconds(50))
                                == nil
                        }
                        kill(process, SIGKILL)
                        #expect(try await isGone("\(process)"))
                        #expect(try await place.haredo("status").status == 3)
                        let again = try await place.haredo("start")
                        #expect(again.status == 0, "\(again.error)")
                        #expect(try await late == 50)
                    }
                }
                print("ledger: \(broker): killed under load: sent \(counts.sent), answered \(counts.answered), + 50")
                #expect(counts.sent > 0)
                #expect(counts.answered == counts.sent)
            }
        }
    }
}
