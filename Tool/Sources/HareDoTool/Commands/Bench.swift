// SPDX-License-Identifier: Apache-2.0
import ArgumentParser
import HareDo
import Synchronization

struct Bench: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Measures rate, processor time and latencies.",
        discussion: """
            What is measured:
              publish: messages to a routing key that no queue has, on an AMQP channel per task, until the broker has \
            answered a request behind the last of them. Latency: of one call of publish in \(BenchPlan.stride); to \
            read the clock for each would be noticed.
              consume: messages that wait in a queue per task, with a prefetch count of 500 and one acknowledgement \
            per 100, from the request to deliver until the broker has answered a request behind the last \
            acknowledgement. Latency: from one message in the hands of the loop to the next, of one in \
            \(BenchPlan.stride). They come in batches: p99 and max say how long one waits for a batch.
              send: from peer to peer, no reply wanted; a service on a connection of its own iterates over the \
            messages, and the end is when it has all of them: the rate is that of the slower of the two. Latency: of \
            one call of send in \(BenchPlan.stride).
              rpc: calls from peer to peer. The service, on a connection of its own, replies with what it got. \
            Latency: of each call.

            Before that, a tenth of the messages (at most \(BenchPlan.maximumWarmUp)) is processed unmeasured. \
            Processor time is that of this process: of both ends, and of the embedded broker if that is used, which \
            is reached over a Unix-domain socket. \
            HAREDO_BROKER is not looked at.

            With --from main the measured loops run on the main actor, as in a program's main(); with pool on Swift's \
            global concurrent executor; with loop on the event loop of their connection, the handlers of rpc as well.

            Examples:
              haredo bench rpc
              haredo bench publish --count 1000000 --broker amqp://guest:guest@localhost:5672
              haredo bench rpc --concurrency 64 --from loop --json
            """)

    @Argument(help: "publish, consume, send or rpc.")
    var operation: BenchPlan.Operation

    @Option(
        help: ArgumentHelp("How many messages. Default: 200000, and for rpc 20000.", valueName: "number"))
    var count: Int?

    @Option(help: ArgumentHelp("The size of their bodies, in bytes.", valueName: "bytes"))
    var size = 16

    @Option(
        help: ArgumentHelp(
            "How many tasks share the work; for rpc, how many calls are under way. Default: one per connection.",
            valueName: "number"))
    var concurrency: Int?

    @Option(
        help: ArgumentHelp(
            "How many connections share the work.",
            discussion: "For send and rpc each has a service with a connection of its own beside it.",
            valueName: "number"))
    var connections = 1

    @Option(help: ArgumentHelp("Where the measured loops run: main, pool or loop.", valueName: "executor"))
    var from = BenchPlan.Executor.pool

    @Flag(help: "Print the result as one JSON object.")
    var json = false

    @Option(
        help: ArgumentHelp(
            "The broker: amqp://user:password@host:port/vhost, or embedded for one in this process. Default: embedded.",
            valueName: "url"))
    var broker = "embedded"

    @OptionGroup var common: CommonOptions

    func validate() throws {
        do {
            _ = try self.plan()
        } catch {
            throw ValidationError(error.message)
        }
    }

    private func plan() throws(ToolFailure) -> BenchPlan {
        try BenchPlan(
            self.operation, count: self.count, size: self.size, concurrency: self.concurrency,
            connections: self.connections, executor: self.from)
    }

    func run() async throws {
        self.common.apply()
        let plan = try self.plan()
        let isLive = !self.json && StandardStreams.isTerminal(.error)
        let run = BenchRun(plan: plan, isLive: isLive, logger: Logger(label: "haredo.bench"))
        let broker = self.broker
        let report = Mutex<BenchReport?>(nil)
        try await Interruption().run {
            let measured = try await BenchBroker.with(broker) { url in try await run.run(url) }
            report.withLock { $0 = measured }
        } end: {
            // The run cleans up after itself when it is cancelled.
        }
        guard let report = report.withLock({ $0 }) else {
            var failure = ToolFailure("interrupted")
            failure.status = 130
            throw failure
        }
        try StandardStreams.print(self.json ? try report.json() : report.table())
    }
}
