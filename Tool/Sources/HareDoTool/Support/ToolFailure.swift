// SPDX-License-Identifier: Apache-2.0
import AMQPBroker
import AMQPClient
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
        case let error as AMQPError: self.init(error.message, error.code == .timedOut ? .timedOut : .failed)
        case let error as AMQPBrokerError: self.init(error.message)
        case is CancellationError: self.init("cancelled")
        default: return nil
        }
    }
}
