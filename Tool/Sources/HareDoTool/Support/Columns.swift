// SPDX-License-Identifier: Apache-2.0

/// Rows of text in columns.
enum Columns {
    /// Each column as wide as its widest field, without spaces at the ends of lines.
    static func aligned(_ rows: [[String]]) -> [String] {
        let columns = rows.map(\.count).max() ?? 0
        let widths = (0..<columns).map { column in
            rows.map { column < $0.count ? $0[column].count : 0 }.max() ?? 0
        }
        return rows.map { row in
            let line = row.enumerated().map { column, field in
                field + String(repeating: " ", count: widths[column] - field.count)
            }.joined(separator: "  ")
            return String(line.reversed().drop { $0 == " " }.reversed())
        }
    }
}
