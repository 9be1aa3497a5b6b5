// SPDX-License-Identifier: Apache-2.0
public import HareDo

/// How a daemon is, and what it has done since it was started.
public struct DaemonStatistics: Sendable, Hashable, Codable {
    /// Of HareDo.
    public var version: String
    /// Its process id.
    public var process: Int32
    /// What tells it from others on the same queue.
    public var instance: String
    /// How far it is.
    public var phase: Daemon.Phase
    /// Seconds since it was made.
    public var uptime: Double
    /// What it listens on.
    public var queue: String
    /// Which broker, without the password.
    public var broker: String
    /// Whether its peer has all it should have.
    public var isHealthy: Bool
    /// What is loaded, in the order of loading.
    public var plugins: [PluginInformation]
    /// Messages for which there was no plugin.
    public var unserved: Int
    /// Requests that nobody waited for any more.
    public var expired: Int
    /// Messages that were parked.
    public var parked: Int
    /// Commands whose signature was not good.
    public var refusedCommands: Int

    /// Whether it takes messages.
    public var isReady: Bool { self.isHealthy && self.phase == .running }

    /// What `haredo status` prints.
    var status: ConfigurationValue {
        [
            "time": .string(WallClock.text()), "pid": .string("\(self.process)"),
            "plugins": .list(self.plugins.map { .string($0.name) }), "version": .string(self.version),
            "uptime": .double(self.uptime), "instance": .string(self.instance), "phase": .string(self.phase.rawValue),
            "queue": .string(self.queue), "broker": .string(self.broker), "healthy": .bool(self.isHealthy),
            "counts": [
                "messages": .integer(Int64(self.total(\.messages))), "errors": .integer(Int64(self.total(\.errors))),
                "inFlight": .integer(Int64(self.total(\.inFlight))), "unserved": .integer(Int64(self.unserved)),
                "expired": .integer(Int64(self.expired)), "parked": .integer(Int64(self.parked)),
                "refusedCommands": .integer(Int64(self.refusedCommands)),
            ],
        ]
    }

    private func total(_ count: KeyPath<PluginInformation, Int>) -> Int {
        self.plugins.reduce(0) { $0 + $1[keyPath: count] }
    }
}
