// SPDX-License-Identifier: Apache-2.0
import AMQPWire
import Logging
import NIOCore

/// Sockets and handshakes: one attempt at a time.
extension AMQPConnection {
    /// Connects for the first time.
    func open(over transport: (any Channel)? = nil) async throws(AMQPError) {
        do {
            try await self.establish(over: transport)
        } catch {
            // Timed out, cancelled, or refused: nothing may stay behind.
            self.end(error)
            throw error
        }
        self.backoff.succeeded(now: .now())
    }

    /// Connects to one of the hosts: each is tried once, in shuffled order, for its share of the time.
    func establish(over transport: (any Channel)? = nil) async throws(AMQPError) {
        let timeout = self.configuration.connectTimeout
        let deadline = NIODeadline.after(timeout)
        let addresses = self.configuration.addresses.shuffled()
        var failures: [AMQPError] = []
        for (index, address) in addresses.enumerated() {
            let now = NIODeadline.now()
            let share = (deadline - now).nanoseconds / Int64(addresses.count - index)
            do throws(AMQPError) {
                try await self.attempt(
                    address, over: transport, until: now + .nanoseconds(max(share, 0)), timeout: timeout)
                return
            } catch {
                // Another host would say the same, or nobody wants to know.
                guard !error.isRefusedLogin, ![.cancelled, .invalidArgument].contains(error.code),
                    self.machine.end == nil
                else { throw error }
                failures.append(error)
            }
        }
        guard failures.count > 1 else {
            throw failures.first ?? AMQPError(.invalidArgument, "no host to connect to")
        }
        // The one that says most stands for all, whichever was tried last: what a broker said, or that one was there.
        let telling =
            failures.first { $0.reply != nil }
            ?? failures.first { ![.connectFailed, .connectTimedOut].contains($0.code) } ?? failures[0]
        throw AMQPError(
            telling.code, "none of \(failures.count) hosts: " + failures.map(\.message).joined(separator: "; "),
            reply: telling.reply, origin: telling.origin, cause: telling)
    }

    private func attempt(
        _ address: AMQPConfiguration.Address, over transport: (any Channel)?, until deadline: NIODeadline,
        timeout: Duration
    ) async throws(AMQPError) {
        let waiter = PublishWaiter(cancelled: .cancelled)
        if case .refuse(let error) = self.machine.connect(waiter) { throw error }
        self.decoder = AMQPFrameDecoder(
            maximumFrameSize: max(self.configuration.frameMax, AMQPFrame.minimumFrameMax))
        let token = self.scheduler.schedule(at: deadline) {
            waiter.resolve(
                .failure(
                    AMQPError(
                        .connectTimedOut, "no answer from the broker at \(address) in time (\(timeout) for all hosts)"))
            )
        }
        defer { self.scheduler.cancel(token) }
        do {
            let (tls, secret) = try await self.secrets(until: deadline)
            self.isHandshakeDone = false
            self.handshake = HandshakeMachine(self.configuration, address: address, secret: secret)
            if let transport {
                self.connected(Result { try self.prepare(transport) }.map { transport }, at: address, for: waiter)
            } else {
                self.startConnecting(to: address, tls, until: deadline, for: waiter)
            }
            try await waiter.value()
        } catch {
            // Given up from here, and not because it failed: what is underway has to go.
            if self.machine.isAttempt(of: waiter) || self.machine.isRestoring { self.lost(error) }
            throw error
        }
    }

    /// Certificates and credentials, read and asked for anew each time: both may have changed.
    private func secrets(
        until deadline: NIODeadline
    ) async throws(AMQPError) -> (TLSContext?, AMQPCredentials.Secret?) {
        let credentials = self.configuration.credentials
        guard self.configuration.tls != nil || credentials.hasProvider else { return (nil, credentials.fixedSecret) }
        let settings = self.configuration.tls
        let waiter = Waiter<(TLSContext?, AMQPCredentials.Secret?), AMQPError>(cancelled: .cancelled)
        // A provider may take its time, and heed no cancellation: it is not waited for longer than there is time.
        let task = Task { @concurrent in
            do throws(AMQPError) {
                var context: TLSContext?
                if let settings { context = try await TLSContext.make(settings) }
                waiter.resolve(.success((context, try await credentials.secret())))
            } catch {
                waiter.resolve(.failure(error))
            }
        }
        let token = self.scheduler.schedule(at: deadline) {
            waiter.resolve(.failure(AMQPError(.connectTimedOut, "the credentials' provider did not answer in time")))
        }
        defer {
            self.scheduler.cancel(token)
            task.cancel()
        }
        return try await waiter.value()
    }

