// SPDX-License-Identifier: Apache-2.0
import Testing

extension ToolTests {
    @Test("What is sent is printed by a listener", arguments: TestBroker.available)
    func sendAndPrint(broker: TestBroker) async throws {
        try await broker.run { url in
            let queue = uniqueQueue()
            try await withTool("listen", queue, broker: url) { listener in
                try await listener.wait(for: "listening")
                let result = try await haredo(
                    "send", queue, "-d", "jujifruit", "-H", "kind=fruit", "-H", "count:=3", broker: url)
                #expect(result.status == 0)
                let id = try #require(result.lines.first)
                #expect(id.wholeMatch(of: /s[0-9a-f]{32}/) != nil)
                try await listener.wait(for: "Message \(id) on '\(queue)', 9 bytes", in: .output)
                try await listener.wait(
                    for: "header kind: fruit\n  header count: 3\n  body: jujifruit\n", in: .output)
                let unconfirmed = try await haredo("send", queue, "-d", "peach", "--no-confirm", broker: url)
                #expect(unconfirmed.status == 0)
                try await listener.wait(for: "body: peach\n", in: .output)
            }
        }
    }

    @Test("Sending to nobody fails at once, unless nobody cares", arguments: TestBroker.available)
    func sendToNobody(broker: TestBroker) async throws {
        try await broker.run { url in
            let queue = uniqueQueue()
            let result = try await haredo("send", queue, broker: url)
            #expect(result.status == 1)
            #expect(result.output.isEmpty)
            #expect(result.error == "haredo: nobody listens on '\(queue)': there is no such queue\n")
            #expect(try await haredo("send", queue, "--no-confirm", broker: url).status == 0)
        }
    }

    @Test("What is sent to a shared queue waits for a listener", arguments: TestBroker.available)
    func waits(broker: TestBroker) async throws {
        try await broker.run { url in
            let queue = uniqueQueue()
            // Shared queues wait as well, and clean up after themselves on a RabbitMQ that others use.
            try await withTool("listen", queue, "--as", "shared", broker: url) { try await $0.wait(for: "listening") }
            #expect(try await haredo("send", queue, "-d", "early", broker: url).status == 0)
            try await withTool("listen", queue, "--as", "shared", broker: url) { listener in
                try await listener.wait(for: "body: early\n", in: .output)
            }
        }
    }
}
