// SPDX-License-Identifier: Apache-2.0
import AMQPClient
import AMQPWire
import HareDo
import TestSupport
import Testing

@Suite("Clients in other languages, calling our services", .foreignSoftware)
struct ForeignClientTests {
    /// Empty, small, around the largest frame's payload, and larger than that.
    static let sizes = [0, 1, 2, 255, 256, 4095, 4096, 131_063, 131_064, 131_065, 262_128, 1 << 20]

    @Test(
        "Bodies of any size and content come back whole, many at once", arguments: TestBroker.available,
        Language.allCases)
    func bodies(broker: TestBroker, language: Language) async throws {
        try await broker.run { url in
            try await withPeer(url) { peer in
                let address = TestBroker.uniqueName("echo.ü")
                try await peer.listen(on: address) { message in
                    #expect(message.verifiedSender == nil)
                    return Reply(message.data, headers: ["größe": .integer(Int64(message.data.count))])
                }
                let sizes = Self.sizes.map { "\($0)" }
                for replyTo in ["amq.rabbitmq.reply-to", TestBroker.uniqueName("antwort.größe")] {
                    let lines = try await ForeignPeer.run(language.program("calls"), [address, replyTo] + sizes, url)
                    #expect(lines == ["\(Self.sizes.count) whole"], "\(replyTo)")
                }
                // In the smallest frames that both sides know. Bunny cannot be told by the URL.
                guard language == .python else { return }
                let arguments = [address, "amq.rabbitmq.reply-to"] + sizes
                let lines = try await ForeignPeer.run("calls.py", arguments, url + "/%2F?frame_max=8192")
                #expect(lines == ["\(Self.sizes.count) whole"])
            }
        }
    }

    @Test("A client of the gem calls our service", arguments: TestBroker.available)
    func gem(broker: TestBroker) async throws {
        try await broker.run { url in
            try await withPeer(url) { peer in
                let address = TestBroker.uniqueName("increment")
                try await peer.listen(on: address) { message in "\((message.headers["i"]?.int ?? 0) + 1)" }
                let lines = try await ForeignPeer.run("gem.rb", ["call", address], url)
                #expect(lines == (1...10).reversed().map { "\($0) -> \($0 + 1)" })
            }
        }
    }