    private func startConnecting(
        to address: AMQPConfiguration.Address, _ tls: TLSContext?, until deadline: NIODeadline,
        for waiter: PublishWaiter
    ) {
        Connector.connect(
            to: address, tls: tls, resolver: self.configuration.makeResolver, on: self.eventLoop,
            timeout: deadline - .now()
        ) { channel in
            channel.eventLoop.makeCompletedFuture { try self.assumeIsolated { try $0.prepare(channel) } }
        }.whenComplete { result in self.assumeIsolated { $0.connected(result, at: address, for: waiter) } }
    }

    private func prepare(_ channel: any Channel) throws {
        // A look-up or a further address that comes after we gave up goes no further.
        if let error = self.machine.end { throw error }
        let handler = ConnectionHandler(self)
        try channel.pipeline.syncOperations.addHandler(handler)
        self.candidates.append((channel, handler))
    }

    /// - Parameter waiter: whose attempt it was: another one may be underway.
    private func connected(
        _ result: Result<any Channel, any Error>, at address: AMQPConfiguration.Address, for waiter: PublishWaiter
    ) {
        guard self.machine.isAttempt(of: waiter) else {
            if case .success(let channel) = result { channel.close(promise: nil) }
            return
        }
        let candidates = self.candidates
        self.candidates.removeAll()
        switch result {
        case .success(let channel):
            guard let winner = candidates.first(where: { $0.channel === channel }) else {
                channel.close(promise: nil)
                return
            }
            self.transport = channel
            self.handler = winner.handler
            winner.handler.isChosen = true
            self.isReading = true
            guard channel.isActive else {
                self.lost(self.handshake.connectionEnded())
                return
            }
            self.gate.connected(channel)
            self.gate.writeProtocolHeader()
        case .failure(let error):
            self.lost(ConnectFailure.error(error, address: address))
        }
    }

    func perform(_ action: HandshakeMachine.Action) {
        do throws(AMQPError) {
            switch action {
            case .send(let methods):
                for method in methods { try self.gate.write(method, channel: 0) }
            case .tuned(let negotiated, let methods):
                self.decoder.maximumFrameSize = negotiated.frameMax == 0 ? .max : negotiated.frameMax
                self.gate.tuned(frameMax: negotiated.frameMax == 0 ? 131_072 : negotiated.frameMax)
                for method in methods { try self.gate.write(method, channel: 0) }
                // From here on the broker counts our silence; its own counts when the handshake is over.
                self.heartbeat = HeartbeatMonitor(seconds: negotiated.heartbeat, now: .now())
                self.scheduleHeartbeat()
            case .complete(let negotiated):
                self.established(negotiated)
            case .fail(let error, let farewell):
                if let farewell { try self.gate.write(farewell, channel: 0) }
                self.lost(error)
            }
        } catch {
            self.lost(error)
        }
    }

    private func established(_ negotiated: HandshakeMachine.Negotiated) {
        self.isHandshakeDone = true
        self.negotiated = negotiated
        self.numbers = ChannelNumbers(maximum: negotiated.channelMax)
        self.highestNumber = 0
        self.heartbeat = HeartbeatMonitor(seconds: negotiated.heartbeat, now: .now())
        self.scheduleHeartbeat()
        self.startRenewal()
        self.logger.debug("connected", metadata: ["amqp.vhost": "\(self.configuration.virtualHost)"])
        switch self.machine.established() {
        case .opened(let waiter):
            self.gate.opened()
            self.emit(.connected)
            // If the caller gave up in this very moment, `open` ends what was just opened.
            waiter.resolve(.success(()))
        case .restore(let waiter): waiter.resolve(.success(()))
        case .ignore: break
        }
    }
}

extension AMQPError {
    /// The broker said that it does not accept the credentials. One that only hangs up behind the login may as well have
    /// died in this moment.
    var isRefusedLogin: Bool { self.code == .authenticationFailed && self.reply != nil }
}
