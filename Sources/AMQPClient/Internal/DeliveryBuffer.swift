// SPDX-License-Identifier: Apache-2.0
public import DequeModule
public import NIOConcurrencyHelpers

/// What waits between the connection's loop and those who read it, wherever they run.
///
/// The loop appends and wakes one reader per batch; a reader takes what is there without suspending, and while there is
/// more wakes another one. `AsyncStream` would cost a thread hop per element. Elements stay here until they are handed
/// out, so a loop that ends early loses nothing. One `for await` at a time, or the workers of one handler.
///
/// Inlinable for the modules above, as ``Waiter`` is.
@_spi(HareDo) public final class DeliveryBuffer<Element: Sendable>: Sendable {
    public typealias Reader = Waiter<Void, AMQPError>
    public enum Next: Sendable {
        case element(Element)
        case end(AMQPError?)
        case wait(Reader)
    }

    @usableFromInline struct State: Sendable {
        @usableFromInline var elements: Deque<Element> = []
        @usableFromInline var bytes = 0
        /// Those who wait. The last one is woken first: what it needs is still in the caches.
        @usableFromInline var readers: [Reader] = []
        /// A reader was woken and has not come yet: when it does it wakes the next one if there is enough for two.
        @usableFromInline var isWaking = false
        @usableFromInline var end: AMQPError??
        @usableFromInline var isIterating = false
        @usableFromInline var isFull = false
        @inlinable init() {}
    }
    @usableFromInline let state = NIOLockedValueBox(State())
    @usableFromInline let size: @Sendable (Element) -> Int
    @usableFromInline let highWaterMark: Int
    @usableFromInline let onRoom: NIOLockedValueBox<(@Sendable () -> Void)?> = NIOLockedValueBox(nil)

    /// - Parameters:
    ///   - highWaterMark: bytes above which the buffer counts as full.
    ///   - size: what an element counts, in bytes.
    @inlinable public init(highWaterMark: Int, size: @escaping @Sendable (Element) -> Int) {
        self.highWaterMark = highWaterMark
        self.size = size
    }

    /// Called, from any thread, when the buffer was full and has drained to half of its mark.
    public func whenRoom(_ action: @escaping @Sendable () -> Void) {
        self.onRoom.withLockedValue { $0 = action }
    }

    // MARK: - The loop's side

