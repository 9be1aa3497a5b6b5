// SPDX-License-Identifier: Apache-2.0
import DequeModule
package import NIOCore

/// Runs tasks on an event loop: for those that ask to be there.
///
/// What is enqueued on the loop itself waits in a queue of our own, so that the loop is asked once for all of it: with many
/// calls in flight, a read wakes many tasks at once.
///
/// Unchecked, because `jobs` and `isScheduled` are used on the loop's thread only.
package final class EventLoopTaskExecutor: TaskExecutor, @unchecked Sendable {
    private let eventLoop: any EventLoop
    @exclusivity(unchecked) private var jobs: Deque<UnownedJob> = []
    @exclusivity(unchecked) private var isScheduled = false

    package init(_ eventLoop: any EventLoop) { self.eventLoop = eventLoop }

    package func enqueue(_ job: consuming ExecutorJob) {
        let job = UnownedJob(job)
        guard self.eventLoop.inEventLoop else {
            self.eventLoop.execute { self.add(job) }
            return
        }
        self.add(job)
    }

    private func add(_ job: UnownedJob) {
        self.jobs.append(job)
        guard !self.isScheduled else { return }
        self.isScheduled = true
        self.eventLoop.execute { self.run() }
    }

    /// Runs what is there now. What that enqueues has its turn after the loop has looked at its sockets.
    private func run() {
        self.isScheduled = false
        let executor = self.asUnownedTaskExecutor()
        for _ in 0..<self.jobs.count {
            self.jobs.popFirst()?.runSynchronously(on: executor)
        }
        // Those that came meanwhile have asked for themselves.
    }
}
