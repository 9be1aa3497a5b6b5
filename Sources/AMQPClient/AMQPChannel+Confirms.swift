// SPDX-License-Identifier: Apache-2.0
import AMQPWire
import NIOCore

/// Publishing with the broker's confirmation.
extension AMQPChannel {
    /// Puts the channel in confirm mode. Sends `confirm.select`; doing it again changes nothing.
    ///
    /// At most ``AMQPConfiguration/maximumUnconfirmed`` messages of the channel wait for their confirms; then publishing
    /// suspends.
    public func confirmSelect() async throws(AMQPError) {
        _ = try await self.request(.confirmSelect(.init()))
    }

    /// What to do when channel or connection are lost before the broker confirmed a message.
    public enum UnknownOutcome: Sendable {
        /// To throw `outcomeUnknown`: whoever published decides.
        case fail
        /// To publish it again as soon as the channel is there again, with the same message id. If it had arrived the
        /// first time it arrives twice, and its receiver can tell by the id. A message because of which the broker closes
        /// the channel does so again: after the second time, what was under way on the channel is given up with
        /// `outcomeUnknown`.
        case publishAgain
    }

    /// Publishes a message and returns when the broker has taken responsibility for it.
    ///
    /// The channel has to be in confirm mode: ``confirmSelect()``. A mandatory message without a message id is given one,
    /// because a returned message is recognised by it; so is one that may be published again.
    ///
    /// - Parameter onUnknownOutcome: what to do when the connection is lost first. The deadline covers this as well.
    /// - Throws: ``AMQPError``: `nacked`; `returned` for a mandatory message that reached no queue; `outcomeUnknown` if
    ///   channel or connection were lost before the broker answered; or as
    ///   ``publish(_:exchange:routingKey:mandatory:)``. On `cancelled`, and on `timedOut` after
    ///   ``AMQPConfiguration/publishTimeout``, the message may have been sent.
    public func publishConfirmed(
        _ message: AMQPMessage, exchange: String = "", routingKey: String, mandatory: Bool = false,
        onUnknownOutcome: UnknownOutcome = .fail
    ) async throws(AMQPError) {
        try self.checkConfirming()
        let message = Self.identified(message, mandatory, onUnknownOutcome)
        let deadline = NIODeadline.after(self.connection.configuration.publishTimeout)
        let publication = Publication(message, exchange, routingKey, mandatory, onUnknownOutcome, deadline)
        let confirm = PublishWaiter(cancelled: .cancelled)
        try await self.submit(publication, confirm)
        try await self.confirmation(of: publication, confirm)
    }

    private func checkConfirming() throws(AMQPError) {
        guard !self.connection.gate.isConfirming(channel: self.id) else { return }
        if let failure { throw failure }
        throw GateState.notConfirming
    }

    private static func identified(
        _ message: AMQPMessage, _ mandatory: Bool, _ onUnknownOutcome: UnknownOutcome
    ) -> AMQPMessage {
        guard mandatory || onUnknownOutcome == .publishAgain, message.properties.messageID == nil else {
            return message
        }
        var message = message
        message.properties.messageID = String(UInt64.random(in: 0 ... .max), radix: 36)
        return message
    }

    /// A message on its way to being confirmed.
    private final class Publication: Sendable {
        let message: AMQPMessage
        let exchange: String
        let routingKey: String
        let mandatory: Bool
        let onUnknownOutcome: UnknownOutcome
        let deadline: NIODeadline

        init(
            _ message: AMQPMessage, _ exchange: String, _ routingKey: String, _ mandatory: Bool,
            _ onUnknownOutcome: UnknownOutcome, _ deadline: NIODeadline
        ) {
            self.message = message
            self.exchange = exchange
            self.routingKey = routingKey
            self.mandatory = mandatory
            self.onUnknownOutcome = onUnknownOutcome
            self.deadline = deadline
        }
    }

    private func submit(_ publication: Publication, _ confirm: PublishWaiter) async throws(AMQPError) {
        try await self.submit(
            publication.message, exchange: publication.exchange, routingKey: publication.routingKey,
            mandatory: publication.mandatory, confirm: confirm, deadline: publication.deadline)
    }

    /// Waits for the confirm, and if so wished publishes again what is not known to have arrived.
    private func confirmation(of publication: Publication, _ first: PublishWaiter) async throws(AMQPError) {
        var confirm = first
        var refusals = 0
        while true {
            do throws(AMQPError) {
                try await self.confirmation(confirm, until: publication.deadline)
                return
            } catch {
                guard error.code == .outcomeUnknown, publication.onUnknownOutcome == .publishAgain,
                    self.failure == nil, self.connection.configuration.recovery.isEnabled
                else { throw error }
                // The broker closed the channel because of a message: another one once, but twice means this one.
                if (error.cause as? AMQPError)?.isRefusal == true { refusals += 1 }
                guard refusals < 2 else { throw error }
            }
            confirm = PublishWaiter(cancelled: .cancelled)
            do throws(AMQPError) {
                try await self.submit(publication, confirm)
            } catch {
                // Those two say themselves that it may have been sent.
                guard ![.cancelled, .timedOut].contains(error.code) else { throw error }
                throw AMQPError(
                    .outcomeUnknown,
                    "the message may or may not have arrived, and was not published again: \(error.message)",
                    reply: error.reply, origin: error.origin, cause: error)
            }
        }
    }

