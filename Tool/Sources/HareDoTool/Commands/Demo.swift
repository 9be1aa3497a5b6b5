// SPDX-License-Identifier: Apache-2.0
import ArgumentParser
import HareDo

struct Demo: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Shows a service and a client at work, and how fast they are.",
        discussion: """
            The service adds one to a number in the message's header; the client calls it ten times and checks. Then the \
            client calls for one second, 64 calls at a time, and the rate and the latencies are shown. Both are in this \
            process, on the embedded broker unless --broker names another; HAREDO_BROKER is not looked at.

            Examples:
              haredo demo
              haredo demo --broker amqp://guest:guest@localhost:5672
              haredo demo --break
            """)

    @Option(
        help: ArgumentHelp(
            "The broker: amqp://user:password@host:port/vhost, or embedded for one in this process. Default: embedded.",
            valueName: "url"))
    var broker = "embedded"

    @Flag(
        name: .customLong("break"),
        help: "Let the service add two, to see that the check works: prints false ten times, and exits with 1.")
    var isBroken = false

    @OptionGroup var common: CommonOptions

    func run() async throws {
        self.common.apply()
        var configuration = Peer.Configuration.url(self.broker)
        // A demonstration whose broker goes is over.
        configuration.reconnects = false
        let service = Peer(configuration)
        let client = Peer(configuration)
        // A slow machine is no reason for a demonstration to fail.
        client.timeout = .seconds(5)
        do {
            try await service.connect()
            try await client.connect()
            try await self.show(service, client)
        } catch {
            await client.disconnect()
            await service.disconnect()
            throw error
        }
        await client.disconnect()
        await service.disconnect()
    }

    private func show(_ service: Peer, _ client: Peer) async throws {
        // A name of its own per run: two demonstrations may share a broker.
        let queue = "haredo.demo." + String(UInt64.random(in: 0 ... .max), radix: 36)
        let step = self.isBroken ? 2 : 1
        try await service.listen(on: queue, options: .init(concurrency: DemoLoad.inFlight)) { message in
            guard let number = Self.number(message.headers["i"]) else {
                throw ServiceError("bad-request", "the header i is not a number")
            }
            return Reply("\(number + step)")
        }
        var wrong = 0
        for number in 1...10 {
            let reply = try await client.call(queue, headers: ["i": .integer(Int64(number))])
            let isRight = reply?.text == "\(number + 1)"
            if !isRight { wrong += 1 }
            try StandardStreams.print("\(number) -> \(reply?.text ?? "no reply") \(isRight)")
        }
        guard wrong == 0 else { throw ToolFailure("\(wrong) of 10 replies were wrong") }
        let load = try await DemoLoad.run(client, queue)
        try StandardStreams.print(load.report(broker: self.broker == "embedded" ? "embedded broker" : "given broker"))
        guard load.failures == 0 else { throw ToolFailure("\(load.failures) calls got no reply or a wrong one") }
    }

    /// Clients in other languages send the number as text.
    private static func number(_ value: HeaderValue?) -> Int? { value?.int ?? value?.string.flatMap { Int($0) } }
}
