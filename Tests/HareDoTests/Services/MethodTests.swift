// SPDX-License-Identifier: Apache-2.0
@_spi(HareDo) import AMQPClient
import Foundation
import NIOConcurrencyHelpers
import TestSupport
import Testing

@testable import HareDo

@Suite("Typed calls and plugins", .timeLimit(.minutes(1)))
struct MethodTests {
    private struct Numbers: Codable, Sendable { var a, b: Int }
    private struct Total: Codable, Sendable, Equatable { var sum: Int }

    /// Not JSON, but good enough to tell which format was used.
    private struct PropertyListFormat: BodyFormat {
        var contentType: String { "application/x-plist" }
        func encode(_ value: some Encodable) throws -> Bytes { Bytes(try PropertyListEncoder().encode(value)) }
        func decode<Value: Decodable>(_ type: Value.Type, from body: Bytes) throws -> Value {
            try PropertyListDecoder().decode(type, from: Data(body))
        }
    }

    /// A service with two methods, which runs.
    private static func withCalculator(
        _ url: String, configure: (inout Peer.Configuration) -> Void = { _ in },
        _ body: (_ queue: String, _ client: Peer, _ server: Peer) async throws -> Void
    ) async throws {
        try await withPair(url, configure: configure) { server, client in
            let service = try await server.listen(as: .shared)
            try service.handle("add") { (numbers: Numbers) in Total(sum: numbers.a + numbers.b) }
            try service.handle("who") { (_: Numbers, message: Message) in
                [message.verifiedSender ?? "", message.contentType ?? ""]
            }
            let run = Task { try await service.run() }
            try await body(server.name, client, server)
            await service.drain()
            try await run.value
        }
    }

    @Test("Several methods share a queue", arguments: TestBroker.available)
    func methods(broker: TestBroker) async throws {
        try await broker.run { url in
            try await Self.withCalculator(url) { queue, client, _ in
                let total = try await client.call(queue, method: "add", encoding: Numbers(a: 2, b: 3), as: Total.self)
                #expect(total == Total(sum: 5))
                let who = try await client.call(queue, method: "who", encoding: Numbers(a: 0, b: 0), as: [String].self)
                #expect(who == ["guest", "application/json"])
            }
        }
    }

