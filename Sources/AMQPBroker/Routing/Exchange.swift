// SPDX-License-Identifier: Apache-2.0
import AMQPWire

/// An exchange and the bindings that leave it.
struct Exchange: Sendable {
    enum Kind: String, Sendable {
        case direct, fanout, topic, headers
    }

    let name: String
    let kind: Kind
    let durable: Bool
    let autoDelete: Bool
    let isInternal: Bool
    let arguments: AMQPTable
    /// Bindings that lead here, so that they can be removed with the exchange.
    var incoming: Set<Binding> = []

    /// Where messages go that find no binding.
    var alternate: String? { self.arguments["alternate-exchange"]?.string }

    private var bindings: Set<Binding> = []
    /// Bindings that ask for one key: those of a direct exchange, and topic bindings without wildcards.
    private var byKey: [String: [Destination]] = [:]
    private var topics: [(pattern: TopicPattern, binding: Binding)] = []
    private var headers: [(pattern: HeadersPattern, binding: Binding)] = []
    private var fanout: [Destination] = []

    init(
        name: String, kind: Kind, durable: Bool, autoDelete: Bool = false, isInternal: Bool = false,
        arguments: AMQPTable = [:]
    ) {
        self.name = name
        self.kind = kind
        self.durable = durable
        self.autoDelete = autoDelete
        self.isInternal = isInternal
        self.arguments = arguments
    }

    var isUsed: Bool { !self.bindings.isEmpty }
    var outgoing: Set<Binding> { self.bindings }

    /// - Returns: whether the binding is new.
    /// - Throws: ``BrokerException`` 406 if this kind of exchange cannot read it.
    mutating func bind(_ binding: Binding) throws(BrokerException) -> Bool {
        guard !self.bindings.contains(binding) else { return false }
        switch self.kind {
        case .direct: self.byKey[binding.routingKey, default: []].append(binding.destination)
        case .fanout: self.fanout.append(binding.destination)
        case .headers: self.headers.append((try HeadersPattern(binding.arguments), binding))
        case .topic:
            let pattern = TopicPattern(binding.routingKey)
            if pattern.isLiteral {
                self.byKey[binding.routingKey, default: []].append(binding.destination)
            } else {
                self.topics.append((pattern, binding))
            }
        }
        self.bindings.insert(binding)
        return true
    }

    /// - Returns: whether there was such a binding.
    mutating func unbind(_ binding: Binding) -> Bool {
        guard self.bindings.remove(binding) != nil else { return false }
        switch self.kind {
        case .fanout: self.fanout.removeFirst(binding.destination)
        case .headers: self.headers.removeAll { $0.binding == binding }
        case .direct: self.removeKey(binding)
        case .topic:
            if TopicPattern(binding.routingKey).isLiteral {
                self.removeKey(binding)
            } else {
                self.topics.removeAll { $0.binding == binding }
            }
        }
        return true
    }

    private mutating func removeKey(_ binding: Binding) {
        self.byKey[binding.routingKey]?.removeFirst(binding.destination)
        if self.byKey[binding.routingKey]?.isEmpty == true { self.byKey[binding.routingKey] = nil }
    }

    /// Calls `body` with each destination a message goes to; the same one may come more than once.
    ///
    /// - Parameter messageHeaders: called only if the exchange looks at headers.
    func route(_ routingKey: String, headers messageHeaders: () -> AMQPTable, _ body: (Destination) -> Void) {
        switch self.kind {
        case .direct: self.byKey[routingKey]?.forEach(body)
        case .fanout: self.fanout.forEach(body)
        case .topic:
            self.byKey[routingKey]?.forEach(body)
            guard !self.topics.isEmpty else { return }
            let words = TopicPattern.words(of: routingKey)
            for (pattern, binding) in self.topics where pattern.matches(words) { body(binding.destination) }
        case .headers:
            guard !self.headers.isEmpty else { return }
            let table = messageHeaders()
            for (pattern, binding) in self.headers where pattern.matches(table) { body(binding.destination) }
        }
    }
}

extension [Destination] {
    fileprivate mutating func removeFirst(_ destination: Destination) {
        guard let index = self.firstIndex(of: destination) else { return }
        self.remove(at: index)
    }
}
