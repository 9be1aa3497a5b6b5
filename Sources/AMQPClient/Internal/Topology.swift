// SPDX-License-Identifier: Apache-2.0
import AMQPWire
import NIOCore

/// The exchanges, queues and bindings that this connection declared, so that it can declare them again.
///
/// Knows no I/O and no clock. What is gone by rights is forgotten: what was deleted or unbound, auto-delete queues whose
/// last consumer left, auto-delete exchanges whose last binding went, and queues that expired unused. Passive
/// declarations, the default exchange and what the broker keeps itself (`amq.…`) are never remembered.
struct Topology {
    struct Queue {
        var declaration: AMQPMethod.QueueDeclare
        /// The broker makes its name, another one each time.
        var isServerNamed: Bool
        /// Its name now.
        var name: String
        var isMissing = false
        fileprivate var order: UInt64
        fileprivate var lastUse: NIODeadline
    }
    struct Exchange {
        var declaration: AMQPMethod.ExchangeDeclare
        var isMissing = false
        fileprivate var order: UInt64
    }
    /// A queue's or an exchange's binding.
    struct Binding: Hashable {
        var isOfQueue: Bool
        var destination: String
        var source: String
        var routingKey: String
        var arguments: AMQPTable
    }
    private struct BindingState {
        var order: UInt64
        var isMissing = false
    }

    private var exchangesByName: [String: Exchange] = [:]
    private var queuesByName: [String: Queue] = [:]
    private var bindingStates: [Binding: BindingState] = [:]
    private var lastOrder: UInt64 = 0

    /// Exchanges in the order in which they were declared first.
    var exchanges: [Exchange] { self.exchangesByName.values.sorted { $0.order < $1.order } }
    /// Queues in the order in which they were declared first.
    var queues: [Queue] { self.queuesByName.values.sorted { $0.order < $1.order } }
    /// Bindings in the order in which they were made.
    var bindings: [Binding] { self.bindingStates.sorted { $0.value.order < $1.value.order }.map(\.key) }

    private mutating func nextOrder() -> UInt64 {
        self.lastOrder += 1
        return self.lastOrder
    }

    // MARK: - What the broker agreed to

    mutating func declared(_ exchange: AMQPMethod.ExchangeDeclare) {
        guard !exchange.passive, !exchange.exchange.isEmpty, !exchange.exchange.hasPrefix("amq.") else { return }
        let order = self.exchangesByName[exchange.exchange]?.order ?? self.nextOrder()
        self.exchangesByName[exchange.exchange] = Exchange(declaration: exchange, order: order)
    }

    mutating func deletedExchange(_ name: String) {
        self.exchangesByName[name] = nil
        let sources = Set(self.bindingStates.keys.filter { !$0.isOfQueue && $0.destination == name }.map(\.source))
        self.bindingStates = self.bindingStates.filter { binding, _ in
            binding.source != name && (binding.isOfQueue || binding.destination != name)
        }
        for source in sources { self.forgetIfUnbound(source) }
    }

    /// - Parameter name: as the broker said, which names it if we did not.
    mutating func declared(_ queue: AMQPMethod.QueueDeclare, name: String, now: NIODeadline) {
        guard !queue.passive else {
            self.used(queue: name, now: now)
            return
        }
        let order = self.queuesByName[name]?.order ?? self.nextOrder()
        let isServerNamed = queue.queue.isEmpty || (self.queuesByName[name]?.isServerNamed ?? false)
        self.queuesByName[name] = Queue(
            declaration: queue, isServerNamed: isServerNamed, name: name, order: order, lastUse: now)
    }

    mutating func deletedQueue(_ name: String) {
        self.queuesByName[name] = nil
        let sources = Set(self.bindingStates.keys.filter { $0.isOfQueue && $0.destination == name }.map(\.source))
        self.bindingStates = self.bindingStates.filter { !$0.key.isOfQueue || $0.key.destination != name }
        for source in sources { self.forgetIfUnbound(source) }
    }

    mutating func bound(_ binding: Binding) {
        let order = self.bindingStates[binding]?.order ?? self.nextOrder()
        self.bindingStates[binding] = BindingState(order: order)
    }

