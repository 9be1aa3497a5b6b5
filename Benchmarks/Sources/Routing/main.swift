// SPDX-License-Identifier: Apache-2.0
import HareDo
import Measuring

// What it costs to find a message's plugin among 100: processor time per message of a plain handler, and of the same
// handler as 100 plugins among which the messages are spread, in turns, in one process.

protocol Digit { static var value: Int { get } }
enum D0: Digit { static let value = 0 }
enum D1: Digit { static let value = 1 }
enum D2: Digit { static let value = 2 }
enum D3: Digit { static let value = 3 }
enum D4: Digit { static let value = 4 }
enum D5: Digit { static let value = 5 }
enum D6: Digit { static let value = 6 }
enum D7: Digit { static let value = 7 }
enum D8: Digit { static let value = 8 }
enum D9: Digit { static let value = 9 }
let digits: [any Digit.Type] = [
    D0.self, D1.self, D2.self, D3.self, D4.self, D5.self, D6.self, D7.self, D8.self, D9.self,
]

/// A type, and so a uuid, for each two digits.
struct Numbered<Tens: Digit, Ones: Digit>: Plugin {
    static var uuid: String { "plugin-\(Tens.value)\(Ones.value)" }
    init(_ context: PluginContext) {}
    func process(_ message: Message) async throws -> Reply? { await handle(message) }
}

func type<Tens: Digit, Ones: Digit>(_ tens: Tens.Type, _ ones: Ones.Type) -> any Plugin.Type {
    Numbered<Tens, Ones>.self
}

@concurrent func handle(_ message: Message) async -> Reply? { message.redelivered ? "again" : nil }

@concurrent func measure(
    _ messages: [Message], _ count: Int, _ body: @concurrent @Sendable (Message) async throws -> Reply?
) async throws -> Double {
    let before = Usage.processorTime()
    for index in 0..<count where try await body(messages[index % messages.count]) != nil {
        throw Failure("a message was delivered twice")
    }
    return (Usage.processorTime() - before) / Double(count) * 1e6
}

let count = 100_000
let rounds = 9
try await Peer.with(.embedded) { peer in
    for tens in digits { for ones in digits { try await peer.plugins.register(type(tens, ones)) } }
    let uuids = peer.plugins.uuids
    guard uuids.count == 100 else { throw Failure("there are \(uuids.count) plugins") }
    var messages: [Message] = []
    for index in 0..<1000 {
        try await peer.send(peer.address, headers: ["uuid": .string(uuids[index * 37 % 100])], data: "0123456789abcdef")
        guard let message = try await peer.receive(timeout: .seconds(10)) else { throw Failure("nothing came") }
        messages.append(message)
    }
    let plain: @concurrent @Sendable (Message) async throws -> Reply? = { await handle($0) }
    let plugins = peer.plugins
    let routed: @concurrent @Sendable (Message) async throws -> Reply? = { try await plugins.process($0) }
    var times: [String: [Double]] = [:]
    for _ in 0..<rounds {
        times["plain", default: []].append(try await measure(messages, count, plain))
        times["routed", default: []].append(try await measure(messages, count, routed))
    }
    let processed = plugins.loaded.map(\.messages)
    guard processed.reduce(0, +) == count * rounds, Set(processed) == [count * rounds / 100] else {
        throw Failure("the messages were not spread evenly: \(processed)")
    }
    let (handler, routing) = (times["plain", default: []].median, times["routed", default: []].median)
    func text(_ value: Double) -> String { "\((value * 1000).rounded() / 1000)" }
    print("\(count) messages among 100 plugins, \(rounds) rounds, medians of processor time per message:")
    print("  plain handler  \(text(handler)) us")
    print("  routed         \(text(routing)) us")
    print("  difference     \(text(routing - handler)) us (aimed at: at most 1 us)")
}
