// SPDX-License-Identifier: Apache-2.0
import HareDo

/// What keeps a daemon from running.
public struct DaemonFailure: Error, Hashable, Sendable, CustomStringConvertible {
    /// What kind of thing went wrong, for programs.
    public enum Kind: Sendable, Hashable {
        case other
        /// Another daemon has the pid file.
        case runsAlready
        /// A module, or a plugin that is required, could not be loaded.
        case notLoaded
        /// The broker cannot be reached or refuses, or a port is taken.
        case unavailable
    }

    /// What went wrong, and what to do.
    public var description: String
    /// What kind of thing.
    public var kind: Kind

    init(_ description: String, _ kind: Kind = .other) {
        self.description = description
        self.kind = kind
    }

    /// What an error means to whoever starts a daemon.
    init(_ error: any Error) {
        switch error {
        case let failure as DaemonFailure: self = failure
        case let error as HareDoError:
            let isAway = [.noBroker, .connectionLost, .brokerRefused].contains(error.code)
            self.init(error.message, isAway ? .unavailable : .other)
        default: self.init("\(error)")
        }
    }

    /// What keeps a module from working.
    init(_ error: any Error, of module: String) {
        self.init("module '\(module)': \(DaemonFailure(error).description)", .notLoaded)
    }
}
