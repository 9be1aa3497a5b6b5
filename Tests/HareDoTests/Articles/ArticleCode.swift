// SPDX-License-Identifier: Apache-2.0
import FoundationEssentials
import HareDo
import Logging
import ServiceLifecycle

/// The code of the articles in HareDo.docc: it has to compile. ``ArticleTests`` compares the two.
enum ArticleCode {
    struct Numbers: Codable { var a, b: Int }
    struct Total: Codable { var sum: Int }

    // MARK: - Plugins

    struct Echo: Plugin {
        static let uuid = "echo"
        init(_ context: PluginContext) {}
        func process(_ message: Message) -> Reply? { Reply(message.data) }
    }

    final class Directory: Sendable {}

    struct Greeter: Plugin {
        static let uuid = "greeter"
        static let configurationKeys: [String]? = ["greeting", "names"]
        let greeting: String

        init(_ context: PluginContext) throws {
            self.greeting = try context.configuration["greeting"].ifPresent?.string ?? "Hello"
            _ = try context.resources[Directory.self]
        }

        func process(_ message: Message) async throws -> Reply? { "\(self.greeting), \(message.text ?? "")!" }
    }

    static func plugins1(_ peer: Peer) async throws -> Message? {
        try await peer.plugins.register(Greeter.self, configuration: ["greeting": "Good morning"])
        try await peer.plugins.load("echo")
        try peer.plugins.register(uuid: "host") { _ in "host 1" }
        try await peer.listen(on: "tools", serving: peer.plugins)

        let reply = try await peer.call("tools", headers: ["uuid": "greeter"], data: "jujifruit")
        return reply
    }

    static func plugins2(_ peer: Peer) async throws {
        let failures = await peer.plugins.loadConfig(["echo": nil, "log": ["level": "notice"], "nobody": nil])
        for (name, error) in failures { print("\(name) was not loaded: \(error)") }
    }

    static func plugins3(_ peer: Peer) async throws {
        peer.plugins.resources.add(Directory())
    }

    static func plugins4(_ peer: Peer) async throws {
        try await peer.plugins.reload("greeter", configuration: ["greeting": "Good evening"])
        for plugin in peer.plugins.loaded { print(plugin.name, plugin.source, plugin.messages, plugin.errors) }
        try await peer.plugins.unload("greeter")
    }

    // MARK: - Calling

    static func calling1(_ peer: Peer, _ broker: Peer.Configuration) async throws {
        let peer = Peer(broker)
        try await peer.connect()
        let reply = try await peer.call("greetings", data: "jujifruit", timeout: .seconds(2))
        print(reply?.text ?? "no reply in time")
        await peer.disconnect()
    }

    static func calling2(_ peer: Peer, _ broker: Peer.Configuration) async throws {
        struct Numbers: Codable { var a, b: Int }
        struct Total: Codable { var sum: Int }
        let total = try await peer.call("calculator", method: "add", encoding: Numbers(a: 2, b: 3), as: Total.self)
        print(total.sum)
    }

    static func calling3(_ peer: Peer, _ broker: Peer.Configuration) async throws {
        let id = try await peer.send("greetings", data: "peach")
        print(try await peer.receive(id: id, timeout: .seconds(2))?.text ?? "no reply in time")
    }

    static func calling4(_ peer: Peer, _ broker: Peer.Configuration) async throws {
        var configuration = broker
        configuration.callInterceptors = [
            .logging(Logger(label: "calls")),
            CallInterceptor { outgoing, next in
                var outgoing = outgoing
                outgoing.headers["tenant"] = "acme"
                return try await next(outgoing)
            },
        ]
    }

    static func deliveryPromises1(_ peer: Peer, _ broker: Peer.Configuration) async throws {
        try await peer.listen(on: "thumbnails", as: .shared, options: .init(acknowledgement: .beforeHandler)) { _ in nil
        }
    }

    static func deliveryPromises2(_ peer: Peer, _ broker: Peer.Configuration) async throws {
        try await peer.listen(on: "payments", as: .quorum, options: .init(handledMessages: .inMemory())) { message in
            Reply("paid for \(message.text ?? "nothing")")
        }
    }

    static func discovery1(_ peer: Peer, _ broker: Peer.Configuration) async throws {
        let information = ServiceInformation(name: "calculator", version: "1.2", metadata: ["zone": "a"])
        try await peer.listen(on: "calculator", as: .shared, options: .init(information: information)) { _ in "5" }

        for service in try await peer.services(.named("calculator"), asking: .statistics, within: .seconds(1)) {
            print(service.name, service.instance, service.statistics?.requests ?? 0)
        }
    }

    static func events1(_ peer: Peer, _ broker: Peer.Configuration) async throws {
        struct Order: Codable { var id: Int }

        try await peer.subscribe(to: "orders.*", as: .oneOf("billing"), decoding: Order.self) { order in
            print("bill order \(order.id)")
        }
        try await peer.subscribe(to: "orders.#") { message in
            print(message.topic ?? "", message.data.count)
        }
        try await peer.emit("orders.created", encoding: Order(id: 7))
    }

