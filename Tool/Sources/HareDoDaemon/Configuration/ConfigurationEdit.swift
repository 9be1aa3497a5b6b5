// SPDX-License-Identifier: Apache-2.0

/// Changes values in a configuration file's text and leaves everything else as it is: comments, order, spaces.
public struct ConfigurationEdit {
    /// What a value is set to.
    public enum Value: Sendable, Hashable {
        case text(String)
        case number(Int)
        case flag(Bool)

        fileprivate var written: String {
            switch self {
            case .text(let text): "'" + text.replacing("'", with: "''") + "'"
            case .number(let number): "\(number)"
            case .flag(let flag): "\(flag)"
            }
        }
    }

    /// The text as it is now.
    public private(set) var text: String
    private let file: String

    /// - Parameter file: its name, for errors.
    public init(_ text: String, file: String) {
        self.text = text
        self.file = file
    }

    /// Sets the value at a path of keys, such as `["system", "broker", "host"]`. What is missing on the way is made.
    ///
    /// - Throws: if the file is no YAML, or the place is written in a way that has to be changed by hand.
    public mutating func set(_ path: [String], to value: Value) throws(DaemonFailure) {
        if case .text(let text) = value, text.unicodeScalars.contains(where: { $0.value < 32 || $0.value == 127 }) {
            throw DaemonFailure("the value of '\(path.joined(separator: "."))' has characters that are no text")
        }
        let before = self.text
        try self.change(path, value.written)
        // What was written is what was meant, or nothing was.
        guard try Self.scalar(at: path, of: self.read()) == value.plain else {
            self.text = before
            throw self.byHand(path, LocatedValue.Place(line: 0, column: 0))
        }
    }

    /// Whether there is something under a path of keys.
    public func has(_ path: [String]) -> Bool {
        guard var value = try? self.read() else { return false }
        for key in path {
            guard case .map(let entries) = value.content, let entry = entries.first(where: { $0.key == key }) else {
                return false
            }
            value = entry.value
        }
        return true
    }

    private mutating func change(_ path: [String], _ written: String) throws(DaemonFailure) {
        var value = try self.read()
        var rest = path[...]
        var holder: LocatedValue.Entry?
        while let key = rest.first {
            guard case .map(let entries) = value.content, let entry = entries.first(where: { $0.key == key }) else {
                break
            }
            holder = entry
            value = entry.value
            rest = rest.dropFirst()
        }
        guard !rest.isEmpty else {
            guard let holder else { return }
            try self.replace(holder, written, path)
            return
        }
        var lines = Self.lines(of: rest, written)
        switch value.content {
        case .map(let entries):
            guard let first = entries.first, self.isFirstOnItsLine(first.place) else {
                throw self.byHand(path, value.place)
            }
            lines = lines.map { String(repeating: " ", count: first.place.column - 1) + $0 }
            self.insert(lines, before: first.place.line)
        case .nothing:
            if let holder {
                lines = lines.map { String(repeating: " ", count: holder.place.column + 1) + $0 }
                self.insert(lines, before: holder.place.line + 1)
            } else {
                if !self.text.isEmpty, !self.text.hasSuffix("\n") { self.text += "\n" }
                self.text += lines.joined(separator: "\n") + "\n"
            }
        case .scalar, .list: throw self.byHand(path, value.place)
        }
    }

    private mutating func replace(
        _ entry: LocatedValue.Entry, _ written: String, _ path: [String]
    ) throws(DaemonFailure) {
        var lines = self.lines
        switch entry.value.content {
        case .nothing:
            // `key:` and nothing, or a word for it.
            let line = Array(lines[entry.place.line - 1])
            let after = entry.place.column - 1 + entry.key.unicodeScalars.count
            guard after < line.count, line[after] == ":" else { throw self.byHand(path, entry.place) }
            let end = Self.plainEnd(line, from: after + 1)
            lines[entry.place.line - 1] = String.UnicodeScalarView(
                line[...after] + Array((" " + written).unicodeScalars) + line[end...])
        case .scalar:
            let place = entry.value.place
            let line = Array(lines[place.line - 1])
            let start = place.column - 1
            guard start < line.count, let end = Self.end(line, from: start) else { throw self.byHand(path, place) }
            lines[place.line - 1] = String.UnicodeScalarView(
                line[..<start] + Array(written.unicodeScalars) + line[end...])
        case .list, .map: throw self.byHand(path, entry.value.place)
        }
        self.text = lines.map { String($0) }.joined(separator: "\n")
    }

    /// Where a scalar that begins there ends; `nil` if that is not on the same line.
    private static func end(_ line: [Unicode.Scalar], from start: Int) -> Int? {
        switch line[start] {
        case "'", "\"":
            let quote = line[start]
            var index = start + 1
            while index < line.count {
                if quote == "\"", line[index] == "\\" {
                    index += 2
                } else if line[index] == quote {
                    guard quote == "'", index + 1 < line.count, line[index + 1] == quote else { return index + 1 }
                    index += 2
                } else {
                    index += 1
                }
            }
            return nil
        case "|", ">", "&", "*", "!", "[", "{": return nil
        default: return Self.plainEnd(line, from: start)
        }
    }

    /// Where something without quotes ends: before a comment, and the spaces before that.
    private static func plainEnd(_ line: [Unicode.Scalar], from start: Int) -> Int {
        var end = line.count
        for index in start..<line.count where line[index] == "#" && index > 0 && line[index - 1] == " " {
            end = index
            break
        }
        while end > start, line[end - 1] == " " || line[end - 1] == "\r" { end -= 1 }
        return end
    }

    /// The keys below one another, and the value.
    private static func lines(of path: ArraySlice<String>, _ written: String) -> [String] {
        path.enumerated().map { depth, key in
            String(repeating: "  ", count: depth) + key + ":" + (depth == path.count - 1 ? " " + written : "")
        }
    }

    private var lines: [String.UnicodeScalarView] {
        self.text.unicodeScalars.split(separator: "\n", omittingEmptySubsequences: false).map {
            String.UnicodeScalarView($0)
        }
    }

    private func isFirstOnItsLine(_ place: LocatedValue.Place) -> Bool {
        self.lines[place.line - 1].prefix(place.column - 1).allSatisfy { $0 == " " }
    }

    private mutating func insert(_ new: [String], before line: Int) {
        var lines = self.lines
        lines.insert(contentsOf: new.map(\.unicodeScalars), at: min(line - 1, lines.count))
        self.text = lines.map { String($0) }.joined(separator: "\n")
    }

    private func read() throws(DaemonFailure) -> LocatedValue {
        do {
            return try YAMLReading.read(self.text, file: self.file)
        } catch {
            throw DaemonFailure(error.description)
        }
    }

    private static func scalar(at path: [String], of root: LocatedValue) -> String? {
        var value = root
        for key in path {
            guard case .map(let entries) = value.content, let entry = entries.first(where: { $0.key == key }) else {
                return nil
            }
            value = entry.value
        }
        guard case .scalar(let text, _) = value.content else { return nil }
        return text
    }

    private func byHand(_ path: [String], _ place: LocatedValue.Place) -> DaemonFailure {
        DaemonFailure(
            "\(self.file)\(place.line > 0 ? ":\(place.line):\(place.column)" : ""): '\(path.joined(separator: "."))' is "
                + "written in a way that has to be changed by hand")
    }
}

extension ConfigurationEdit.Value {
    fileprivate var plain: String {
        switch self {
        case .text(let text): text
        case .number(let number): "\(number)"
        case .flag(let flag): "\(flag)"
        }
    }
}
