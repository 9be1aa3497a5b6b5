// SPDX-License-Identifier: Apache-2.0
import AMQPWire
import Logging
import NIOCore

/// Secrets that expire: their provider is asked again in time, and the broker told.
extension AMQPConnection {
    /// What ``SecretRenewal`` is driven with.
    struct Renewal {
        var machine = SecretRenewal()
        /// When it is asked for the next time, or given up.
        var timer: DeadlineScheduler.Token?
        var task: Task<Void, Never>?
    }

    /// The login succeeded.
    func startRenewal() {
        guard self.configuration.credentials.hasProvider else { return }
        self.perform(self.renewal.machine.connected(with: self.handshake.secret, now: .now))
    }

    /// There is nobody to be told any more.
    func stopRenewal() {
        self.renewal.machine.disconnected()
        self.stopWaitingForSecret()
    }

    /// The broker took a secret.
    ///
    /// - Returns: `false` if it was given none.
    func secretUpdated() -> Bool {
        guard let action = self.renewal.machine.updated(now: .now) else { return false }
        self.perform(action)
        return true
    }

    private func perform(_ action: SecretRenewal.Action) {
        switch action {
        case .wait: break
        case .wake(let time):
            self.setRenewalTimer(after: time - .now) { connection in
                connection.perform(connection.renewal.machine.due(now: .now))
            }
        case .ask(let attempt): self.askForSecret(attempt)
        case .update(let secret, let attempt): self.update(secret, attempt)
        }
    }

    private func askForSecret(_ attempt: UInt64) {
        self.setRenewalTimer(after: self.configuration.connectTimeout) { connection in
            connection.renewalFailed(
                AMQPError(.timedOut, "the provider of the credentials did not answer in time"), attempt)
        }
        let credentials = self.configuration.credentials
        let eventLoop = self.eventLoop
        self.renewal.task = Task { @concurrent [weak self] in
            let result: Result<AMQPCredentials.Secret?, AMQPError>
            do throws(AMQPError) {
                result = .success(try await credentials.secret())
            } catch {
                result = .failure(error)
            }
            eventLoop.execute { [weak self] in self?.assumeIsolated { $0.provided(result, attempt) } }
        }
    }

    private func provided(_ result: Result<AMQPCredentials.Secret?, AMQPError>, _ attempt: UInt64) {
        switch result {
        case .success(let secret?):
            self.perform(self.renewal.machine.provided(secret, attempt: attempt, now: .now))
        case .success(nil): break // A provider has one, or throws.
        case .failure(let error): self.renewalFailed(error, attempt)
        }
    }

    private func update(_ secret: AMQPCredentials.Secret, _ attempt: UInt64) {
        self.setRenewalTimer(after: self.configuration.replyTimeout) { connection in
            connection.renewal.machine.unanswered(attempt: attempt)
            connection.logger.info("credentials not renewed", metadata: ["error": "the broker did not answer in time"])
        }
        do throws(AMQPError) {
            let method = AMQPMethod.connectionUpdateSecret(
                .init(newSecret: AMQPLongString(secret.password), reason: "the one before expires"))
            try self.gate.write(method, channel: 0)
        } catch {
            self.renewalFailed(error, attempt)
        }
    }

    private func renewalFailed(_ error: AMQPError, _ attempt: UInt64) {
        let action = self.renewal.machine.failed(attempt: attempt, now: .now)
        // Of an attempt that was given up.
        guard action != .wait else { return }
        self.logger.info("credentials not renewed", metadata: ["error": "\(error.message)"])
        self.stopWaitingForSecret()
        self.perform(action)
    }

    private func setRenewalTimer(after delay: Duration, _ action: @escaping @Sendable (isolated AMQPConnection) -> Void)
    {
        if let timer = self.renewal.timer { self.scheduler.cancel(timer) }
        self.renewal.timer = self.scheduler.schedule(after: delay) { self.assumeIsolated { action($0) } }
    }

    private func stopWaitingForSecret() {
        if let timer = self.renewal.timer { self.scheduler.cancel(timer) }
        self.renewal.timer = nil
        self.renewal.task?.cancel()
        self.renewal.task = nil
    }
}
