// SPDX-License-Identifier: Apache-2.0
import HareDo
import Testing

@testable import HareDoTool

@Suite("A header on the command line")
struct HeaderArgumentTests {
    @Test(
        "is text after =",
        arguments: [
            ("a=b", "a", "b"), ("a=", "a", ""), ("i=1", "i", "1"), ("a=b=c", "a", "b=c"), ("a=:=1", "a", ":=1"),
            ("a:b=c", "a:b", "c"), ("ü=1", "ü", "1"),
        ])
    func text(argument: String, name: String, value: String) throws {
        let header = try HeaderArgument(argument)
        #expect(header.name == name)
        #expect(header.value == .string(value))
    }

    @Test(
        "is something else after :=",
        arguments: [
            ("i:=1", .integer(1)), ("i:=-5", .integer(-5)), ("i:=9223372036854775807", .integer(.max)),
            ("i:=2.5", .double(2.5)), ("i:=1e3", .double(1000)), ("i:=true", .boolean(true)),
            ("i:=false", .boolean(false)), ("i:=null", .null),
        ] as [(String, HeaderValue)])
    func typed(argument: String, value: HeaderValue) throws {
        let header = try HeaderArgument(argument)
        #expect(header.name == "i")
        #expect(header.value == value)
    }

    @Test(
        "has a name and a value that can be sent as they are",
        arguments: [
            "", "a", "=1", ":=1", "i:=", "i:=x", "i:=nan", "i:=inf", "i:=0x10", "i:=1e999", "i:=9223372036854775808",
            "i:=[1]", "i:=\"a\"", String(repeating: "n", count: 256) + "=1",
        ])
    func refused(argument: String) {
        #expect(throws: ToolFailure.self) { try HeaderArgument(argument) }
    }
}
