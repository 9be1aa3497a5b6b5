// SPDX-License-Identifier: Apache-2.0
package import NIOCore
import NIOPosix
import Synchronization

/// The process's event loops, as connections share them.
package enum SharedEventLoops {
    /// Half as many as there are cores, at least one. The other cores are for the tasks that use the connections, and two
    /// connections that talk to each other on one loop spare each message a change of thread: on two cores, twice as many
    /// calls one after another.
    private static let loops: [any EventLoop] = {
        let all = Array(MultiThreadedEventLoopGroup.singleton.makeIterator())
        return Array(all.prefix(max(all.count / 2, 1)))
    }()
    private static let count = Atomic(0)

    /// One after another, in turn.
    package static func next() -> any EventLoop {
        let turn = self.count.wrappingAdd(1, ordering: .relaxed).oldValue
        let index = Int(UInt(bitPattern: turn) % UInt(max(self.loops.count, 1)))
        return self.loops.indices.contains(index) ? self.loops[index] : MultiThreadedEventLoopGroup.singleton.next()
    }
}
