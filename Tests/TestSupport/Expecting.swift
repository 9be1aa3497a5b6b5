// SPDX-License-Identifier: Apache-2.0

/// Something that should have happened did not, in time.
public struct TookTooLong: Error, CustomStringConvertible {
    public let what: String
    public let limit: Duration

    public init(what: String, limit: Duration) {
        self.what = what
        self.limit = limit
    }

    public var description: String { "\(self.what) took longer than \(self.limit)" }
}

/// Runs `body`, and fails when it takes longer than `limit`: a test must not hang either.
public func within<R: Sendable>(
    _ limit: Duration = .seconds(20), _ what: String = "the test", _ body: @escaping @Sendable () async throws -> R
) async throws -> R {
    try await withThrowingTaskGroup(of: R.self) { group in
        group.addTask { try await body() }
        group.addTask {
            try await Task.sleep(for: limit)
            throw TookTooLong(what: what, limit: limit)
        }
        guard let result = try await group.next() else { throw CancellationError() }
        group.cancelAll()
        return result
    }
}

/// Asks again until `condition` holds: for what can only be looked at, such as the length of a queue on a server.
public func eventually(
    _ what: String, within limit: Duration = .seconds(10), isolation: isolated (any Actor)? = #isolation,
    _ condition: () async throws -> Bool
) async throws {
    let deadline = ContinuousClock.now + limit
    while try await !condition() {
        guard ContinuousClock.now < deadline else { throw TookTooLong(what: what, limit: limit) }
        try await Task.sleep(for: .milliseconds(5))
    }
}