    static func events2(_ peer: Peer, _ broker: Peer.Configuration) async throws {
        try await peer.subscribe(to: "prices.ask") { message in
            try await message.reply("42")
        }
        let offers = try await peer.callAll("prices.ask", data: "jujifruit", within: .seconds(1), quorum: 3)
        print(offers.compactMap(\.text))
    }

    static func fromTheRubyGem1(_ peer: Peer, _ broker: Peer.Configuration) async throws {
        let increment = Peer(name: "increment", broker)
        try await increment.connect()
        try await increment.listen { message in "\((message.headers["i"]?.int ?? 0) + 1)" }

        let client = Peer(broker)
        try await client.connect()
        for i in 1...10 {
            let id = try await client.send("increment", headers: ["i": .integer(Int64(i))])
            let message = try await client.receive(id: id)
            print(message?.text == "\(i + 1)")
        }
        await client.disconnect()
        await increment.disconnect()
    }

    static func retries1(_ peer: Peer, _ broker: Peer.Configuration) async throws {
        let options = ServiceOptions(
            onFailure: .retry(
                attempts: 5, backoff: .exponential(from: .milliseconds(500), factor: 2, limit: .seconds(30))))
        try await peer.listen(on: "invoices", as: .quorum, options: options) { message in
            guard message.attempt > 1 else { throw CocoaError(.fileReadUnknown) }
            return "written at the second attempt"
        }
    }

    static func retries2(_ peer: Peer, _ broker: Peer.Configuration) async throws {
        for message in try await peer.parked("invoices").list() {
            print(message.id?.rawValue ?? "", message.history.last?.error ?? "")
        }
        print(try await peer.parked("invoices").replay())
    }

    static func serving1(_ peer: Peer, _ broker: Peer.Configuration) async throws {
        try await peer.listen(on: "greetings") { request in
            Reply("Hello, \(request.text ?? "whoever you are")!")
        }
    }

    static func serving2(_ peer: Peer, _ broker: Peer.Configuration) async throws {
        struct Increment: Serving {
            func serve(_ message: Message) async throws -> Reply? {
                "\((message.headers["i"]?.int ?? 0) + 1)"
            }
        }
        try await peer.listen(on: "increment", serving: Increment())
    }

    static func serving3(_ peer: Peer, _ broker: Peer.Configuration) async throws {
        let service = try await peer.listen(on: "echo")
        for await request in service.messages {
            try await request.reply(request.data)
        }
    }

    static func serving4(_ peer: Peer, _ broker: Peer.Configuration) async throws {
        let calculator = try await peer.listen(on: "calculator", as: .shared)
        try calculator.handle("add") { (numbers: Numbers) in Total(sum: numbers.a + numbers.b) }
        try calculator.handle("negate") { (number: Int) in -number }
        try await calculator.run()
    }

    static func serving5(_ peer: Peer, _ broker: Peer.Configuration) async throws {
        try peer.plugins.register(uuid: "echo") { message in Reply(message.data) }
        try await peer.listen(on: "hosts", serving: peer.plugins)
    }

    static func serving6(_ peer: Peer, _ broker: Peer.Configuration) async throws {
        try await peer.listen(on: "division") { message in
            let numbers = try message.decode(Numbers.self)
            guard numbers.b != 0 else {
                throw ServiceError("division-by-zero", "nothing can be divided by 0", isFinal: true)
            }
            return "\(numbers.a / numbers.b)"
        }
    }

    static func serving7(_ peer: Peer, _ broker: Peer.Configuration) async throws {
        let options = ServiceOptions(
            concurrency: 4,
            interceptors: [
                .logging(Logger(label: "orders")),
                .allowing(senders: ["shop"]),
                .rateLimit(perSecond: 100, burst: 20),
            ])
        try await peer.listen(on: "orders", as: .durable, options: options) { _ in "ordered" }
    }

    static func shutdown1(_ peer: Peer, _ broker: Peer.Configuration, _ service: PeerService) async throws {
        await service.drain(within: .seconds(10))
        await peer.disconnect(within: .seconds(10))
    }

    static func shutdown2(_ peer: Peer, _ broker: Peer.Configuration) async throws {
        try await Peer.with(broker) { peer in
            try await peer.withService(on: "short-lived", serve: { _ in "here" }) { _ in
                print(try await peer.call("short-lived")?.text ?? "")
            }
        }
    }

    static func shutdown3(_ peer: Peer, _ broker: Peer.Configuration) async throws {
        let orders = try await peer.listen(on: "orders", as: .shared) { _ in "ordered" }
        let prices = try await peer.listen(on: "prices", as: .shared) { _ in "42" }
        let group = ServiceGroup(
            services: [orders, prices], gracefulShutdownSignals: [.sigterm], logger: Logger(label: "shop"))
        try await group.run()
        await peer.disconnect()
    }

    static func shutdown4(_ peer: Peer, _ broker: Peer.Configuration) async throws {
        for await health in peer.healthChanges {
            print(health)
            if health != .healthy { break }
        }
    }
}
