// SPDX-License-Identifier: Apache-2.0

/// Tells whoever looks on that something takes its time.
enum Progress {
    /// Does `work`. What takes more than a second is shown on standard error with the seconds it has taken, if that is a
    /// terminal, and taken away when it is done.
    ///
    /// - Parameter what: `the daemon finishes what it has begun`.
    static func during<R: Sendable>(
        _ what: String, _ work: @escaping @Sendable () async throws -> R
    ) async throws -> R {
        guard StandardStreams.isTerminal(.error) else { return try await work() }
        return try await withThrowingTaskGroup(of: R?.self) { group in
            group.addTask { try await work() }
            group.addTask {
                await Self.show(what)
                return nil
            }
            defer { group.cancelAll() }
            while let result = try await group.next() {
                if let result { return result }
            }
            throw CancellationError()
        }
    }

    private static func show(_ what: String) async {
        let began = ContinuousClock.now
        while (try? await Task.sleep(for: .seconds(1))) != nil {
            try? StandardStreams.write("\r\(what) (\((ContinuousClock.now - began).components.seconds) s)", to: .error)
        }
        if ContinuousClock.now - began >= .seconds(1) { try? StandardStreams.write("\r\u{1B}[K", to: .error) }
    }
}
