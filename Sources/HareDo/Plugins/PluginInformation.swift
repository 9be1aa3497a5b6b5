// SPDX-License-Identifier: Apache-2.0

/// A plugin that is loaded, and what it has done since.
public struct PluginInformation: Sendable, Hashable, Codable {
    /// Where a plugin is from.
    public enum Source: Sendable, Hashable, Codable, CustomStringConvertible {
        /// Part of the program.
        case linked
        /// A library, by its path.
        case library(String)

        /// `linked`, or the path.
        public var description: String {
            switch self {
            case .linked: "linked"
            case .library(let path): path
            }
        }
        public func encode(to encoder: any Encoder) throws {
            var container = encoder.singleValueContainer()
            try container.encode(self.description)
        }
        public init(from decoder: any Decoder) throws {
            let text = try decoder.singleValueContainer().decode(String.self)
            self = text == "linked" ? .linked : .library(text)
        }
    }

    /// What it was loaded as.
    public var name: String
    /// What messages call it.
    public var uuid: String
    /// Where it is from.
    public var source: Source
    /// Which version it is, if it says so.
    public var version: String?
    /// When it was loaded, or made anew, in seconds since 1970.
    public var loaded: UInt64
    /// Messages it was given.
    public var messages: Int
    /// Those for which it threw, or took longer than its ``PluginLimits/deadline``.
    public var errors: Int
    /// Those it did not get because ``PluginLimits/waiting`` others waited.
    public var refused: Int
    /// Messages it is processing now.
    public var inFlight: Int
    /// Time spent processing, in seconds, all messages together.
    public var seconds: Double
}
