// SPDX-License-Identifier: Apache-2.0

extension String {
    /// A text from elsewhere as it may stand in a message: without characters that change what a terminal or a log
    /// shows, and at most `limit` bytes of it.
    func printable(limit: Int = 255) -> String {
        var result = String.UnicodeScalarView()
        var count = 0
        for scalar in self.unicodeScalars {
            count += UTF8.width(scalar)
            guard count <= limit else { return String(result) + "…" }
            switch scalar.properties.generalCategory {
            // Line ends, escape sequences, and what reverses the direction of writing.
            case .control, .format, .lineSeparator, .paragraphSeparator, .surrogate, .privateUse, .unassigned:
                result.append("\u{FFFD}")
            default: result.append(scalar)
            }
        }
        return String(result)
    }
}
