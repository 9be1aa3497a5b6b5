// SPDX-License-Identifier: Apache-2.0
@_spi(HareDo) import AMQPClient
import HareDo
import NIOCore
import NIOEmbedded

/// The bookkeeping of calls and deadlines, with others outstanding.
extension Driver {
    static var calls: [Driver] {
        [("1", 1), ("1,000", 1000), ("100,000", 100_000)].flatMap { name, outstanding in
            [
                Driver("calls: begin and reply, \(name) outstanding") {
                    let calls = try Calls(outstanding: outstanding)
                    return { try calls.reply($0) }
                },
                Driver("calls: begin and time out, \(name) outstanding") {
                    let calls = try Calls(outstanding: outstanding)
                    return { try calls.timeOut($0) }
                },
            ]
        } + [
            Driver("deadlines: add and cancel, 100,000 outstanding") {
                let calls = try Calls(outstanding: 100_000)
                return { calls.cancel($0) }
            }
        ]
    }

    private final class Calls {
        private static let cancelled = HareDoError(.cancelled, "the task was cancelled")
        private let table = CallTable(key: (1, 2))
        private let loop = EmbeddedEventLoop()
        private let scheduler: DeadlineScheduler

        init(outstanding: Int) throws {
            self.scheduler = DeadlineScheduler(eventLoop: self.loop)
            for index in 0..<outstanding { _ = try self.begin(at: Self.late(index)) }
        }

        private static func late(_ index: Int) -> NIODeadline { .distantFuture - .nanoseconds(Int64(1000 * index)) }

        private func begin(
            at deadline: NIODeadline
        ) throws -> (id: MessageID, number: UInt64, waiter: CallWaiter, token: DeadlineScheduler.Token) {
            let waiter = CallWaiter(cancelled: Self.cancelled)
            let (id, number) = try self.table.begin(waiter)
            return (id, number, waiter, self.scheduler.schedule(at: deadline) { waiter.resolve(.success(nil)) })
        }

        func reply(_ count: Int) throws {
            for index in 0..<count {
                let call = try self.begin(at: Self.late(index))
                try Driver.check(self.table.resolve(call.id.rawValue, .success(nil)), "a call was lost")
                self.scheduler.cancel(call.token)
                self.table.end(call.number)
            }
        }

        func timeOut(_ count: Int) throws {
            for _ in 0..<count {
                // In the past of every clock: the next turn of the loop ends it.
                let call = try self.begin(at: .uptimeNanoseconds(1))
                self.loop.advanceTime(by: .nanoseconds(1))
                try Driver.check(!call.waiter.resolve(.success(nil)), "a call did not time out")
                self.scheduler.cancel(call.token)
                self.table.end(call.number)
            }
        }

        func cancel(_ count: Int) {
            for index in 0..<count { self.scheduler.cancel(self.scheduler.schedule(at: Self.late(index)) {}) }
        }
    }
}
