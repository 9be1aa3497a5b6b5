// SPDX-License-Identifier: Apache-2.0
#if canImport(FoundationEssentials)
    import FoundationEssentials
#else
    import Foundation
#endif

/// Colours, on a terminal, for people who have not said that they want none (https://no-color.org).
struct Paint: Sendable {
    enum Colour: Int {
        case red = 31
        case green = 32
        case yellow = 33
    }

    private let isOn: Bool

    /// For what is written to a stream.
    init(_ stream: StandardStreams.Stream) {
        self.init(
            isTerminal: StandardStreams.isTerminal(stream), environment: ProcessInfo.processInfo.environment)
    }

    init(isTerminal: Bool, environment: [String: String]) {
        self.isOn = isTerminal && environment["NO_COLOR", default: ""].isEmpty && environment["TERM"] != "dumb"
    }

    func callAsFunction(_ colour: Colour, _ text: String) -> String {
        self.isOn ? "\u{1B}[\(colour.rawValue)m\(text)\u{1B}[0m" : text
    }
}
