// SPDX-License-Identifier: Apache-2.0
import ArgumentParser
import HareDo

struct Listen: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Listens on a queue, and answers.",
        discussion: """
            Without --echo, --reply, --exec or --plugin each message is printed, one at a time, and acknowledged; nobody is \
            answered, so that callers time out. Says on standard error when it listens. When it is interrupted (SIGINT or \
            SIGTERM) it takes no more messages, finishes those it has begun, and exits with 0; a second signal ends it at \
            once. A connection that is lost is made again. If the name is taken it exits with 1.

            Examples:
              haredo listen rpc --echo
              haredo listen rpc --reply pong --as shared
              haredo listen count --exec 'wc -c'
              haredo listen tools --plugin echo --plugin hello

            With --plugin a message goes to the plugin that its header `uuid` names; see `haredo plugin`.

            A command of --exec runs in /bin/sh with the body on its standard input; the reply is its standard output, at \
            most 16 MiB. Its standard error goes to that of haredo. In its environment are:
              HAREDO_MESSAGE_ID, HAREDO_CORRELATION_ID, HAREDO_REPLY_TO, HAREDO_QUEUE, HAREDO_CONTENT_TYPE, HAREDO_SENDER \
            (the login name that the broker verified), HAREDO_ATTEMPT: those that the message has.
              HAREDO_HEADER_NAME: the header NAME in capitals, with _ for everything but the letters A to Z and digits. \
            Lists and maps are JSON, bytes are Base64, null is empty.
            They were written by whoever sent the message: quote them. A message is refused with the error bad-headers if \
            two of its headers get the same name, or if one holds a zero byte; none is left out silently.
            A status other than 0 is an error for the caller: exit-STATUS with the first line of standard error. The \
            command and its process group are ended, with SIGTERM and soon SIGKILL, when the caller's deadline or \
            --exec-timeout passes (error timed-out), when there is too much output (error output-too-large), and when \
            draining takes too long; then the message goes back to the queue.
            """)

    /// What kinds of queue there are, as ``QueueShape`` calls them.
    enum Shape: String, CaseIterable, ExpressibleByArgument {
        case exclusive, shared, durable, quorum, transient
    }

    @Argument(help: "The name to listen on.")
    var queue: String

    @Flag(help: "Reply with the body of the request.")
    var echo = false

    @Option(parsing: .unconditional, help: ArgumentHelp("Reply with this text.", valueName: "text"))
    var reply: String?

    @Option(
        parsing: .unconditional,
        help: ArgumentHelp("Run this command for each message, and reply with what it prints.", valueName: "command"))
    var exec: String?

    @Option(
        help: ArgumentHelp(
            "Load this plugin, and have it answer the messages for it. May be repeated.", valueName: "name"))
    var plugin: [String] = []

    @Option(
        help: ArgumentHelp(
            "A folder to look for plugins in before those of HAREDO_PLUGIN_PATH, the user's and the system's. May be repeated.",
            valueName: "folder"))
    var pluginPath: [String] = []

    @Option(help: ArgumentHelp("How long a command may run, in seconds.", valueName: "seconds"))
    var execTimeout = Seconds(600)

    @Option(
        name: .customLong("as"),
        help: ArgumentHelp(
            "The kind of queue.",
            discussion: """
                exclusive: for this process alone, gone with it. shared: for any number of listeners, kept 60 s after the \
                last one. durable: kept until it is deleted. quorum: as durable, replicated in a cluster. transient: gone \
                with its last listener; RabbitMQ 4.3 and later refuses it.
                """, valueName: "shape"))
    var shape = Shape.exclusive

    @Option(
        help: ArgumentHelp(
            "How often a message whose handling fails is tried in all, 1 to 50, after pauses that grow from 1 s.",
            discussion: "What has failed every time is parked: see `haredo parked`. Default: once, and it is dropped.",
            valueName: "number"))
    var attempts: Int?

    @Flag(help: "Park what cannot be handled, without trying again: see `haredo parked`.")
    var park = false

    @Option(
        help: ArgumentHelp(
            "How many messages are handled at once, from 1. Default: 16, with plugins 256.", valueName: "number"))
    var concurrency: Int?

    @Option(
        help: ArgumentHelp(
            "How long what was begun may take after an interruption, in seconds.",
            discussion: "What is not finished by then is cancelled, and goes back to the queue.", valueName: "seconds"))
    var drain = Seconds(10)

    @OptionGroup var broker: BrokerOptions
    @OptionGroup var common: CommonOptions

    func validate() throws {
        guard [self.echo, self.reply != nil, self.exec != nil, !self.plugin.isEmpty].count(where: { $0 }) <= 1 else {
            throw ValidationError("only one of --echo, --reply, --exec and --plugin")
        }
        guard (1...65535).contains(self.concurrency ?? 1) else {
            throw ValidationError("--concurrency is 1 to 65535")
        }
        guard self.attempts == nil || !self.park else { throw ValidationError("only one of --attempts and --park") }
        guard 1...50 ~= self.attempts ?? 1 else { throw ValidationError("--attempts is 1 to 50") }
        guard self.exec?.isEmpty != true else { throw ValidationError("--exec without a command") }
    }

    func run() async throws {
        self.common.apply()
        guard let shape = QueueShape(name: self.shape.rawValue) else {
            throw ToolFailure("there is no kind of queue called '\(self.shape.rawValue)'")
        }
        let peer = Peer(try self.broker.configuration())
        try await peer.connect()
        do {
            try await self.loadPlugins(of: peer)
            try await self.serve(peer, shape)
        } catch {
            await peer.disconnect(within: .zero)
            throw error
        }
    }

    private func serve(_ peer: Peer, _ shape: QueueShape) async throws {
        let interruption = await Interruption()
        let children = RunningChildren()
        let service: PeerService
        let handler = self.handler(peer, children)
        var options = self.plugin.isEmpty ? ServiceOptions() : Plugins.options
        if let concurrency { options.concurrency = concurrency }
        if let attempts {
            options.onFailure = .retry(attempts: attempts)
        } else if self.park {
            options.onFailure = .park
        }
        if let handler {
            service = try await peer.listen(on: self.queue, as: shape, options: options, serve: handler)
        } else {
            service = try await peer.listen(on: self.queue, as: shape, options: options)
        }
        let prints = handler == nil
        StandardStreams.complain("listening on '\(self.queue)' (\(self.shape.rawValue))")
        let limit = self.drain.duration
        try await interruption.run {
            if prints { try await Self.printMessages(of: service) }
            try await service.run()
        } end: {
            await service.drain(within: limit)
            // Nothing is begun any more: this only says goodbye.
            await peer.disconnect(within: .zero)
            await children.killAll()
        } beforeExit: {
            await children.killAll()
        }
    }

    /// All or none: somebody who names a plugin wants it.
    private func loadPlugins(of peer: Peer) async throws {
        peer.plugins.searchPath = .standard(first: self.pluginPath)
        var problems: [String] = []
        for name in self.plugin {
            do throws(HareDoError) {
                try await peer.plugins.load(name)
            } catch {
                problems.append(error.message)
            }
        }
        guard problems.isEmpty else { throw ToolFailure(problems.joined(separator: "\n")) }
    }

    /// What answers the messages; `nil` if they are only printed.
    private func handler(
        _ peer: Peer, _ children: RunningChildren
    ) -> (@concurrent @Sendable (Message) async throws -> Reply?)? {
        if self.echo {
            return { message in
                var reply = Reply(message.data)
                reply.contentType = message.contentType
                return reply
            }
        }
        if !self.plugin.isEmpty { return { message in try await peer.plugins.serve(message) } }
        if let text = self.reply { return { _ in Reply(text) } }
        if let command = self.exec {
            let runner = ShellCommand(command, limit: self.execTimeout.duration, children: children)
            return { message in try await runner.run(for: message) }
        }
        return nil
    }

    /// Ends when the service does.
    private static func printMessages(of service: PeerService) async throws {
        for await message in service.messages {
            // A message that could not be shown goes back to its queue with the end of the loop.
            try StandardStreams.print(message.debugDescription)
        }
    }
}
