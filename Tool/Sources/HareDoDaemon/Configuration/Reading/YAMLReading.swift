// SPDX-License-Identifier: Apache-2.0
import Yams

/// Reads YAML (https://yaml.org/spec/1.2.2/) into values that know where they stand.
struct YAMLReading {
    /// More than anybody writes. A file with references to references can be short, and mean millions of values.
    static let maximumValues = 100_000
    static let maximumBytes = 1 << 20

    private var count = 0

    /// - Returns: the one document; of an empty file nothing.
    /// - Throws: the first thing that is no YAML.
    static func read(_ text: String, file: String) throws(ConfigurationProblem) -> LocatedValue {
        let start = LocatedValue.Place(line: 1, column: 1)
        func problem(_ place: LocatedValue.Place, _ message: String) -> ConfigurationProblem {
            ConfigurationProblem(file: file, line: place.line, column: place.column, message: message)
        }
        guard text.utf8.count <= Self.maximumBytes else {
            throw problem(start, "the file has more than \(Self.maximumBytes >> 20) MiB")
        }
        let node: Node?
        do {
            node = try Parser(yaml: text).singleRoot()
        } catch let error as YamlError {
            let (place, message) = Self.explain(error, start)
            throw problem(place, message)
        } catch {
            throw problem(start, "it is no YAML: \(error)")
        }
        guard let node else { return LocatedValue(content: .nothing, place: start) }
        var reading = YAMLReading()
        do {
            return try reading.value(of: node, start)
        } catch {
            throw problem(error.place, error.message)
        }
    }

    private struct Refusal: Error {
        var place: LocatedValue.Place
        var message: String
    }

    /// - Parameter outer: where it stands if it does not say so itself.
    private mutating func value(
        of node: Node, _ outer: LocatedValue.Place
    ) throws(Refusal) -> LocatedValue {
        let place = node.mark.map { LocatedValue.Place(line: $0.line, column: $0.column) } ?? outer
        self.count += 1
        guard self.count <= Self.maximumValues else {
            throw Refusal(place: place, message: "the file has more than \(Self.maximumValues) values")
        }
        let content: LocatedValue.Content
        switch node {
        case .scalar(let scalar):
            let isPlain = scalar.style == .plain || scalar.style == .any
            let isEmpty = isPlain && ["", "~", "null", "Null", "NULL"].contains(scalar.string)
            content = isEmpty ? .nothing : .scalar(scalar.string, isPlain: isPlain)
        case .sequence(let sequence):
            var values: [LocatedValue] = []
            for node in sequence { values.append(try self.value(of: node, place)) }
            content = .list(values)
        case .mapping(let mapping):
            var entries: [LocatedValue.Entry] = []
            for (key, value) in mapping {
                let keyPlace = key.mark.map { LocatedValue.Place(line: $0.line, column: $0.column) } ?? place
                guard case .scalar(let scalar) = key else {
                    throw Refusal(place: keyPlace, message: "a key has to be text, not a list or a map")
                }
                entries.append(
                    LocatedValue.Entry(
                        key: scalar.string, place: keyPlace, value: try self.value(of: value, keyPlace)))
            }
            content = .map(entries)
        case .alias:
            throw Refusal(place: place, message: "references (*name) cannot be used here")
        }
        return LocatedValue(content: content, place: place)
    }

    private static func explain(
        _ error: YamlError, _ start: LocatedValue.Place
    ) -> (LocatedValue.Place, String) {
        func place(_ mark: Mark) -> LocatedValue.Place { LocatedValue.Place(line: mark.line, column: mark.column) }
        switch error {
        case .scanner(let context, let problem, let mark, _), .parser(let context, let problem, let mark, _),
            .composer(let context, let problem, let mark, _):
            return (place(mark), "it is no YAML: \(problem)" + (context.map { " (\($0.text))" } ?? ""))
        case .duplicatedKeysInMapping(let duplicates, let context):
            return (
                place(context.mark),
                "the map that begins here has twice: " + duplicates.sorted().joined(separator: ", ")
            )
        case .reader(let problem, let offset, _, let yaml):
            guard let offset, offset >= 0 else { return (start, "it is no YAML: \(problem)") }
            let before = yaml.utf8.prefix(offset)
            let lines = before.split(separator: UInt8(ascii: "\n"), omittingEmptySubsequences: false)
            return (
                LocatedValue.Place(line: max(lines.count, 1), column: (lines.last?.count ?? 0) + 1),
                "it is no YAML: \(problem)"
            )
        case .dataCouldNotBeDecoded: return (start, "it is not text in UTF-8")
        default: return (start, "it is no YAML: \(error)")
        }
    }
}
