// SPDX-License-Identifier: Apache-2.0

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
}
