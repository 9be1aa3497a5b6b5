// SPDX-License-Identifier: Apache-2.0
import AMQPWire
import Logging
import NIOCore

/// Coming back after a loss: the whole connection, one channel, or what is missing although both are there.
extension AMQPConnection {
    // MARK: - The whole connection

    /// Everything that belonged to the socket is gone. What outlives it waits.
    func interrupt(_ error: AMQPError) {
        self.readCompleted()
        self.dropSocket()
        self.transport = nil
        self.repair?.cancel()
        self.repair = nil
        self.unhealthiness = nil
        self.backoff.failed(now: .now())
        self.gate.interrupted(error)
        self.topology.allMissing()
        let lost = AMQPError(
            .connectionLost, "\(error.message); the connection is being made again", reply: error.reply,
            origin: error.origin, cause: error)
        for record in self.records.values {
            if let core = record.core { self.interruptConsumers(of: core) }
            record.core = nil
            record.isReady = false
            record.recovery?.cancel()
            record.recovery = nil
            for consumer in record.consumers { consumer.refusal = nil }
            for action in record.onInterruption { action(lost) }
        }
        for core in self.channels.values { self.forget(core, lost) }
        self.channels.removeAll()
        self.lastChannel = nil
        self.forgetReading()
    }

    func startRecovering(_ error: AMQPError) {
        self.logger.warning("connection lost", metadata: ["error": "\(error.message)"])
        self.emit(.lost(error))
        // What observes may have closed it.
        guard self.machine.isRecovering else { return }
        self.recovery = Task { await self.runRecovery(error) }
    }

    func stopRecovering() {
        self.recovery?.cancel()
        self.recovery = nil
        self.repair?.cancel()
        self.repair = nil
        for record in self.records.values {
            record.recovery?.cancel()
            record.recovery = nil
        }
    }

    /// One attempt after another until the connection is open again, or is not to be made any more. There is one of
    /// these at a time: a loss in the middle of it fails its attempt.
    private func runRecovery(_ error: AMQPError) async {
        var last = error
        var generator = SystemRandomNumberGenerator()
        let policy = self.configuration.recovery
        while self.machine.isLost {
            let attempt = self.backoff.attempts + 1
            if let most = policy.maximumAttempts, attempt > most {
                self.end(
                    AMQPError(
                        .connectionClosed, "not connected again after \(most) attempts: \(last.message)",
                        reply: last.reply, origin: last.origin, cause: last))
                return
            }
            let delay = self.backoff.next(using: &generator)
            self.emit(.recovering(attempt: attempt, delay: delay))
            guard await self.pause(delay), self.machine.isLost else { return }
            do throws(AMQPError) {
                try await self.establish()
                let report = try await self.restore()
                // False if it was lost again while nothing was awaited that would have failed: once more then.
                if self.restored(report) { return }
            } catch {
                if self.machine.end != nil || self.machine.isClosing { return }
                if error.isRefusedLogin, policy.stopsOnRefusedCredentials {
                    self.end(error)
                    return
                }
                self.logger.info(
                    "not connected again", metadata: ["attempt": "\(attempt)", "error": "\(error.message)"])
                last = error
                // Something on the way was refused or not answered, and the session is of no use.
                if self.machine.isRestoring { self.lost(error) }
            }
        }
    }

    /// - Returns: whether it is to go on.
    func pause(_ delay: Duration) async -> Bool {
        let waiter = PublishWaiter(cancelled: .cancelled)
        let token = self.scheduler.schedule(after: delay) { waiter.resolve(.success(())) }
        defer { self.scheduler.cancel(token) }
        return (try? await waiter.value()) != nil
    }

    /// In this order: channels with their modes and limits, exchanges, queues, bindings, consumers.
    private func restore() async throws(AMQPError) -> AMQPRecoveryReport {
        var report = AMQPRecoveryReport()
        let records = self.records.values.sorted { $0.id < $1.id }
        for record in records where self.records[record.id] === record {
            do throws(AMQPError) {
                try await self.reopen(record)
                report.channels += 1
            } catch {
                // Its user closed it meanwhile.
                if self.records[record.id] !== record, self.machine.isRestoring { continue }
                // The broker allows fewer than before.
                guard error.code == .invalidArgument else { throw error }
                report.failures.append(.init(entity: "a channel", error: error))
                self.end(record, error)
            }
        }
        let consumed = Set(self.records.values.flatMap { $0.consumers.map(\.method.queue) })
        self.topology.forgetExpired(consumed: consumed, now: .now())
        try await self.restoreTopology(&report)
        for record in records where self.records[record.id] === record {
            do throws(AMQPError) {
                try await self.restoreConsumers(record, &report)
            } catch {
                guard self.records[record.id] !== record, self.machine.isRestoring else { throw error }
            }
        }
        return report
    }

