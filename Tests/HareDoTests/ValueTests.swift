// SPDX-License-Identifier: Apache-2.0
import AMQPClient
import AMQPWire
import Foundation
import Testing

@testable import HareDo

@Suite("Values")
struct ValueTests {
    @Test func `a configuration shows no password`() {
        for configuration in [
            Peer.Configuration.url("amqp://user:sesame@localhost/"),
            Peer.Configuration(user: "user", password: "sesame"), "amqp://user:sesame@:x",
        ] {
            var dumped = ""
            dump(configuration, to: &dumped)
            for text in [dumped, "\(configuration)", String(reflecting: configuration)] {
                #expect(!text.contains("sesame") && !text.isEmpty)
            }
        }
    }

    @Test(
        "The time left is what travelled, shortened by the absolute deadline only where that leaves anything",
        arguments: [
            // remaining, deadline, now, expected
            (1000, nil, 50_000, 1000), (1000, 51_000, 50_000, 1000), (1000, 50_200, 50_000, 700),
            (1000, 49_000, 50_000, 1000), (1000, 90_000, 50_000, 1000), (-5, nil, 0, 0), (0, 10, 5, 0),
            (1000, Int64.min, Int64.max, 1000), (1000, Int64.max, 0, 1000),
        ] as [(Int64, Int64?, Int64, Int64)])
    func timeLeft(remaining: Int64, deadline: Int64?, now: Int64, expected: Int64) {
        var headers: AMQPTable = ["haredo-remaining-ms": .int64(remaining)]
        if let deadline { headers["haredo-deadline-ms"] = .int64(deadline) }
        #expect(TimeLeft.onArrival(headers, now: now) == expected)
    }

