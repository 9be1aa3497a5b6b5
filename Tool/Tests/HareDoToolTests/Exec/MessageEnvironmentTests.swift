// SPDX-License-Identifier: Apache-2.0
import HareDo
import Testing

@testable import HareDoTool

@Suite("What a command finds of a message in its environment")
struct MessageEnvironmentTests {
    @Test(
        "A header's name is in capitals, with _ for what is no letter or digit",
        arguments: [
            ("i", "HAREDO_HEADER_I"), ("Content-Type", "HAREDO_HEADER_CONTENT_TYPE"),
            ("a.b c=d", "HAREDO_HEADER_A_B_C_D"),
            ("x9", "HAREDO_HEADER_X9"), ("grün", "HAREDO_HEADER_GR_N"), ("ſ", "HAREDO_HEADER__"),
            ("", "HAREDO_HEADER_"),
        ])
    func names(header: String, variable: String) {
        #expect(MessageEnvironment.variable(for: header) == variable)
    }

    @Test(
        "A header's value is text",
        arguments: [
            (.string("a b"), "a b"), (.integer(-3), "-3"), (.double(2.5), "2.5"), (.boolean(true), "true"), (.null, ""),
            (.bytes([0, 255]), "AP8="), (.timestamp(12), "12"), (["a", 1, .null], #"["a",1,null]"#),
            (["b": 1, "a": ["x/y"]], #"{"a":["x/y"],"b":1}"#),
        ] as [(HeaderValue, String)])
    func values(value: HeaderValue, text: String) throws {
        #expect(try MessageEnvironment.variables(for: ["n": value]) == ["HAREDO_HEADER_N": text])
    }

    @Test("Two headers that get the same name are refused")
    func collision() {
        #expect(throws: ServiceError.self) { try MessageEnvironment.variables(for: ["a-b": 1, "A_b": 2]) }
    }

    @Test("A zero byte cannot be carried, and is refused")
    func zeroByte() {
        #expect(throws: ServiceError.self) { try MessageEnvironment.variables(for: ["a": "x\0y"]) }
    }

    @Test("What haredo itself inherited must not look like the message's")
    func inherited() {
        let names = ["HAREDO_HEADER_X", "HAREDO_MESSAGE_ID", "HAREDO_BROKER", "PATH"]
        #expect(MessageEnvironment.inherited(names) == ["HAREDO_HEADER_X", "HAREDO_MESSAGE_ID"])
    }

    @Test(
        "The first line of standard error tells why a command failed",
        arguments: [("oops\nmore", "oops"), ("\n \n  b\r\nc", "  b"), ("", nil), ("\n\n", nil)] as [(String, String?)])
    func firstLine(text: String, line: String?) {
        #expect(ShellCommand.firstLine(of: Array(text.utf8)) == line)
    }
}
