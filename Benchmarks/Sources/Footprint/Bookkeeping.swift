// SPDX-License-Identifier: Apache-2.0
@_spi(HareDo) import AMQPClient
import HareDo
import Measuring
import NIOCore

/// The table of calls and their deadlines without a peer.
struct Bookkeeping {
    private static let cancelled = HareDoError(.cancelled, "the task was cancelled")
    private let table = CallTable(key: (1, 2))
    private let scheduler: DeadlineScheduler

    init(outstanding: Int) throws {
        self.scheduler = DeadlineScheduler(eventLoop: SharedEventLoops.next())
        for _ in 0..<outstanding { _ = try self.begin() }
    }

    private func begin() throws -> (id: MessageID, number: UInt64, token: DeadlineScheduler.Token) {
        let waiter = CallWaiter(cancelled: Self.cancelled)
        let (id, number) = try self.table.begin(waiter)
        return (id, number, self.scheduler.schedule(after: .seconds(3600)) { waiter.resolve(.success(nil)) })
    }

    /// - Returns: seconds for one call that is answered.
    func cost() throws -> Double {
        let count = 50_000
        let before = Usage.processorTime()
        for _ in 0..<count {
            let call = try self.begin()
            guard self.table.resolve(call.id.rawValue, .success(nil)) else { throw Failure("a call was lost") }
            self.scheduler.cancel(call.token)
            self.table.end(call.number)
        }
        return (Usage.processorTime() - before) / Double(count)
    }
}
