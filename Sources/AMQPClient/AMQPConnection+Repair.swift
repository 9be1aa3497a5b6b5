// SPDX-License-Identifier: Apache-2.0
import AMQPWire
import Logging
import NIOCore

/// What is missing although connection and channel are there: it is tried again until it is back.
extension AMQPConnection {
    /// Something is not there that should be. It is tried again, more and more slowly, until it is there.
    func becameUnhealthy(_ report: AMQPRecoveryReport) {
        var report = report
        report.expectedConsumers = 0
        report.consumers = 0
        self.count(&report)
        self.unhealthiness = report
        // A queue, or the right to consume alone, is locked for as long as the broker takes the connection before for alive.
        if !report.isLockedOut { self.emit(.unhealthy(report)) }
        guard self.repair == nil, self.machine.isOpen else { return }
        self.repair = Task { await self.runRepair() }
    }

    private func runRepair() async {
        var backoff = Backoff(self.configuration.recovery)
        var generator = SystemRandomNumberGenerator()
        // Two heartbeats and a margin are what the broker may take to notice that the connection before is gone.
        let patience = NIODeadline.after(self.heartbeatInterval * 2 + self.lockMargin)
        var wasTold = false
        while self.machine.isOpen, !Task.isCancelled {
            var delay = backoff.next(using: &generator)
            if self.unhealthiness?.isLockedOut == true, NIODeadline.now() < patience { delay = min(delay, .seconds(1)) }
            guard await self.pause(delay), self.machine.isOpen else { return }
            do throws(AMQPError) {
                var report = AMQPRecoveryReport()
                try await self.restoreTopology(&report)
                try await self.restoreMissingConsumers(&report)
                guard !Task.isCancelled, self.machine.isOpen else { return }
                self.count(&report)
                if report.failures.isEmpty, report.consumers == report.expectedConsumers {
                    self.repair = nil
                    self.unhealthiness = nil
                    self.logger.notice("everything is there again")
                    self.emit(.recovered(report))
                    return
                }
                self.unhealthiness = report
                if !wasTold, !report.isLockedOut || NIODeadline.now() >= patience {
                    wasTold = true
                    self.logger.error(
                        "not all is there", metadata: ["failures": "\(report.failures.map(\.description))"])
                    self.emit(.unhealthy(report))
                }
            } catch {
                // Without a session its recovery does all this.
                guard self.machine.isOpen, error.code != .cancelled else { return }
            }
        }
    }

    private func restoreMissingConsumers(_ report: inout AMQPRecoveryReport) async throws(AMQPError) {
        var scratch: ChannelCore?
        do throws(AMQPError) {
            for record in self.records.values.sorted(by: { $0.id < $1.id }) {
                for consumer in record.missingConsumers {
                    try await self.restore(consumer, of: record, on: &scratch, &report)
                }
            }
        } catch {
            if let scratch { self.close(scratch, error, waiter: nil) }
            throw error
        }
        if let scratch { self.close(scratch, ChannelMachine<ReplyWaiter>.closedByUs, waiter: nil) }
    }

    private func restore(
        _ consumer: ChannelConsumer, of record: ChannelRecord, on scratch: inout ChannelCore?,
        _ report: inout AMQPRecoveryReport
    ) async throws(AMQPError) {
        // Its own recovery sees to it, if the channel is not there.
        guard record.isReady, let core = record.core else { return }
        guard !self.topology.isMissing(queue: consumer.method.queue) else {
            let error = AMQPError(.consumerCancelled, "its queue could not be declared")
            report.failures.append(.init(entity: consumer.description, error: error))
            return
        }
        do throws(AMQPError) {
            // Looked at first: a refusal would take the channel from the others.
            for method in consumer.probes(keepsQueue: !self.topology.isAutoDelete(queue: consumer.method.queue)) {
                if case .failure(let error) = try await self.attempt(method, on: &scratch) { throw error }
            }
            guard record.core === core, record.missingConsumers.contains(where: { $0 === consumer }) else { return }
            try await self.subscribe(consumer, on: core)
        } catch {
            guard error.isRefusal else {
                // Closed, or lost, by somebody else.
                if record.core !== core { return }
                throw error
            }
            if error.reply?.code == 404 {
                guard self.topology.knows(queue: consumer.method.queue) else {
                    // Whoever made the queue deleted it: nothing will come any more.
                    record.remove(consumer)
                    self.ended(
                        consumer,
                        AMQPError(
                            .consumerCancelled, "the queue of \(consumer.description) is gone", reply: error.reply,
                            origin: .peer, cause: error), in: core)
                    return
                }
                self.topology.missing(queue: consumer.method.queue)
            }
            consumer.refusal = error
            report.failures.append(.init(entity: consumer.description, error: error))
        }
    }
}

extension ChannelConsumer {
    /// For people.
    var description: String { "consumer '\(self.tag)' of queue '\(self.method.queue)'" }

    /// What to ask for on a channel on which nothing can be lost, before the consumer is started on its own.
    ///
    /// - Parameter keepsQueue: whether the queue outlives its last consumer.
    fileprivate func probes(keepsQueue: Bool) -> [AMQPMethod] {
        let look = AMQPMethod.queueDeclare(.init(queue: self.method.queue, passive: true))
        // One that was refused itself, as while somebody else consumes alone, is asked for as well.
        guard let code = self.refusal?.reply?.code, code != 404, code != 405, self.needsAcknowledgement, keepsQueue
        else { return [look] }
        let few = AMQPMethod.basicQos(.init(prefetchSize: 0, prefetchCount: 1, global: false))
        return [look, few, .basicConsume(self.method), .basicCancel(.init(consumerTag: self.tag))]
    }
}

extension AMQPRecoveryReport {
    /// Whether all that is missing is locked, or depends on what is.
    fileprivate var isLockedOut: Bool {
        self.failures.contains(where: \.isLock)
            && self.failures.allSatisfy { $0.isLock || $0.error.code == .consumerCancelled }
    }
}

extension AMQPRecoveryReport.Failure {
    /// Somebody else holds it, who may well be ourselves before the loss: an exclusive queue (405), or the right to consume
    /// alone (403).
    fileprivate var isLock: Bool {
        guard let reply = self.error.reply else { return false }
        return reply.code == 405 || reply.code == 403 && reply.text.contains("in exclusive use")
    }
}
