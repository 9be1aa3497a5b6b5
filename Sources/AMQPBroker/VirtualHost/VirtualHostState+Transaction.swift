// SPDX-License-Identifier: Apache-2.0
import AMQPWire

/// `tx.*` (class 90): publishes and acknowledgements that wait for a commit.
extension VirtualHostState {
    mutating func selectTransactions(on channel: ChannelID) throws(BrokerException) {
        guard self.channels[channel]?.confirms == nil else {
            throw .preconditionFailed("cannot switch from confirm to tx mode")
        }
        if self.channels[channel]?.transaction == nil { self.channels[channel]?.transaction = Transaction() }
    }

    mutating func selectConfirms(on channel: ChannelID) throws(BrokerException) {
        guard self.channels[channel]?.transaction == nil else {
            throw .preconditionFailed("cannot switch from tx to confirm mode")
        }
        if self.channels[channel]?.confirms == nil { self.channels[channel]?.confirms = ConfirmTracker() }
    }

    mutating func commit(on channel: ChannelID) throws(BrokerException) {
        let transaction = try self.takeTransaction(of: channel)
        for publish in transaction.publishes {
            let isRouted = self.accept(publish.message, publish.routes) != .unrouted
            if !isRouted, publish.isMandatory { self.sendReturn(publish.message, on: channel) }
        }
        for (settlement, deliveries) in transaction.settlements {
            self.settle(deliveries, settlement, on: channel)
        }
    }

    /// What was published is dropped; what was acknowledged is unacknowledged again, and not delivered anew.
    mutating func rollBack(on channel: ChannelID) throws(BrokerException) {
        self.restore(try self.takeTransaction(of: channel), on: channel)
    }

    /// A channel that closes rolls back what it had begun.
    mutating func abandonTransaction(of channel: ChannelID) {
        if let transaction = try? self.takeTransaction(of: channel) { self.restore(transaction, on: channel) }
    }

    private mutating func restore(_ transaction: Transaction, on channel: ChannelID) {
        let deliveries = transaction.settlements.flatMap(\.1)
        self.channels[channel]?.unacked.restore(deliveries.map { ($0.tag, $0) })
    }

    private mutating func takeTransaction(of channel: ChannelID) throws(BrokerException) -> Transaction {
        guard let transaction = self.channels[channel]?.transaction else {
            throw .preconditionFailed("channel is not transactional")
        }
        self.channels[channel]?.transaction = Transaction()
        return transaction
    }
}
