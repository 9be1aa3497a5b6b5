// SPDX-License-Identifier: Apache-2.0

/// Text in which `${NAME}` and `${NAME:default}` stand for variables of the environment; `$${` is `${`.
enum EnvironmentText {
    struct Refusal: Error, Hashable {
        var message: String
    }

    static func expand(_ text: String, _ environment: [String: String]) throws(Refusal) -> String {
        guard text.contains("${") else { return text }
        var result = ""
        var rest = text[...]
        while let dollar = rest.firstIndex(of: "$") {
            result += rest[..<dollar]
            rest = rest[dollar...]
            if rest.hasPrefix("$${") {
                result += "${"
                rest = rest.dropFirst(3)
            } else if rest.hasPrefix("${") {
                guard let end = rest.firstIndex(of: "}") else {
                    throw Refusal(message: "a '${' has no '}'; to write it as it is, double the dollar: '$${'")
                }
                result += try self.value(of: rest[rest.index(dollar, offsetBy: 2)..<end], environment)
                rest = rest[rest.index(after: end)...]
            } else {
                result.append("$")
                rest = rest.dropFirst()
            }
        }
        return result + rest
    }

    private static func value(
        of reference: Substring, _ environment: [String: String]
    ) throws(Refusal) -> String {
        let colon = reference.firstIndex(of: ":")
        let name = String(reference[..<(colon ?? reference.endIndex)])
        let isName =
            !name.isEmpty && name.utf8.first != UInt8(ascii: "0")
            && name.allSatisfy { $0.isASCII && ($0.isLetter || $0.isNumber || $0 == "_") }
        guard isName else { throw Refusal(message: "'${\(reference)}' names no variable of the environment") }
        if let value = environment[name] { return value }
        guard let colon else {
            throw Refusal(
                message: "the environment has no variable '\(name)'; a default would be '${\(name):default}'")
        }
        return String(reference[reference.index(after: colon)...])
    }
}
