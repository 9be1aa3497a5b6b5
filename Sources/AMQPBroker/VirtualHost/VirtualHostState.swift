// SPDX-License-Identifier: Apache-2.0
import AMQPWire
import DequeModule
import HeapModule
import NIOCore

/// Everything a virtual host knows: exchanges, queues, bindings, and the connections, channels and consumers on them.
///
/// A value. Time comes in as ``now``; what goes out is appended to the connections' outputs, and who has to be woken
/// for it stands in ``wakeups`` until the lock around this value is released.
struct VirtualHostState: Sendable {
    typealias QueueID = SlotID<BrokerQueue>
    typealias ChannelID = SlotID<BrokerChannel>
    typealias ClientID = SlotID<BrokerClient>
    typealias ConsumerID = SlotID<BrokerConsumer>

    struct Settings: Sendable {
        var compatibility: AMQPEmbeddedBroker.Compatibility
        /// In bytes.
        var maximumMessageSize: Int
        var maximumQueues = Int.max
        var access = AccessList()
        /// What messages hold; `nil` in tests that do not look.
        var memory: MemoryGauge?
    }

    let name: String
    let settings: Settings
    var routing = RoutingTable()
    var queues = SlotMap<BrokerQueue>()
    var queueIDs: [String: QueueID] = [:]
    var clients = SlotMap<BrokerClient>()
    var channels = SlotMap<BrokerChannel>()
    var consumers = SlotMap<BrokerConsumer>()
    /// Whom an address of direct reply-to belongs to.
    var replyAddresses: [String: ChannelID] = [:]
    /// What tests asked it to do wrong.
    var faults = VirtualHostFaults()
    /// Messages on their way from the queue where they died.
    var letters: Deque<Letter> = []
    var isSendingLetters = false
    /// Whom may do what, as far as it was asked.
    var permitted = PermissionCache()

    /// When the events of this batch happen.
    var now: NIODeadline
    /// The same as seconds since 1970, for what clients see.
    var time: UInt64 = 0
    private(set) var wakeups: [ConnectionOutput] = []
    /// Channels with publishes that wait for their acknowledgement, which is sent once per batch.
    private var confirming: [ChannelID] = []
    private var deadlines = Heap<QueueDeadline>()

    init(name: String, settings: Settings, now: NIODeadline) {
        self.name = name
        self.settings = settings
        self.now = now
    }

    // MARK: - Sending

    /// Appends to an output and remembers to wake its loop.
    ///
    /// - Returns: whether the connection now has more to write than it should.
    @discardableResult
    mutating func append(
        to output: ConnectionOutput, _ body: (inout AMQPOutput) throws(AMQPWireError) -> Void
    ) -> Bool {
        let outcome = output.append(body)
        if outcome.needsWake { self.wakeups.append(output) }
        return outcome.isThrottled
    }

    mutating func send(_ method: AMQPMethod, to channel: ChannelID) {
        guard let output = self.channels[channel]?.output, let number = self.channels[channel]?.number else { return }
        self.append(to: output) { frames throws(AMQPWireError) in
            try frames.append(method, channel: number)
        }
    }

    /// Notes that a channel in confirm mode has an acknowledgement to send at the end of the batch.
    mutating func confirmLater(_ channel: ChannelID) {
        // The publishes of a batch are mostly those of one channel.
        if self.confirming.last != channel { self.confirming.append(channel) }
    }

    /// Acknowledges what was published on a channel, before something that must come after it.
    mutating func sendConfirms(of channel: ChannelID) {
        guard !self.keepsConfirms(of: channel) else { return }
        self.sendConfirms(of: channel, through: .max)
    }

    private mutating func sendConfirms(of channel: ChannelID, through tag: UInt64) {
        guard let acknowledgement = self.channels[channel]?.confirms?.takeAcknowledgement(through: tag),
            let output = self.channels[channel]?.output, let number = self.channels[channel]?.number
        else { return }
        self.append(to: output) { frames throws(AMQPWireError) in
            frames.appendAck(
                channel: number, deliveryTag: acknowledgement.deliveryTag, multiple: acknowledgement.multiple)
        }
    }

    /// Sends the acknowledgements of the batch.
    mutating func finishBatch() {
        guard !self.confirming.isEmpty else { return }
        let channels = self.confirming
        self.confirming.removeAll(keepingCapacity: true)
        for channel in channels { self.sendConfirms(of: channel) }
    }

    mutating func takeWakeups() -> [ConnectionOutput] {
        guard !self.wakeups.isEmpty else { return [] }
        defer { self.wakeups = [] }
        return self.wakeups
    }

    // MARK: - Deadlines

    /// The moment at which ``expire()`` has to be called, if there is one.
    var nextDeadline: NIODeadline? {
        guard let confirms = self.faults.due.first?.time else { return self.deadlines.min?.time }
        return min(self.deadlines.min?.time ?? confirms, confirms)
    }

    /// Has the timer look at a queue in time. Called after anything that may have brought its deadline forward.
    mutating func scheduleDeadline(of queue: QueueID) {
        guard let deadline = self.queues[queue]?.nextDeadline else { return }
        if let scheduled = self.queues[queue]?.scheduledDeadline, scheduled <= deadline { return }
        self.queues[queue]?.scheduledDeadline = deadline
        self.deadlines.insert(QueueDeadline(time: deadline, queue: queue))
    }

    /// Drops expired messages and unused queues.
    mutating func expire() {
        for due in self.faults.takeDueConfirms(now: self.now) { self.sendConfirms(of: due.channel, through: due.tag) }
        while let next = self.deadlines.min, next.time <= self.now {
            self.deadlines.removeMin()
            // Looked at earlier than this, or gone.
            guard self.queues[next.queue]?.scheduledDeadline == next.time else { continue }
            self.queues[next.queue]?.scheduledDeadline = nil
            if self.queues[next.queue]?.isUnused(now: self.now) == true {
                self.deleteQueue(next.queue)
            } else {
                self.tidy(next.queue)
            }
        }
    }

    // MARK: - Names

    /// As RabbitMQ's error texts name things.
    func describe(queue name: String) -> String { "queue '\(name)' in vhost '\(self.name)'" }
    func arguments(_ table: AMQPTable, of resource: String) -> MethodArguments {
        MethodArguments(table: table, resource: resource, compatibility: self.settings.compatibility)
    }

    func describe(exchange name: String) -> String { "exchange '\(name)' in vhost '\(self.name)'" }

    /// A name that nobody can guess, after a prefix such as `amq.gen-`.
    static func randomName(_ prefix: String) -> String {
        let alphabet = Array("0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz-_")
        var name = prefix
        for _ in 0..<22 { if let character = alphabet.randomElement() { name.append(character) } }
        return name
    }
}

/// RabbitMQ drops carriage returns and line feeds from names (`strip_cr_lf` in its rabbit_channel).
func stripped(_ name: String) -> String {
    guard name.utf8.contains(where: { $0 == 10 || $0 == 13 }) else { return name }
    return String(name.unicodeScalars.filter { $0 != "\r" && $0 != "\n" })
}

/// When a queue has to be looked at. One that was overtaken by an earlier one stays until its time and is then ignored.
private struct QueueDeadline: Comparable {
    let time: NIODeadline
    let queue: SlotID<BrokerQueue>

    static func < (one: Self, other: Self) -> Bool { one.time < other.time }
    static func == (one: Self, other: Self) -> Bool { one.time == other.time && one.queue == other.queue }
}