    mutating func unbound(_ binding: Binding) {
        self.bindingStates[binding] = nil
        self.forgetIfUnbound(binding.source)
    }

    private mutating func forgetIfUnbound(_ exchange: String) {
        guard self.exchangesByName[exchange]?.declaration.autoDelete == true,
            !self.bindingStates.keys.contains(where: { $0.source == exchange })
        else { return }
        self.deletedExchange(exchange)
    }

    /// Looked at in a way that keeps it from expiring.
    mutating func used(queue name: String, now: NIODeadline) { self.queuesByName[name]?.lastUse = now }

    /// The last of our consumers left a queue.
    mutating func unsubscribed(queue name: String, now: NIODeadline) {
        guard let queue = self.queuesByName[name] else { return }
        if queue.declaration.autoDelete { self.deletedQueue(name) } else { self.used(queue: name, now: now) }
    }

    // MARK: - Declaring again

    /// - Returns: whether we declared this queue, so that we can do it again.
    func knows(queue name: String) -> Bool { self.queuesByName[name] != nil }

    /// - Returns: whether a queue that we declared goes with its last consumer.
    func isAutoDelete(queue name: String) -> Bool { self.queuesByName[name]?.declaration.autoDelete ?? false }

    func isMissing(exchange name: String) -> Bool { self.exchangesByName[name]?.isMissing ?? false }

    /// - Returns: whether what was asked for by name is not there just now.
    func isMissing(queue name: String) -> Bool { self.queuesByName[name]?.isMissing ?? false }

    /// Forgets queues that expired while we were away.
    ///
    /// - Parameter consumed: queues that we consume from: those are wanted, however long we were away.
    mutating func forgetExpired(consumed: Set<String>, now: NIODeadline) {
        for queue in self.queuesByName.values where !consumed.contains(queue.name) {
            guard let expires = queue.declaration.arguments["x-expires"]?.integer,
                (now - queue.lastUse).nanoseconds / 1_000_000 >= expires
            else { continue }
            self.deletedQueue(queue.name)
        }
    }

    /// The session is gone: nothing is known to be there.
    mutating func allMissing() {
        for name in self.exchangesByName.keys { self.exchangesByName[name]?.isMissing = true }
        for name in self.queuesByName.keys { self.queuesByName[name]?.isMissing = true }
        for binding in self.bindingStates.keys { self.bindingStates[binding]?.isMissing = true }
    }

    /// The broker said that a queue is gone.
    mutating func missing(queue name: String) {
        self.queuesByName[name]?.isMissing = true
        for binding in self.bindingStates.keys where binding.isOfQueue && binding.destination == name {
            self.bindingStates[binding]?.isMissing = true
        }
    }

    func isMissing(_ binding: Binding) -> Bool { self.bindingStates[binding]?.isMissing ?? false }

    /// Whether anything is to be declared again.
    var isIncomplete: Bool {
        self.exchangesByName.values.contains(where: \.isMissing)
            || self.queuesByName.values.contains(where: \.isMissing)
            || self.bindingStates.values.contains(where: \.isMissing)
    }

    mutating func isThere(exchange name: String) { self.exchangesByName[name]?.isMissing = false }

    mutating func isThere(_ binding: Binding) { self.bindingStates[binding]?.isMissing = false }

    /// A queue was declared again.
    ///
    /// - Parameter newName: differs from `name` for one that the broker names; its bindings move with it.
    mutating func isThere(queue name: String, as newName: String, now: NIODeadline) {
        guard var queue = self.queuesByName.removeValue(forKey: name) else { return }
        queue.name = newName
        queue.isMissing = false
        queue.lastUse = now
        self.queuesByName[newName] = queue
        guard newName != name else { return }
        for (binding, state) in self.bindingStates where binding.isOfQueue && binding.destination == name {
            self.bindingStates[binding] = nil
            var moved = binding
            moved.destination = newName
            // Bound by its own name, as a binding with neither name nor key is.
            if moved.routingKey == name { moved.routingKey = newName }
            self.bindingStates[moved] = state
        }
    }
}
