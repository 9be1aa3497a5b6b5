// SPDX-License-Identifier: Apache-2.0
import AMQPClient
import NIOCore
import NIOEmbedded

#if canImport(Dispatch)
    import Dispatch
#endif

/// An event loop that runs when it is told to, on the thread it is told on; actors can live on it.
///
/// SwiftNIO's `EmbeddedEventLoop` is no executor, and its `NIOAsyncTestingEventLoop` has a thread of its own.
final class StepLoop: NIOSerialEventLoopExecutor, @unchecked Sendable {
    // Unchecked: all of it happens on one thread.
    private var jobs: [@Sendable () -> Void] = []
    /// What is scheduled never comes: deadlines only cost what they cost when they are met.
    private let timers = EmbeddedEventLoop()

    var inEventLoop: Bool { true }
    var now: NIODeadline { .uptimeNanoseconds(0) }

    func execute(_ task: @escaping @Sendable () -> Void) { self.jobs.append(task) }

    func submit<T>(_ task: @escaping @Sendable () throws -> T) -> EventLoopFuture<T> {
        let promise = self.timers.makePromise(of: T.self)
        self.execute {
            promise.assumeIsolatedUnsafeUnchecked().completeWith(Result { try task() })
        }
        return promise.futureResult
    }

    func scheduleTask<T>(deadline: NIODeadline, _ task: @escaping @Sendable () throws -> T) -> Scheduled<T> {
        self.timers.scheduleTask(deadline: deadline, task)
    }

    func scheduleTask<T>(in delay: TimeAmount, _ task: @escaping @Sendable () throws -> T) -> Scheduled<T> {
        self.timers.scheduleTask(in: delay, task)
    }

    func shutdownGracefully(queue: DispatchQueue, _ callback: @escaping @Sendable ((any Error)?) -> Void) {
        callback(nil)
    }

    /// Runs a task to its end. After every turn of the loop `between` moves what has to be moved from outside.
    ///
    /// - Parameter between: returns whether it moved anything.
    /// - Throws: what `body` throws; ``Mistake`` if it waits for what can never come.
    func run<R: Sendable>(
        between: () throws -> Bool, _ body: @escaping @Sendable () async throws -> R
    ) throws -> R {
        let outcome = Outcome<R>()
        Task(executorPreference: EventLoopTaskExecutor(self)) {
            do { outcome.result = .success(try await body()) } catch { outcome.result = .failure(error) }
        }
        while true {
            let jobs = self.jobs
            self.jobs.removeAll(keepingCapacity: true)
            for job in jobs { job() }
            if let result = outcome.result { return try result.get() }
            let moved = try between()
            try Driver.check(moved || !self.jobs.isEmpty, "a task waits for what never comes")
        }
    }

    private final class Outcome<R>: @unchecked Sendable {
        // Unchecked: all of it happens on one thread.
        var result: Result<R, any Error>?
    }
}
