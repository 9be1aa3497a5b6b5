// SPDX-License-Identifier: Apache-2.0
import AMQPWire
package import Logging
package import NIOCore

/// Everything of a broker but its listener: virtual hosts, and connections whichever way they come in.
package final class BrokerCore: Sendable {
    let configuration: AMQPEmbeddedBroker.Configuration
    let virtualHosts: [String: VirtualHost]
    let registry: ConnectionRegistry
    let memory: MemoryGauge
    let clock = BrokerClock()
    private let settings: BrokerConnection.Settings
    private let logger: Logger

    /// - Parameter group: where the timers of the virtual hosts run.
    /// - Throws: ``AMQPBrokerError`` if the configuration is invalid.
    package init(
        _ configuration: AMQPEmbeddedBroker.Configuration, on group: any EventLoopGroup, logger: Logger? = nil
    ) throws(AMQPBrokerError) {
        try Self.check(configuration)
        self.configuration = configuration
        self.logger = logger ?? Logger(label: "amqp.broker") { _ in SwiftLogNoOpLogHandler() }
        let memory = MemoryGauge(limit: configuration.memoryLimit, largestMessage: configuration.largestMessage)
        let access = AccessList(configuration.users)
        var virtualHosts: [String: VirtualHost] = [:]
        for name in configuration.virtualHosts {
            virtualHosts[name] = VirtualHost(
                name: name,
                settings: .init(
                    compatibility: configuration.compatibility, maximumMessageSize: configuration.largestMessage,
                    maximumQueues: configuration.maximumQueues, access: access, memory: memory),
                eventLoop: group.next(), clock: self.clock)
        }
        self.memory = memory
        self.virtualHosts = virtualHosts
        self.registry = ConnectionRegistry(limit: configuration.maximumConnections)
        self.settings = Self.settings(configuration, access, virtualHosts, memory)
        let registry = self.registry
        memory.observe { registry.tellAll(AlarmChanged()) }
    }

    /// Serves a channel that a client has connected. On its event loop.
    package func serve(_ channel: any Channel) throws {
        guard let number = self.registry.add(channel) else {
            self.logger.debug("A connection was refused: there are too many")
            throw AMQPBrokerError(.cannotListen, "too many connections")
        }
        var logger = self.logger
        logger[metadataKey: LogKey.connection] = "\(number)"
        logger[metadataKey: LogKey.peerAddress] = "\(channel.remoteAddress?.description ?? "")"
        try channel.pipeline.syncOperations.addHandler(
            BrokerConnection(
                settings: self.settings, number: number, output: ConnectionOutput(channel: channel), logger: logger))
    }

    /// Ends the timers of the virtual hosts.
    package func stopTimers() { for virtualHost in self.virtualHosts.values { virtualHost.stop() } }

    /// Sockets there are, open connections or not.
    package var connectionCount: Int { self.registry.count }

    /// Resolved one by one as the connections of now close.
    package var closings: [EventLoopFuture<Void>] { self.registry.connections.map(\.closeFuture) }

    /// What the virtual hosts know of their clients: nothing, when there are none.
    package var population: Population {
        self.virtualHosts.values.reduce(into: Population()) { sum, virtualHost in
            let part = virtualHost.perform { state in
                Population(
                    clients: state.clients.count, channels: state.channels.count, consumers: state.consumers.count,
                    exclusiveQueues: state.queueIDs.values.count { state.queues[$0]?.owner != nil },
                    replyAddresses: state.replyAddresses.count)
            }
            sum.clients += part.clients
            sum.channels += part.channels
            sum.consumers += part.consumers
            sum.exclusiveQueues += part.exclusiveQueues
            sum.replyAddresses += part.replyAddresses
        }
    }

    /// What belongs to connections and has to go with them.
    package struct Population: Hashable, Sendable {
        var clients = 0
        var channels = 0
        var consumers = 0
        var exclusiveQueues = 0
        var replyAddresses = 0

        package var isEmpty: Bool { self == Population() }
    }

    // MARK: - Parts

    private static func check(_ configuration: AMQPEmbeddedBroker.Configuration) throws(AMQPBrokerError) {
        func require(_ condition: Bool, _ message: String) throws(AMQPBrokerError) {
            if !condition { throw AMQPBrokerError(.invalidConfiguration, message) }
        }
        try require(configuration.frameMax >= AMQPFrame.minimumFrameMax, "frameMax must be at least 8192 bytes")
        try require(!configuration.virtualHosts.isEmpty, "there must be a virtual host")
        try require(configuration.largestMessage >= 0, "maximumMessageSize must not be negative")
        try require(configuration.handshakeTimeout > .zero, "handshakeTimeout must be above zero")
        try require(configuration.closeTimeout > .zero, "closeTimeout must be above zero")
        try require(configuration.memoryLimit > 0, "memoryLimit must be above zero")
        try require(configuration.maximumQueues >= 0, "maximumQueues must not be negative")
        if let (user, pattern) = AccessList(configuration.users).invalidPattern {
            throw AMQPBrokerError(
                .invalidConfiguration, "a permission of user '\(user)' is no regular expression: \(pattern)")
        }
        try require(
            configuration.users.keys.allSatisfy { $0.utf8.count <= 255 }, "a user name has more than 255 bytes")
    }

    private static func settings(
        _ configuration: AMQPEmbeddedBroker.Configuration, _ access: AccessList,
        _ virtualHosts: [String: VirtualHost], _ memory: MemoryGauge
    ) -> BrokerConnection.Settings {
        BrokerConnection.Settings(
            handshake: { isLocal in
                Handshake.Parameters(
                    access: access, virtualHosts: configuration.virtualHosts,
                    channelMax: configuration.channelMax, frameMax: configuration.frameMax,
                    heartbeat: configuration.heartbeat, isLocal: isLocal)
            },
            handshakeTimeout: TimeAmount(configuration.handshakeTimeout),
            closeTimeout: TimeAmount(configuration.closeTimeout),
            maximumMessageSize: configuration.largestMessage, frameMax: configuration.frameMax,
            virtualHosts: virtualHosts, memory: memory)
    }
}
