// SPDX-License-Identifier: Apache-2.0
import Testing

extension ToolTests {
    @Test("Two listeners share a queue", arguments: TestBroker.available)
    func sharedLoad(broker: TestBroker) async throws {
        try await broker.run { url in
            let queue = uniqueQueue()
            try await withTool("listen", queue, "--reply", "a", "--as", "shared", broker: url) { first in
                try await first.wait(for: "listening on '\(queue)' (shared)")
                try await withTool("listen", queue, "--reply", "b", "--as", "shared", broker: url) { second in
                    try await second.wait(for: "listening")
                    var replies: [String: Int] = [:]
                    for _ in 0..<8 {
                        replies[try await haredo("call", queue, "--timeout", "20", broker: url).text, default: 0] += 1
                    }
                    #expect(replies == ["a\n": 4, "b\n": 4])
                }
            }
        }
    }

    @Test("A name that is taken is refused", arguments: TestBroker.available)
    func nameTaken(broker: TestBroker) async throws {
        try await broker.run { url in
            let queue = uniqueQueue()
            try await withTool("listen", queue, broker: url) { first in
                try await first.wait(for: "listening")
                let second = try await haredo("listen", queue, "--echo", broker: url)
                #expect(second.status == 1)
                #expect(second.error.hasPrefix("haredo: '\(queue)' is taken"))
                #expect(second.error.split(separator: "\n").count == 1)
            }
        }
    }

    @Test("An interrupted listener finishes what it has begun", arguments: TestBroker.available)
    func drains(broker: TestBroker) async throws {
        try await broker.run { url in
            let queue = uniqueQueue()
            let listener = try await withTool(
                "listen", queue, "--exec", "echo begun >&2; sleep 1; echo done", broker: url
            ) {
                listener in
                try await listener.wait(for: "listening")
                async let call = haredo("call", queue, "--timeout", "30", broker: url)
                try await listener.wait(for: "begun")
                await listener.interrupt()
                let result = try await call
                #expect(result.status == 0, "\(result.error)")
                #expect(result.text == "done\n")
            }
            #expect(listener.status == 0)
            // It was not there any more for others.
            #expect(try await haredo("call", queue, broker: url).status == 1)
        }
    }

    @Test("What does not finish in time goes back to the queue", arguments: TestBroker.available)
    func drainLimit(broker: TestBroker) async throws {
        try await broker.run { url in
            let queue = uniqueQueue()
            // It heeds SIGTERM no more than its child does.
            let command = "trap '' TERM; echo pid $$ >&2; sleep 60"
            let listener = try await withTool(
                "listen", queue, "--exec", command, "--as", "shared", "--drain", "0.3", broker: url
            ) { listener in
                try await listener.wait(for: "listening")
                #expect(try await haredo("send", queue, "-d", "again", broker: url).status == 0)
                let process = try await listener.value(of: "pid")
                await listener.interrupt()
                #expect(try await isGone(process))
            }
            #expect(listener.status == 0)
            try await withTool("listen", queue, "--as", "shared", broker: url) { listener in
                try await listener.wait(for: "body: again\n", in: .output)
            }
        }
    }

    @Test("A second interruption ends it at once, with its commands", arguments: TestBroker.available)
    func secondInterruption(broker: TestBroker) async throws {
        try await broker.run { url in
            let queue = uniqueQueue()
            let listener = try await withTool(
                "listen", queue, "--exec", "echo pid $$ >&2; sleep 60", "--drain", "60", broker: url
            ) { listener in
                try await listener.wait(for: "listening")
                #expect(try await haredo("send", queue, broker: url).status == 0)
                let process = try await listener.value(of: "pid")
                // Two of the same kind at once are one to the system.
                while listener.isRunning, !(try await isGone(process, within: .milliseconds(300))) {
                    await listener.interrupt()
                }
                #expect(try await isGone(process))
            }
            #expect(listener.status == 130)
            #expect(listener.duration < .seconds(40))
        }
    }

    @Test("A listener that loses its broker says so, and goes on when it is back")
    func brokerGone() async throws {
        let queue = uniqueQueue()
        try await withTool("broker", "--listen", "127.0.0.1:0") { broker in
            let url = try await broker.firstLine()
            let address = try #require(url.split(separator: "@").last)
            let listener = try await withTool("listen", queue, "--echo", broker: url) { listener in
                try await listener.wait(for: "listening")
                await broker.interrupt()
                try await listener.wait(for: "connection lost")
                try await withTool("broker", "--listen", String(address)) { second in
                    _ = try await second.firstLine()
                    try await listener.wait(for: "connected again")
                    let reply = try await haredo("call", queue, "-d", "jujifruit", broker: url)
                    #expect(reply.status == 0 && reply.text == "jujifruit\n")
                    await listener.interrupt()
                }
            }
            #expect(listener.status == 0)
        }
    }

    @Test("A printed message that nobody reads is not lost", arguments: TestBroker.available)
    func brokenPipe(broker: TestBroker) async throws {
        try await broker.run { url in
            let queue = uniqueQueue()
            // Its standard output is closed from the beginning.
            let script = "exec \(toolPath) listen \(queue) --as shared >&-"
            let status = try await withShell(script, broker: url) { listener in
                try await listener.wait(for: "listening")
                #expect(try await haredo("send", queue, "-d", "kept", broker: url).status == 0)
                try await listener.wait(for: "haredo: cannot write to standard output: Bad file descriptor\n")
            }
            #expect(status.status == 1)
            try await withTool("listen", queue, "--as", "shared", broker: url) { listener in
                try await listener.wait(for: "body: kept\n", in: .output)
            }
        }
    }
}
