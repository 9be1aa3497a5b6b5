// SPDX-License-Identifier: Apache-2.0
import DequeModule
import NIOConcurrencyHelpers

/// What waits between the connection's loop and one `for await`, wherever that runs.
///
/// The loop appends and wakes the reader once per batch; the reader takes everything that is there without suspending.
/// `AsyncStream` would cost a thread hop per element. Elements stay here until they are handed out, so a loop that ends
/// early loses nothing. One iterator at a time.
package final class DeliveryBuffer<Element: Sendable>: Sendable {
    package enum Next: Sendable {
        case element(Element)
        case end(AMQPError?)
        case wait(Waiter<Void, AMQPError>)
    }

    private struct State {
        var elements: Deque<Element> = []
        var bytes = 0
        var reader: Waiter<Void, AMQPError>?
        var end: AMQPError??
        var isIterating = false
        var isFull = false
    }
    private let state = NIOLockedValueBox(State())
    private let size: @Sendable (Element) -> Int
    private let highWaterMark: Int
    private let onRoom: NIOLockedValueBox<(@Sendable () -> Void)?> = NIOLockedValueBox(nil)

    /// - Parameters:
    ///   - highWaterMark: bytes above which the buffer counts as full.
    ///   - size: what an element counts, in bytes.
    package init(highWaterMark: Int, size: @escaping @Sendable (Element) -> Int) {
        self.highWaterMark = highWaterMark
        self.size = size
    }

    /// Called, from any thread, when the buffer was full and has drained to half of its mark.
    package func whenRoom(_ action: @escaping @Sendable () -> Void) {
        self.onRoom.withLockedValue { $0 = action }
    }

    // MARK: - The loop's side

    /// - Parameter limit: how many elements are kept at most; beyond that the oldest are dropped.
    package func append(_ element: Element, keeping limit: Int = .max) {
        let size = self.size(element)
        self.state.withLockedValue { state in
            guard state.end == nil else { return }
            state.elements.append(element)
            state.bytes += size
            if state.elements.count > limit, let dropped = state.elements.popFirst() {
                state.bytes -= self.size(dropped)
            }
        }
    }

    /// Wakes the reader, if it waits for what was appended.
    ///
    /// - Returns: whether the buffer is full, so that no more should be read.
    @discardableResult
    package func batchEnded() -> Bool {
        let (reader, isFull) = self.state.withLockedValue { state -> (Waiter<Void, AMQPError>?, Bool) in
            if state.bytes > self.highWaterMark { state.isFull = true }
            guard !state.elements.isEmpty || state.end != nil else { return (nil, state.isFull) }
            let reader = state.reader
            state.reader = nil
            return (reader, state.isFull)
        }
        reader?.resolve(.success(()))
        return isFull
    }

    /// After what is there the sequence ends, with `error` if there is one.
    ///
    /// - Parameter dropping: forgets what is there, so that it ends at once.
    package func finish(_ error: AMQPError?, dropping: Bool = false) {
        let dropped = self.state.withLockedValue { state -> Deque<Element> in
            if state.end == nil { state.end = .some(error) }
            guard dropping else { return [] }
            let dropped = state.elements
            state.elements.removeAll()
            state.bytes = 0
            return dropped
        }
        _ = dropped
        self.batchEnded()
    }

    /// Takes out everything that was not handed out.
    package func drain() -> [Element] {
        let (elements, room) = self.state.withLockedValue { state -> (Deque<Element>, Bool) in
            let elements = state.elements
            state.elements.removeAll()
            return (elements, Self.madeRoom(&state, mark: 0, bytes: state.bytes))
        }
        if room { self.onRoom.withLockedValue { $0 }?() }
        return elements.isEmpty ? [] : Array(elements)
    }

    package var count: Int { self.state.withLockedValue { $0.elements.count } }

    // MARK: - The reader's side

    /// Claims the buffer for one iterator.
    ///
    /// - Returns: whether it was free.
    package func beginIteration() -> Bool {
        self.state.withLockedValue { state in
            guard !state.isIterating else { return false }
            state.isIterating = true
            return true
        }
    }

    package func endIteration() {
        self.state.withLockedValue { $0.isIterating = false }
    }

    package func next() -> Next {
        let (next, room) = self.state.withLockedValue { state -> (Next, Bool) in
            if let element = state.elements.popFirst() {
                let room = Self.madeRoom(&state, mark: self.highWaterMark / 2, bytes: self.size(element))
                return (.element(element), room)
            }
            if let end = state.end { return (.end(end), false) }
            let reader = Waiter<Void, AMQPError>(cancelled: .cancelled)
            state.reader = reader
            return (.wait(reader), false)
        }
        if room { self.onRoom.withLockedValue { $0 }?() }
        return next
    }

    private static func madeRoom(_ state: inout State, mark: Int, bytes: Int) -> Bool {
        state.bytes -= bytes
        guard state.isFull, state.bytes <= mark else { return false }
        state.isFull = false
        return true
    }
}

/// One iteration of a buffer: the claim on it is given back when the loop is left, however it is left.
package struct DeliveryCursor<Element: Sendable> {
    private final class Claim: Sendable {
        let buffer: DeliveryBuffer<Element>
        init(_ buffer: DeliveryBuffer<Element>) { self.buffer = buffer }
        deinit { self.buffer.endIteration() }
    }
    /// `nil` for a second iterator while the first lives: it has nothing to give.
    private let claim: Claim?
    private var served = 0

    /// How many elements are handed out in a row before others get their turn on the thread.
    package static var yieldInterval: Int { 128 }

    package init(_ buffer: DeliveryBuffer<Element>) {
        self.claim = buffer.beginIteration() ? Claim(buffer) : nil
    }

    package var isValid: Bool { self.claim != nil }

    /// The next element; `nil` at the end and when the task was cancelled.
    ///
    /// Runs where its caller runs, and suspends only if nothing is there, or after many elements in a row.
    package mutating func next() async throws(AMQPError) -> Element? {
        guard let buffer = self.claim?.buffer else { return nil }
        self.served += 1
        if self.served % Self.yieldInterval == 0 { await Task.yield() }
        while !Task.isCancelled {
            switch buffer.next() {
            case .element(let element): return element
            case .end(let error):
                if let error { throw error }
                return nil
            case .wait(let reader):
                do { try await reader.value() } catch { return nil }
            }
        }
        return nil
    }
}