    @Test(
        "Replies are named by the request's message id, or else by its correlation id", arguments: TestBroker.available)
    func names(broker: TestBroker) async throws {
        try await broker.run { url in
            try await withPeer(url) { peer in
                let address = TestBroker.uniqueName("names")
                try await peer.listen(on: address) { message in Reply(message.data) }
                let lines = try await ForeignPeer.run("ids.py", [address], url)
                // correlation id, message id; then what the request's message id and correlation id were.
                #expect(
                    lines == [
                        "m m m None", "c c None c", "m m m c", "None None None None", "c c  c", "None None  ",
                    ])
            }
        }
    }

    @Test("They are told of errors", arguments: TestBroker.available, Language.allCases)
    func errors(broker: TestBroker, language: Language) async throws {
        try await broker.run { url in
            try await withPeer(url) { peer in
                let address = TestBroker.uniqueName("failing")
                try await peer.listen(on: address) { message in
                    throw ServiceError("no-more", "number \(message.headers["i"]?.int ?? 0) is too much")
                }
                let lines = try await ForeignPeer.run(language.program("client"), [address], url)
                #expect(Set(lines) == Set((1...3).map { "\($0) failed: no-more number \($0) is too much" }))
            }
        }
    }

    // MARK: - Headers

    /// What our service answers with: every kind of value there is.
    static let reply: Headers = [
        "text": "größe 🐇", "schlüssel": "", "true": true, "small": 7, "negative": -7, "large": 1_099_511_627_776,
        "double": 0.25, "bytes": .bytes([0, 97]), "time": .timestamp(1_700_000_000),
        "list": [1, "two", [nil, false]],
        "map": ["inner": ["deep": 1]], "none": nil,
    ]

    /// What is common to what the two clients send.
    static let received: Headers = [
        "text": "größe 🐇", "schlüssel": "", "true": true, "small": 7, "negative": -7, "large": 1_099_511_627_776,
        "time": .timestamp(1_700_000_000), "list": [1, "two", [nil, false]], "map": ["inner": ["deep": 1]],
        "none": nil,
    ]

    /// Runs a program that calls our service, and sends the same message to a queue where we look at its bytes.
    func exchangeHeaders(
        _ program: String, _ url: String, also: Headers
    ) async throws -> (table: AMQPTable, lines: [String]) {
        try await withPeer(url) { peer in
            try await withChannel(url) { channel in
                let address = TestBroker.uniqueName("headers")
                let queue = try await channel.declareQueue("", exclusive: true).name
                let expected = Headers(Self.received.map { ($0.name, $0.value) } + also.map { ($0.name, $0.value) })
                try await peer.listen(on: address) { message in
                    for (name, value) in expected { #expect(message.headers[name] == value, "\(program): \(name)") }
                    #expect(message.headers.names.count == expected.names.count, "\(program)")
                    return Reply("", headers: Self.reply)
                }
                let lines = try await ForeignPeer.run(program, [address, queue], url)
                let delivery = try #require(try await channel.get(queue, acknowledgement: .automatic))
                return (try #require(delivery.properties.headers), lines)
            }
        }
    }

    @Test("Headers of every type go to pika and come from it", arguments: TestBroker.available)
    func pikaHeaders(broker: TestBroker) async throws {
        try await broker.run { url in
            let (table, lines) = try await self.exchangeHeaders(
                "headers.py", url, also: ["bytes": .bytes([0, 255]), "decimal": 3.14])
            #expect(
                table == [
                    "text": "größe 🐇", "schlüssel": "", "true": true, "small": .int32(7), "negative": .int32(-7),
                    "large": .int64(1 << 40), "bytes": .byteArray([0, 255]), "decimal": .decimal(scale: 2, value: 314),
                    "time": .timestamp(1_700_000_000), "list": [.int32(1), "two", [.void, false]],
                    "map": ["inner": ["deep": .int32(1)]], "none": .void,
                ])
            // pika 1.2 reads 64-bit integers without their sign, and doubles without their fraction.
            #expect(
                lines == [
                    #"bytes bytes b'\x00a'"#, "double long 0L", "large long 1099511627776L",
                    "list list [1L, 'two', [None, False]]", "map dict {'inner': {'deep': 1L}}",
                    "negative long 18446744073709551609L", "none NoneType None", "schlüssel str ''", "small long 7L",
                    "text str 'größe 🐇'", "time datetime datetime.datetime(2023, 11, 14, 22, 13, 20)",
                    "true bool True",
                ])
        }
    }

    @Test("Headers of every type go to Bunny and come from it", arguments: TestBroker.available)
    func bunnyHeaders(broker: TestBroker) async throws {
        try await broker.run { url in
            let (table, lines) = try await self.exchangeHeaders(
                "headers.rb", url, also: ["symbol": "symbol", "double": 0.25])
            #expect(
                table == [
                    "text": "größe 🐇", "schlüssel": "", "symbol": "symbol", "true": true, "small": .int64(7),
                    "negative": .int64(-7), "large": .int64(1 << 40), "double": .double(0.25),
                    "time": .timestamp(1_700_000_000), "list": [.int64(1), "two", [.void, false]],
                    "map": ["inner": ["deep": .int64(1)]], "none": .void,
                ])
            // amq-protocol 2.3 loses what begins in the last three bytes of a list.
            #expect(
                lines == [
                    #"bytes String "\u0000a""#, "double Float 0.25", "large Integer 1099511627776",
                    #"list Array [1, "two", []]"#, #"map Hash {"inner"=>{"deep"=>1}}"#,
                    "negative Integer -7", "none NilClass nil", #"schlüssel String """#, "small Integer 7",
                    #"text String "größe 🐇""#, "time Time 2023-11-14 22:13:20 UTC", "true TrueClass true",
                ])
        }
    }
}
