// SPDX-License-Identifier: Apache-2.0
import DequeModule
import NIOCore

/// What a virtual host does wrong because a test asked for it. By default nothing.
struct VirtualHostFaults: Sendable {
    typealias ChannelID = SlotID<BrokerChannel>

    struct DueConfirm: Sendable {
        let time: NIODeadline
        let channel: ChannelID
        /// Publishes up to this one are meant.
        let tag: UInt64
    }

    var confirms = AMQPEmbeddedBroker.Faults.Confirms.sent
    /// Channels whose confirms are withheld.
    var withheld: Set<ChannelID> = []
    /// In the order of their times, as long as the delay does not change.
    var due: Deque<DueConfirm> = []
    /// How many publishes are still to be refused with `basic.nack`.
    var refusals = 0
    /// Queues that deliver nothing, by name.
    var heldQueues: Set<String> = []
    /// How many of the next messages of a queue are to come twice, by its name.
    var duplicates: [String: Int] = [:]

    mutating func takeDuplicate(of queue: String) -> Bool {
        guard let count = self.duplicates[queue], count > 0 else { return false }
        self.duplicates[queue] = count == 1 ? nil : count - 1
        return true
    }

    mutating func takeDueConfirms(now: NIODeadline) -> [DueConfirm] {
        var due: [DueConfirm] = []
        while let first = self.due.first, first.time <= now {
            self.due.removeFirst()
            due.append(first)
        }
        return due
    }
}

extension VirtualHostState {
    /// Whether a queue keeps what it has.
    func isHeld(_ queue: QueueID) -> Bool {
        guard !self.faults.heldQueues.isEmpty, let name = self.queues[queue]?.name else { return false }
        return self.faults.heldQueues.contains(name)
    }

    mutating func holdDeliveries(of name: String, _ isHeld: Bool) {
        if isHeld {
            self.faults.heldQueues.insert(name)
        } else if self.faults.heldQueues.remove(name) != nil, let queue = self.queueIDs[name] {
            self.deliver(from: queue)
        }
    }

    mutating func setConfirms(_ confirms: AMQPEmbeddedBroker.Faults.Confirms) {
        self.faults.confirms = confirms
        guard case .sent = confirms else { return }
        for due in self.faults.due { self.confirmLater(due.channel) }
        for channel in self.faults.withheld { self.confirmLater(channel) }
        self.faults.due = []
        self.faults.withheld = []
    }

    /// - Returns: whether the confirms of a channel are not to be sent now.
    mutating func keepsConfirms(of channel: ChannelID) -> Bool {
        switch self.faults.confirms {
        case .sent: return false
        case .withheld: self.faults.withheld.insert(channel)
        case .delayed(let delay):
            if let confirms = self.channels[channel]?.confirms, confirms.hasPending {
                self.faults.due.append(
                    .init(time: self.now + TimeAmount(delay), channel: channel, tag: confirms.lastTag))
            }
        }
        return true
    }

    /// Tells consumers of a queue that they are none any more, as RabbitMQ does when a queue fails over.
    ///
    /// - Returns: how many.
    mutating func cancelConsumers(of name: String) -> Int {
        guard let queue = self.queueIDs[name] else { return 0 }
        let consumers = self.queues[queue]?.consumers.ids ?? []
        var isDone = false
        for id in consumers {
            guard let consumer = self.consumers[id] else { continue }
            self.channels[consumer.channel]?.consumers[consumer.tag] = nil
            if self.detachConsumer(id) != nil { isDone = true }
            self.notifyCancelled(consumer)
        }
        if isDone { self.deleteQueue(queue) } else { self.deliver(from: queue) }
        return consumers.count
    }
}
