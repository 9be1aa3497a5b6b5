// SPDX-License-Identifier: Apache-2.0
import DequeModule
import NIOConcurrencyHelpers
import NIOCore

/// What a test waited for did not come.
struct NothingCame: Error {}

/// Elements from any thread, for one reader that does not wait for ever.
final class Mailbox<Element: Sendable>: Sendable {
    private struct State {
        var elements: Deque<Element> = []
        var reader: (id: UInt64, continuation: CheckedContinuation<Element?, Never>)?
        var lastReader: UInt64 = 0
    }
    private let state = NIOLockedValueBox(State())

    func put(_ element: Element) {
        let reader = self.state.withLockedValue { state -> CheckedContinuation<Element?, Never>? in
            guard let reader = state.reader else {
                state.elements.append(element)
                return nil
            }
            state.reader = nil
            return reader.continuation
        }
        reader?.resume(returning: element)
    }

    /// The next element without waiting for it.
    func poll() -> Element? { self.state.withLockedValue { $0.elements.popFirst() } }

    /// - Throws: ``NothingCame`` when it takes too long.
    @discardableResult
    func next(within timeout: Duration = .seconds(10)) async throws -> Element {
        let element: Element? = await withCheckedContinuation { continuation in
            let (early, id) = self.state.withLockedValue { state -> (Element?, UInt64) in
                if let element = state.elements.popFirst() { return (element, 0) }
                state.lastReader += 1
                state.reader = (state.lastReader, continuation)
                return (nil, state.lastReader)
            }
            guard early == nil else {
                continuation.resume(returning: early)
                return
            }
            ScriptedBroker.group.any().scheduleTask(in: TimeAmount(timeout)) { self.expire(id) }
        }
        guard let element else { throw NothingCame() }
        return element
    }

    private func expire(_ id: UInt64) {
        let reader = self.state.withLockedValue { state -> CheckedContinuation<Element?, Never>? in
            guard let reader = state.reader, reader.id == id else { return nil }
            state.reader = nil
            return reader.continuation
        }
        reader?.resume(returning: nil)
    }
}
