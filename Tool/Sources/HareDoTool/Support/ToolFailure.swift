// SPDX-License-Identifier: Apache-2.0
import AMQPBroker
import HareDo

/// What ends a command: a line for standard error and the exit status.
struct ToolFailure: Error, Hashable {
    enum Status: Int32 {
        case failed = 1
        case timedOut = 2
    }
    var message: String
    var status: Int32

    init(_ message: String, _ status: Status = .failed) {
        self.message = message
        self.status = status.rawValue
    }

    /// What an error means to whoever typed the command; `nil` for errors of the argument parser, which explains its own.
    init?(_ error: any Error) {
        switch error {
        case let failure as ToolFailure: self = failure
        case let error as HareDoError: self.init(error.message, error.code == .timedOut ? .timedOut : .failed)
        case let error as AMQPBrokerError where error.code == .addressInUse: self.init(error.message)
        case let error as AMQPBrokerError:
            self.init(error.cause.map { "\(error.message): \(Self.reason($0))" } ?? error.message)
        case is CancellationError: self.init("cancelled")
        default: return nil
        }
    }

    /// What the operating system said, without the names of calls and types that SwiftNIO puts around it.
    private static func reason(_ error: any Error) -> String {
        let text = "\(error)"
        if let words = text.firstMatch(of: /.*\): (.+?)\)? \(errno: \d+\)/)?.1 { return String(words) }
        guard let colon = text.firstRange(of: ": ") else { return text }
        return String(text[colon.upperBound...])
    }
}