    private func confirmation(_ confirm: PublishWaiter, until deadline: NIODeadline) async throws(AMQPError) {
        let timeout = self.connection.configuration.publishTimeout
        let token = self.connection.scheduler.schedule(at: deadline) {
            confirm.resolve(.failure(AMQPError(.timedOut, "the broker did not confirm within \(timeout)")))
        }
        defer { self.connection.scheduler.cancel(token) }
        try await confirm.value()
    }

    /// How a message of a sequence ended that the broker did not confirm.
    public struct PublishFailure: Error, Sendable {
        /// Which message of the sequence, from 0.
        public let index: Int
        /// As ``publishConfirmed(_:exchange:routingKey:mandatory:onUnknownOutcome:)`` throws it.
        public let error: AMQPError
    }

    /// Publishes the messages of a sequence, in their order, and waits for all confirms; many may be outstanding at once.
    ///
    /// A failure stops nothing: the other messages are published. Only when the channel or its connection has ended, or the
    /// task is cancelled, no further message is taken from the sequence.
    ///
    /// - Parameters:
    ///   - window: most messages that wait for their confirms at once, at least 1. Default 256.
    ///   - onUnknownOutcome: what to do with each when the connection is lost before its confirm. With `publishAgain` the
    ///     order may change.
    /// - Returns: how many messages were confirmed, and which ones failed, in the order of the sequence.
    /// - Throws: what the sequence throws, after what was published before has ended.
    public func publishConfirmed<Messages: AsyncSequence>(
        contentsOf messages: Messages, exchange: String = "", routingKey: String, mandatory: Bool = false,
        window: Int = 256, onUnknownOutcome: UnknownOutcome = .fail
    ) async throws -> (confirmed: Int, failures: [PublishFailure]) where Messages.Element == AMQPMessage {
        var iterator = messages.makeAsyncIterator()
        return try await self.publishConfirmed(
            exchange, routingKey, mandatory, window: window, onUnknownOutcome
        ) { try await iterator.next(isolation: #isolation) }
    }

    /// As ``publishConfirmed(contentsOf:exchange:routingKey:mandatory:window:onUnknownOutcome:)``, for messages that are
    /// there.
    ///
    /// - Throws: ``AMQPError`` with `invalidArgument` if the channel is not in confirm mode.
    public func publishConfirmed(
        contentsOf messages: some Sequence<AMQPMessage>, exchange: String = "", routingKey: String,
        mandatory: Bool = false, window: Int = 256, onUnknownOutcome: UnknownOutcome = .fail
    ) async throws -> (confirmed: Int, failures: [PublishFailure]) {
        var iterator = messages.makeIterator()
        return try await self.publishConfirmed(
            exchange, routingKey, mandatory, window: window, onUnknownOutcome
        ) { iterator.next() }
    }

    private func publishConfirmed(
        _ exchange: String, _ routingKey: String, _ mandatory: Bool, window: Int,
        _ onUnknownOutcome: UnknownOutcome, next: () async throws -> AMQPMessage?
    ) async throws -> (confirmed: Int, failures: [PublishFailure]) {
        try self.checkConfirming()
        let result = await withTaskGroup(of: PublishFailure?.self) { group in
            var thrown: (any Error)?
            var failures: [PublishFailure] = []
            var (index, confirmed, outstanding) = (0, 0, 0)
            func ended(_ failure: PublishFailure?) {
                outstanding -= 1
                if let failure { failures.append(failure) } else { confirmed += 1 }
            }
            while !Task.isCancelled {
                let taken: AMQPMessage?
                do {
                    taken = try await next()
                } catch {
                    thrown = error
                    break
                }
                guard let message = taken else { break }
                if outstanding >= max(window, 1), let first = await group.next() { ended(first) }
                let number = index
                index += 1
                let publication = Publication(
                    Self.identified(message, mandatory, onUnknownOutcome), exchange, routingKey, mandatory,
                    onUnknownOutcome, .after(self.connection.configuration.publishTimeout))
                let confirm = PublishWaiter(cancelled: .cancelled)
                do throws(AMQPError) {
                    // Here and not in the task: the order of the sequence is the order of the wire.
                    try await self.submit(publication, confirm)
                } catch {
                    failures.append(PublishFailure(index: number, error: error))
                    // No other message would be taken either.
                    if self.hasEnded(error) { break }
                    continue
                }
                outstanding += 1
                group.addTask {
                    do throws(AMQPError) {
                        try await self.confirmation(of: publication, confirm)
                        return nil
                    } catch {
                        return PublishFailure(index: number, error: error)
                    }
                }
            }
            while let next = await group.next() { ended(next) }
            return (confirmed: confirmed, failures: failures.sorted { $0.index < $1.index }, thrown: thrown)
        }
        if let thrown = result.thrown { throw thrown }
        return (result.confirmed, result.failures)
    }

    /// Whether the channel is over, as far as a publisher was told.
    private func hasEnded(_ error: AMQPError) -> Bool {
        self.failure != nil || [.channelClosed, .connectionClosed].contains(error.code)
    }
}
