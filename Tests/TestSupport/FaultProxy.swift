// SPDX-License-Identifier: Apache-2.0
import Foundation
import NIOConcurrencyHelpers
import NIOCore
import NIOPosix

/// A bad network between a client and a broker: a TCP proxy on loopback that does what a ``FaultPlan`` or a test says.
public final class FaultProxy: Sendable {
    /// What happens to a connection, given its number, from 0.
    public typealias Planner = @Sendable (_ connection: Int) -> FaultPlan

    /// Where clients connect to. Stays the same over ``refuse()`` and ``accept()``.
    public let port: Int
    private let target: Int
    private let group: MultiThreadedEventLoopGroup
    private let state: NIOLockedValueBox<State>

    private struct State {
        var planner: Planner
        var listener: (any Channel)?
        var accepted = 0
        var pairs: [Int: ProxiedPair] = [:]
        var faults: [FaultPlan.Fault: Int] = [:]
    }

    /// Starts a proxy to a port on 127.0.0.1.
    public static func start(to target: Int, plan: @escaping Planner = { _ in .none }) async throws -> FaultProxy {
        let group = MultiThreadedEventLoopGroup(numberOfThreads: 1)
        let state = NIOLockedValueBox(State(planner: plan))
        do {
            let listener = try await Self.listen(on: 0, group: group, target: target, state: state)
            guard let port = listener.localAddress?.port else { throw ChannelError.unknownLocalAddress }
            return FaultProxy(port: port, target: target, group: group, state: state)
        } catch {
            try? await group.shutdownGracefully()
            throw error
        }
    }

    /// Runs `body` with the URL of a broker, changed so that it leads through a proxy.
    public static func with<R>(
        to url: String, isolation: isolated (any Actor)? = #isolation, plan: @escaping Planner = { _ in .none },
        body: (FaultProxy, _ url: String) async throws -> R
    ) async throws -> R {
        guard var components = URLComponents(string: url), let target = components.port else {
            throw RabbitMQControl.Failure(description: "a URL without a port: \(url)")
        }
        let proxy = try await Self.start(to: target, plan: plan)
        components.host = "127.0.0.1"
        components.port = proxy.port
        do {
            let result = try await body(proxy, components.string ?? "")
            await proxy.stop()
            return result
        } catch {
            await proxy.stop()
            throw error
        }
    }

    private init(
        port: Int, target: Int, group: MultiThreadedEventLoopGroup, state: NIOLockedValueBox<State>
    ) {
        self.port = port
        self.target = target
        self.group = group
        self.state = state
    }

    /// How many connections it has accepted.
    public var accepted: Int { self.state.withLockedValue { $0.accepted } }
    /// How many connections it holds.
    public var open: Int { self.state.withLockedValue { $0.pairs.count } }
    /// What it has done, and how often.
    public var faults: [FaultPlan.Fault: Int] { self.state.withLockedValue { $0.faults } }

    /// Does it to all connections that there are, now.
    public func apply(_ fault: FaultPlan.Fault) async {
        let pairs = self.state.withLockedValue { Array($0.pairs.values) }
        for pair in pairs { try? await pair.loop.submit { pair.apply(fault) }.get() }
    }

    /// From the next connection on, another plan.
    public func plan(_ planner: @escaping Planner) { self.state.withLockedValue { $0.planner = planner } }

    /// Refuses connections from now on; those that there are stay.
    public func refuse() async throws {
        try await self.state.withLockedValue { $0.listener.take() }?.close()
    }

    /// Takes connections again, on the same port.
    public func accept() async throws {
        guard self.state.withLockedValue({ $0.listener == nil }) else { return }
        _ = try await Self.listen(on: self.port, group: self.group, target: self.target, state: self.state)
    }

    /// Resets what there is and ends.
    public func stop() async {
        try? await self.refuse()
        await self.apply(.reset)
        try? await self.group.shutdownGracefully()
    }

    private static func listen(
        on port: Int, group: MultiThreadedEventLoopGroup, target: Int, state: NIOLockedValueBox<State>
    ) async throws -> any Channel {
        let listener = try await ServerBootstrap(group: group)
            .serverChannelOption(.socketOption(.so_reuseaddr), value: 1)
            .childChannelOption(.tcpOption(.tcp_nodelay), value: 1)
            .childChannelOption(.autoRead, value: false)
            .childChannelInitializer { client in Self.connect(client, to: target, state: state) }
            .bind(host: "127.0.0.1", port: port).get()
        state.withLockedValue { $0.listener = listener }
        return listener
    }

    private static func connect(
        _ client: any Channel, to target: Int, state: NIOLockedValueBox<State>
    ) -> EventLoopFuture<Void> {
        let (number, planner) = state.withLockedValue { state in
            defer { state.accepted += 1 }
            return (state.accepted, state.planner)
        }
        let pair = ProxiedPair(
            client: client, plan: planner(number),
            onFault: { fault in state.withLockedValue { $0.faults[fault, default: 0] += 1 } },
            onEnd: { state.withLockedValue { $0.pairs[number] = nil } })
        state.withLockedValue { $0.pairs[number] = pair }
        return client.pipeline.addHandler(pair.toBroker).map {
            ClientBootstrap(group: client.eventLoop)
                .channelOption(.tcpOption(.tcp_nodelay), value: 1)
                .channelOption(.autoRead, value: false)
                .channelInitializer { $0.pipeline.addHandler(pair.toClient) }
                .connect(host: "127.0.0.1", port: target)
                // A broker that is not there looks through a proxy as if it hung up at once.
                .whenComplete { pair.connected($0) }
        }
    }
}
