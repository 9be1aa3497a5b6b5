// SPDX-License-Identifier: Apache-2.0
@_spi(HareDo) import AMQPClient
import NIOConcurrencyHelpers

/// A plugin in use: the value that processes, who is inside, and what is counted.
final class LoadedPlugin: Sendable {
    private typealias Waiting = Waiter<Bool, HareDoError>
    private struct State: Sendable {
        var gate: PluginGate<Waiting>
        var messages = 0
        var errors = 0
        var refused = 0
        var time = Duration.zero
    }

    let name: String
    let uuid: String
    let source: PluginInformation.Source
    let version: String?
    private let loaded = UnixTime.now
    private let deadline: Duration?
    private let process: Plugins.Process
    private let end: @Sendable () async -> Void
    private let state: NIOLockedValueBox<State>

    init(
        name: String, uuid: String, source: PluginInformation.Source, version: String? = nil,
        limits: PluginLimits, process: @escaping Plugins.Process,
        finalize: @escaping @Sendable () async -> Void = {}
    ) {
        self.name = name
        self.uuid = uuid
        self.source = source
        self.version = version
        self.deadline = limits.deadline
        self.process = process
        self.end = finalize
        self.state = NIOLockedValueBox(State(gate: PluginGate(limits)))
    }

    var information: PluginInformation {
        self.state.withLockedValue { state in
            PluginInformation(
                name: self.name, uuid: self.uuid, source: self.source, version: self.version, loaded: self.loaded,
                messages: state.messages, errors: state.errors, refused: state.refused, inFlight: state.gate.inFlight,
                seconds: state.time / .seconds(1))
        }
    }

    enum Outcome {
        case processed(Reply?)
        /// It was unloaded or replaced before it was the message's turn.
        case gone
    }

    /// - Throws: what the plugin throws, and a ``ServiceError`` if it is busy or took too long.
    @concurrent func process(_ message: Message) async throws -> Outcome {
        guard try await self.enter() else { return .gone }
        let began = ContinuousClock.now
        var hasFailed = true
        defer { self.leave(after: .now - began, hasFailed: hasFailed) }
        let reply = try await self.withoutLoop(message)
        hasFailed = false
        return .processed(reply)
    }

    // MARK: - Entering and leaving

    /// - Returns: `false` if it is closed.
    private func enter() async throws -> Bool {
        let entry = self.state.withLockedValue { state in
            let entry = state.gate.enter(isStale: \.isResolved) { Waiting(cancelled: .cancelled) }
            switch entry {
            case .entered: state.messages += 1
            case .refused: state.refused += 1
            case .wait, .closed: break
            }
            return entry
        }
        switch entry {
        case .entered: return true
        case .closed: return false
        case .refused:
            throw ServiceError("busy", "the plugin '\(self.uuid)' has more messages than it can process")
        case .wait(let waiter): return try await waiter.value()
        }
    }

    private func leave(after time: Duration, hasFailed: Bool) {
        let closers = self.state.withLockedValue { state in
            state.time += time
            if hasFailed { state.errors += 1 }
            return state.gate.leave { waiter in
                // Under the lock: resolving only wakes its task.
                guard waiter.resolve(.success(true)) else { return false }
                state.messages += 1
                return true
            }
        }
        for closer in closers { closer.resolve(.success(true)) }
    }

    // MARK: - Processing

    /// A service may run on its connection's loop; a plugin, which nobody here wrote, does not.
    private func withoutLoop(_ message: Message) async throws -> Reply? {
        guard withUnsafeCurrentTask(body: { $0?.unownedTaskExecutor != nil }) else {
            return try await self.withinDeadline(message)
        }
        return try await withTaskExecutorPreference(globalConcurrentExecutor) {
            try await self.withinDeadline(message)
        }
    }

    private func withinDeadline(_ message: Message) async throws -> Reply? {
        guard let deadline else { return try await self.process(message) }
        return try await withThrowingTaskGroup(of: Reply?.self) { group in
            group.addTask { try await self.process(message) }
            group.addTask {
                try await Task.sleep(for: deadline)
                throw ServiceError(
                    "timed-out", "the plugin '\(self.uuid)' did not process the message within \(deadline)")
            }
            defer { group.cancelAll() }
            return try await group.next() ?? nil
        }
    }

    // MARK: - The end

    /// Nobody enters any more; who waits goes elsewhere.
    func close() {
        for waiter in self.state.withLockedValue({ $0.gate.close() }) { waiter.resolve(.success(false)) }
    }

    /// Waits for those inside, as long as that takes within a limit, and gives up what the plugin holds. After ``close()``.
    ///
    /// - Returns: how many messages were still being processed.
    func finalize(within limit: Duration, _ scheduler: DeadlineScheduler) async -> Int {
        let waiter = self.state.withLockedValue { state in
            state.gate.waitForLast { Waiting(cancelled: .cancelled) }
        }
        if let waiter {
            let token = scheduler.schedule(after: limit) { waiter.resolve(.success(false)) }
            _ = try? await waiter.uncancellableValue()
            scheduler.cancel(token)
        }
        let left = self.state.withLockedValue { $0.gate.inFlight }
        await self.end()
        return left
    }
}
