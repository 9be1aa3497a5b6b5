// SPDX-License-Identifier: Apache-2.0
import Testing

@_spi(HareDo) @testable import AMQPClient

@Suite(.timeLimit(.minutes(1))) struct WaiterTests {
    private func waiter() -> Waiter<Int, AMQPError> { Waiter(cancelled: .cancelled) }

    @Test func resolvedBeforeAnybodyWaits() async throws {
        let waiter = self.waiter()
        #expect(waiter.resolve(.success(7)))
        #expect(try await waiter.value() == 7)
    }

    @Test func resolvedWhileSomebodyWaits() async throws {
        let waiter = self.waiter()
        async let value = waiter.value()
        await Task.yield()
        #expect(waiter.resolve(.success(7)))
        #expect(try await value == 7)
    }

    @Test func onlyTheFirstResolutionCounts() async throws {
        let waiter = self.waiter()
        #expect(waiter.resolve(.success(1)))
        #expect(!waiter.resolve(.success(2)))
        #expect(!waiter.resolve(.failure(.cancelled)))
        #expect(try await waiter.value() == 1)
        #expect(!waiter.resolve(.success(3)))
    }

    @Test func cancellationResolves() async {
        let waiter = self.waiter()
        let task = Task { await failure { () async throws(AMQPError) in try await waiter.value() } }
        task.cancel()
        #expect(await task.value?.code == .cancelled)
        #expect(!waiter.resolve(.success(1)))
    }

    @Test func aTaskCancelledBeforeItWaitsGetsWhatIsThere() async throws {
        let waiter = self.waiter()
        waiter.resolve(.success(7))
        let task = Task {
            withUnsafeCurrentTask { $0?.cancel() }
            return try? await waiter.value()
        }
        #expect(await task.value == 7)
    }

    @Test func theUncancellableWaitGoesOn() async throws {
        let waiter = self.waiter()
        let task = Task {
            withUnsafeCurrentTask { $0?.cancel() }
            return try? await waiter.uncancellableValue()
        }
        for _ in 0..<10 { await Task.yield() }
        #expect(waiter.resolve(.success(7)))
        #expect(await task.value == 7)
    }

    @Test func racingResolutionsHaveOneWinner() async throws {
        for _ in 0..<200 {
            let waiter = self.waiter()
            let winners = await withTaskGroup(of: Bool.self) { group in
                for number in 0..<4 { group.addTask { @concurrent in waiter.resolve(.success(number)) } }
                var winners = 0
                for await isFirst in group where isFirst { winners += 1 }
                return winners
            }
            #expect(winners == 1)
            _ = try await waiter.value()
        }
    }
}
