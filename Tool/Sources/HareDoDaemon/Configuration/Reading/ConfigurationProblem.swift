// SPDX-License-Identifier: Apache-2.0

/// Something that is wrong in a configuration file, or only doubtful.
public struct ConfigurationProblem: Error, Hashable, Sendable {
    /// The file, as it was named.
    public var file: String
    /// From 1; 0 if it is about the file as a whole.
    public var line: Int
    /// From 1, in Unicode scalars; 0 if it is about the file as a whole.
    public var column: Int
    /// What is wrong, and what to do.
    public var message: String

    /// `FILE:LINE:COLUMN: MESSAGE`, as compilers write it.
    public var description: String {
        self.line == 0 ? "\(self.file): \(self.message)" : "\(self.file):\(self.line):\(self.column): \(self.message)"
    }
}

/// All that is wrong in a configuration file.
public struct ConfigurationProblems: Error, Hashable, Sendable, CustomStringConvertible {
    /// In the order of the file; at least one.
    public var all: [ConfigurationProblem]
    /// There is no such file.
    public var isMissingFile = false

    /// One line for each.
    public var description: String { self.all.map(\.description).joined(separator: "\n") }
}

/// Gathers what is wrong while a file is read, so that its author hears of all of it at once. For one reading, by one task.
final class ProblemList {
    private let file: String
    private(set) var errors: [ConfigurationProblem] = []
    private(set) var warnings: [ConfigurationProblem] = []

    init(file: String) { self.file = file }

    func error(_ place: LocatedValue.Place, _ message: String) { self.errors.append(self.problem(place, message)) }

    func warning(_ place: LocatedValue.Place, _ message: String) { self.warnings.append(self.problem(place, message)) }

    private func problem(_ place: LocatedValue.Place, _ message: String) -> ConfigurationProblem {
        ConfigurationProblem(file: self.file, line: place.line, column: place.column, message: message)
    }

    /// - Throws: all errors, if there are any.
    func check() throws(ConfigurationProblems) {
        guard !self.errors.isEmpty else { return }
        let sorted = self.errors.sorted { ($0.line, $0.column, $0.message) < ($1.line, $1.column, $1.message) }
        throw ConfigurationProblems(all: sorted)
    }
}
