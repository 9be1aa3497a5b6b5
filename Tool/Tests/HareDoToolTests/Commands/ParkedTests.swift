// SPDX-License-Identifier: Apache-2.0
import Testing

extension ToolTests {
    @Test("What fails for good is parked, shown, and brought back", arguments: TestBroker.available)
    func parked(broker: TestBroker) async throws {
        try await broker.run { url in
            let queue = uniqueQueue()
            let nothing = try await haredo("parked", "list", queue, broker: url)
            #expect(nothing.status == 0 && nothing.output.isEmpty)
            #expect(nothing.error == "haredo: nothing is parked for '\(queue)'\n")
            #expect(try await haredo("parked", "replay", queue, broker: url).text == "0\n")
            try await withTool(
                "listen", queue, "--as", "shared", "--attempts", "2", "--exec", "exit 7", broker: url
            ) { listener in
                try await listener.wait(for: "listening")
                let call = try await haredo("call", queue, "-d", "jujifruit", "--timeout", "20", broker: url)
                #expect(call.status == 1)
                #expect(call.error.contains("exit-7"))
            }
            let list = try await haredo("parked", "list", queue, broker: url)
            #expect(list.lines.count == 3)
            #expect(list.lines.first?.hasSuffix(", 9 bytes, text/plain, from guest") == true, "\(list.text)")
            for (line, attempt) in zip(list.lines.dropFirst(), 1...) {
                #expect(line.wholeMatch(of: #/  attempt (\d), 20\S+Z: .*exit-7.*/#)?.1 == "\(attempt)", "\(line)")
            }
            let json = try await haredo("parked", "list", queue, "--json", broker: url)
            #expect(json.text.contains(#""attempts":[{"attempt":1,"error":"#))
            // Mended, it handles them again.
            try await withTool("listen", queue, "--as", "shared", broker: url) { listener in
                try await listener.wait(for: "listening")
                #expect(try await haredo("parked", "replay", queue, broker: url).text == "1\n")
                try await listener.wait(for: "body: jujifruit\n", in: .output)
            }
            #expect(try await haredo("parked", "list", queue, broker: url).output.isEmpty)
            let cautious = try await haredo("parked", "purge", queue, broker: url)
            #expect(cautious.status == 64 && cautious.error.contains("--yes"))
            try await withTool("listen", queue, "--as", "shared", "--park", "--exec", "exit 7", broker: url) {
                listener in
                try await listener.wait(for: "listening")
                _ = try await haredo("call", queue, "--timeout", "20", broker: url)
            }
            #expect(try await haredo("parked", "purge", queue, "--yes", broker: url).text == "1\n")
        }
    }

    @Test("Services are shown with what they have done", arguments: TestBroker.available)
    func services(broker: TestBroker) async throws {
        try await broker.run { url in
            let queue = uniqueQueue()
            let silence = try await haredo("ping", queue, "--timeout", "0.3", broker: url)
            #expect(silence.status == 1)
            #expect(silence.error.contains("no service '\(queue)' answered within 0.3 s"))
            let none = try await haredo("services", queue, "--timeout", "0.3", broker: url)
            #expect(none.status == 1 && none.error == "haredo: no service answered within 0.3 s\n")
            try await withTool("listen", queue, "--echo", broker: url) { listener in
                try await listener.wait(for: "listening")
                #expect(try await haredo("call", queue, broker: url).status == 0)
                let ping = try await haredo("ping", queue, "--timeout", "20", broker: url)
                #expect(ping.status == 0)
                #expect(ping.text.wholeMatch(of: #/\S+ \S+ answered in [0-9.]+ ms\n/#) != nil, "\(ping.text)")
                // It waits for a second, and an answer may take longer.
                try await eventually("a table shows the service") {
                    let table = try await haredo("services", queue, broker: url)
                    return table.text.hasPrefix("\(queue)  -  ")
                        && table.text.contains("  1 requests  0 errors  0 in flight")
                }
                try await eventually("JSON shows the service") {
                    let json = try await haredo("services", queue, "--json", broker: url)
                    return json.text.contains(#""name":"\#(queue)""#) && json.text.contains(#""requests":1"#)
                }
            }
        }
    }
}
