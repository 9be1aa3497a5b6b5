// SPDX-License-Identifier: Apache-2.0

/// Runs `operation`, and cancels it if it is not done in time.
///
/// - Parameter limit: `nil` for no limit.
/// - Returns: what `operation` returned, or `nil` if it was cancelled by the limit.
@concurrent
func withDeadline<R: Sendable>(
    _ limit: Duration?, _ operation: @escaping @Sendable () async throws -> R
) async throws -> R? {
    guard let limit else { return try await operation() }
    return try await withThrowingTaskGroup(of: R?.self) { group in
        group.addTask { try await operation() }
        group.addTask {
            try await Task.sleep(for: limit)
            return nil
        }
        defer { group.cancelAll() }
        return try await group.next() ?? nil
    }
}
