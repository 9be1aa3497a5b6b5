// SPDX-License-Identifier: Apache-2.0
import AMQPWire

/// An attempt at handling a message that failed, as it is written into the message's history.
public struct FailedAttempt: Hashable, Sendable {
    /// Which one, from 1.
    public var attempt: Int
    /// When it ended, in seconds since 1970, by the clock of the machine it ran on.
    public var time: UInt64
    /// What the handler threw, cut after 256 bytes. For those who operate the service; callers never see it.
    public var error: String

    /// Most bytes of the text kept.
    private static let longestError = 256
    /// Most attempts that a history holds; the latest are kept. All of it has to fit a small frame (8 KiB) together with
    /// the message's other headers.
    private static let longestHistory = 8

    private var fieldValue: AMQPFieldValue {
        .table([
            "attempt": .int64(Int64(self.attempt)), "time": .timestamp(self.time),
            "error": .longString(AMQPLongString(WireHeaders.cut(self.error, to: Self.longestError))),
        ])
    }

    /// A history with this attempt at its end.
    ///
    /// - Parameter history: what the message carries: from outside, so that it may be anything.
    func appended(to history: AMQPFieldValue?) -> AMQPFieldValue {
        let before: [AMQPFieldValue] = if case .array(let entries)? = history { entries } else { [] }
        return .array(before.suffix(Self.longestHistory - 1) + [self.fieldValue])
    }

    /// The entries of a history that can be read.
    static func history(_ value: AMQPFieldValue?) -> [FailedAttempt] {
        guard case .array(let entries)? = value else { return [] }
        return entries.compactMap { entry in
            guard case .table(let table) = entry, let attempt = table["attempt"]?.integer,
                case .timestamp(let time)? = table["time"]
            else { return nil }
            return FailedAttempt(
                attempt: Int(clamping: attempt), time: time, error: table["error"]?.string ?? "")
        }
    }
}