    /// - Parameter limit: how many elements are kept at most; beyond that the oldest are dropped.
    @inlinable public func append(_ element: Element, keeping limit: Int = .max) {
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

    /// Wakes a reader, if one waits for what was appended.
    ///
    /// - Returns: whether the buffer is full, so that no more should be read.
    @inlinable
    @discardableResult
    public func batchEnded() -> Bool {
        let (reader, isFull) = self.state.withLockedValue { state -> (Reader?, Bool) in
            if state.bytes > self.highWaterMark { state.isFull = true }
            return (Self.readerToWake(&state), state.isFull)
        }
        if let reader { self.wake(reader) }
        return isFull
    }

    @inlinable static func readerToWake(_ state: inout State) -> Reader? {
        guard !state.elements.isEmpty, !state.isWaking, let reader = state.readers.popLast() else { return nil }
        state.isWaking = true
        return reader
    }

    @inlinable func wake(_ reader: Reader) {
        var reader = reader
        // One that was cancelled in the meantime will not come: it is another one's turn.
        while !reader.resolve(.success(())), let other = self.passOn() { reader = other }
    }

    /// The reader that was woken does not come.
    @inlinable func passOn() -> Reader? {
        self.state.withLockedValue { state in
            state.isWaking = false
            return Self.readerToWake(&state)
        }
    }

    /// For a reader that was woken and will not ask for the next element.
    @inlinable public func wakeUnused() {
        if let reader = self.passOn() { self.wake(reader) }
    }

    /// After what is there the sequence ends, with `error` if there is one.
    ///
    /// - Parameter dropping: forgets what is there, so that it ends at once.
    public func finish(_ error: AMQPError?, dropping: Bool = false) {
        let (dropped, readers) = self.state.withLockedValue { state -> (Deque<Element>, [Reader]) in
            if state.end == nil { state.end = .some(error) }
            let readers = state.readers
            state.readers.removeAll()
            guard dropping else { return ([], readers) }
            let dropped = state.elements
            state.elements.removeAll()
            state.bytes = 0
            return (dropped, readers)
        }
        _ = dropped
        for reader in readers { reader.resolve(.success(())) }
    }

    /// Takes out everything that was not handed out.
    public func drain() -> [Element] {
        let (elements, room) = self.state.withLockedValue { state -> (Deque<Element>, Bool) in
            let elements = state.elements
            state.elements.removeAll()
            return (elements, Self.madeRoom(&state, mark: 0, bytes: state.bytes))
        }
        if room { self.onRoom.withLockedValue { $0 }?() }
        return elements.isEmpty ? [] : Array(elements)
    }

    public var count: Int { self.state.withLockedValue { $0.elements.count } }

    // MARK: - The reader's side

    /// Claims the buffer for one iterator.
    ///
    /// - Returns: whether it was free.
    @inlinable public func beginIteration() -> Bool {
        self.state.withLockedValue { state in
            guard !state.isIterating else { return false }
            state.isIterating = true
            return true
        }
    }

    @inlinable public func endIteration() {
        self.state.withLockedValue { $0.isIterating = false }
    }

    /// - Parameter wasWoken: whether the reader comes because it was woken.
    @inlinable public func next(wasWoken: Bool = false) -> Next {
        let (next, room, other) = self.state.withLockedValue { state -> (Next, Bool, Reader?) in
            if wasWoken { state.isWaking = false }
            if let element = state.elements.popFirst() {
                let room = Self.madeRoom(&state, mark: self.highWaterMark / 2, bytes: self.size(element))
                return (.element(element), room, Self.readerToWake(&state))
            }
            if let end = state.end { return (.end(end), false, nil) }
            let reader = Reader(cancelled: .cancelled)
            state.readers.append(reader)
            return (.wait(reader), false, nil)
        }
        if room { self.onRoom.withLockedValue { $0 }?() }
        if let other { self.wake(other) }
        return next
    }

    /// A reader that was cancelled does not wait any more.
    @inlinable public func forget(_ reader: Reader) {
        self.state.withLockedValue { $0.readers.removeAll { $0 === reader } }
    }

    @inlinable static func madeRoom(_ state: inout State, mark: Int, bytes: Int) -> Bool {
        state.bytes -= bytes
        guard state.isFull, state.bytes <= mark else { return false }
        state.isFull = false
        return true
    }
}

/// One iteration of a buffer: the claim on it is given back when the loop is left, however it is left.
@_spi(HareDo) public struct DeliveryCursor<Element: Sendable>: Sendable {
    @usableFromInline final class Claim: Sendable {
        @usableFromInline let buffer: DeliveryBuffer<Element>
        @inlinable init(_ buffer: DeliveryBuffer<Element>) { self.buffer = buffer }
        @inlinable deinit { self.buffer.endIteration() }
    }
    /// `nil` for a second iterator while the first lives: it has nothing to give.
    @usableFromInline let claim: Claim?
    @usableFromInline var served = 0

    /// How many elements are handed out in a row before others get their turn on the thread.
    @inlinable public static var yieldInterval: Int { 128 }

    @inlinable public init(_ buffer: DeliveryBuffer<Element>) {
        self.claim = buffer.beginIteration() ? Claim(buffer) : nil
    }

    @inlinable public var isValid: Bool { self.claim != nil }

    /// The next element; `nil` at the end and when the task was cancelled.
    ///
    /// Runs where its caller runs, and suspends only if nothing is there, or after many elements in a row.
    ///
    /// - Parameters:
    ///   - willWait: called before it suspends because nothing is there.
    ///   - willTake: called before it looks again.
    @inlinable public mutating func next(
        willWait: () -> Void = {}, willTake: () -> Void = {}
    ) async throws(AMQPError) -> Element? {
        guard let buffer = self.claim?.buffer else { return nil }
        self.served += 1
        if self.served % Self.yieldInterval == 0 { await Task.yield() }
        var wasWoken = false
        while !Task.isCancelled {
            switch buffer.next(wasWoken: wasWoken) {
            case .element(let element): return element
            case .end(let error):
                if let error { throw error }
                return nil
            case .wait(let reader):
                willWait()
                do {
                    try await reader.value()
                } catch {
                    buffer.forget(reader)
                    willTake()
                    return nil
                }
                willTake()
                wasWoken = true
            }
        }
        if wasWoken { buffer.wakeUnused() }
        return nil
    }
}
