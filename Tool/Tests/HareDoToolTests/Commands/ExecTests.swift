// SPDX-License-Identifier: Apache-2.0
import Testing

extension ToolTests {
    @Test("A command gets headers and body of a message", arguments: TestBroker.available)
    func exec(broker: TestBroker) async throws {
        try await broker.run { url in
            let queue = uniqueQueue()
            let command = """
                printf '%s|' "$HAREDO_HEADER_I" "$HAREDO_HEADER_KIND_OF" "$HAREDO_QUEUE" "$HAREDO_CONTENT_TYPE" \
                "$HAREDO_ATTEMPT" "$HAREDO_HEADER_GHOST" "${HAREDO_MESSAGE_ID:+id}" "${HAREDO_REPLY_TO:+reply}"; cat
                """
            try await withTool(
                "listen", queue, "--exec", command, broker: url, environment: ["HAREDO_HEADER_GHOST": "boo"]
            ) { listener in
                try await listener.wait(for: "listening")
                let result = try await haredo(
                    "call", queue, "-d", "body", "-H", "i:=7", "-H", "kind-of=a 'b'", "--timeout", "20", broker: url)
                #expect(result.text == "7|a 'b'|\(queue)|text/plain|1||id|reply|body\n")
                let refused = try await haredo(
                    "call", queue, "-H", "a-b=1", "-H", "a.b=2", "--timeout", "20", broker: url)
                #expect(refused.status == 1)
                #expect(refused.error.contains("bad-headers"))
            }
        }
    }

    @Test("Large bodies go through a command", arguments: TestBroker.available)
    func largeBody(broker: TestBroker) async throws {
        try await broker.run { url in
            let queue = uniqueQueue()
            let bytes = (0..<(1 << 20)).map { UInt8(truncatingIfNeeded: $0 &* 31) }
            try await withTool("listen", queue, "--exec", "cat; cat >/dev/null", broker: url) { listener in
                try await listener.wait(for: "listening")
                let result = try await haredo("call", queue, "-d", "-", "--timeout", "50", broker: url, input: bytes)
                #expect(result.status == 0, "\(result.error)")
                #expect(result.output == bytes)
            }
        }
    }

    @Test(
        "A command need not read its input, and may leave children behind", arguments: TestBroker.available,
        ["head -c 1 >/dev/null; echo ok", "echo ok", "exec <&-; echo ok", "sleep 3 & echo ok"])
    func unreadInput(broker: TestBroker, command: String) async throws {
        try await broker.run { url in
            let queue = uniqueQueue()
            let bytes = [UInt8](repeating: 0x61, count: 1 << 20)
            try await withTool("listen", queue, "--exec", command, broker: url) { listener in
                try await listener.wait(for: "listening")
                let result = try await haredo("call", queue, "-d", "-", "--timeout", "50", broker: url, input: bytes)
                #expect(result.status == 0, "\(result.error)")
                #expect(result.text == "ok\n")
            }
        }
    }

    @Test("A command that prints without end is ended", arguments: TestBroker.available)
    func tooMuchOutput(broker: TestBroker) async throws {
        try await broker.run { url in
            let queue = uniqueQueue()
            try await withTool("listen", queue, "--exec", "echo pid $$ >&2; exec yes", broker: url) { listener in
                try await listener.wait(for: "listening")
                let result = try await haredo("call", queue, "--timeout", "50", broker: url)
                #expect(result.status == 1)
                #expect(result.error.contains("output-too-large"))
                #expect(try await isGone(try await listener.value(of: "pid")))
            }
        }
    }

    @Test("A command is ended when its caller has given up", arguments: TestBroker.available)
    func callerGaveUp(broker: TestBroker) async throws {
        try await broker.run { url in
            let queue = uniqueQueue()
            try await withTool("listen", queue, "--exec", "echo pid $$ >&2; sleep 60", broker: url) { listener in
                try await listener.wait(for: "listening")
                // On a machine that is slow the command begins only if its caller waits longer.
                for patience in ["1", "5", "25"] {
                    #expect(try await haredo("call", queue, "--timeout", patience, broker: url).status == 2)
                    if String(decoding: await listener.error, as: UTF8.self).contains("\npid ") { break }
                }
                #expect(try await isGone(try await listener.value(of: "pid")))
            }
        }
    }

    @Test("A command is ended at its own limit", arguments: TestBroker.available)
    func execTimeout(broker: TestBroker) async throws {
        try await broker.run { url in
            let queue = uniqueQueue()
            try await withTool("listen", queue, "--exec", "sleep 60", "--exec-timeout", "0.3", broker: url) {
                listener in
                try await listener.wait(for: "listening")
                let result = try await haredo("call", queue, "--timeout", "50", broker: url)
                #expect(result.status == 1)
                #expect(result.error == "haredo: the service failed with timed-out: the command did not end in time\n")
            }
        }
    }

    @Test("A command that dies of a signal is an error", arguments: TestBroker.available)
    func execSignal(broker: TestBroker) async throws {
        try await broker.run { url in
            let queue = uniqueQueue()
            try await withTool("listen", queue, "--exec", "kill -9 $$", broker: url) { listener in
                try await listener.wait(for: "listening")
                let result = try await haredo("call", queue, "--timeout", "50", broker: url)
                #expect(result.status == 1)
                #expect(result.error.contains("signal-9"))
            }
        }
    }
}
