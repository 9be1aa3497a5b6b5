// SPDX-License-Identifier: Apache-2.0

/// What a service says of itself to those who look for services.
public struct ServiceInformation: Sendable, Hashable, Codable {
    /// What it is called. Default: the name of its queue.
    public var name: String?
    /// Which version it is.
    public var version: String?
    /// Whatever else is of use.
    public var metadata: [String: String]

    /// Information about a service.
    public init(name: String? = nil, version: String? = nil, metadata: [String: String] = [:]) {
        self.name = name
        self.version = version
        self.metadata = metadata
    }
}

/// Which services are asked.
public enum ServiceSelection: Sendable, Hashable {
    case all
    /// All instances of the services with this name.
    case named(String)
    /// One instance: ``ServiceReport/instance``.
    case instance(String)

    /// The routing key with which it is asked.
    var routingKey: String {
        switch self {
        case .all: "all"
        case .named(let name): WireHeaders.cut("name." + name, to: 255)
        case .instance(let id): WireHeaders.cut("instance." + id, to: 255)
        }
    }

    /// Whether a service is meant. In a routing key long names are cut, and in a binding `*` and `#` mean more than
    /// themselves: the service decides.
    func includes(name: String, instance: String) -> Bool {
        switch self {
        case .all: true
        case .named(let wanted): wanted == name
        case .instance(let wanted): wanted == instance
        }
    }
}

/// How much services are asked.
public enum ServiceQuestion: String, Sendable, CaseIterable {
    /// Whether they are there, and who they are.
    case ping
    /// Also their queues and methods, and what else they say of themselves.
    case info
    /// Also what they have done: ``ServiceReport/statistics``.
    case statistics
}

/// What a service answered to those who look for services.
public struct ServiceReport: Sendable, Hashable, Codable {
    /// What it is called.
    public var name: String
    /// Which version it is, if it says so.
    public var version: String?
    /// Tells it from other instances.
    public var instance: String
    /// The name of its peer.
    public var peer: String
    /// The queue it listens on; for ``ServiceQuestion/info`` and more.
    public var queue: String?
    /// The names of its methods; for ``ServiceQuestion/info`` and more.
    public var methods: [String]?
    /// What else it says of itself; for ``ServiceQuestion/info`` and more.
    public var metadata: [String: String]?
    /// What it has done; for ``ServiceQuestion/statistics``.
    public var statistics: ServiceStatistics?

    init(_ core: ServiceCore, of peer: String, _ question: ServiceQuestion) {
        self.name = core.name
        self.version = core.options.information.version
        self.instance = core.instance
        self.peer = peer
        guard question != .ping else { return }
        self.queue = core.queue
        self.methods = core.methodNames
        self.metadata = core.options.information.metadata
        guard question == .statistics else { return }
        self.statistics = core.currentStatistics
    }
}
