// SPDX-License-Identifier: Apache-2.0

/// What a service has done since it began to listen.
public struct ServiceStatistics: Sendable, Hashable, Codable {
    /// Messages that were handed to its handler, methods or loop; each attempt counts.
    public var requests = 0
    /// Those whose handler threw.
    public var errors = 0
    /// Code and text of the latest error, as its caller was told.
    public var lastError: String?
    /// Time spent in handlers, in seconds, all of them together.
    public var seconds = 0.0
    /// Messages that are being handled now.
    public var inFlight = 0

    mutating func began() {
        self.requests += 1
        self.inFlight += 1
    }

    mutating func ended(after duration: Duration) {
        self.inFlight -= 1
        self.seconds += duration / .seconds(1)
    }

    mutating func failed(_ failure: HareDoError.RemoteFailure) {
        self.errors += 1
        self.lastError = "\(failure.code): \(failure.text)"
    }
}
