// SPDX-License-Identifier: Apache-2.0
import Dispatch
import NIOConcurrencyHelpers
import Testing

@_spi(HareDo) @testable import AMQPClient

extension DeliveryCursor {
    /// Everything that is there without waiting, and the end if it comes.
    fileprivate mutating func take(_ count: Int) async throws(AMQPError) -> [Element] {
        var elements: [Element] = []
        while elements.count < count, let element = try await self.next() { elements.append(element) }
        return elements
    }
}

@Suite(.timeLimit(.minutes(1))) struct DeliveryBufferTests {
    private func buffer(_ elements: [Int] = [], highWaterMark: Int = 100) -> DeliveryBuffer<Int> {
        let buffer = DeliveryBuffer<Int>(highWaterMark: highWaterMark) { _ in 10 }
        for element in elements { buffer.append(element) }
        buffer.batchEnded()
        return buffer
    }

    @Test func whatIsThereComesInOrderAndThenTheEnd() async throws {
        let buffer = self.buffer([1, 2, 3])
        buffer.finish(nil)
        var cursor = DeliveryCursor(buffer)
        #expect(try await cursor.take(9) == [1, 2, 3])
        #expect(try await cursor.next() == nil)
    }

    @Test func anEndThatDropsComesAtOnce() async throws {
        let buffer = self.buffer([1, 2, 3])
        var cursor = DeliveryCursor(buffer)
        #expect(try await cursor.next() == 1)
        buffer.finish(nil, dropping: true)
        #expect(try await cursor.next() == nil)
        #expect(buffer.count == 0)
    }

    @Test func anErrorComesAfterWhatIsThere() async throws {
        let buffer = self.buffer([1])
        buffer.finish(AMQPError(.consumerCancelled, "gone"))
        buffer.finish(nil)
        var cursor = DeliveryCursor(buffer)
        #expect(try await cursor.next() == 1)
        #expect(await failure { () async throws(AMQPError) in try await cursor.next() }?.code == .consumerCancelled)
        #expect(await failure { () async throws(AMQPError) in try await cursor.next() }?.code == .consumerCancelled)
    }

    @Test func afterTheEndNothingIsAdded() async throws {
        let buffer = self.buffer()
        buffer.finish(nil)
        buffer.append(1)
        #expect(buffer.count == 0)
    }

    @Test func aWaitingReaderIsWokenOncePerBatch() async throws {
        let buffer = self.buffer()
        let reader = Task {
            var cursor = DeliveryCursor(buffer)
            return try await cursor.take(2)
        }
        await Task.yield()
        buffer.append(1)
        buffer.append(2)
        buffer.batchEnded()
        #expect(try await reader.value == [1, 2])
    }

    @Test func aWaitingReaderIsWokenByTheEnd() async throws {
        let buffer = self.buffer()
        let reader = Task {
            var cursor = DeliveryCursor(buffer)
            return try await cursor.next()
        }
        await Task.yield()
        buffer.finish(nil)
        #expect(try await reader.value == nil)
    }

    @Test func aBatchWithoutElementsWakesNobody() async throws {
        let buffer = self.buffer()
        guard case .wait(let reader) = buffer.next() else {
            Issue.record("there is something")
            return
        }
        #expect(!buffer.batchEnded())
        #expect(reader.resolve(.success(())))
    }

    @Test func aSecondIteratorHasNothingWhileTheFirstLives() async throws {
        let buffer = self.buffer([1, 2])
        var first: DeliveryCursor<Int>? = DeliveryCursor(buffer)
        var second = DeliveryCursor(buffer)
        #expect(first?.isValid == true)
        #expect(!second.isValid)
        #expect(try await second.next() == nil)
        #expect(try await first?.next() == 1)
        first = nil
        var third = DeliveryCursor(buffer)
        #expect(third.isValid)
        #expect(try await third.next() == 2)
        #expect(!DeliveryCursor(buffer).isValid)
        #expect(third.isValid)
    }

    @Test func leavingTheLoopLosesNothing() async throws {
        let deliveries = self.buffer(Array(0..<10))
        deliveries.finish(nil)
        struct Numbers: AsyncSequence {
            let buffer: DeliveryBuffer<Int>
            struct AsyncIterator: AsyncIteratorProtocol {
                var cursor: DeliveryCursor<Int>
                mutating func next() async throws -> Int? { try await self.cursor.next() }
            }
            func makeAsyncIterator() -> AsyncIterator { AsyncIterator(cursor: DeliveryCursor(self.buffer)) }
        }
        var seen: [Int] = []
        for _ in 0..<4 {
            for try await number in Numbers(buffer: deliveries) {
                seen.append(number)
                if number % 3 == 2 { break }
            }
        }
        #expect(seen == Array(0..<10))
    }

    @Test func aCancelledReaderEndsAndLosesNothing() async throws {
        let buffer = self.buffer()
        let reader = Task {
            var cursor = DeliveryCursor(buffer)
            return try await cursor.next()
        }
        await Task.yield()
        reader.cancel()
        #expect(try await reader.value == nil)
        buffer.append(1)
        buffer.batchEnded()
        var cursor = DeliveryCursor(buffer)
        #expect(try await cursor.next() == 1)
    }

    @Test func aCancelledTaskTakesNothing() async throws {
        let buffer = self.buffer([1, 2])
        let reader = Task {
            withUnsafeCurrentTask { $0?.cancel() }
            var cursor = DeliveryCursor(buffer)
            return try await cursor.next()
        }
        #expect(try await reader.value == nil)
        #expect(buffer.count == 2)
    }

    @Test func aFullBufferSaysSoAndCallsWhenItIsHalfEmpty() async throws {
        let rooms = NIOLockedValueBox(0)
        let buffer = self.buffer(Array(0..<10))
        buffer.whenRoom { rooms.withLockedValue { $0 += 1 } }
        #expect(!buffer.batchEnded())
        buffer.append(10)
        #expect(buffer.batchEnded())
        var cursor = DeliveryCursor(buffer)
        _ = try await cursor.take(5)
        #expect(rooms.withLockedValue { $0 } == 0)
        // Full until it is half empty, not only until it is below the mark.
        #expect(buffer.batchEnded())
        _ = try await cursor.take(1)
        #expect(rooms.withLockedValue { $0 } == 1)
        #expect(!buffer.batchEnded())
        _ = try await cursor.take(5)
        #expect(rooms.withLockedValue { $0 } == 1)
    }

    @Test func drainingTakesEverythingAndMakesRoom() {
        let rooms = NIOLockedValueBox(0)
        let buffer = self.buffer(Array(0..<20))
        buffer.whenRoom { rooms.withLockedValue { $0 += 1 } }
        #expect(buffer.drain() == Array(0..<20))
        #expect(buffer.drain().isEmpty)
        #expect(rooms.withLockedValue { $0 } == 1)
        #expect(!buffer.batchEnded())
    }

    @Test func aLimitDropsTheOldest() {
        let buffer = self.buffer()
        for number in 0..<10 { buffer.append(number, keeping: 3) }
        #expect(buffer.drain() == [7, 8, 9])
    }

    @Test func othersGetTheirTurnEveryNowAndThen() async throws {
        // On one actor the reader would keep the thread if it never suspended, and be slow if it always did.
        let buffer = self.buffer(Array(0..<1000))
        let reader = CountedActor()
        #expect(try await reader.suspensions(taking: 1000, from: buffer) == 1000 / 128)
    }
}

/// Counts how often its tasks come to it. What else would be seen of a suspension, like the turns of another task,
/// depends on the threads: `Task.yield()` comes back by way of the global pool.
private final class CountingExecutor: SerialExecutor {
    let jobs = NIOLockedValueBox(0)
    private let queue = DispatchQueue(label: "counting executor")

    func enqueue(_ job: consuming ExecutorJob) {
        self.jobs.withLockedValue { $0 += 1 }
        let job = UnownedJob(job)
        self.queue.async { job.runSynchronously(on: self.asUnownedSerialExecutor()) }
    }
}

private actor CountedActor {
    private nonisolated let executor = CountingExecutor()
    nonisolated var unownedExecutor: UnownedSerialExecutor { self.executor.asUnownedSerialExecutor() }

    func suspensions(taking count: Int, from buffer: DeliveryBuffer<Int>) async throws -> Int {
        let before = self.executor.jobs.withLockedValue { $0 }
        var cursor = DeliveryCursor(buffer)
        #expect(try await cursor.take(count).count == count)
        return self.executor.jobs.withLockedValue { $0 } - before
    }
}
