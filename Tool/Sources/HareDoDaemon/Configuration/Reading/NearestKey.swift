// SPDX-License-Identifier: Apache-2.0

/// Finds what somebody meant who wrote another key.
enum NearestKey {
    /// The one that is fewest letters away, if those are few.
    static func of(_ key: String, among known: some Sequence<String>) -> String? {
        let written = Array(key.lowercased())
        let nearest = known.sorted().map { (key: $0, distance: Self.distance(written, Array($0.lowercased()))) }
            .min { $0.distance < $1.distance }
        guard let nearest, nearest.distance <= max(2, written.count / 3), nearest.distance < written.count else {
            return nil
        }
        return nearest.key
    }

    /// How many letters have to be put in, left out, changed or swapped with their neighbours.
    static func distance(_ one: [Character], _ other: [Character]) -> Int {
        var before: [Int] = []
        var last = Array(0...other.count)
        for (row, letter) in one.enumerated() {
            var current = [row + 1]
            for (column, otherLetter) in other.enumerated() {
                var best = min(current[column] + 1, last[column + 1] + 1)
                best = min(best, last[column] + (letter == otherLetter ? 0 : 1))
                if row > 0, column > 0, letter == other[column - 1], one[row - 1] == otherLetter {
                    best = min(best, before[column - 1] + 1)
                }
                current.append(best)
            }
            before = last
            last = current
        }
        return last[other.count]
    }
}
