// SPDX-License-Identifier: Apache-2.0
import HareDo

/// Reads a map of a configuration file by its keys, and writes down what is wrong. What was never asked for by the end is
/// unknown: ``finish()``. For one reading, by one task.
final class MapReader {
    /// As people write it: `daemon.queue`.
    let path: String
    let place: LocatedValue.Place
    private let entries: [LocatedValue.Entry]
    private let problems: ProblemList
    private let environment: [String: String]
    private var asked: Set<String> = []

    init(
        _ entries: [LocatedValue.Entry], at place: LocatedValue.Place, path: String, _ problems: ProblemList,
        _ environment: [String: String]
    ) {
        self.entries = entries
        self.place = place
        self.path = path
        self.problems = problems
        self.environment = environment
    }

    /// Where a key stands; where it would, if it is not there.
    func place(of key: String) -> LocatedValue.Place {
        self.entries.first { $0.key == key }?.place ?? self.place
    }

    func path(of key: String) -> String { self.path.isEmpty ? key : self.path + "." + key }

    var keys: [String] { self.entries.map(\.key) }

    /// Whether there is something under a key.
    func has(_ key: String) -> Bool { self.value(key) != nil }

    func error(_ key: String, _ message: String) {
        self.problems.error(self.place(of: key), "'\(self.path(of: key))' \(message)")
    }

    func warning(_ key: String, _ message: String) {
        self.problems.warning(self.place(of: key), "'\(self.path(of: key))' \(message)")
    }

    // MARK: - Values

    func text(_ key: String) -> String? { self.scalar(key, "text") }

    func number(_ key: String, in range: ClosedRange<Int>) -> Int? {
        guard let text = self.scalar(key, "a whole number") else { return nil }
        guard let number = Int(text) else {
            self.error(key, "has to be a whole number, not '\(text)'")
            return nil
        }
        guard range.contains(number) else {
            self.error(key, "has to be \(range.lowerBound) to \(range.upperBound), not \(number)")
            return nil
        }
        return number
    }

    /// `true` or `false`, or as older YAML has it `yes`, `no`, `on` or `off`.
    func flag(_ key: String) -> Bool? {
        guard let text = self.scalar(key, "true or false") else { return nil }
        switch text.lowercased() {
        case "true", "yes", "on": return true
        case "false", "no", "off": return false
        default:
            self.error(key, "has to be true or false, not '\(text)'")
            return nil
        }
    }

    /// Seconds.
    func seconds(_ key: String, in range: ClosedRange<Double>) -> Duration? {
        guard let text = self.scalar(key, "a number of seconds") else { return nil }
        guard let seconds = Double(text), seconds.isFinite else {
            self.error(key, "has to be a number of seconds, not '\(text)'")
            return nil
        }
        guard range.contains(seconds) else {
            self.error(
                key, "has to be \(Self.short(range.lowerBound)) to \(Self.short(range.upperBound)) seconds, not \(text)"
            )
            return nil
        }
        return .seconds(seconds)
    }

    func choice<Value>(_ key: String, _ choices: [(String, Value)]) -> Value? {
        guard let text = self.scalar(key, "one word") else { return nil }
        if let choice = choices.first(where: { $0.0 == text }) { return choice.1 }
        let names = choices.map(\.0)
        let nearest = NearestKey.of(text, among: names).map { ": did you mean '\($0)'?" } ?? ""
        self.error(key, "has to be \(Self.list(names)), not '\(text)'\(nearest)")
        return nil
    }

    /// A list of texts; one alone needs no list.
    func texts(_ key: String) -> [(text: String, place: LocatedValue.Place)]? {
        guard let value = self.value(key) else { return nil }
        switch value.content {
        case .scalar(let text, _): return self.expanded(text, value.place).map { [($0, value.place)] }
        case .list(let values):
            return values.compactMap { value in
                guard case .scalar(let text, _) = value.content else {
                    self.problems.error(
                        value.place, "'\(self.path(of: key))' has to be a list of texts, and this is \(value.kind)")
                    return nil
                }
                return self.expanded(text, value.place).map { ($0, value.place) }
            }
        case .map, .nothing:
            self.isNot(value, key, "a list of texts")
            return nil
        }
    }

