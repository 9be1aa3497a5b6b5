// SPDX-License-Identifier: Apache-2.0
import AMQPWire

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
    /// - Throws: ``AMQPError``: `channelClosed` with reply code 406 if the channel is not in transaction mode. If channel
    ///   or connection ended before the answer came, or it took too long, it is not known whether it took effect.
    public func commit() async throws(AMQPError) {
        _ = try await self.request(.txCommit(.init()))
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
        _ = try await self.request(.txRollback(.init()))
    }
}