    @Test(
        "A method that there is not, and a body that is none, are told to the caller", arguments: TestBroker.available)
    func refusals(broker: TestBroker) async throws {
        try await broker.run { url in
            try await Self.withCalculator(url) { queue, client, server in
                for method in ["subtract", nil] {
                    let error = await #expect(throws: HareDoError.self) {
                        _ = try await client.call(queue, method: method, encoding: Numbers(a: 2, b: 3), as: Total.self)
                    }
                    #expect(error?.code == .noSuchMethod)
                    #expect(error?.message.contains("'add', 'who'") == true)
                }
                #expect(server.statistics.unservedMessages == 2)
                let error = await #expect(throws: HareDoError.self) {
                    _ = try await client.call(queue, method: "add", encoding: ["a": "two", "b": "3"], as: Total.self)
                }
                #expect(error?.remote?.code == "bad-request")
                #expect(error?.remote?.text.contains("'a' is not a Int") == true, "\(error?.remote?.text ?? "")")
                let other = await #expect(throws: HareDoError.self) {
                    _ = try await client.call(queue, method: "add", encoding: Numbers(a: 2, b: 3), as: String.self)
                }
                #expect(other?.code == .decodingFailed)
                await expectError(.invalidArgument) {
                    _ = try await client.call(queue, method: "", encoding: 1, as: Int.self)
                }
            }
        }
    }

    @Test("What comes before the service runs waits for its methods", arguments: TestBroker.available)
    func waits(broker: TestBroker) async throws {
        try await broker.run { url in
            try await withPair(url) { server, client in
                let service = try await server.listen(as: .shared)
                let call = Task {
                    try await client.call(server.name, method: "late", encoding: 1, as: Int.self, timeout: .seconds(10))
                }
                try await eventually("it came") { service.core.buffer.count == 1 }
                try service.handle("early") { (number: Int) in number }
                try service.handle("late") { (number: Int) in number + 1 }
                let run = Task { try await service.run() }
                let result = try await call.value
                #expect(result == 2)
                for method in ["late", "later"] {
                    let error = #expect(throws: HareDoError.self) {
                        try service.handle(method) { (number: Int) in number }
                    }
                    #expect(error?.code == .invalidArgument)
                }
                await service.drain()
                try await run.value
            }
        }
    }

    @Test("Methods are refused that cannot be meant", arguments: TestBroker.available)
    func mistakes(broker: TestBroker) async throws {
        try await broker.run { url in
            try await withPair(url) { server, _ in
                let service = try await server.listen()
                try service.handle("add") { (number: Int) in number }
                for name in ["add", "", String(repeating: "x", count: 256)] {
                    let error = #expect(throws: HareDoError.self) {
                        try service.handle(name) { (number: Int) in number }
                    }
                    #expect(error?.code == .invalidArgument)
                }
                let handled = try await server.listen(on: TestBroker.uniqueName()) { _ in nil }
                let error = #expect(throws: HareDoError.self) { try handled.handle("add") { (number: Int) in number } }
                #expect(error?.message.contains("has a handler") == true)
            }
        }
    }

    @Test("Values travel in the format of their content type", arguments: TestBroker.available)
    func formats(broker: TestBroker) async throws {
        try await broker.run { url in
            let formats: [any BodyFormat] = [PropertyListFormat(), JSONFormat()]
            try await Self.withCalculator(url) {
                $0.formats = formats
            } _: { queue, client, _ in
                let who = try await client.call(queue, method: "who", encoding: Numbers(a: 0, b: 0), as: [String].self)
                #expect(who == ["guest", "application/x-plist"])
                // One who knows JSON only is answered in JSON.
                try await Peer.with(.url(url)) { plain in
                    plain.timeout = .seconds(10)
                    let total = try await plain.call(
                        queue, method: "add", encoding: Numbers(a: 1, b: 1), as: Total.self)
                    #expect(total == Total(sum: 2))
                }
            }
        }
    }

    @Test(
        "A content type finds its format",
        arguments: [
            ("application/json", "application/json"), ("Application/JSON; charset=utf-8", "application/json"),
            ("application/problem+json", "application/json"), ("text/plain", "application/x-plist"),
            ("", "application/x-plist"), (nil, "application/x-plist"), ("+", "application/x-plist"),
        ])
    func contentTypes(contentType: String?, expected: String) {
        #expect(BodyFormats([PropertyListFormat(), JSONFormat()]).format(of: contentType).contentType == expected)
        #expect(BodyFormats([]).format(of: contentType).contentType == "application/json")
    }

    // MARK: - Serving, plugins

    private struct Increment: Serving {
        func serve(_ message: Message) async throws -> Reply? { "\((message.headers["i"]?.int ?? 0) + 1)" }
    }

    @Test("A type with one method is a service", arguments: TestBroker.available)
    func serving(broker: TestBroker) async throws {
        try await broker.run { url in
            try await withPair(url) { server, client in
                try await server.listen(serving: Increment())
                let reply = try await client.call(server.name, headers: ["i": 41])
                #expect(reply?.text == "42")
            }
        }
    }

    @Test("The header uuid says which plugin a message is for", arguments: TestBroker.available)
    func plugins(broker: TestBroker) async throws {
        try await broker.run { url in
            try await withPair(url) { server, client in
                try server.plugins.register(uuid: "echo") { message in Reply(message.data) }
                try await server.listen(serving: server.plugins)
                // While it runs as well.
                try server.plugins.register(uuid: "fails") { _ in throw ServiceError("broken", "it is") }
                #expect(server.plugins.uuids == ["echo", "fails"])
                let echo = try await client.call(server.name, headers: ["uuid": "echo"], data: "jujifruit")
                #expect(echo?.text == "jujifruit")
                await expectError(.remoteFailed) { _ = try await client.call(server.name, headers: ["uuid": "fails"]) }
                let odd: [Headers] = [["uuid": "nobody"], [:], ["uuid": 7], ["uuid": .bytes([0xff])]]
                for headers in odd {
                    await expectError(.noSuchPlugin) { _ = try await client.call(server.name, headers: headers) }
                }
                // Whoever waits for no HareDo call is not told.
                let id = try await client.send(server.name, headers: ["uuid": "nobody"])
                try await eventually("it is counted") { server.statistics.unservedMessages == odd.count + 1 }
                let reply = try await client.receive(id: id, timeout: .milliseconds(50))
                #expect(reply == nil)
                #expect(server.plugins.unregister(uuid: "echo"))
                #expect(!server.plugins.unregister(uuid: "echo"))
                await expectError(.noSuchPlugin) { _ = try await client.call(server.name, headers: ["uuid": "echo"]) }
                for uuid in ["fails", "", String(repeating: "x", count: 256)] {
                    let error = #expect(throws: HareDoError.self) {
                        try server.plugins.register(uuid: uuid) { _ in nil }
                    }
                    #expect(error?.code == .invalidArgument)
                }
            }
        }
    }

    @Test("A client routes what it receives to its plugins", arguments: TestBroker.available)
    func clientPlugins(broker: TestBroker) async throws {
        try await broker.run { url in
            try await withPair(url) { other, client in
                try client.plugins.register(uuid: "echo") { message in Reply(message.data) }
                try await other.send(client.address, headers: ["uuid": "echo"], data: "x")
                let message = try #require(try await client.receive())
                let reply = try await client.plugins.process(message)
                #expect(reply?.data.text == "x")
            }
        }
    }

    @Test("What does not say what HareDo says is rejected, and the service goes on", arguments: TestBroker.available)
    func brokenHeaders(broker: TestBroker) async throws {
        try await broker.run { url in
            try await withPair(url) { server, client in
                try await server.listen { _ in "x" }
                let broken: [Headers] = [
                    ["haredo-remaining-ms": "soon"], ["haredo-deadline-ms": .null], ["haredo-attempt": 1.5],
                    ["haredo-method": 7],
                ]
                for headers in broken { try await client.send(server.name, headers: headers) }
                let reply = try await client.call(server.name)
                #expect(reply?.text == "x")
                // Those were sent on another channel than the call.
                try await eventually("all are rejected") { server.statistics.rejectedMessages == broken.count }
            }
        }
    }
}