    /// From here on it is as before the loss, as far as the report says so.
    ///
    /// - Returns: whether it is; not if the connection was lost or closed meanwhile.
    private func restored(_ report: AMQPRecoveryReport) -> Bool {
        var report = report
        self.count(&report)
        // A consumer that was started again may have been cancelled by the broker since.
        report.failures += self.unhealthiness?.failures ?? []
        guard let waiters = self.machine.restored() else { return false }
        self.backoff.succeeded(now: .now())
        self.recovery = nil
        for record in self.records.values {
            // A channel may have been closed since it was opened.
            if let core = record.core { self.becameReady(record, core) } else { self.recoverChannel(record) }
        }
        self.gate.opened()
        for waiter in waiters { waiter.resolve(.success(())) }
        self.logger.notice(
            "connected again",
            metadata: ["consumers": "\(report.consumers)", "failures": "\(report.failures.map(\.description))"])
        self.emit(.recovered(report))
        if !report.failures.isEmpty { self.becameUnhealthy(report) }
        return true
    }

    /// The check at the end: as many consumers as before.
    func count(_ report: inout AMQPRecoveryReport) {
        for record in self.records.values {
            report.expectedConsumers += record.consumers.count
            report.consumers += record.consumers.count - record.missingConsumers.count
        }
    }

    /// A new generation of a channel, with the modes and limits of the one before.
    private func reopen(_ record: ChannelRecord) async throws(AMQPError) {
        let core = try await self.openCore(of: record)
        switch record.mode {
        case .plain: break
        case .confirming: _ = try await self.perform(.confirmSelect(.init()), on: core)
        case .transactional:
            record.hasLostTransaction = !record.isTransactionLossTold
            record.isTransactionLossTold = false
            _ = try await self.perform(.txSelect(.init()), on: core)
        }
        if let count = record.channelPrefetchCount {
            _ = try await self.perform(.basicQos(.init(prefetchSize: 0, prefetchCount: count, global: true)), on: core)
        }
        if let count = record.consumerPrefetchCount {
            _ = try await self.perform(
                .basicQos(.init(prefetchSize: 0, prefetchCount: count, global: false)), on: core)
        }
    }

    private func restoreConsumers(
        _ record: ChannelRecord, _ report: inout AMQPRecoveryReport
    ) async throws(AMQPError) {
        // One that was refused is not tried with the others: the refusal would close their channel once more.
        for consumer in record.consumers {
            guard let refusal = consumer.refusal else { continue }
            report.failures.append(.init(entity: consumer.description, error: refusal))
        }
        var next = record.consumers.first { $0.refusal == nil }
        var tried: Set<ObjectIdentifier> = []
        while let consumer = next, let core = record.core {
            tried.insert(ObjectIdentifier(consumer))
            let entity = consumer.description
            if self.topology.isMissing(queue: consumer.method.queue) {
                report.failures.append(
                    .init(entity: entity, error: AMQPError(.consumerCancelled, "its queue could not be declared")))
            } else {
                do throws(AMQPError) {
                    try await self.subscribe(consumer, on: core)
                } catch {
                    guard error.isRefusal else { throw error }
                    consumer.refusal = error
                    // An auto-delete queue went with its last consumer, say: it is declared again before the next try.
                    if error.reply?.code == 404 { self.topology.missing(queue: consumer.method.queue) }
                    report.failures.append(.init(entity: entity, error: error))
                    // The refusal closed the channel, and those before are to be started once more.
                    guard self.records[record.id] === record else { return }
                    try await self.reopen(record)
                    tried = []
                }
            }
            next = record.consumers.lazy.filter { $0.refusal == nil && !tried.contains(ObjectIdentifier($0)) }.first
        }
    }

    // MARK: - Topology

    /// Does not declare a queue again after a loss, although nobody deleted it.
    package func forget(queue: String) { self.topology.deletedQueue(queue) }

    /// Declares what is missing, on channels that are for this alone: a refusal closes one, and must not stop the rest.
    func restoreTopology(_ report: inout AMQPRecoveryReport) async throws(AMQPError) {
        guard self.topology.isIncomplete else { return }
        var scratch: ChannelCore?
        do throws(AMQPError) {
            for exchange in self.topology.exchanges {
                let name = exchange.declaration.exchange
                // It may have been deleted while others were declared; the same below.
                guard self.topology.isMissing(exchange: name) else { continue }
                switch try await self.attempt(.exchangeDeclare(exchange.declaration), on: &scratch) {
                case .success:
                    self.topology.isThere(exchange: name)
                    report.exchanges += 1
                case .failure(let error): report.failures.append(.init(entity: "exchange '\(name)'", error: error))
                }
            }
            for queue in self.topology.queues where self.topology.isMissing(queue: queue.name) {
                try await self.restore(queue, on: &scratch, &report)
            }
            for binding in self.topology.bindings where self.topology.isMissing(binding) {
                try await self.restore(binding, on: &scratch, &report)
            }
        } catch {
            if let scratch { self.close(scratch, error, waiter: nil) }
            throw error
        }
        if let scratch { self.close(scratch, ChannelMachine<ReplyWaiter>.closedByUs, waiter: nil) }
    }

