// SPDX-License-Identifier: Apache-2.0

/// What a ``FaultProxy`` does to one connection, and after how many bytes.
public struct FaultPlan: Sendable, CustomStringConvertible {
    /// One of the two ways through the proxy.
    public enum Direction: String, Sendable, CaseIterable { case toBroker, toClient }

    public enum Fault: Sendable, Hashable, CustomStringConvertible {
        /// Bytes pass as they come: ends `drip` and `delay`.
        case pass
        /// The end of both streams (FIN); nothing more passes.
        case cut
        /// Both connections are reset (RST).
        case reset
        /// The connections stay open and bytes vanish, both ways or one way. Neither side learns of the other's end.
        case swallow(Direction?)
        /// Nothing is read any more: buffers fill up.
        case stall(Direction?)
        /// What is read is handed on so much later. The order stays.
        case delay(Duration)
        /// One byte at a time, each in a segment of its own.
        case drip

        public var description: String {
            switch self {
            case .pass: "pass"
            case .cut: "cut"
            case .reset: "reset"
            case .swallow(let direction): "half-open \(direction?.rawValue ?? "both ways")"
            case .stall(let direction): "stall \(direction?.rawValue ?? "both ways")"
            case .delay(let time): "delay \(time)"
            case .drip: "drip"
            }
        }
    }

    /// `fault` happens when exactly `bytes` bytes have passed in `direction`.
    public struct Step: Sendable {
        public let bytes: Int
        public let direction: Direction
        public let fault: Fault

        public init(after bytes: Int, _ direction: Direction, _ fault: Fault) {
            self.bytes = bytes
            self.direction = direction
            self.fault = fault
        }
    }

    public let steps: [Step]

    public init(_ steps: Step...) { self.steps = steps }
    public init(_ steps: [Step]) { self.steps = steps }

    public var description: String {
        self.steps.map { "after \($0.bytes) bytes \($0.direction.rawValue): \($0.fault)" }.joined(separator: ", ")
    }

    /// Nothing happens.
    public static let none = FaultPlan()

    /// One of `faults` at a random point, the same again for the same seed and connection.
    ///
    /// Faults that only slow a connection down are followed by `cut`, so that every connection ends.
    /// - Parameters:
    ///   - connection: the number of the connection through the proxy, from 0.
    ///   - bytes: where the fault may happen, in bytes of its direction.
    public static func random(
        seed: UInt64, connection: Int, faults: [Fault], bytes: ClosedRange<Int>
    ) -> FaultPlan {
        var generator = SeededGenerator(seed: seed &* 1_000_003 &+ UInt64(connection))
        let direction: Direction = Bool.random(using: &generator) ? .toBroker : .toClient
        let first = Int.random(in: bytes, using: &generator)
        switch faults.randomElement(using: &generator) ?? .cut {
        case .drip, .delay, .pass:
            let fault = faults.filter { $0 == .drip || $0.isDelay }.randomElement(using: &generator) ?? .drip
            let length = Int.random(in: 1...4000, using: &generator)
            return FaultPlan(.init(after: first, direction, fault), .init(after: first + length, direction, .cut))
        case let fault:
            return FaultPlan(.init(after: first, direction, fault))
        }
    }
}

extension FaultPlan.Fault {
    fileprivate var isDelay: Bool { if case .delay = self { true } else { false } }
}
