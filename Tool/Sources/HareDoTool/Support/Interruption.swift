// SPDX-License-Identifier: Apache-2.0
import HareDo

#if canImport(Glibc)
    import Glibc
#elseif canImport(Musl)
    import Musl
#elseif canImport(Darwin)
    import Darwin
#endif

/// SIGINT and SIGTERM: the first asks the command to end in order, the second ends it at once.
struct Interruption: Sendable {
    private let signals: UnixSignalsSequence

    /// From here on the signals no longer end the process by themselves.
    init() async { self.signals = await UnixSignalsSequence(trapping: .sigint, .sigterm) }

    /// Does `work` until it ends by itself or the user interrupts it, and then `end`.
    ///
    /// - Parameters:
    ///   - work: cancelled when `end` is done, if it still goes on then.
    ///   - end: has to be bounded. A signal that comes meanwhile ends the process.
    ///   - beforeExit: what has to be done even when the process ends at once.
    /// - Throws: what `work` throws before it is interrupted.
    @concurrent
    func run(
        _ work: @escaping @Sendable () async throws -> Void, end: @escaping @Sendable () async -> Void,
        beforeExit: @escaping @Sendable () async -> Void = {}
    ) async throws {
        let (interrupted, continuation) = AsyncStream<Void>.makeStream()
        try await withThrowingTaskGroup(of: Void.self) { group in
            group.addTask {
                // One loop for all: the sequence has one iterator.
                var isFirst = true
                for await signal in self.signals {
                    if isFirst {
                        isFirst = false
                        continuation.yield()
                    } else {
                        await beforeExit()
                        _exit(128 + signal.rawValue)
                    }
                }
            }
            group.addTask { try await work() }
            group.addTask { for await _ in interrupted { break } }
            // Whichever is first. Work that failed is ended in order as well: what it has begun is finished or returned.
            let first = await group.nextResult()
            await end()
            group.cancelAll()
            while await group.nextResult() != nil {}
            try first?.get()
        }
    }
}
