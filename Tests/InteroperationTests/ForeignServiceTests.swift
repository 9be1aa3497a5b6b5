// SPDX-License-Identifier: Apache-2.0
import AMQPClient
import HareDo
import TestSupport
import Testing

@Suite("Services in other languages, called by our peers", .foreignSoftware)
struct ForeignServiceTests {
    @Test(
        "They answer calls and what was sent, many at once", arguments: TestBroker.available,
        ["service.py", "service.rb", "gem.rb"])
    func increments(broker: TestBroker, program: String) async throws {
        try await broker.run { url in
            // Bunny cannot declare a queue whose name is not ASCII, unless told that it is no text.
            let address = TestBroker.uniqueName(program == "service.py" ? "größe.🐇" : "increment")
            let arguments = program == "gem.rb" ? ["serve", address] : [address]
            try await ForeignPeer.run(program, arguments, url) { service in
                try await service.expect("ready")
                try await withPeer(url) { peer in
                    #expect(try await wrongIncrements(of: address, for: peer) == [])
                    var ids: [MessageID] = []
                    for i in 1...10 { ids.append(try await peer.send(address, headers: ["i": .integer(Int64(i))])) }
                    // Asked for backwards: the replies are told apart by what they answer, not by when they come.
                    for i in (1...10).reversed() {
                        let reply = try await peer.receive(id: ids[i - 1])
                        #expect(reply?.text == "\(i + 1)")
                        #expect(reply?.correlationID == ids[i - 1])
                    }
                    #expect(peer.statistics.lateReplies == 0 && peer.statistics.returnedMessages == 0)
                }
                try await service.stop()
            }
        }
    }

    @Test("A reply is known by its correlation id, and by nothing else", arguments: TestBroker.available)
    func names(broker: TestBroker) async throws {
        try await broker.run { url in
            let address = TestBroker.uniqueName("answers")
            try await ForeignPeer.run("answers.py", [address], url) { service in
                try await service.expect("ready")
                try await withPeer(url) { peer in
                    // Requests are as the contract says, from outside.
                    let call = try await peer.call(address, data: "report")?.text
                    #expect(
                        call
                            == "direct same expires 1 guest text/plain ['haredo-deadline-ms', 'haredo-remaining-ms']")
                    let sent = try await peer.receive(id: try await peer.send(address, data: "report"))?.text
                    #expect(sent == "\(peer.address) same None 2 guest text/plain []")
                    let large = Bytes((0..<(1 << 20)).map { UInt8(truncatingIfNeeded: $0 &* $0 >> 8) })
                    #expect(try await peer.call(address, data: large)?.data == large)
                    // As tutorials teach it, and as the gem did it.
                    for names in ["correlation", "both"] {
                        let reply = try await peer.call(address, data: names)
                        #expect(reply?.text == names)
                        #expect((reply?.id != nil) == (names == "both"))
                        let id = try await peer.send(address, data: names)
                        #expect(try await peer.receive(id: id)?.text == names)
                    }
                    // Not a reply: to a call it counts as one that nobody waits for, otherwise it is a message.
                    for (number, names) in ["message", "neither"].enumerated() {
                        #expect(try await peer.call(address, data: names, timeout: .milliseconds(200)) == nil)
                        try await eventually("it is counted") { peer.statistics.lateReplies == number + 1 }
                        let id = try await peer.send(address, data: names)
                        let message = try await peer.receive()
                        #expect(message?.text == names)
                        #expect(message?.id == (names == "message" ? id : nil))
                        #expect(try await peer.receive(id: id, timeout: .milliseconds(50)) == nil)
                    }
                }
                try await service.stop()
            }
        }
    }

    @Test("A Bunny consumer and a service of ours share a queue", arguments: TestBroker.available)
    func shared(broker: TestBroker) async throws {
        try await broker.run { url in
            let queue = TestBroker.uniqueName("shared")
            try await ForeignPeer.run("worker.rb", [queue], url) { worker in
                // Bunny declares the queue, and our service has to find it the same.
                try await worker.expect("ready")
                try await withPeer(url) { peer in
                    try await peer.listen(on: queue, as: .shared) { message in
                        message.redelivered ? "redelivered" : "swift"
                    }
                    let answers = try await withThrowingTaskGroup(of: String?.self) { group in
                        for _ in 0..<20 { group.addTask { try await peer.call(queue)?.text } }
                        var answers: [String: Int] = [:]
                        for try await answer in group { answers[answer ?? "nothing", default: 0] += 1 }
                        return answers
                    }
                    #expect(answers == ["ruby": 10, "swift": 10])

                    // What Bunny has and does not acknowledge comes to us when it dies.
                    let ids = [
                        try await peer.send(queue, data: "hold"), try await peer.send(queue, data: "hold"),
                    ]
                    try await worker.expect("holding")
                    await worker.kill()
                    var replies: Set<String?> = []
                    for id in ids { replies.insert(try await peer.receive(id: id)?.text) }
                    #expect(replies == ["swift", "redelivered"])
                }
            }
            // And the other way round: Bunny finds the queue that our service declared.
            let ours = TestBroker.uniqueName("shared")
            try await withPeer(url) { peer in
                let service = try await peer.listen(on: ours, as: .shared) { _ in "swift" }
                try await ForeignPeer.run("worker.rb", [ours], url) { worker in
                    try await worker.expect("ready")
                    await service.drain()
                    #expect(try await peer.call(ours)?.text == "ruby")
                    try await worker.stop()
                }
            }
            try await withChannel(url) { channel in
                for name in [queue, ours] { try await channel.deleteQueue(name) }
            }
        }
    }
}
