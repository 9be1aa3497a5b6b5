// SPDX-License-Identifier: Apache-2.0
import AMQPWire
import DequeModule
import Logging
import NIOCore

/// Runs the commands of one open connection against its virtual host, a whole read at a time under one lock.
///
/// On the connection's event loop only.
final class CommandRunner {
    enum Verdict {
        /// Nothing more to do until there is more input, or the output has drained.
        case waiting
        case failed(BrokerException)
        /// The client sent connection.close.
        case closed
    }

    private enum ChannelPhase {
        case open(SlotID<BrokerChannel>)
        /// We closed it; everything but close and close-ok is ignored until close-ok.
        case closing
    }

    private let virtualHost: VirtualHost
    private let client: SlotID<BrokerClient>
    private let output: ConnectionOutput
    private let logger: Logger
    private var assembly: FrameAssembly
    private var channels: [UInt16: ChannelPhase] = [:]
    /// Decoded, and not run yet: one read's worth at most, for reading stops with running.
    private var commands: Deque<FrameAssembly.Command> = []
    private var hasLeft = false
    /// Whether the commands that were run last held a publish, or a part of one came.
    private(set) var hasPublished = false

    init(
        virtualHost: VirtualHost, session: Handshake.Session, identity: BrokerClient.Identity,
        output: ConnectionOutput, maximumMessageSize: Int, memory: MemoryGauge, logger: Logger
    ) {
        self.virtualHost = virtualHost
        self.output = output
        self.logger = logger
        self.assembly = FrameAssembly(
            maximumMessageSize: maximumMessageSize, channelMax: session.channelMax, memory: memory)
        self.client = virtualHost.perform {
            $0.addClient(
                BrokerClient(
                    output: output, user: session.user, notifiesCancel: session.notifiesCancel, identity: identity))
        }
    }

    func process(_ frames: inout AMQPFrameDecoder) -> Verdict {
        self.hasPublished = false
        // Decoding needs no lock.
        var hasFailed = false
        while !hasFailed, let command = self.assembly.nextCommand(&frames) {
            if case .failure = command.kind { hasFailed = true }
            self.commands.append(command)
        }
        if self.assembly.hasHeld {
            self.assembly.hasHeld = false
            self.hasPublished = true
        }
        guard !self.commands.isEmpty, !self.output.isThrottled else { return .waiting }
        return self.virtualHost.perform { self.run(&$0) }
    }

    /// The output has drained: consumers get deliveries again.
    func resume() {
        self.virtualHost.perform { $0.resumeClient(self.client) }
    }

    /// Memory is short, or no longer: for those who look inside.
    func setBlocked(_ isBlocked: Bool) {
        self.virtualHost.perform { $0.clients[self.client]?.isBlocked = isBlocked }
    }

    /// Closes a channel with an error that no command of the client caused.
    func closeChannel(_ number: UInt16, with exception: BrokerException) {
        guard case .open(let id) = self.channels[number] else { return }
        self.virtualHost.perform { self.closeChannel(number, id, with: exception, &$0) }
    }

    /// Takes the connection out of the virtual host.
    func leave() {
        guard !self.hasLeft else { return }
        self.hasLeft = true
        self.commands.removeAll()
        self.virtualHost.perform { $0.removeClient(self.client) }
    }

    // MARK: - Running

    private func run(_ state: inout VirtualHostState) -> Verdict {
        while let command = self.commands.popFirst() {
            do throws(BrokerException) {
                guard try self.run(command, &state) else { return .closed }
            } catch {
                guard let exception = self.handle(error, of: command, &state) else { continue }
                return .failed(exception)
            }
            // A small request may have a large answer: the rest waits until it is read.
            if case .method(.basicGet) = command.kind, self.output.isThrottled { return .waiting }
        }
        return .waiting
    }