    func map(_ key: String) -> MapReader? {
        guard let value = self.value(key) else { return nil }
        return self.map(of: value, path: self.path(of: key))
    }

    /// Each key with the map under it; under some there may be nothing.
    func maps(_ key: String) -> [(key: String, place: LocatedValue.Place, map: MapReader)] {
        guard let map = self.map(key) else { return [] }
        return map.entries.compactMap { entry in
            map.asked.insert(entry.key)
            let path = map.path(of: entry.key)
            if case .nothing = entry.value.content {
                return (
                    entry.key, entry.place, MapReader([], at: entry.place, path: path, self.problems, self.environment)
                )
            }
            return map.map(of: entry.value, path: path).map { (entry.key, entry.place, $0) }
        }
    }

    /// A tree, in which variables of the environment are expanded.
    func tree(_ key: String) -> LocatedValue? { self.value(key).map(self.expanded) }

    /// Writes down every key that was not asked for.
    func finish() {
        for entry in self.entries where !self.asked.contains(entry.key) {
            let nearest = NearestKey.of(entry.key, among: self.asked).map { ": did you mean '\($0)'?" }
            let known = self.asked.isEmpty ? "" : ": there may be \(self.asked.sorted().joined(separator: ", "))"
            self.problems.error(entry.place, "'\(self.path(of: entry.key))' is unknown\(nearest ?? known)")
        }
    }

    // MARK: - Parts

    private func map(of value: LocatedValue, path: String) -> MapReader? {
        guard case .map(let entries) = value.content else {
            self.problems.error(value.place, "'\(path)' has to be a map, and is \(value.kind)")
            return nil
        }
        return MapReader(entries, at: value.place, path: path, self.problems, self.environment)
    }

    private func scalar(_ key: String, _ wanted: String) -> String? {
        guard let value = self.value(key) else { return nil }
        guard case .scalar(let text, _) = value.content else {
            self.isNot(value, key, wanted)
            return nil
        }
        return self.expanded(text, value.place)
    }

    private func isNot(_ value: LocatedValue, _ key: String, _ wanted: String) {
        self.problems.error(value.place, "'\(self.path(of: key))' has to be \(wanted), and is \(value.kind)")
    }

    private func value(_ key: String) -> LocatedValue? {
        self.asked.insert(key)
        guard let value = self.entries.first(where: { $0.key == key })?.value else { return nil }
        if case .nothing = value.content { return nil }
        return value
    }

    /// - Returns: `nil` if that is not possible, which is written down.
    private func expanded(_ text: String, _ place: LocatedValue.Place) -> String? {
        do {
            return try EnvironmentText.expand(text, self.environment)
        } catch {
            self.problems.error(place, error.message)
            return nil
        }
    }

    private func expanded(_ value: LocatedValue) -> LocatedValue {
        var value = value
        switch value.content {
        case .nothing: break
        case .scalar(let text, let isPlain):
            value.content = self.expanded(text, value.place).map { .scalar($0, isPlain: isPlain) } ?? .nothing
        case .list(let values): value.content = .list(values.map(self.expanded))
        case .map(let entries):
            value.content = .map(
                entries.map { LocatedValue.Entry(key: $0.key, place: $0.place, value: self.expanded($0.value)) })
        }
        return value
    }

    private static func short(_ number: Double) -> String {
        Int(exactly: number).map(String.init) ?? "\(number)"
    }

    private static func list(_ names: [String]) -> String {
        names.count < 2
            ? names.joined() : names.dropLast().joined(separator: ", ") + " or " + (names.last ?? "")
    }
}
