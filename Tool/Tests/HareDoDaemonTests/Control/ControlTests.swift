// SPDX-License-Identifier: Apache-2.0
import AMQPBroker
import Foundation
import HareDo
import HareDoTesting
import Testing

@testable import HareDoDaemon

@Suite("Commands to a daemon", .timeLimit(.minutes(1)))
struct ControlTests {
    @Test("A nonce is good once, and a time for a minute")
    func nonces() {
        var memory = NonceMemory()
        #expect(memory.see("a", time: 1000, now: 1000) == .fresh)
        #expect(memory.see("a", time: 1000, now: 1000) == .replayed)
        #expect(memory.see("a", time: 1060, now: 1060) == .replayed)
        #expect(memory.see("b", time: 939, now: 1000) == .tooOld)
        #expect(memory.see("b", time: 1061, now: 1000) == .tooOld)
        #expect(memory.see("b", time: 940, now: 1000) == .fresh)
        // One of the future is remembered until nobody could send it again.
        #expect(memory.see("c", time: 1060, now: 1000) == .fresh)
        #expect(memory.see("c", time: 1060, now: 1120) == .replayed)
        #expect(memory.see("a", time: 1200, now: 1200) == .fresh)
    }

    @Test("What it remembers is bounded")
    func bound() {
        var memory = NonceMemory()
        for number in 0..<NonceMemory.maximumCount { #expect(memory.see("\(number)", time: 1000, now: 1000) == .fresh) }
        #expect(memory.see("more", time: 1000, now: 1000) == .tooMany)
        #expect(memory.see("more", time: 1121, now: 1121) == .fresh)
    }

    private static let key = "0123456789abcdef"

    /// A server with one command, and a peer that may send it anything.
    private static func withServer(
        _ body: (_ url: String, _ peer: Peer, _ server: ControlServer) async throws -> Void
    ) async throws {
        try await withBroker { broker, peer in
            let server = ControlServer(key: Self.key, logger: Logger(label: "test")) { request in
                guard request.command == "greet" else {
                    throw DaemonFailure("there is no command '\(request.command)'")
                }
                return ["hello": request.arguments["name"] ?? "nobody"]
            }
            try await peer.listen(on: ControlServer.queue(of: "one")) { try await server.answer($0) }
            try await body(broker.url, peer, server)
        }
    }

    private static func failure(_ body: () async throws(ControlClient.Failure) -> ConfigurationValue) async -> String {
        do throws(ControlClient.Failure) {
            return "\(try await body())"
        } catch {
            return switch error {
            case .noAnswer(let text): "no answer: \(text)"
            case .refused(let text): "refused: \(text)"
            case .failed(let text): "failed: \(text)"
            }
        }
    }

    @Test("Who has the key is answered, and nobody else")
    func keys() async throws {
        try await Self.withServer { url, _, server in
            let client = ControlClient(instance: "one", key: Self.key)
            let answer = try await client.call("greet", ["name": "jujifruit"], through: .url(url), within: .seconds(10))
            #expect(answer == ["hello": "jujifruit"])
            let unknown = await Self.failure { () throws(ControlClient.Failure) in
                try await client.call("dance", through: .url(url), within: .seconds(10))
            }
            #expect(unknown == "failed: there is no command 'dance'")
            let stranger = await Self.failure { () throws(ControlClient.Failure) in
                try await ControlClient(instance: "one", key: "another key, as long").call(
                    "greet", through: .url(url), within: .seconds(10))
            }
            #expect(stranger == "refused: the command is signed with another key")
            #expect(await server.refused == 1)
            let nobody = await Self.failure { () throws(ControlClient.Failure) in
                try await ControlClient(instance: "two", key: Self.key).call(
                    "greet", through: .url(url), within: .seconds(10))
            }
            #expect(nobody.hasPrefix("no answer: nobody listens"))
            let away = await Self.failure { () throws(ControlClient.Failure) in
                try await client.call("greet", through: .url("amqp://127.0.0.1:1"), within: .seconds(2))
            }
            #expect(away.hasPrefix("no answer: "))
        }
    }

    @Test("What is unsigned, changed, sent again or too old is refused and counted")
    func forgeries() async throws {
        try await Self.withServer { _, peer, server in
            let signature = ControlSignature(key: Self.key)
            let body = Array(#"{"command": "greet", "arguments": {}}"#.utf8)
            let now = Int64(Date().timeIntervalSince1970)
            func send(_ body: [UInt8], signed: [UInt8]? = nil, time: Int64, nonce: String, keys: Int = 3) async
                -> String
            {
                let all: [(String, HeaderValue)] = [
                    (ControlSignature.timeHeader, .integer(time)), (ControlSignature.nonceHeader, .string(nonce)),
                    (
                        ControlSignature.macHeader,
                        .string(signature.mac(request: signed ?? body, time: time, nonce: nonce))
                    ),
                ]
                var headers: Headers = [:]
                for (name, value) in all.prefix(keys) { headers[name] = value }
                do throws(HareDoError) {
                    let reply = try await peer.call(
                        ControlServer.queue(of: "one"), headers: headers, data: body, timeout: .seconds(10))
                    return reply?.text ?? "nothing"
                } catch {
                    return error.remote?.code ?? "\(error)"
                }
            }
            #expect(await send(body, time: now, nonce: "n1").contains("nobody"))
            #expect(await send(body, time: now, nonce: "n1") == "replayed")
            #expect(await send(body, time: now - 3600, nonce: "n2") == "too-old")
            #expect(await send(body, time: now, nonce: "n3", keys: 2) == "unsigned")
            #expect(await send(body, time: now, nonce: "", keys: 3) == "unsigned")
            #expect(await send(body, signed: body + [32], time: now, nonce: "n4") == "wrong-key")
            #expect(await server.refused == 5)
            // Signed, but no command: an error within an answer.
            #expect(await send(Array("{".utf8), time: now, nonce: "n5").contains("is no command"))
        }
    }
}
