// SPDX-License-Identifier: Apache-2.0
import HareDo

/// A header on the command line: `name=text`, or `name:=value` for what is not text.
struct HeaderArgument: Hashable, Sendable {
    let name: String
    let value: HeaderValue

    init(_ argument: String) throws(ToolFailure) {
        guard let equals = argument.firstIndex(of: "=") else {
            throw ToolFailure("a header is name=text or name:=value, and '\(argument)' has no '='")
        }
        var name = argument[..<equals]
        let text = String(argument[argument.index(after: equals)...])
        let isTyped = name.last == ":"
        if isTyped { name.removeLast() }
        guard !name.isEmpty else { throw ToolFailure("a header without a name: '\(argument)'") }
        guard name.utf8.count <= 255 else {
            throw ToolFailure("the name of a header has \(name.utf8.count) bytes, and AMQP allows 255")
        }
        self.name = String(name)
        self.value = isTyped ? try Self.typed(text, name) : .string(text)
    }

    private static func typed(_ text: String, _ name: Substring) throws(ToolFailure) -> HeaderValue {
        switch text {
        case "true": return .boolean(true)
        case "false": return .boolean(false)
        case "null": return .null
        default:
            if let number = Int64(text) { return .integer(number) }
            // An integer that does not fit must not lose its last digits unnoticed, and `nan` is no number.
            if text.contains(where: { ".eE".contains($0) }), text.allSatisfy({ "+-0123456789.eE".contains($0) }),
                let number = Double(text), number.isFinite
            {
                return .double(number)
            }
            throw ToolFailure(
                "the value of '\(name):=' is a number (64 bits if it is whole), true, false or null; "
                    + "for text write '\(name)=…'")
        }
    }
}