    private func restore(
        _ queue: Topology.Queue, on scratch: inout ChannelCore?, _ report: inout AMQPRecoveryReport
    ) async throws(AMQPError) {
        var declaration = queue.declaration
        // A name of the broker's making (`amq.…`) may not be asked for.
        declaration.queue = queue.isServerNamed ? "" : queue.name
        switch try await self.attempt(.queueDeclare(declaration), on: &scratch) {
        case .success(.method(.queueDeclareOk(let ok))):
            self.topology.isThere(queue: queue.name, as: ok.queue, now: .now())
            report.queues += 1
            guard ok.queue != queue.name else { return }
            report.renamedQueues[queue.name] = ok.queue
            for record in self.records.values {
                if record.lastQueue == queue.name { record.lastQueue = ok.queue }
                for consumer in record.consumers where consumer.method.queue == queue.name {
                    consumer.method.queue = ok.queue
                }
            }
        case .success: break
        case .failure(let error): report.failures.append(.init(entity: "queue '\(queue.name)'", error: error))
        }
    }

    private func restore(
        _ binding: Topology.Binding, on scratch: inout ChannelCore?, _ report: inout AMQPRecoveryReport
    ) async throws(AMQPError) {
        let method: AMQPMethod =
            binding.isOfQueue
            ? .queueBind(
                .init(
                    queue: binding.destination, exchange: binding.source, routingKey: binding.routingKey,
                    arguments: binding.arguments))
            : .exchangeBind(
                .init(
                    destination: binding.destination, source: binding.source, routingKey: binding.routingKey,
                    arguments: binding.arguments))
        switch try await self.attempt(method, on: &scratch) {
        case .success:
            self.topology.isThere(binding)
            report.bindings += 1
        case .failure(let error):
            report.failures.append(
                .init(entity: "binding of '\(binding.destination)' to '\(binding.source)'", error: error))
        }
    }

    /// - Returns: the answer, or how the broker refused.
    /// - Throws: if the session is over.
    func attempt(
        _ method: AMQPMethod, on scratch: inout ChannelCore?
    ) async throws(AMQPError) -> Result<ChannelReply, AMQPError> {
        let core: ChannelCore
        if let scratch { core = scratch } else { core = try await self.openScratch() }
        scratch = core
        do throws(AMQPError) {
            return .success(try await self.perform(method, on: core))
        } catch {
            guard error.isRefusal || error.code == .invalidArgument else { throw error }
            if error.isRefusal { scratch = nil }
            return .failure(error)
        }
    }

    private func openScratch() async throws(AMQPError) -> ChannelCore {
        self.lastChannelID += 1
        let record = ChannelRecord(
            id: self.lastChannelID, channel: AMQPChannel(id: self.lastChannelID, connection: self), isScratch: true,
            backoff: Backoff(self.configuration.recovery))
        // What needs it is on the wire in order; nobody publishes there.
        defer { self.gate.forgetChannel(record.id) }
        return try await self.openCore(of: record)
    }

    // MARK: - One channel

    /// The broker closed a channel, or did not answer on it; the connection is there.
    func recoverChannel(_ record: ChannelRecord) {
        record.backoff.failed(now: .now())
        record.recovery = Task { await self.runRecovery(of: record) }
    }

    private func runRecovery(of record: ChannelRecord) async {
        var generator = SystemRandomNumberGenerator()
        while self.records[record.id] === record, self.machine.isOpen, !record.isReady, !Task.isCancelled {
            // At once, unless it happens again and again.
            let isFirst = record.backoff.attempts == 0
            let delay = record.backoff.next(using: &generator)
            if !isFirst {
                guard await self.pause(delay) else { return }
                guard self.records[record.id] === record, self.machine.isOpen else { return }
            }
            do throws(AMQPError) {
                var report = AMQPRecoveryReport()
                try await self.reopen(record)
                try await self.restoreConsumers(record, &report)
                guard let core = record.core else { continue }
                record.recovery = nil
                self.becameReady(record, core)
                if !report.failures.isEmpty { self.becameUnhealthy(report) }
                return
            } catch {
                guard error.code != .cancelled, self.machine.isOpen else { return }
                self.logger.info("channel not opened again", metadata: ["error": "\(error.message)"])
                if let core = record.core { self.close(core, error, waiter: nil) }
            }
        }
    }
}

extension AMQPError {
    /// The broker refused something and closed the channel because of it; the connection is there.
    package var isRefusal: Bool { self.code == .channelClosed && self.origin == .peer }
}