    /// Closes the channel with the error.
    ///
    /// - Returns: the error, if it is the connection that has to end.
    private func handle(
        _ error: BrokerException, of command: FrameAssembly.Command, _ state: inout VirtualHostState
    ) -> BrokerException? {
        var error = error
        if error.method == nil { error.method = command.methodID }
        guard error.scope == .channel, case .open(let id) = self.channels[command.channel] else { return error }
        self.logger.debug(
            "A channel is closed with an error",
            metadata: [
                LogKey.channel: "\(command.channel)", LogKey.replyCode: "\(error.code)",
                LogKey.replyText: "\(error.text)", LogKey.method: "\(error.method?.description ?? "")",
            ])
        self.closeChannel(command.channel, id, with: error, &state)
        return nil
    }

    private func closeChannel(
        _ number: UInt16, _ id: SlotID<BrokerChannel>, with error: BrokerException, _ state: inout VirtualHostState
    ) {
        state.closeChannel(id)
        self.channels[number] = .closing
        self.send(
            .channelClose(
                .init(
                    replyCode: error.code, replyText: error.text, failingClassID: error.method?.classID ?? 0,
                    failingMethodID: error.method?.methodID ?? 0)), channel: number, &state)
    }

    /// - Returns: whether the connection goes on.
    private func run(
        _ command: FrameAssembly.Command, _ state: inout VirtualHostState
    ) throws(BrokerException) -> Bool {
        if case .failure(let exception) = command.kind { throw exception }
        if command.channel == 0 { return try self.runOnConnection(command, &state) }
        switch (self.channels[command.channel], command.kind) {
        case (.open(let id), .publish(let publishing)):
            self.hasPublished = true
            try state.publish(publishing, on: id)
        case (.open, .tooLarge(let size)): throw state.tooLarge(size)
        case (.open(let id), .method(.channelClose)):
            state.closeChannel(id)
            self.channels[command.channel] = nil
            self.send(.channelCloseOk(.init()), channel: command.channel, &state)
        case (.open, .method(.channelOpen)): throw .channelError("second 'channel.open' seen")
        case (.open(let id), .method(let method)):
            try state.run(method, on: id)
            self.warnOfTransientQueue(method, state.settings)
        case (.closing, .method(.channelCloseOk)): self.channels[command.channel] = nil
        // Both sides closed at once: the client still owes its close-ok.
        case (.closing, .method(.channelClose)):
            self.send(.channelCloseOk(.init()), channel: command.channel, &state)
        case (.closing, .method(.channelOpen)): throw .channelError("second 'channel.open' seen")
        case (.closing, _): break
        case (nil, .method(.channelOpen)):
            guard let id = state.openChannel(command.channel, of: self.client) else { break }
            self.channels[command.channel] = .open(id)
            self.send(.channelOpenOk(.init()), channel: command.channel, &state)
        case (nil, _): throw .channelError("expected 'channel.open'")
        case (_, .failure): break
        }
        return true
    }

    /// Newer brokers refuse what this one accepted.
    private func warnOfTransientQueue(_ method: AMQPMethod, _ settings: VirtualHostState.Settings) {
        guard settings.compatibility == .lenient, case .queueDeclare(let declare) = method, !declare.passive,
            !declare.durable, !declare.exclusive
        else { return }
        self.logger.warning(
            "A queue is neither durable nor exclusive, which RabbitMQ 4.3 refuses",
            metadata: [LogKey.queue: "\(declare.queue)"])
    }

    private func runOnConnection(
        _ command: FrameAssembly.Command, _ state: inout VirtualHostState
    ) throws(BrokerException) -> Bool {
        switch command.kind {
        case .method(.connectionClose): return false
        case .method(.connectionUpdateSecret):
            self.send(.connectionUpdateSecretOk(.init()), channel: 0, &state)
            return true
        case .method: throw .channelError("unexpected method in connection state running")
        default: throw .unexpectedFrame("content on channel 0")
        }
    }

    private func send(_ method: AMQPMethod, channel: UInt16, _ state: inout VirtualHostState) {
        state.append(to: self.output) { frames throws(AMQPWireError) in try frames.append(method, channel: channel) }
    }
}

extension FrameAssembly.Command {
    /// The method an error of this command is blamed on.
    var methodID: AMQPMethodID? {
        switch self.kind {
        case .method(let method): method.id
        case .publish, .tooLarge: .basicPublish
        case .failure: nil
        }
    }
}
