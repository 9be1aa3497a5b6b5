// SPDX-License-Identifier: Apache-2.0
import Foundation
import Testing

extension ToolTests {
    @Test("A listener that echoes answers a call", arguments: TestBroker.available)
    func echo(broker: TestBroker) async throws {
        try await broker.run { url in
            let queue = uniqueQueue()
            let listener = try await withTool("listen", queue, "--echo", broker: url) { listener in
                try await listener.wait(for: "listening on '\(queue)' (exclusive)")
                let result = try await haredo("call", queue, "-d", "jujifruit", "--broker", url)
                #expect(result.status == 0)
                #expect(result.text == "jujifruit\n")
                #expect(result.error.isEmpty)
                // From the environment, and as it is.
                #expect(try await haredo("call", queue, "-d", "a", "--raw", broker: url).text == "a")
                #expect(try await haredo("call", queue, broker: url).text.isEmpty)
            }
            #expect(listener.status == 0)
            #expect(listener.output.isEmpty)
        }
    }

    @Test("A listener replies with a text", arguments: TestBroker.available)
    func replyText(broker: TestBroker) async throws {
        try await broker.run { url in
            let queue = uniqueQueue()
            try await withTool("listen", queue, "--reply", "-pong", broker: url) { listener in
                try await listener.wait(for: "listening")
                #expect(try await haredo("call", queue, "-d", "-ping", broker: url).text == "-pong\n")
            }
        }
    }

    @Test("A call to nobody fails at once", arguments: TestBroker.available)
    func nobodyListens(broker: TestBroker) async throws {
        try await broker.run { url in
            let queue = uniqueQueue()
            let result = try await haredo("call", queue, "--timeout", "50", broker: url)
            #expect(result.status == 1)
            #expect(result.error == "haredo: nobody listens on '\(queue)': there is no such queue\n")
            #expect(result.duration < .seconds(20))
        }
    }

    @Test("A call without a reply times out", arguments: TestBroker.available)
    func callTimesOut(broker: TestBroker) async throws {
        try await broker.run { url in
            let queue = uniqueQueue()
            try await withTool("listen", queue, broker: url) { listener in
                try await listener.wait(for: "listening")
                let result = try await haredo("call", queue, "--timeout", "0.3", broker: url)
                #expect(result.status == 2)
                #expect(result.error == "haredo: no reply from '\(queue)' within 0.3 s\n")
                #expect(result.duration >= .milliseconds(300))
            }
        }
    }

    @Test("A service that fails tells the caller", arguments: TestBroker.available)
    func remoteError(broker: TestBroker) async throws {
        try await broker.run { url in
            let queue = uniqueQueue()
            let command = "echo 'no such fruit' >&2; echo more >&2; echo output; exit 3"
            try await withTool("listen", queue, "--exec", command, broker: url) { listener in
                try await listener.wait(for: "listening")
                let result = try await haredo("call", queue, "--timeout", "20", broker: url)
                #expect(result.status == 1)
                #expect(result.output.isEmpty)
                #expect(result.error == "haredo: the service failed with exit-3: no such fruit\n")
                // Whoever runs the service sees all of it.
                try await listener.wait(for: "no such fruit\nmore\n")
            }
        }
    }

    @Test("The body comes from a file or from standard input", arguments: TestBroker.available)
    func bodies(broker: TestBroker) async throws {
        try await broker.run { url in
            let queue = uniqueQueue()
            let bytes = [UInt8]((0..<70_000).map { UInt8(truncatingIfNeeded: $0 &* 7) })
            let file = FileManager.default.temporaryDirectory.appendingPathComponent(uniqueQueue())
            try Data(bytes).write(to: file)
            defer { try? FileManager.default.removeItem(at: file) }
            try await withTool("listen", queue, "--echo", broker: url) { [path = file.path] listener in
                try await listener.wait(for: "listening")
                #expect(
                    try await haredo("call", queue, "-d", "@\(path)", "--timeout", "20", broker: url).output == bytes)
                let piped = try await haredo("call", queue, "-d", "-", "--timeout", "20", broker: url, input: bytes)
                #expect(piped.output == bytes)
                let literal = try await haredo("call", queue, "-d", "-", broker: url, input: Array("@text".utf8))
                #expect(literal.text == "@text\n")
            }
        }
    }

    @Test("A file that cannot be read is named", arguments: ["@/nowhere/at/all", "@", "@/"])
    func unreadableFile(argument: String) async throws {
        let result = try await haredo("call", "q", "-d", argument, broker: "amqp://127.0.0.1:1")
        #expect(result.status == 1)
        #expect(result.error.hasPrefix(argument == "@" ? "haredo: there is no name" : "haredo: cannot read '/"))
    }

    @Test("A body above the limit is not sent")
    func tooLarge() async throws {
        let input = [UInt8](repeating: 0, count: (16 << 20) + 1)
        let result = try await haredo("call", "q", "-d", "-", broker: "amqp://127.0.0.1:1", input: input)
        #expect(result.status == 1)
        #expect(result.error == "haredo: standard input has more than 16 MiB, the most a message may have\n")
    }

    @Test("Nobody answers where the broker should be", arguments: ["call", "send", "listen"])
    func noBroker(command: String) async throws {
        let result = try await haredo(command, "q", broker: "amqp://127.0.0.1:1")
        #expect(result.status == 1)
        #expect(result.error.hasPrefix("haredo: no broker at 127.0.0.1:1 (refused)"))
        #expect(result.error.split(separator: "\n").count == 1)
    }

    @Test("A broker that says nothing is given up in time")
    func silentBroker() async throws {
        let server = try SilentServer()
        let result = try await haredo(
            "call", "q", "--connect-timeout", "0.5", broker: "amqp://127.0.0.1:\(server.port)")
        #expect(result.status == 1)
        #expect(result.error.hasPrefix("haredo: "))
        #expect(result.duration < .seconds(20))
    }

    @Test("A mistake in the broker's URL is explained without showing it")
    func wrongURL() async throws {
        let result = try await haredo("call", "q", "--broker", "amqp://me:secret@host:port")
        #expect(result.status == 1)
        #expect(result.error.hasPrefix("haredo: "))
        #expect(!result.error.contains("secret"))
    }

    @Test("A wrong password is refused", arguments: TestBroker.available)
    func wrongPassword(broker: TestBroker) async throws {
        try await broker.run { url in
            let wrong = url.replacing(/\/\/[^@]*@/, with: "//guest:wrong@")
            let result = try await haredo("call", "q", broker: wrong)
            #expect(result.status == 1)
            #expect(result.error.hasPrefix("haredo: "))
            #expect(!result.error.contains("wrong@"))
        }
    }

    @Test("The embedded broker is of no use between processes", arguments: ["call", "send", "listen"])
    func embedded(command: String) async throws {
        let result = try await haredo(command, "q", "--broker", "embedded")
        #expect(result.status == 1)
        #expect(result.error.contains("haredo broker"))
    }
}
