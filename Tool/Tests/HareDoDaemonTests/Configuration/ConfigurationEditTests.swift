// SPDX-License-Identifier: Apache-2.0
import Testing

@testable import HareDoDaemon

@Suite("Changing a configuration file")
struct ConfigurationEditTests {
    private static func edited(
        _ text: String, _ path: [String], _ value: ConfigurationEdit.Value
    ) throws(DaemonFailure) -> String {
        var edit = ConfigurationEdit(text, file: "haredo.conf")
        try edit.set(path, to: value)
        return edit.text
    }

    @Test(
        "A value is replaced, and nothing else",
        arguments: [
            ("host: localhost", "host: 'db 1'"), ("host: localhost   # where", "host: 'db 1'   # where"),
            ("host: 'it''s' # so", "host: 'db 1' # so"), (#"host: "a\"b"  "#, "host: 'db 1'  "),
            ("host:", "host: 'db 1'"),
            ("host: ~ # none", "host: 'db 1' # none"), ("host: a#b", "host: 'db 1'"), ("{host: x}", nil),
            ("host: [a]", nil), ("host: {a: b}", nil), ("host: |\n      text", nil), ("host: 'two\n    lines'", nil),
            ("host: &a x", nil),
        ])
    func replacing(line: String, expected: String?) throws {
        let before = "# one\nsystem:\n  broker:\n    user: u # two\n    "
        let after = "\n    # three\n    vhost: /\ndaemon: {}\n"
        let isFlow = line.hasPrefix("{")
        let text = isFlow ? "system:\n  broker: \(line)\n" : before + line + after
        guard let expected else {
            let error = #expect(throws: DaemonFailure.self) {
                try Self.edited(text, ["system", "broker", isFlow ? "user" : "host"], .text("db 1"))
            }
            #expect(error?.description.contains("by hand") == true, "\(error?.description ?? "")")
            return
        }
        #expect(try Self.edited(text, ["system", "broker", "host"], .text("db 1")) == before + expected + after)
    }

    @Test("What is missing is made where it belongs")
    func making() throws {
        let path = ["system", "broker", "ssl", "enable"]
        #expect(try Self.edited("", path, .flag(true)) == "system:\n  broker:\n    ssl:\n      enable: true\n")
        #expect(
            try Self.edited("# c\n---\nsystem:\n    broker:\n        # d\n        host: x\n", path, .flag(true))
                == "# c\n---\nsystem:\n    broker:\n        # d\n        ssl:\n          enable: true\n        host: x\n"
        )
        #expect(
            try Self.edited("system:\n  broker:\n", path, .flag(false))
                == "system:\n  broker:\n    ssl:\n      enable: false\n")
        #expect(try Self.edited("a: 1", ["b"], .number(5)) == "b: 5\na: 1")
    }

    @Test("Text that would be something else without quotes, and text that is none")
    func quoting() throws {
        for text in ["it's", "yes", "5", "a: b", "# no", "${X}", "", "\\", "é"] {
            var edit = ConfigurationEdit("a:\n  b: 1\n", file: "x")
            try edit.set(["a", "b"], to: .text(text))
            #expect(edit.text == "a:\n  b: '\(text.replacing("'", with: "''"))'\n")
        }
        #expect(throws: DaemonFailure.self) { try Self.edited("a: 1", ["a"], .text("x\ny")) }
        #expect(throws: DaemonFailure.self) { try Self.edited("a: [", ["a"], .number(1)) }
    }

    @Test("What is there")
    func has() {
        let edit = ConfigurationEdit("a: {b: 1}\nc:\n", file: "x")
        #expect(edit.has(["a", "b"]))
        #expect(edit.has(["c"]))
        #expect(!edit.has(["c", "d"]))
        #expect(!edit.has(["x"]))
    }
}
