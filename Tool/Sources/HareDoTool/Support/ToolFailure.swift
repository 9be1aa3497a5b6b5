// SPDX-License-Identifier: Apache-2.0
import AMQPBroker
import AMQPClient
import HareDo
import HareDoDaemon

/// What ends a command: a line for standard error and the exit status.
struct ToolFailure: Error, Hashable {
    /// Those above 63 are those of `sysexits.h`.
    enum Status: Int32 {
        case failed = 1
        case timedOut = 2
        /// No daemon runs.
        case notRunning = 3
        /// The daemon runs, and does not answer.
        case noAnswer = 4
        /// The daemon refused the command: its signature is not good.
        case refused = 5
        /// A daemon runs already.
        case runsAlready = 6
        /// A module, or a plugin that is required, could not be loaded.
        case notLoaded = 7
        /// There is no configuration file.
        case noConfiguration = 66
        /// The broker cannot be reached, or a port is taken.
        case unavailable = 69
        /// The configuration is wrong.
        case wrongConfiguration = 78

        init(_ problems: ConfigurationProblems) {
            self = problems.isMissingFile ? .noConfiguration : .wrongConfiguration
        }
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
        case let failure as DaemonFailure:
            let status: Status =
                switch failure.kind {
                case .other: .failed
                case .runsAlready: .runsAlready
                case .notLoaded: .notLoaded
                case .unavailable: .unavailable
                }
            self.init(failure.description, status)
        case let problems as ConfigurationProblems:
            self.init(problems.description, Status(problems))
        case is CancellationError: self.init("cancelled")
        default: return nil
        }
    }
}
