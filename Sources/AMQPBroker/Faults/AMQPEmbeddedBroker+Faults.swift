// SPDX-License-Identifier: Apache-2.0
import NIOCore

#if canImport(Glibc)
    import Glibc
#elseif canImport(Musl)
    import Musl
#elseif canImport(Darwin)
    import Darwin
#endif

extension AMQPEmbeddedBroker {
    /// Makes the broker do what brokers and networks do at times, so that programs can be tested under it.
    ///
    /// What is asked for has happened when a call returns, as far as the broker is concerned; what clients notice of it
    /// comes in its own time.
    public var faults: Faults { Faults(core: self.core) }

    /// See ``AMQPEmbeddedBroker/faults``.
    public struct Faults: Sendable {
        let core: BrokerCore

        /// How a connection ends.
        public enum Drop: Hashable, Sendable {
            /// With `connection.close`, as an operator closes it. 320 is what RabbitMQ's operators send.
            case close(code: UInt16 = 320, text: String = "CONNECTION_FORCED - Closed by a test")
            /// The socket is reset, as when the broker's process dies.
            case reset
            /// Nothing is read or written any more, as when a network fails. The broker keeps what belongs to the connection
            /// until it misses heartbeats or the client hangs up.
            case silence
        }

        /// How confirms are sent.
        public enum Confirms: Hashable, Sendable {
            /// At once. What was withheld or delayed goes out.
            case sent
            /// Not at all, until it is ``sent`` again.
            case withheld
            /// This long after they were due.
            case delayed(Duration)
        }

        // MARK: - Connections

        /// Ends connections that have finished their handshake.
        ///
        /// - Parameters:
        ///   - how: what the client sees.
        ///   - isMeant: which ones, by what the broker knows of them; all of them if it is left out.
        /// - Returns: how many.
        @discardableResult
        public func drop(
            _ how: Drop = .reset, where isMeant: (Snapshot.Connection) -> Bool = { _ in true }
        ) async -> Int {
            var count = 0
            for connection in self.core.snapshot().connections where isMeant(connection) {
                guard let channel = self.core.registry.connection(connection.id) else { continue }
                await self.drop(channel, how)
                count += 1
            }
            return count
        }

        private func drop(_ channel: any Channel, _ how: Drop) async {
            switch how {
            case .close(let code, let text):
                await self.tell(
                    channel, ForcedClose(exception: BrokerException(code: code, text: text, scope: .connection)))
            case .silence: await self.tell(channel, FallSilent())
            case .reset:
                // A socket that is closed so sends a reset and forgets what it had to write.
                try? await (channel as? any SocketOptionProvider)?.setSoLinger(linger(l_onoff: 1, l_linger: 0)).get()
                try? await channel.close().get()
            }
        }

        private func tell(_ channel: any Channel, _ event: any Sendable) async {
            try? await ConnectionRegistry.tell(channel, event).get()
        }

        /// Turns away whoever connects, by closing the socket at once, until this is called with `false`.
        public func refuseConnections(_ isRefusing: Bool = true) { self.core.registry.refuse(isRefusing) }

        /// Says that memory is short, whether it is or not: who publishes is blocked.
        public func setMemoryAlarm(_ isOn: Bool) { self.core.memory.force(isOn) }

        // MARK: - Channels and consumers

        /// Closes a channel with an error.
        ///
        /// - Parameters:
        ///   - number: of the channel in its connection.
        ///   - connection: ``Snapshot/Connection/id``
        ///   - code: a reply code of AMQP 0-9-1 (specification 1.2), such as 406.
        ///   - text: at most 255 bytes.
        public func closeChannel(_ number: UInt16, of connection: UInt64, code: UInt16, text: String) async {
            guard let channel = self.core.registry.connection(connection) else { return }
            await self.tell(
                channel,
                ForcedChannelClose(
                    channel: number, exception: BrokerException(code: code, text: text, scope: .channel)))
        }

        /// Ends the consumers of a queue with `basic.cancel`, as when RabbitMQ moves a queue.
        ///
        /// - Returns: how many.
        @discardableResult
        public func cancelConsumers(of queue: String, virtualHost: String = "/") -> Int {
            self.core.virtualHosts[virtualHost]?.perform { $0.cancelConsumers(of: queue) } ?? 0
        }

        // MARK: - Messages

        /// From now on, on all channels.
        public func setConfirms(_ confirms: Confirms) {
            for virtualHost in self.core.virtualHosts.values { virtualHost.perform { $0.setConfirms(confirms) } }
        }

        /// Answers the next publishes that want a confirm with `basic.nack`, although queues took them.
        public func refuseConfirms(next count: Int, virtualHost: String = "/") {
            self.core.virtualHosts[virtualHost]?.perform { $0.faults.refusals = max(0, count) }
        }

        /// The next messages that come to a queue are delivered twice, the second time as redelivered.
        public func duplicateDeliveries(of queue: String, next count: Int = 1, virtualHost: String = "/") {
            self.core.virtualHosts[virtualHost]?.perform { $0.faults.duplicates[queue] = max(0, count) }
        }

        /// A queue keeps what it has from its consumers, until this is called with `false`. `basic.get` is answered.
        public func holdDeliveries(of queue: String, _ isHeld: Bool = true, virtualHost: String = "/") {
            self.core.virtualHosts[virtualHost]?.perform { $0.holdDeliveries(of: queue, isHeld) }
        }

        // MARK: - Time

        /// Lets time pass for messages and queues: what expires within it has expired when this returns. Heartbeats and
        /// timeouts of connections keep the real time.
        public func advanceClock(by duration: Duration) {
            self.core.clock.advance(by: TimeAmount(duration))
            for virtualHost in self.core.virtualHosts.values { virtualHost.clockAdvanced() }
        }
    }
}
