// SPDX-License-Identifier: Apache-2.0
import NIOCore
import NIOPosix

/// Where a broker runs unless its configuration says otherwise.
enum BrokerEventLoops {
    /// All event loops of the process; with fewer than four of them the first, which is the one that clients use then.
    ///
    /// A message that changes its loop between two connections wakes a thread, which takes longer than routing it, and
    /// where cores are few they have the clients to run. (NIO binds to its own groups and loops only, not to some loops
    /// of a group.)
    static let group: any EventLoopGroup = {
        let all = MultiThreadedEventLoopGroup.singleton
        let loops = Array(all.makeIterator())
        guard loops.count < 4, let first = loops.first else { return all }
        return first
    }()
}
