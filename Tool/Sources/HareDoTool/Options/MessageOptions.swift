// SPDX-License-Identifier: Apache-2.0
import ArgumentParser
import HareDo

/// What a message is made of, for commands that send one.
struct MessageOptions: ParsableArguments {
    @Option(
        name: .shortAndLong, parsing: .unconditional,
        help: ArgumentHelp(
            "The body: text, @FILE for a file's bytes, or - for standard input. Default: none.",
            discussion: "At most 16 MiB. Text that begins with @ can be sent through standard input."))
    var data: String?

    @Option(
        name: [.customShort("H"), .long],
        help: ArgumentHelp(
            "A header: name=text, or name:=value for a number, true, false or null. May be repeated.",
            discussion: "-H i=1 sends the text 1, -H i:=1 the number.", valueName: "name=value"),
        transform: { try asUsage($0, HeaderArgument.init(_:)) })
    var header: [HeaderArgument] = []

    func validate() throws {
        var names: Set<String> = []
        for header in self.header where !names.insert(header.name).inserted {
            throw ValidationError("the header '\(header.name)' is given twice")
        }
    }

    func headers() -> Headers { Headers(self.header.map { ($0.name, $0.value) }) }

    /// What RabbitMQ takes at most.
    static let maximumSize = 16 << 20

    /// The body: text says that it is, bytes from elsewhere do not.
    enum Body: Equatable, Sendable {
        case text(String)
        case bytes([UInt8])
    }

    func body() throws(ToolFailure) -> Body {
        switch self.data {
        case nil: return .bytes([])
        case "-"?: return .bytes(try InputFile.standardInput.read(atMost: Self.maximumSize))
        case let argument? where argument.hasPrefix("@"):
            let file = try InputFile(path: String(argument.dropFirst()))
            return .bytes(try file.read(atMost: Self.maximumSize))
        case let text?: return .text(text)
        }
    }
}
