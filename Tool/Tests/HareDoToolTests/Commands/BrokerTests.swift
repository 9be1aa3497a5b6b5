// SPDX-License-Identifier: Apache-2.0
import Foundation
import Testing

extension ToolTests {
    @Test("The broker prints where it is, and ends in order", arguments: [SIGINT, SIGTERM])
    func broker(signal: Int32) async throws {
        let result = try await withTool("broker", "--listen", ":0") { broker in
            let url = try await broker.firstLine()
            #expect(url.wholeMatch(of: /amqp:\/\/guest:guest@127\.0\.0\.1:[1-9]\d*/) != nil)
            if signal == SIGTERM { await broker.terminate() }
        }
        #expect(result.status == 0)
        #expect(result.lines.count == 1)
        #expect(result.error.isEmpty)
    }

    @Test("The broker listens on IPv6")
    func brokerIPv6() async throws {
        let result = try await withTool("broker", "--listen", "[::1]:0") { broker in
            let url = try await broker.firstLine()
            #expect(url.hasPrefix("amqp://guest:guest@[::1]:"))
            #expect(try await haredo("call", "q", broker: url).error.contains("nobody listens"))
        }
        #expect(result.status == 0)
    }

    @Test("The broker listens on a Unix-domain socket, and cleans up")
    func brokerUnix() async throws {
        let path = "/tmp/" + uniqueQueue()
        let result = try await withTool("broker", "--listen", "unix:\(path)") { broker in
            let url = try await broker.firstLine()
            #expect(url == "unix:\(path)")
            #expect(FileManager.default.fileExists(atPath: path))
        }
        #expect(result.status == 0)
        #expect(!FileManager.default.fileExists(atPath: path))
    }

    @Test("A port that is taken is named")
    func portTaken() async throws {
        try await withTool("broker", "--listen", "127.0.0.1:0") { broker in
            let port = try #require(try await broker.firstLine().split(separator: ":").last)
            let second = try await haredo("broker", "--listen", "127.0.0.1:\(port)")
            #expect(second.status == 1)
            #expect(second.error == "haredo: 127.0.0.1:\(port) is in use\n")
        }
    }

    @Test("An address that cannot be listened on is explained")
    func cannotListen() async throws {
        let result = try await haredo("broker", "--listen", "unix:/nowhere/at/all")
        #expect(result.status == 1)
        #expect(result.error == "haredo: cannot listen on /nowhere/at/all: No such file or directory\n")
    }

    @Test("The broker takes clients of an older RabbitMQ")
    func lenient() async throws {
        try await withTool("broker", "--listen", ":0") { broker in
            let url = try await broker.firstLine()
            try await withTool("listen", "old", "--as", "transient", "--echo", broker: url) { listener in
                try await listener.wait(for: "listening on 'old' (transient)")
            }
        }
    }

    @Test("The broker refuses what RabbitMQ 4.3 refuses, if it is told to")
    func strict() async throws {
        try await withTool("broker", "--listen", ":0", "--compat", "strict") { broker in
            let url = try await broker.firstLine()
            let listener = try await haredo("listen", "old", "--as", "transient", "--echo", broker: url)
            #expect(listener.status == 1)
            #expect(listener.error.contains("transient_nonexcl_queues"))
        }
    }

    @Test("The broker's status lists connections and queues, as a table and as JSON")
    func status() async throws {
        try await withTool("broker", "--listen", ":0") { broker in
            let url = try await broker.firstLine()
            try await withTool("listen", "work", "--as", "durable", "--echo", broker: url) { listener in
                try await listener.wait(for: "listening on 'work' (durable)")
                let table = try await haredo("broker", "status", broker: url)
                #expect(table.status == 0)
                #expect(table.lines.contains { $0.contains(/^  work +0 ready +0 unacknowledged +1 consumers/) })
                let json = try await haredo("broker", "status", "--json", broker: url)
                let document = try #require(
                    try JSONSerialization.jsonObject(with: Data(json.output)) as? [String: Any])
                let queues = try #require(document["queues"] as? [[String: Any]])
                let work = try #require(queues.first { $0["name"] as? String == "work" })
                #expect(work["consumers"] as? Int == 1 && work["isDurable"] as? Bool == true)
            }
        }
    }

    @Test("The status of a broker that is not there, or tells none, is an error that says so")
    func noStatus() async throws {
        let nobody = try await haredo("broker", "status", broker: "amqp://127.0.0.1:1")
        #expect(nobody.status == 1 && nobody.error.hasPrefix("haredo: "))
        guard let rabbit = ProcessInfo.processInfo.environment["HAREDO_TEST_RABBITMQ"] else { return }
        let other = try await haredo("broker", "status", broker: rabbit)
        #expect(other.status == 1 && other.error.contains("for RabbitMQ there is `rabbitmqctl`"))
    }
}
