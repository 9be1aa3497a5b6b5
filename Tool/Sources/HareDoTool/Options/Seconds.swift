// SPDX-License-Identifier: Apache-2.0
import ArgumentParser

/// A time span on the command line: seconds, fractions allowed, above 0.
struct Seconds: ExpressibleByArgument, Hashable, Sendable, CustomStringConvertible {
    /// About 46 days: in milliseconds it fits 32 bits, and nobody waits longer.
    static let maximum = 4_000_000.0

    let duration: Duration
    private let number: Double

    init(_ number: Int) {
        self.duration = .seconds(number)
        self.number = Double(number)
    }

    init?(argument: String) {
        // Double reads hexadecimal and names such as `infinity` as well.
        guard argument.utf8.allSatisfy({ (0x30...0x39).contains($0) || $0 == 0x2e }), let number = Double(argument),
            number > 0, number <= Self.maximum
        else { return nil }
        self.duration = .seconds(number)
        self.number = number
    }

    var description: String { self.number == self.number.rounded() ? "\(Int(self.number))" : "\(self.number)" }
    var defaultValueDescription: String { self.description }
}
