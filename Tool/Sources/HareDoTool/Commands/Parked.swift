// SPDX-License-Identifier: Apache-2.0
import ArgumentParser
import HareDo

struct Parked: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Looks at messages whose handling failed for good, and brings them back.",
        discussion: """
            A service that parks what it cannot handle puts it into the queue QUEUE.parked. Fix the service, and have it \
            handle them again.

            Examples:
              haredo parked list orders
              haredo parked replay orders --limit 1
              haredo parked purge orders --yes
            """,
        subcommands: [List.self, Replay.self, Purge.self])

    struct List: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Shows the oldest messages, with what became of each attempt, and leaves them where they are.")

        @Argument(help: "The name that the service listens on.")
        var queue: String

        @Option(help: ArgumentHelp("How many messages at most, 1 to 1000.", valueName: "number"))
        var limit = 100

        @Flag(help: "Print one JSON object for each message.")
        var json = false

        @OptionGroup var broker: BrokerOptions
        @OptionGroup var common: CommonOptions

        func validate() throws {
            guard 1...1000 ~= self.limit else { throw ValidationError("--limit is 1 to 1000") }
        }

        func run() async throws {
            self.common.apply()
            let limit = self.limit
            let messages = try await Parked.with(self.queue, self.broker, "looking at them") {
                try await $0.list(limit: limit)
            }
            for message in messages {
                try StandardStreams.print(self.json ? try ParkedMessage(message).json : ParkedMessage(message).text)
            }
            if messages.isEmpty { StandardStreams.complain("nothing is parked for '\(self.queue)'") }
        }
    }

    struct Replay: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Puts the oldest messages back into the service's queue, and prints how many.")

        @Argument(help: "The name that the service listens on. It has to be there.")
        var queue: String

        @Option(help: ArgumentHelp("How many messages at most; all if not given.", valueName: "number"))
        var limit: Int?

        @OptionGroup var broker: BrokerOptions
        @OptionGroup var common: CommonOptions

        func validate() throws {
            guard self.limit ?? 1 >= 1 else { throw ValidationError("--limit is at least 1") }
        }

        func run() async throws {
            self.common.apply()
            let limit = self.limit
            let count = try await Parked.with(self.queue, self.broker, "putting them back") {
                try await $0.replay(limit: limit)
            }
            try StandardStreams.print("\(count)")
        }
    }

    struct Purge: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Drops all messages, and prints how many. They cannot be had back.")

        @Argument(help: "The name that the service listens on.")
        var queue: String

        @Flag(help: "Really do it.")
        var yes = false

        @OptionGroup var broker: BrokerOptions
        @OptionGroup var common: CommonOptions

        func validate() throws {
            guard self.yes else {
                throw ValidationError("purging drops messages for ever: look at them with `list`, and add --yes")
            }
        }

        func run() async throws {
            self.common.apply()
            let count = try await Parked.with(self.queue, self.broker, "dropping them") { try await $0.purge() }
            try StandardStreams.print("\(count)")
        }
    }

    /// Does something with what is parked for a queue.
    private static func with<Result: Sendable>(
        _ queue: String, _ broker: BrokerOptions, _ progress: String,
        _ body: @escaping @Sendable (ParkedMessages) async throws -> Result
    ) async throws -> Result {
        let configuration = try broker.configuration()
        return try await Progress.during(progress) {
            try await Peer.with(configuration) { peer in try await body(peer.parked(queue)) }
        }
    }
}
