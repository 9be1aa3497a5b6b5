// SPDX-License-Identifier: Apache-2.0

/// How a connection comes back after it was lost.
///
/// Between attempts it pauses for a random time between nothing and a bound that doubles from ``minimumDelay`` to
/// ``maximumDelay`` ("full jitter"), so that the clients of a broker that was restarted do not all come at once.
public struct AMQPRecovery: Sendable, Hashable {
    /// Whether anything is recovered. Without it a connection that is lost, and a channel that the broker closes, ends.
    public var isEnabled = true
    /// Bound of the pause before the first attempt; it doubles with every further one. Default 100 ms.
    public var minimumDelay: Duration = .milliseconds(100)
    /// Bound that the pauses grow to. Default 30 s.
    public var maximumDelay: Duration = .seconds(30)
    /// Most attempts in a row; `nil`, the default, for no limit. After them the connection ends with `connectionClosed`,
    /// and the last error as its cause.
    public var maximumAttempts: Int?
    /// Whether a broker that refuses the credentials ends the connection, rather than being asked again. Default true.
    public var stopsOnRefusedCredentials = true
    /// How long a connection, channel or consumer has to last for the pauses to begin from ``minimumDelay`` again.
    /// Default 10 s.
    public var stablePeriod: Duration = .seconds(10)

    /// Recovery with its default bounds.
    public init() {}

    /// None: what is lost ends.
    public static let disabled: AMQPRecovery = {
        var recovery = AMQPRecovery()
        recovery.isEnabled = false
        return recovery
    }()
}