    @Test func `durations of any size are milliseconds`() {
        let cases: [(Duration, Int64)] = [
            (.zero, 0), (.milliseconds(1500), 1500), (.microseconds(1999), 1), (.microseconds(-1999), -1),
            (.milliseconds(Int64.max), .max), (.seconds(Int64.max), .max), (.seconds(Int64.min), .min),
        ]
        for (duration, milliseconds) in cases { #expect(duration.wholeMilliseconds == milliseconds) }
    }

    @Test func `without the header nobody waits`() {
        #expect(TimeLeft.onArrival(nil, now: 0) == nil)
        #expect(TimeLeft.onArrival(["haredo-deadline-ms": 5], now: 0) == nil)
        #expect(TimeLeft.onArrival(["haredo-remaining-ms": "soon"], now: 0) == nil)
    }

    @Test func `bytes are made from and into strings, arrays and data`() {
        let text = "grün"
        #expect(Bytes(text).text == text)
        #expect(Array(Bytes(text)) == Array(text.utf8))
        #expect(Data(Bytes([1, 2, 3])) == Data([1, 2, 3]))
        #expect(Bytes(Data([1, 2])) == [1, 2])
        #expect(Bytes([0xff]).text == nil)
        #expect(Bytes().isEmpty && Bytes().text == "")
        #expect(Bytes("abc")[1] == UInt8(ascii: "b"))
        #expect(Bytes("abcdef").dropFirst(2).elementsEqual("cdef".utf8))
        #expect("\(Bytes("secret"))" == "6 bytes")
    }

    @Test func `headers are equal by what they say, whichever of AMQP's types said it`() {
        let pikas = Headers(["i": .int32(1), "list": [.int8(1)], "map": ["deep": .uint16(1)], "half": .float(0.5)])
        let ours: Headers = ["i": 1, "list": [1], "map": ["deep": 1], "half": 0.5]
        #expect(pikas == ours && pikas.hashValue == ours.hashValue)
        #expect(pikas["map"] == ours["map"])
        #expect(pikas != ["i": 2, "list": [1], "map": ["deep": 1], "half": 0.5])
        #expect(pikas != ["i": 1, "list": [1], "map": ["deeper": 1], "half": 0.5])
        #expect(pikas != ["i": 1, "list": [1], "map": ["deep": 1]])
        #expect(ours != ["list": [1], "i": 1, "map": ["deep": 1], "half": 0.5], "their order counts")
    }

    @Test func `headers are a dictionary that keeps its order`() {
        var headers: Headers = ["b": 1, "a": "x", "nested": ["k": [1, 2.5, true, nil]]]
        #expect(headers.names == ["b", "a", "nested"])
        #expect(headers["b"]?.int == 1 && headers["b"]?.double == 1 && headers["b"]?.string == nil)
        #expect(headers["missing"] == nil)
        headers["b"] = nil
        headers["a"] = "y"
        #expect(headers.names == ["a", "nested"] && headers["a"]?.string == "y")
        #expect("\(headers)" == "[a: y, nested: [k: [1, 2.5, true, null]]]")
    }

    @Test(
        "Every type of the wire has a header value",
        arguments: [
            (.int8(-1), -1), (.uint8(255), 255), (.int16(-2), -2), (.uint16(65535), 65535), (.int32(-3), -3),
            (.uint32(.max), .integer(Int64(UInt32.max))), (.float(0.5), 0.5), (.decimal(scale: 2, value: 314), 3.14),
            (.longString(AMQPLongString(bytes: [0xff])), .bytes([0xff])), (.void, nil), (.timestamp(5), .timestamp(5)),
        ] as [(AMQPFieldValue, HeaderValue)])
    func fieldTypes(field: AMQPFieldValue, expected: HeaderValue) {
        #expect(HeaderValue(field) == expected)
    }

    @Test(
        "Shapes become queue arguments",
        arguments: [
            (QueueShape.exclusive, false, true, false, [:]),
            (.shared, true, false, false, ["x-expires": 60_000]),
            (.durable, true, false, false, [:]),
            (.quorum, true, false, false, ["x-queue-type": "quorum", "x-delivery-limit": 100]),
            (.transient, false, false, true, [:]),
            (
                .shared.with(["x-max-length": 5, "x-expires": 1]), true, false, false,
                ["x-expires": 1, "x-max-length": 5]
            ),
        ] as [(QueueShape, Bool, Bool, Bool, AMQPTable)])
    func shapes(shape: QueueShape, durable: Bool, exclusive: Bool, autoDelete: Bool, arguments: AMQPTable) {
        #expect(shape.isDurable == durable && shape.isExclusive == exclusive && shape.isAutoDelete == autoDelete)
        #expect(shape.amqpArguments == arguments)
    }

    @Test func `a configuration is read from a URL, and its mistakes are told without the password`() throws {
        let configuration = try #require(try Peer.Configuration.url("amqp://u:p%40ss@h:1234/v").resolved())
        #expect(configuration.user == "u" && configuration.password == "p@ss" && configuration.virtualHost == "v")
        #expect(configuration.address == .tcp(host: "h", port: 1234))
        #expect(try Peer.Configuration.embedded.resolved() == nil)
        #expect(try Peer.Configuration.url("embedded").resolved() == nil)
        for url in ["http://u:hunter2@h", "amqp://u:hunter2@h:99999", "amqp://u:hunter2@h/a/b", "rabbit"] {
            do {
                _ = try Peer.Configuration.url(url).resolved()
                Issue.record("accepted \(url)")
            } catch {
                #expect(error.code == .invalidArgument && !error.message.contains("hunter2"))
            }
        }
    }

    @Test func `what a program says of times goes before what the URL says`() throws {
        var configuration = Peer.Configuration.url("amqp://h?heartbeat=5&connection_timeout=700")
        var amqp = try #require(try configuration.resolved())
        configuration.apply(to: &amqp)
        #expect(amqp.heartbeat == .seconds(5) && amqp.connectTimeout == .milliseconds(700))
        configuration.heartbeat = .seconds(7)
        configuration.connectTimeout = .seconds(3)
        configuration.apply(to: &amqp)
        #expect(amqp.heartbeat == .seconds(7) && amqp.connectTimeout == .seconds(3))
    }

    @Test(
        "Texts are cut between characters",
        arguments: [("abc", 3, "abc"), ("abcd", 3, "abc"), ("üü", 3, "ü"), ("😀", 3, ""), ("", 0, "")])
    func cut(text: String, limit: Int, expected: String) {
        #expect(WireHeaders.cut(text, to: limit) == expected)
    }

    private struct Wanted: Decodable {
        struct User: Decodable { var age: Int }
        var user: User
    }

    @Test func `a decoding error names the field and the type, not the value`() {
        func message(_ json: String) -> String {
            let result = Result { () throws(HareDoError) in try JSONFormat().value(Wanted.self, of: Bytes(json)) }
            guard case .failure(let error) = result else { return "" }
            return error.message
        }
        #expect(message(#"{"user":{"age":"hunter2"}}"#).contains("'user.age' is not a Int"))
        #expect(!message(#"{"user":{"age":"hunter2"}}"#).contains("hunter2"))
        #expect(message(#"{"user":{}}"#).contains("'user.age' is missing"))
        #expect(message("hunter2").contains("malformed"))
    }

    @Test func `secrets in headers are recognised by their names`() {
        for name in ["password", "X-Auth-Token", "client_secret", "Authorization", "Set-Cookie"] {
            #expect(Message.isSecret(name), "\(name)")
        }
        for name in ["i", "uuid", "traceparent"] { #expect(!Message.isSecret(name), "\(name)") }
    }
}
