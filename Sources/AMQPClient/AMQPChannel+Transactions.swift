// SPDX-License-Identifier: Apache-2.0
import AMQPWire
import NIOCore

/// Transactions: what is published and acknowledged on the channel takes effect together, or not at all.
///
/// Slower than publisher confirms by far, and RabbitMQ promises atomicity for a single queue only. A channel is in
/// transaction mode or in confirm mode, never in both: the broker refuses the second one (406) and closes the channel.
/// The embedded broker has no transactions: it answers with 540 and ends the connection.
extension AMQPChannel {
    /// Puts the channel in transaction mode, for as long as it lives. Sends `tx.select`; doing it again changes nothing.
    ///
    /// - Throws: ``AMQPError``: `channelClosed` with reply code 406 if the channel is in confirm mode, or as any request.
    public func selectTransactions() async throws(AMQPError) {
        _ = try await self.request(.txSelect(.init()))
    }

    /// Makes everything since the last ``commit()`` or ``rollback()`` take effect: what was published goes to the queues,
    /// what was acknowledged is forgotten. Sends `tx.commit`.
    ///
    /// - Throws: ``AMQPError``: `channelClosed` with reply code 406 if the channel is not in transaction mode;
    ///   `connectionLost` if the channel was lost since the transaction began: nothing of it took effect or will. If that
    ///   happened while the answer was awaited, or the answer took too long, it is not known whether it took effect.
    public func commit() async throws(AMQPError) {
        try await self.connection.commit(self)
    }

    /// Forgets everything since the last ``commit()`` or ``rollback()``: what was published is dropped, and what was
    /// acknowledged is unacknowledged for the broker, which does not deliver it again by itself: see ``recover()``.
    /// Sends `tx.rollback`.
    ///
    /// A delivery that was acknowledged in the transaction cannot be acknowledged a second time here: it goes back to its
    /// queue by ``recover()`` or with the end of the channel.
    ///
    /// - Throws: ``AMQPError``: `channelClosed` with reply code 406 if the channel is not in transaction mode.
    public func rollback() async throws(AMQPError) {
        try await self.connection.rollback(self)
    }
}

extension AMQPConnection {
    /// A transaction that began in an earlier generation of the channel has lost its beginning: its end must not take
    /// effect alone.
    func commit(_ channel: AMQPChannel) async throws(AMQPError) {
        let deadline = self.replyDeadline
        let core = try await self.readyCore(of: channel, until: deadline)
        guard core.record.hasLostTransaction else {
            try await self.endTransaction(.txCommit(.init()), on: core, until: deadline)
            return
        }
        try await self.endTransaction(.txRollback(.init()), on: core, until: deadline)
        throw AMQPError(
            .connectionLost, "the channel was lost in the middle of the transaction: nothing of it took effect")
    }

    func rollback(_ channel: AMQPChannel) async throws(AMQPError) {
        let deadline = self.replyDeadline
        let core = try await self.readyCore(of: channel, until: deadline)
        try await self.endTransaction(.txRollback(.init()), on: core, until: deadline)
    }

    private func endTransaction(
        _ method: AMQPMethod, on core: ChannelCore, until deadline: NIODeadline
    ) async throws(AMQPError) {
        let record = core.record
        do throws(AMQPError) {
            _ = try await self.perform(method, on: core, until: deadline)
            record.hasLostTransaction = false
        } catch {
            // Lost while it was on its way: whoever asked is told here, and begins the next one.
            if record.core !== core {
                if record.isReady { record.hasLostTransaction = false } else { record.isTransactionLossTold = true }
            }
            throw error
        }
    }
}
