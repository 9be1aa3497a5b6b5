// SPDX-License-Identifier: Apache-2.0
import DequeModule
package import Dispatch
package import NIOCore
package import NIOEmbedded

/// An event loop that runs when it is told to, on the thread it was made on, and is an executor for actors and tasks.
///
/// SwiftNIO's embedded loop cannot run actors, and its testing loop has threads. With this one a whole client, its
/// callers included, is one deterministic call. Its clock stands still.
package final class DrivenLoop: NIOSerialEventLoopExecutor, TaskExecutor, @unchecked Sendable {
    // Unchecked: everything goes through `embedded`, which ends the process when it is used on another thread.
    package let embedded = EmbeddedEventLoop()
    private var jobs: Deque<() -> Void> = []

    package init() {}

    /// Runs what there is to run, and what comes of it.
    ///
    /// - Throws: ``Finding`` if it does not come to an end.
    package func run() throws(Finding) {
        var count = 0
        repeat {
            while let job = self.jobs.popFirst() {
                job()
                count += 1
                guard count < 1_000_000 else { throw Finding("the loop has always more to do") }
            }
            self.embedded.run()
        } while !self.jobs.isEmpty
    }

    package var inEventLoop: Bool { self.embedded.inEventLoop }

    package func execute(_ task: @escaping @Sendable () -> Void) {
        self.embedded.checkCorrectThread()
        self.jobs.append(task)
    }

    package func submit<T>(_ task: @escaping @Sendable () throws -> T) -> EventLoopFuture<T> {
        self.embedded.submit(task)
    }

    package func scheduleTask<T>(
        deadline: NIODeadline, _ task: @escaping @Sendable () throws -> T
    ) -> Scheduled<T> { self.embedded.scheduleTask(deadline: deadline, task) }

    package func scheduleTask<T>(in delay: TimeAmount, _ task: @escaping @Sendable () throws -> T) -> Scheduled<T> {
        self.embedded.scheduleTask(in: delay, task)
    }

    package func shutdownGracefully(queue: DispatchQueue, _ callback: @escaping @Sendable ((any Error)?) -> Void) {
        self.embedded.shutdownGracefully(queue: queue, callback)
    }

    package func enqueue(_ job: consuming ExecutorJob) {
        let job = UnownedJob(job)
        let serial = self.asUnownedSerialExecutor()
        let task = self.asUnownedTaskExecutor()
        self.execute { job.runSynchronously(isolatedTo: serial, taskExecutor: task) }
    }
}
