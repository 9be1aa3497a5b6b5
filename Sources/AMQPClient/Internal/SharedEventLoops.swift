// SPDX-License-Identifier: Apache-2.0
package import NIOCore
import NIOPosix

/// The process's event loops.
package enum SharedEventLoops {
    package static func next() -> any EventLoop { MultiThreadedEventLoopGroup.singleton.next() }
}

/// Runs tasks on an event loop: for handlers that ask to be there.
package final class EventLoopTaskExecutor: TaskExecutor {
    private let eventLoop: any EventLoop

    package init(_ eventLoop: any EventLoop) { self.eventLoop = eventLoop }

    package func enqueue(_ job: consuming ExecutorJob) {
        let job = UnownedJob(job)
        let executor = self.asUnownedTaskExecutor()
        self.eventLoop.execute { job.runSynchronously(on: executor) }
    }
}
