// SPDX-License-Identifier: Apache-2.0
@_spi(HareDo) import AMQPClient
import AMQPWire
import NIOCore

extension Peer {
    /// Most replies that one call of many can gather.
    static let mostReplies = 10_000

    /// Asks all who subscribed to a topic, and gathers their replies.
    ///
    /// It ends when its time is over, at once when a quorum has replied or when nobody has subscribed. A reply that says
    /// that a handler failed (``Message/failure``) is a reply as well. Those who come later are counted
    /// (``Statistics/lateReplies``) and discarded.
    ///
    /// - Parameters:
    ///   - topic: as for ``emit(_:headers:data:confirm:)``.
    ///   - limit: how long replies are gathered; within a handler, no longer than its own caller waits.
    ///   - quorum: how many replies are enough, 1 to 10,000. Default: as many as come in time, up to 10,000.
    /// - Returns: the replies, in the order they came.
    /// - Throws: ``HareDoError``: `invalidArgument` (nothing was sent), `notConnected`, `connectionLost`, `disconnected`,
    ///   `brokerRefused` or `cancelled`.
    public nonisolated func callAll<Body: MessageBody>(
        _ topic: String, headers: Headers = [:], data: Body = .empty, within limit: Duration, quorum: Int? = nil
    ) async throws(HareDoError) -> [Message] {
        try Topics.check(topic: topic)
        return try await self.callAll(
            topic, exchange: try self.exchangeNames().events, headers: headers, bytes: data.messageBytes,
            contentType: Body.contentType, within: limit, quorum: quorum)
    }

    nonisolated func callAll(
        _ key: String, exchange: String, headers: Headers, bytes: Bytes, contentType: String?, within limit: Duration,
        quorum: Int?
    ) async throws(HareDoError) -> [Message] {
        try headers.check()
        try ServiceOptions.require(
            1...Self.mostReplies ~= (quorum ?? 1), "a quorum is 1 to \(Self.mostReplies) replies, not \(quorum ?? 1)")
        try Self.check(limit)
        let deadline = NIODeadline.after(min(limit, ServiceCore.turn?.timeLeft ?? limit))
        let link = try await self.linkState.link(until: deadline, self.scheduler)
        try await self.ensure(exchange, on: link)
        let gathering = Gathering(quorum: quorum ?? Self.mostReplies)
        let (id, number) = try self.calls.begin(gathering)
        let token = self.scheduler.schedule(at: deadline) { gathering.end() }
        defer {
            self.scheduler.cancel(token)
            self.calls.endGathering(number)
        }
        let message = Self.request(
            id, link, headers: headers, bytes: bytes, contentType: contentType, deadline: deadline)
        do {
            try await link.calling.publish(
                message, exchange: exchange, routingKey: key, mandatory: true, deadline: deadline)
        } catch  where error.code == .timedOut {
            return []
        } catch {
            throw HareDoError(error)
        }
        return try await gathering.replies()
    }
}
